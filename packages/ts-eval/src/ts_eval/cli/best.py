"""`ts-eval best`: options and output; `ts_eval.best_of` does the work."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ts_data.console import Config, Json, Quiet, Set, emit, merge, show_progress

from ._options import FeatureReference


class By(StrEnum):
    """What ranks stories."""

    FEATURES = "features"
    LIKELIHOOD = "likelihood"


def best(
    model: Annotated[str, typer.Argument(help="A model folder, a Hub id, or `demo`.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="The best and the worst stories (JSON lines).", show_default=False)],
    prompt: Annotated[
        list[str] | None,
        typer.Option("--prompt", "-p", help="How a story begins. May be repeated.", show_default="the model begins"),
    ] = None,
    stories: Annotated[int, typer.Option("--stories", min=1, help="Stories to keep for each prompt.")] = 100,
    n: Annotated[int, typer.Option("--n", "-n", min=2, help="Stories to choose each from.")] = 8,
    by: Annotated[By, typer.Option("--by", help="The feature judge, or the model's own likelihood.")] = By.FEATURES,
    reference: FeatureReference = None,
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same stories.")] = 1,
    config: Config = None,
    set_: Set = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write n stories for one, keep the best; the worst is kept beside it, for `ts-train prefer`.

    Example: ts-eval best demo --prompt "Once upon a time" --stories 20 --n 8 --out best.jsonl
    """
    from ts_data.artefact import keep_apart

    from ..judge.best import best_of, write_ranked

    keep_apart(out, [place for place in (Path(model), reference) if place is not None and place.exists()])
    options = merge(config, set_, {})
    with show_progress(quiet=quiet) as progress:
        rows = best_of(
            model, [text for text in prompt or [""] for _ in range(stories)], n,
            by=by.value, reference=reference, seed=seed, progress=progress, **options,
        )  # fmt: skip
    write_ranked(out, rows)
    means = {
        name: sum(getattr(row, field) for row in rows) / len(rows)
        for name, field in (("best", "score"), ("mean", "mean_score"), ("worst", "rejected_score"))
    }
    shown = (
        f"wrote {out}: {len(rows):,} stories, best of {n} by {by.value}; "
        f"best {means['best']:.3f}, mean {means['mean']:.3f}, worst {means['worst']:.3f}"
    )
    following = f"ts-train prefer {model} {out} --out tuned/"
    emit({"stories": len(rows), **means, "out": str(out)}, shown, as_json=as_json, quiet=quiet, then=following)

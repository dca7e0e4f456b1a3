"""ts-train run, resume, plot, prefer: train a model on encoded stories, continue a run, draw its losses, tune a model on pairs."""

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from ts_models.console import Config, Set, asked, emit, merge, show_progress, validate, warn

from ..registry import OPTIMIZERS, SCHEDULES, SINKS
from .common import DEFAULT, print_run, stoppable

SETTING = (
    f"One setting: dotted.name=value. May be repeated. optimizer.name: {', '.join(OPTIMIZERS)}. "
    f"schedule.name: {', '.join(SCHEDULES)}. sinks: {', '.join(SINKS)}."
)


def run(
    data: Annotated[Path, typer.Option(help="The encoded/ folder.")],
    out: Annotated[Path, typer.Option(help="The run folder. An unfinished run with the same settings is resumed.")],
    preset: Annotated[str | None, typer.Option(help="A recipe: story-1m, talk-5m …", show_default="story-1m")] = None,
    max_minutes: Annotated[
        float | None, typer.Option(help="Wall-clock minutes; the number of steps follows from the speed.")
    ] = None,
    max_steps: Annotated[int | None, typer.Option(help="Optimizer steps.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Real training tokens of the whole run.")] = None,
    max_tokens_per_batch: Annotated[int | None, typer.Option(help="Positions per optimizer step.")] = None,
    seed: Annotated[int | None, typer.Option(help="Decides weights, batches and dropout.")] = None,
    precision: Annotated[str | None, typer.Option(help="auto, fp32, fp16 or bf16.")] = None,
    checkpoint_every: Annotated[int | None, typer.Option(help="Optimizer steps.")] = None,
    init_from: Annotated[Path | None, typer.Option(help="A model/ folder to start from.")] = None,
    teacher: Annotated[
        list[str] | None, typer.Option(help="A model/ folder to learn from, beside the stories; may be repeated.")
    ] = None,
    config: Config = None,
    set: Annotated[list[str] | None, typer.Option(help=SETTING)] = None,
) -> None:
    """Train a model; the best by validation loss ends in OUT/model.

    Example: ts-train run --preset story-1m --data encoded/ --out run/ --max-minutes 5

    Example: torchrun --standalone --nproc-per-node 4 -m ts_train run --data encoded/ --out run/
    """
    from ts_models.artefact import keep_apart

    from ..recipes import combine, over_recipe, recipe
    from ..run import train
    from ..schemas import TrainConfig

    flags = {
        "preset": preset,
        "max_minutes": max_minutes,
        "max_steps": max_steps,
        "max_tokens": max_tokens,
        "batch.tokens_per_step": max_tokens_per_batch,
        "seed": seed,
        "precision": precision,
        "checkpoint.every": checkpoint_every,
        "init_from": None if init_from is None else str(init_from),
        "teachers": teacher or None,
    }
    given = merge(config, set, flags)
    model = given.get("model")
    whole_model = isinstance(model, dict) and "kind" in model
    device = given.get("device", "auto")
    if whole_model and not given.get("preset"):
        values = given
    elif given.get("init_from") and not given.get("preset"):
        name = _preset_of(str(given["init_from"]))
        values = combine({**recipe(name or DEFAULT, device=device), "preset": name}, given)
    else:
        values = over_recipe(given.get("preset") or DEFAULT, given)
    settings = validate(TrainConfig, values, asked=given)
    keep_apart(out, [data, *([settings.init_from] if settings.init_from else []), *settings.teachers])
    with stoppable():
        print_run(train(settings, data, out, progress=not asked.quiet, warn=warn))


def _preset_of(model: str) -> str | None:
    """The preset of a model folder, whose recipe is the default for fine-tuning it."""
    import ts_models

    from ..network import preset_name

    return preset_name(ts_models.load(model).model, None)


def resume(
    run: Annotated[Path, typer.Argument(help="The run folder.")],
    data: Annotated[Path | None, typer.Option(help="Where the same encoded data are now, if moved.")] = None,
) -> None:
    """Continue a run. On the same machine it ends with the bits of an uninterrupted run.

    Example: ts-train resume run/
    """
    from ..run import resume as continue_run

    with stoppable():
        print_run(continue_run(run, data=data, progress=not asked.quiet, warn=warn))


def plot(
    runs: Annotated[list[Path], typer.Argument(help="Run folders.")],
    out: Annotated[Path, typer.Option(help="The picture: .png, .svg or .pdf.")] = Path("loss.png"),
) -> None:
    """Draw loss by tokens, time and FLOPs, and the learning rate.

    Example: ts-train plot run/ other-run/ --out loss.png
    """
    from ..studies.plots import plot as draw

    written = draw(runs, out)
    following = f"ts-eval report {' '.join(quote(str(run / 'model')) for run in runs)} --data splits/ --out report/"
    emit({"plot": str(written), "runs": [str(run) for run in runs]}, f"wrote {written}", then=following)


def prefer(
    model: Annotated[Path, typer.Argument(help="The model/ folder to start from.")],
    pairs: Annotated[Path, typer.Argument(help="Pairs of stories, as `ts-eval best` writes them.")],
    out: Annotated[Path, typer.Option(help="The folder of the tuned model.")],
    config: Config = None,
    set: Set = None,
) -> None:
    """Tune a model on pairs of a better and a worse story (DPO); the start stays as it is.

    Example: ts-train prefer run/model pairs.jsonl --out tuned/
    """
    from ..preference.dpo import prefer as work
    from ..schemas import PreferenceConfig

    settings = validate(PreferenceConfig, merge(config, set, {}))
    with show_progress() as progress:
        report = work(model, pairs, out, settings, progress=progress)
    shown = (
        f"wrote {out}: {report.steps:,} steps on {report.pairs:,} pairs; of {report.held_out:,} held-out pairs, {100 * report.accuracy:.0f} % prefer the "
        f"better story more than before (loss {report.loss:.3f}, 0.693 before)"
    )
    emit(report, shown, then=f'ts-models generate {quote(str(out))} --prompt "Once upon a time"')

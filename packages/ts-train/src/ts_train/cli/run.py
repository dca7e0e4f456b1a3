"""ts-train run: train a model on encoded stories."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ts_models.console import Config, Json, Quiet, Set, merge, validate, warn

from ._shared import stoppable, tell, watchers

__all__ = ["run"]


def run(
    data: Annotated[Path, typer.Option("--data", help="The encoded/ folder.")],
    out: Annotated[Path, typer.Option("--out", help="The run folder; an unfinished run of the same settings goes on.")],
    preset: Annotated[str | None, typer.Option("--preset", help="A recipe: story-1m, talk-5m … [default: story-1m]")] = None,
    max_minutes: Annotated[
        float | None, typer.Option("--max-minutes", help="Wall-clock minutes, turned into steps once.")
    ] = None,
    max_steps: Annotated[int | None, typer.Option("--max-steps", help="Optimizer steps.")] = None,
    max_tokens: Annotated[int | None, typer.Option("--max-tokens", help="Real training tokens in all.")] = None,
    max_tokens_per_batch: Annotated[
        int | None, typer.Option("--max-tokens-per-batch", help="Positions per optimizer step.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Decides weights, batches and dropout.")] = None,
    precision: Annotated[str | None, typer.Option("--precision", help="auto, fp32, fp16 or bf16.")] = None,
    checkpoint_every: Annotated[int | None, typer.Option("--checkpoint-every", help="Optimizer steps.")] = None,
    init_from: Annotated[Path | None, typer.Option("--init-from", help="A model/ folder to start from.")] = None,
    config: Config = None,
    set: Set = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a model; the best by validation loss ends in OUT/model.

    Example: ts-train run --preset story-1m --data encoded/ --out run/ --max-minutes 5

    On several GPUs: torchrun --nproc-per-node 4 -m ts_train run --data encoded/ --out run/
    """
    from .._recipes import combine, recipe
    from .._train import train
    from ..schemas import TrainConfig

    flags = {
        "preset": preset,
        "max_minutes": max_minutes,
        "max_steps": max_steps,
        "max_tokens": max_tokens,
        "batch.max_tokens": max_tokens_per_batch,
        "seed": seed,
        "precision": precision,
        "checkpoint.every": checkpoint_every,
        "init_from": None if init_from is None else str(init_from),
    }
    asked = merge(config, set, flags)
    model = asked.get("model")
    whole_model = isinstance(model, dict) and "kind" in model
    name = asked.get("preset") or (None if whole_model else "story-1m")
    values = asked if name is None else combine(recipe(name, device=asked.get("device", "auto")), {"preset": name, **asked})
    settings = validate(TrainConfig, values)
    with stoppable():
        tell(train(settings, data, out, callbacks=watchers(quiet=quiet), warn=warn), as_json=json)

"""Settings beside each other: trains every trial of a TOML file on the same stories, each once, and lists their losses.

A file holds `[[trial]]` tables with `name`, `preset` and the settings that differ from the recipe in its form for this device, in
the order of their importance. They run one after the other, since side by side on one GPU each is as much slower; on a GPU the step
is compiled. Losses are of the whole validation split and, where the data have one, of the test split, by the best weights of the run.

    python bench/train_trials.py bench/trials/demo.toml --data encoded/ --out DIR [--seconds 200]
    python bench/train_trials.py --small

A trial lies in DIR/NAME/: cell.json with its figures and model/. One that was killed goes on from its checkpoint.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import Any

import torch

from ts_train import TrainConfig, recipe, train
from ts_train.data.dataset import open_data
from ts_train.errors import Interrupted
from ts_train.recipes import combine
from ts_train.runtime.distributed import World
from ts_train.runtime.precision import Precision
from ts_train.testing import fake_encoded
from ts_train.validation import ValidationSet

SMALL = {"name": "small", "preset": "story-1m", "max_steps": 4, "validation": {"every": 2, "samples": 0}}


def settings(trial: dict[str, Any], device: str, *, capture: bool = True) -> TrainConfig:
    """The recipe's settings with those of the trial over them."""
    changes = {key: value for key, value in trial.items() if key != "name"}
    common = {"device": device, "compile": device == "cuda", "sinks": ["jsonl"], "validation": {"samples": 0}}
    base = combine(recipe(trial["preset"], device=device), common)
    return TrainConfig.model_validate(combine(base, changes | ({} if capture else {"capture": False})))


def test_losses(model: torch.nn.Module, encoded: Any, device: str, context: int) -> dict[str, float]:
    """Loss and bits per byte of the test split in fp32; nothing where there is none."""
    source, where = encoded.source, torch.device(device)
    if "test" not in source:
        return {}
    split = ValidationSet.of(source["test"], context=context, pad_id=encoded.pad_id, max_tokens=16_384, max_stories=None)
    loss, bits = split.score(model, Precision("fp32", "", where.type), World(), where, whole=True)
    return {"test_loss": loss} | ({} if bits is None else {"test_bits_per_byte": bits})


def run_trial(folder: Path, trial: dict[str, Any], data: Any, device: str, capture: bool) -> None:
    """Train a trial and write what came of it."""
    begun = time.perf_counter()
    config = settings(trial, device, capture=capture)
    run = train(config, data, folder / "run")
    best = next(p for p in run.state.curve if p.step == run.state.best_step)
    cell = {
        "name": trial["name"], "preset": trial["preset"], "trial": trial, "precision": run.manifest.precision, "device": device,
        "parameters": run.manifest.parameters, "steps": run.state.step, "tokens": run.state.tokens,
        "training_seconds": run.state.seconds, "tokens_per_second": run.state.tokens / run.state.seconds,
        "validation_loss": best.validation_loss, "bits_per_byte": best.bits_per_byte, "best_step": best.step,
        "train_loss": run.state.curve[-1].train_loss, "skipped": run.state.skipped,
        **test_losses(run.model, open_data(data), device, run.manifest.context),
        "seconds": time.perf_counter() - begun, "curve": [p.model_dump() for p in run.state.curve],
        "config": config.model_dump(mode="json"),
    }  # fmt: skip
    shutil.rmtree(folder / "model", ignore_errors=True)
    shutil.copytree(folder / "run" / "model", folder / "model")
    shutil.rmtree(folder / "run" / "checkpoints")
    (folder / "cell.json").write_text(json.dumps(cell, indent=1) + "\n", encoding="utf-8")
    say(line(cell))


def line(cell: dict[str, Any]) -> str:
    """One row of the list."""
    test = f", test {cell['test_loss']:.4f}" if "test_loss" in cell else ""
    bits = f" ({cell['test_bits_per_byte']:.4f} bits per byte)" if "test_bits_per_byte" in cell else ""
    return (
        f"{cell['name']:32} validation {cell['validation_loss']:.4f} at step {cell['best_step']:,} of {cell['steps']:,}"
        f"{test}{bits}, train {cell['train_loss'] or math.nan:.4f}, {cell['tokens'] / 1e6:.1f} M tokens at "
        f"{cell['tokens_per_second']:,.0f}/s, {cell['seconds']:.0f} s"
    )


def run_all(out: Path, trials: list[dict[str, Any]], data: Any, device: str, capture: bool, stop: float) -> None:
    """Run the trials in turn, none begun after `stop` (by time.time()); one that fails is reported."""
    for trial in trials:
        folder = out / trial["name"]
        if time.time() > stop:
            break
        if (folder / "cell.json").exists():
            continue
        folder.mkdir(parents=True, exist_ok=True)
        try:
            run_trial(folder, trial, data, device, capture)
        except Interrupted:
            raise
        except Exception as problem:  # the other trials are still worth having
            say(f"{trial['name']}: {type(problem).__name__}: {problem}")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("trials", nargs="*", type=Path, help="TOML files of [[trial]] tables")
    options.add_argument("--small", action="store_true", help="one trial of four steps on made-up stories")
    options.add_argument("--data", help="an encoded/ folder")
    options.add_argument("--out", type=Path)
    options.add_argument("--seconds", type=float, default=math.inf, help="no trial is begun later than this")
    options.add_argument("--no-capture", action="store_true", help="launch every step kernel by kernel")
    chosen = options.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(min(2, torch.get_num_threads()))
    listed = [trial for file in chosen.trials for trial in tomllib.loads(file.read_text(encoding="utf-8"))["trial"]]
    trials = [SMALL] if chosen.small else listed
    data: Any = chosen.data or fake_encoded(stories=60, vocab_size=2048, shortest=10, longest=40)
    with tempfile.TemporaryDirectory() as scratch:
        out: Path = chosen.out or Path(scratch)
        run_all(out, trials, data, device, not chosen.no_capture, time.time() + chosen.seconds)
        cells = [json.loads(path.read_text()) for path in out.glob("*/cell.json")]
        for cell in sorted(cells, key=lambda cell: float(cell["validation_loss"])):
            print(line(cell))


if __name__ == "__main__":
    main()

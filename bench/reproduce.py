"""The talk's tables on real stories: all nine `talk-*` presets and `story-1m`, `-5m`, `-15m` on the same splits, each cell once.

On a GPU a cell is the talk's own recipe for its two epochs of these stories, in bf16 (mixed precision) and in fp32. On a CPU it is
one budget of tokens that two cores can afford: the talk's batch of 64 stories becomes 16 and its learning rate half (square-root
scaling, Malladi et al. 2022), so that a small budget still has a thousand steps. The talk's StepLR halves its rate after a number
of steps of its own data; here that number is scaled to the run's steps. `story-*` train by their recipes.

    python bench/reproduce.py --data encoded/ --out DIR [--minutes 8]     # trains what is not there yet
    python bench/reproduce.py --data encoded/ --out DIR --table                      # the losses beside the talk's, and its claims
    python bench/reproduce.py --small                                                # made-up stories: does it run?

A cell lies in DIR/PRESET-PRECISION/: cell.json with its figures and model/. One that was killed goes on from its checkpoint.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from ts_train import TrainConfig, recipe, train
from ts_train.data.batches import step_size
from ts_train.data.dataset import open_data
from ts_train.errors import Interrupted
from ts_train.recipes import combine
from ts_train.testing import fake_encoded

TALK_STEPS = 2 * 1_725_028 / 64
"""Optimizer steps of the talk's two epochs."""
TALK_LOSS = {
    "talk-1m": 1.89, "talk-5m": 1.67, "talk-5m-laptop": 1.67, "talk-10m": 1.47, "talk-15m": 1.43, "talk-35m": 1.39,
    "talk-5m-rnn": 2.256, "talk-5m-lstm": 1.933, "talk-5m-gru": 1.757,
}  # fmt: skip
"""The talk's evaluation losses (version 1 of TinyStories, 1,725,028 stories)."""
PRESETS = [*TALK_LOSS, "story-1m", "story-5m", "story-15m"]


def settings(preset: str, precision: str, data: Any, device: str, tokens: int, *, capture: bool = True) -> TrainConfig:
    """The recipe of a cell, as the module's text says."""
    on_gpu, talk = device == "cuda", preset.startswith("talk")
    epochs = 1.0 if preset == "talk-5m-laptop" else 2.0  # the talk's
    base = combine(
        recipe(preset, device=device), {"preset": preset, "precision": precision, "device": device, "sinks": ["jsonl"]}
    )
    if not on_gpu:
        base = combine(base, {"max_tokens": tokens})
        if talk:
            rate = base["optimizer"]["lr"]
            base = combine(base, {"batch": {"batch_size": 16, "arrangement": "bucketed"}, "optimizer": {"lr": rate / 2}})
    config = TrainConfig.model_validate(base)
    encoded = open_data(data)
    batches = encoded.batches(config, 256, step_size(tokens))
    passes = config.epochs if on_gpu else tokens / batches.epoch_tokens
    steps = max(1, round(passes * batches.steps_per_epoch))
    changes: dict[str, Any] = {
        "validation": {"every": max(1, math.ceil(steps / 8)), "samples": 0}, "checkpoint": {"every": max(1, math.ceil(steps / 4))}
    }  # fmt: skip
    if talk:
        changes["schedule"] = {"step_size": max(1, round(base["schedule"]["step_size"] * steps / (TALK_STEPS * epochs / 2)))}
    if not capture:
        changes["capture"] = False
    return TrainConfig.model_validate(combine(base, changes))


def train_cell(
    folder: Path, preset: str, precision: str, data: Any, device: str, tokens: int, capture: bool
) -> dict[str, Any]:  # fmt: skip
    """Train a cell unless it is there; its figures."""
    done = folder / "cell.json"
    if not done.exists():
        begun = time.perf_counter()
        run = train(settings(preset, precision, data, device, tokens, capture=capture), data, folder / "run")
        best = next(p for p in run.state.curve if p.step == run.state.best_step)
        cell = {
            "preset": preset, "precision": run.manifest.precision, "device": device, "parameters": run.manifest.parameters,
            "steps": run.state.step, "tokens": run.state.tokens, "training_seconds": run.state.seconds,
            "seconds": time.perf_counter() - begun, "tokens_per_second": run.state.tokens / run.state.seconds,
            "validation_loss": best.validation_loss, "bits_per_byte": best.bits_per_byte, "skipped": run.state.skipped,
            "curve": [p.model_dump() for p in run.state.curve], "config": run.manifest.config.model_dump(mode="json"),
        }  # fmt: skip
        shutil.rmtree(folder / "model", ignore_errors=True)
        shutil.copytree(folder / "run" / "model", folder / "model")
        shutil.rmtree(folder / "run" / "checkpoints")
        done.write_text(json.dumps(cell, indent=1) + "\n", encoding="utf-8")
        say(f"{folder.name}: loss {best.validation_loss:.4f}, {cell['seconds']:.0f} s, {cell['tokens_per_second']:,.0f} tokens/s")
    return dict(json.loads(done.read_text()))


def train_all(
    out: Path, cells: list[tuple[str, str]], data: Any, device: str, tokens: int, capture: bool, stop: float
) -> None:  # fmt: skip
    """Train the cells in turn, none begun after `stop` (by time.time()); a cell that fails is reported."""
    for preset, precision in cells:
        if time.time() > stop:
            break
        folder = out / f"{preset}-{precision}"
        folder.mkdir(parents=True, exist_ok=True)
        try:
            train_cell(folder, preset, precision, data, device, tokens, capture)
        except Interrupted:
            raise
        except Exception as problem:  # the other cells are still worth having
            say(f"{folder.name}: {type(problem).__name__}: {problem}")


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


# --- the table -----------------------------------------------------------------------------------


def read_cells(out: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """The finished cells by preset and precision."""
    found = [json.loads(path.read_text()) for path in sorted(out.glob("*/cell.json"))]
    return {(cell["preset"], cell["precision"]): cell for cell in found}


def table(cells: dict[tuple[str, str], dict[str, Any]]) -> str:
    """Losses beside the talk's, in Markdown, then the claims about losses."""
    precisions = sorted({precision for _, precision in cells})
    head = ["preset", "parameters", "talk: loss"]
    for precision in precisions:
        head += [f"{precision}: loss", "bits per byte", "seconds of training", "tokens/s"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for preset in PRESETS:
        row = [cells[key] for key in cells if key[0] == preset]
        if not row:
            continue
        fields = [f"`{preset}`", f"{row[0]['parameters']:,}", str(TALK_LOSS.get(preset, ""))]
        for precision in precisions:
            cell = cells.get((preset, precision))
            fields += ["", "", "", ""] if cell is None else [
                f"{cell['validation_loss']:.4f}", _number(cell["bits_per_byte"]), f"{cell['training_seconds']:.1f}",
                f"{cell['tokens_per_second']:,.0f}"
            ]  # fmt: skip
        lines.append(f"| {' | '.join(fields)} |")
    for precision in precisions:
        losses = {preset: cell["validation_loss"] for (preset, p), cell in cells.items() if p == precision}
        lines += ["", f"Claims of the talk, {precision}:", "", *(f"- {text}" for text in claims(losses))]
    return "\n".join(lines) + "\n"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def claims(losses: dict[str, float]) -> list[str]:
    """Which of the talk's orders of losses hold, as far as the cells are there."""
    orders = {
        "bigger is better": ["talk-1m", "talk-5m", "talk-10m", "talk-15m", "talk-35m"],
        "Transformer before GRU before LSTM before RNN": ["talk-5m-rnn", "talk-5m-lstm", "talk-5m-gru", "talk-5m"],
    }
    found = []
    for text, presets in orders.items():
        have = [preset for preset in presets if preset in losses]
        values = [losses[preset] for preset in have]
        if len(have) < len(presets):
            continue
        holds = all(later < earlier for earlier, later in itertools.pairwise(values))
        shown = ", ".join(f"{preset} {loss:.3f}" for preset, loss in zip(have, values, strict=True))
        found.append(f"{text}: {'holds' if holds else 'does not hold'} ({shown})")
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--small", action="store_true", help="two tiny cells of made-up stories")
    options.add_argument("--data", help="an encoded/ folder")
    options.add_argument("--out", type=Path)
    options.add_argument("--presets", nargs="+", default=PRESETS)
    options.add_argument("--precisions", nargs="+", help="default: bf16 and fp32 on a GPU, fp32 on a CPU")
    options.add_argument("--tokens", type=int, default=3_600_000, help="training tokens of a cell on a CPU")
    options.add_argument("--minutes", type=float, default=math.inf, help="no cell is begun later than this")
    options.add_argument("--no-capture", action="store_true", help="launch every step kernel by kernel")
    options.add_argument("--table", action="store_true", help="train nothing: print what is there")
    chosen = options.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(min(2, torch.get_num_threads()))
    if chosen.small:
        chosen.presets, chosen.tokens = ["talk-1m", "story-1m"], 3_000
    data: Any = chosen.data or fake_encoded(stories=60, vocab_size=2048, shortest=10, longest=40)
    with tempfile.TemporaryDirectory() as scratch:
        out: Path = chosen.out or Path(scratch)
        precisions = chosen.precisions or (["bf16", "fp32"] if device == "cuda" else ["fp32"])
        cells = [(preset, precision) for precision in precisions for preset in chosen.presets]
        if not chosen.table:
            stop = time.time() + 60 * chosen.minutes
            train_all(out, cells, data, device, chosen.tokens, not chosen.no_capture, stop)
        print(table(read_cells(out)))


if __name__ == "__main__":
    main()

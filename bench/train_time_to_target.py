"""Claim: `story-*` with its recipe reaches the loss of the talk's recipe in a fraction of the time, in the same engine.

The talk's recipe trains first, with each learning rate given, on `--tokens` real tokens (StepLR scaled to the run's
length); the best validation loss it reaches is the target. Then each variant of a ladder from the talk's recipe to ours
changes one thing (dropout and schedule, structure, optimizer, batch), and the time to the target is read off its
validation curve. Time is CPU time of the training process, validation left out, so that other load on the machine does
not count; `--seeds` repeats everything.

    python bench/train_time_to_target.py [--small] [--data encoded/] [--size 1m] [--tokens 600000] [--seeds 3]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from ts_train import BaseCallback, StepMetrics, StopTraining, TrainConfig, ValidationMetrics, recipe, train
from ts_train._recipes import combine
from ts_train.testing import fake_encoded

LINEAR = {"schedule": {"name": "linear", "warmup_steps": 20}}
ADAMW = {"optimizer": {"name": "adamw"}}


class Clock(BaseCallback):
    """CPU seconds of training at each validation; ends the run when the target is reached."""

    def __init__(self, target: float | None) -> None:
        self.target, self.spent, self.reached = target, 0.0, None
        self.mark = time.process_time()

    def on_start(self, run: Any) -> None:
        self.mark = time.process_time()

    def on_step(self, metrics: StepMetrics) -> None:
        now = time.process_time()
        self.spent, self.mark = self.spent + now - self.mark, now

    def on_validation(self, metrics: ValidationMetrics) -> None:
        self.mark = time.process_time()
        if self.target is not None and metrics.point.validation_loss <= self.target:
            self.reached = self.spent
            raise StopTraining("reached the target")


def ladder(size: str) -> dict[str, tuple[str, dict[str, Any], tuple[float, ...]]]:
    """Name → (preset, changes to its recipe, learning rates)."""
    talk = TrainConfig.model_validate(recipe(f"talk-{size}")).optimizer.lr
    near = (talk / 2, talk, talk * 2)
    bare = {"model": {"dropout": 0.0}}
    story: dict[str, Any] = {"batch": {"batch_size": 64, "arrangement": "shuffled"}}
    return {
        "talk's recipe": (f"talk-{size}", {}, near),
        "+ no dropout, linear schedule": (f"talk-{size}", {**bare, **LINEAR}, near),
        "+ structure": (f"story-{size}", {**story, **ADAMW, **LINEAR}, (0.003, 0.006, 0.012)),
        "+ Muon": (f"story-{size}", story, (0.01, 0.02, 0.04)),
        "+ batches of 1,024 tokens": (f"story-{size}", {}, (0.01, 0.02, 0.04)),
    }  # fmt: skip


def run(
    preset: str, changes: dict[str, Any], lr: float, data: Any, tokens: int, target: float | None, seed: int
) -> tuple[float, Clock, float]:
    """(best validation loss, clock, CPU seconds in all)."""
    scaled = {}
    if preset.startswith("talk") and "schedule" not in changes:  # two steps down in a run, as 12,500 of 2 epochs are
        steps = tokens / 205 / 64
        scaled = {
            "schedule": {"name": "step", "step_size": max(1, round(steps / 3)), "gamma": recipe(preset)["schedule"]["gamma"]}
        }
    fixed = {
        "preset": preset, "seed": seed, "max_tokens": tokens, "precision": "fp32", "sinks": (), "checkpoint": {"every": 10**6},
        "validation": {"every": max(1, tokens // 40 // (13_000 if "batch" in changes or preset.startswith("talk") else 950)),
                       "samples": 0, "bits_per_byte": False},
    }  # fmt: skip
    config = TrainConfig.model_validate(
        combine(combine(combine(recipe(preset), scaled), changes), {**fixed, "optimizer": {"lr": lr}})
    )
    clock = Clock(target)
    with tempfile.TemporaryDirectory() as folder:
        done = train(config, data, Path(folder) / "run", callbacks=[clock])
    return float(done.state.best_loss or float("nan")), clock, clock.spent


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--small", action="store_true", help="one seed, the middle learning rate, few tokens")
    options.add_argument("--data", help="an encoded/ folder")
    options.add_argument("--size", default="1m")
    options.add_argument("--tokens", type=int, default=600_000)
    options.add_argument("--seeds", type=int, default=3)
    chosen = options.parse_args()
    data: Any = chosen.data or fake_encoded(stories=400, vocab_size=2048, shortest=60, longest=350)
    tokens, seeds = (min(chosen.tokens, 100_000), 1) if chosen.small else (chosen.tokens, chosen.seeds)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {tokens:,} tokens, {seeds} seed(s)", flush=True)
    first, target = 0.0, None
    for name, (preset, changes, rates) in ladder(chosen.size).items():
        tried = rates[1:2] if chosen.small else rates
        results = []
        for lr in tried:
            runs = [run(preset, changes, lr, data, tokens, target, seed) for seed in range(1, seeds + 1)]
            loss = statistics.mean(r[0] for r in runs)
            times = [r[2] if target is None else r[1].reached for r in runs]
            results.append((float("inf") if None in times else statistics.mean(t for t in times if t is not None), loss, lr))
        if target is None:
            seconds, target, lr = min(results, key=lambda r: r[1])
            first = seconds
        else:
            seconds, _, lr = min(results)
        ratio = "not reached" if seconds == float("inf") else f"{first / seconds:5.2f} x less time"
        print(f"  {name:32} lr {lr:<8.3g} {seconds:8.1f} CPU s to {target:.3f}  {ratio}", flush=True)


if __name__ == "__main__":
    main()

"""Claim: a run that is killed at random instants (SIGKILL or SIGTERM) ends with the bits of an uninterrupted one.

No peer: the uninterrupted run is the reference. Each trial trains in a process of its own, which is killed at a random
instant and then started again on the same folder until it ends; every second trial is killed twice. Compared are all
tensors of the last checkpoint (weights, optimizer state, average) and the best model, by SHA-256.

    python bench/train_kill.py [--small] [--data encoded/] [--steps 12]

The processes are forked from one that has imported torch, so that a trial's time is training and not imports.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

import ts_train._train  # noqa: F401 - loaded before the forks
from ts_models.artefact import sha256_file
from ts_train import TrainConfig, train
from ts_train.errors import Interrupted
from ts_train.sinks.jsonl import read_metrics
from ts_train.testing import fake_encoded

MODEL = {
    "kind": "transformer", "d_model": 32, "n_heads": 2, "n_layers": 2, "d_ff": 64, "max_seq_len": 48, "init_std": 0.02, "dropout": 0.1,
}  # fmt: skip


def work(out: Path, data: str | None, steps: int) -> None:
    """One process's life: train, or go on, until the end or the kill."""
    torch.set_num_threads(1)
    config = TrainConfig.model_validate({
        "model": MODEL, "max_steps": steps, "threads": 1, "precision": "fp32", "ema_decay": 0.9, "sinks": ("jsonl",),
        "batch": {"max_tokens": 512}, "micro_batch_tokens": 150, "validation": {"every": 6, "samples": 0}, "checkpoint": {"every": 2},
    })  # fmt: skip
    try:
        train(config, data or fake_encoded(stories=120, longest=60), out)
    except Interrupted as stopped:
        os._exit(128 + stopped.signal)


def start(out: Path, data: str | None, steps: int) -> Any:
    process = multiprocessing.get_context("fork").Process(target=work, args=(out, data, steps))
    process.start()
    return process


def digest(out: Path) -> list[str]:
    """Step, tensors and best model; and that metrics.jsonl holds every step once."""
    last = max((out / "checkpoints").glob("step-*"))
    steps = [row["step"] for row in read_metrics(out / "metrics.jsonl") if row["kind"] == "step"]
    return [last.name, sha256_file(last / "tensors.safetensors"), sha256_file(out / "model" / "model.safetensors"), str(steps)]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--small", action="store_true", help="6 kills instead of 30")
    options.add_argument("--data", help="an encoded/ folder; made-up stories without it")
    options.add_argument("--steps", type=int, default=12)
    options.add_argument("--seed", type=int, default=1)
    chosen = options.parse_args()
    trials, draw = (6 if chosen.small else 30), random.Random(chosen.seed)
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        start(Path(folder) / "whole", chosen.data, chosen.steps).join()
        length = time.perf_counter() - begun
        expected, identical, late = digest(Path(folder) / "whole"), 0, 0
        print(f"torch {torch.__version__}; a run of {chosen.steps} steps takes {length:.1f} s uninterrupted", flush=True)
        for trial in range(trials):
            out, number = Path(folder) / f"run-{trial}", signal.SIGKILL if trial < trials / 2 else signal.SIGTERM
            codes = []
            for _ in range(1 + trial % 2):
                process = start(out, chosen.data, chosen.steps)
                process.join(draw.uniform(0.05, 0.8) * length)
                late += process.exitcode is not None
                os.kill(process.pid, number) if process.exitcode is None else None
                process.join()
                codes.append(process.exitcode)
            start(out, chosen.data, chosen.steps).join()
            same = digest(out) == expected
            identical += same
            print(f"  {trial + 1:2} {number.name} exit {codes}: {'identical' if same else 'DIFFERENT'}", flush=True)
    print(f"bit-identical: {identical} of {trials} ({late} kills came after the end)")
    sys.exit(identical != trials)


if __name__ == "__main__":
    main()

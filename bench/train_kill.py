"""Claim: a run that is killed at random instants (SIGKILL or SIGTERM) ends with the bits of an uninterrupted one.

No peer: the uninterrupted run is the reference. Each trial trains in a process of its own, which is killed at a random
instant and then started again on the same folder until it ends; every second trial is killed twice. Every trial starts
with an empty cache of compiled kernels, so that its first process compiles, may die while it does, and the later ones read
what is there. Compared are all tensors of the last checkpoint (weights, optimizer state, average) and the best model, by
SHA-256; the reference is an uninterrupted run with an empty cache, and one with that cache filled must equal it.

    python bench/train_kill.py [--small] [--data encoded/] [--steps 12]

The processes are forked from one that has imported torch but no Numba, so that a trial's time is not spent on imports and
each process opens the cache itself.
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

import ts_train.run  # noqa: F401 - loaded before the forks
from ts_models.artefact import sha256_file
from ts_train import TrainConfig, train
from ts_train.errors import Interrupted
from ts_train.sinks.jsonl import read_metrics
from ts_train.testing import fake_encoded

MODEL = {
    "kind": "transformer", "d_model": 32, "n_heads": 2, "n_layers": 2, "d_ff": 64, "max_seq_len": 48, "init_std": 0.02, "dropout": 0.1,
    "positions": "rope", "norm": "rmsnorm", "norm_first": True, "final_norm": True, "qk_norm": True, "feed_forward": "swiglu",
    "bias": False, "tie_embeddings": True, "zero_init": True,
}  # fmt: skip


def work(out: Path, data: str | None, steps: int, cache: Path) -> None:
    """One process's life: train, or go on, until the end or the kill."""
    os.environ["NUMBA_CACHE_DIR"] = str(cache)  # read when Numba loads, which is below
    torch.set_num_threads(1)
    config = TrainConfig.model_validate({
        "model": MODEL, "max_steps": steps, "threads": 1, "precision": "fp32", "ema_decay": 0.9, "sinks": ("jsonl",),
        "batch": {"tokens_per_step": 512}, "micro_batch_tokens": 150, "validation": {"every": 6, "samples": 0}, "checkpoint": {"every": 2},
    })  # fmt: skip
    try:
        train(config, data or fake_encoded(stories=120, longest=60), out)
    except Interrupted as stopped:
        os._exit(128 + stopped.signal)


def start(out: Path, data: str | None, steps: int, cache: Path) -> Any:
    assert "numba" not in sys.modules, "the cache would not be each process's own"
    process = multiprocessing.get_context("fork").Process(target=work, args=(out, data, steps, cache))
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
        lengths, digests = [], []
        for name in ("cold", "warm"):
            begun = time.perf_counter()
            start(Path(folder) / name, chosen.data, chosen.steps, Path(folder) / "cache").join()
            lengths.append(time.perf_counter() - begun)
            digests.append(digest(Path(folder) / name))
        length, expected, identical, late = lengths[0], digests[0], 0, 0
        print(
            f"torch {torch.__version__}; a run of {chosen.steps} steps takes {lengths[0]:.1f} s uninterrupted with an empty cache of "
            f"kernels, {lengths[1]:.1f} s with a filled one: {'identical' if digests[0] == digests[1] else 'DIFFERENT'}",
            flush=True,
        )
        for trial in range(trials):
            cache = Path(folder) / f"cache-{trial}"
            out, number = Path(folder) / f"run-{trial}", signal.SIGKILL if trial < trials / 2 else signal.SIGTERM
            codes = []
            for _ in range(1 + trial % 2):
                process = start(out, chosen.data, chosen.steps, cache)
                process.join(draw.uniform(0.05, 0.8) * length)
                late += process.exitcode is not None
                os.kill(process.pid, number) if process.exitcode is None else None
                process.join()
                codes.append(process.exitcode)
            start(out, chosen.data, chosen.steps, cache).join()
            same = digest(out) == expected
            identical += same
            print(f"  {trial + 1:2} {number.name} exit {codes}: {'identical' if same else 'DIFFERENT'}", flush=True)
    print(f"bit-identical: {identical} of {trials} ({late} kills came after the end)")
    sys.exit(identical != trials or digests[0] != digests[1])


if __name__ == "__main__":
    main()

"""A run gives the same bits with an empty cache of compiled kernels, with a filled one, resumed and killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ts_models.artefact import sha256_file

SCRIPT = """
import json, multiprocessing, os, sys
from pathlib import Path
import torch
from ts_train import BaseCallback, TrainConfig, train
from ts_train.errors import Interrupted
from ts_train.testing import fake_encoded

torch.set_num_threads(1)
config, jobs = TrainConfig.model_validate_json(sys.argv[1]), json.loads(sys.argv[2])

def run(folders, stop, number):
    class Stop(BaseCallback):
        def on_step(self, metrics):
            if metrics.step == stop:
                os.kill(os.getpid(), number)

    *first, last = folders
    try:
        for name in first:
            train(config, fake_encoded(stories=80, longest=60), name)
        train(config, fake_encoded(stories=80, longest=60), last, callbacks=[Stop()])
    except Interrupted:
        sys.exit(3)

for job in jobs:
    assert "ts_models.fast.kernels.jit" not in sys.modules, "loaded before the fork"
    process = multiprocessing.get_context("fork").Process(target=run, args=job)
    process.start()
    process.join()
    print(json.dumps([process.exitcode, len(list(Path(os.environ["NUMBA_CACHE_DIR"]).rglob("*.nbi")))]))
"""
CONFIG: dict[str, Any] = {
    "preset": "story-1m", "model": {"d_model": 32, "n_heads": 2, "n_kv_heads": 2, "n_layers": 2, "d_ff": 48, "dropout": 0.1},
    "max_steps": 8, "threads": 1, "sinks": ["jsonl"], "precision": "fp32", "batch": {"tokens_per_step": 256},
    "micro_batch_tokens": 128, "validation": {"every": 4, "samples": 0}, "checkpoint": {"every": 2},
}  # fmt: skip


def launch(tmp_path: Path, *jobs: tuple[str, int, int]) -> list[tuple[int, int]]:
    """Run jobs one after another: train into each folder, the last run gets the signal at that step (0: never).

    Each job is a process, forked before any kernel is loaded. Returns its exit code and the number of kernels that are compiled then.
    """
    folders = [([str(tmp_path / name) for name in out.split()], stop, number) for out, stop, number in jobs]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(CONFIG), json.dumps(folders)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_CACHE_DIR": str(tmp_path / "cache")},
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return [tuple(json.loads(line)) for line in done.stdout.splitlines() if line.startswith("[")]


def digest(run: Path) -> list[str]:
    last = max((run / "checkpoints").glob("step-*"))
    return [last.name, sha256_file(last / "tensors.safetensors"), sha256_file(run / "model" / "model.safetensors")]


@pytest.mark.slow
def test_cold_warm_resumed_and_killed_runs_end_with_the_same_bits(tmp_path: Path) -> None:
    pytest.importorskip("numba")
    killed, cut, ended = launch(tmp_path, ("cold cut", 3, 9), ("cut", 5, 15), ("cut warm", 0, 15))
    assert killed[0] == -9
    assert killed[1] > 0, "nothing was compiled"
    assert cut == (3, killed[1])  # goes on with what another process compiled
    assert ended == (0, killed[1])
    expected = digest(tmp_path / "cold")
    assert digest(tmp_path / "cut") == expected
    assert digest(tmp_path / "warm") == expected

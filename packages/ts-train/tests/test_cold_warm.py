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
import json, os, signal, sys
import torch
from ts_train import BaseCallback, TrainConfig, train
from ts_train.errors import Interrupted
from ts_train.testing import fake_encoded

torch.set_num_threads(1)
out, config, stop, number = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])

class Stop(BaseCallback):
    def on_step(self, metrics):
        if metrics.step == stop:
            os.kill(os.getpid(), number)

*first, last = out.split(",")
try:
    for name in first:
        train(TrainConfig.model_validate(config), fake_encoded(stories=80, longest=60), name)
    train(TrainConfig.model_validate(config), fake_encoded(stories=80, longest=60), last, callbacks=[Stop()])
except Interrupted:
    sys.exit(3)
"""
CONFIG: dict[str, Any] = {
    "preset": "story-1m", "model": {"d_model": 32, "n_heads": 2, "n_kv_heads": 2, "n_layers": 2, "d_ff": 48, "dropout": 0.1},
    "max_steps": 8, "threads": 1, "sinks": ["jsonl"], "precision": "fp32", "batch": {"tokens_per_step": 256},
    "micro_batch_tokens": 128, "validation": {"every": 4, "samples": 0}, "checkpoint": {"every": 2},
}  # fmt: skip


def launch(tmp_path: Path, out: str, *, stop: int = 0, number: int = 15) -> int:
    """Train into each folder; the last run gets the signal at that step. Returns the exit code."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(script), ",".join(str(tmp_path / name) for name in out.split(",")), json.dumps(CONFIG), str(stop), str(number)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_CACHE_DIR": str(tmp_path / "cache")},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode in {0, 3, -9}, done.stderr[-3000:]
    return done.returncode


def digest(run: Path) -> list[str]:
    last = max((run / "checkpoints").glob("step-*"))
    return [last.name, sha256_file(last / "tensors.safetensors"), sha256_file(run / "model" / "model.safetensors")]


@pytest.mark.slow
def test_cold_warm_resumed_and_killed_runs_end_with_the_same_bits(tmp_path: Path) -> None:
    pytest.importorskip("numba")
    assert launch(tmp_path, "cold,cut", stop=3, number=9) == -9  # compiles, and is killed
    assert any((tmp_path / "cache").rglob("*.nbi")), "nothing was compiled"
    expected = digest(tmp_path / "cold")
    assert launch(tmp_path, "cut", stop=5) == 3  # goes on with what another process compiled
    assert launch(tmp_path, "cut,warm") == 0
    assert digest(tmp_path / "cut") == expected
    assert digest(tmp_path / "warm") == expected

"""Two ranks of gloo, started by torchrun as a user would: the same losses, one writer, resume on another number of ranks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ts_train.sinks.jsonl import read_metrics

SCRIPT = """
import json, os, signal, sys
import torch
from ts_train import BaseCallback, TrainConfig, train
from ts_train.errors import Interrupted
from ts_train.testing import fake_encoded

torch.set_num_threads(1)
out, options = sys.argv[1], json.loads(sys.argv[2])
stop = options.pop("stop", None)
die = options.pop("die", None)
if die is not None and os.environ["RANK"] == "1":
    import ts_train._loop as loop
    step = loop.train_step
    def dying(t):
        if t.state.step == die:
            os.kill(os.getpid(), signal.SIGKILL)   # a machine that fails
        return step(t)
    loop.train_step = dying
class Stop(BaseCallback):
    def on_step(self, metrics):
        if metrics.step == stop:
            os.kill(os.getpid(), signal.SIGTERM)   # one rank alone is told
try:
    run = train(TrainConfig.model_validate(options), fake_encoded(), out, callbacks=[Stop()])
except Interrupted:
    sys.exit(0)
"""
CONFIG: dict[str, Any] = {
    "model": {"kind": "transformer", "d_model": 16, "n_heads": 2, "n_layers": 1, "d_ff": 24, "max_seq_len": 16, "init_std": 0.1},
    "max_steps": 6, "threads": 1, "sinks": ["jsonl"], "precision": "fp32", "batch": {"max_tokens": 96}, "micro_batch_tokens": 40,
    "optimizer": {"name": "muon"}, "validation": {"every": 3}, "checkpoint": {"every": 3},
}  # fmt: skip


def launch(tmp_path: Path, out: str, ranks: int, *, fails: bool = False, **options: Any) -> list[dict[str, Any]]:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable]
    if ranks > 1:
        command += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, str(script), str(tmp_path / out), json.dumps({**CONFIG, **options})],
        env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert (done.returncode != 0) == fails, done.stderr[-3000:]
    return list(read_metrics(tmp_path / out / "metrics.jsonl"))


def losses(rows: list[dict[str, Any]], kind: str, key: str) -> list[float]:
    return [row[key] for row in rows if row["kind"] == kind]


@pytest.mark.slow
def test_two_ranks_give_the_losses_of_one_and_resume_on_another_number(tmp_path: Path) -> None:
    one = launch(tmp_path, "one", 1)
    launch(tmp_path, "two", 2, stop=2)  # rank 0 gets a SIGTERM; both save and leave together
    interrupted = list(read_metrics(tmp_path / "two" / "metrics.jsonl"))
    assert interrupted[-1]["step"] in {2, 3}
    two = launch(tmp_path, "two", 2)
    assert losses(two, "step", "loss") == pytest.approx(losses(one, "step", "loss"), rel=1e-5)
    assert losses(two, "validation", "validation_loss") == pytest.approx(losses(one, "validation", "validation_loss"), rel=1e-5)
    assert [row["step"] for row in two if row["kind"] == "step"] == list(range(1, 7))  # rank 0 alone writes

    launch(tmp_path, "moved", 2, stop=2)
    moved = launch(tmp_path, "moved", 1)  # begun on two ranks, ended on one
    assert losses(moved, "step", "loss") == pytest.approx(losses(one, "step", "loss"), rel=1e-5)


@pytest.mark.slow
def test_a_rank_that_dies_ends_the_launch_and_the_next_one_resumes(tmp_path: Path) -> None:
    one = launch(tmp_path, "one", 1)
    launch(tmp_path, "two", 2, die=4, fails=True)  # the launcher ends the other rank too; nothing hangs
    two = launch(tmp_path, "two", 2)
    assert [row["step"] for row in two if row["kind"] == "step"] == list(range(1, 7))
    assert losses(two, "step", "loss") == pytest.approx(losses(one, "step", "loss"), rel=1e-5)

"""Two ranks of gloo, started by torchrun as a user would: the same losses, one writer, resume on another number of ranks."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist

from ts_models.artefact import lock
from ts_train.errors import TsTrainError
from ts_train.runtime.rendezvous import fresh_store
from ts_train.sinks.jsonl import read_metrics

SCRIPT = """
import json, os, signal, sys
import torch
from ts_train import BaseCallback, TrainConfig, Trainer, train
from ts_train.errors import Interrupted
from ts_train.testing import fake_encoded

torch.set_num_threads(1)
out, options = sys.argv[1], json.loads(sys.argv[2])
stop = options.pop("stop", None)
die, poison = options.pop("die", None), options.pop("poison", None)
if die is not None and os.environ["RANK"] == "1" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
    step = Trainer.train_step
    def dying(trainer):
        if trainer.state.step == die:
            os.kill(os.getpid(), signal.SIGKILL)   # a machine that fails
        return step(trainer)
    Trainer.train_step = dying
if poison is not None and os.environ.get("RANK", "1") == "1":
    accumulate = Trainer._accumulate
    def poisoned(trainer, plan, tokens):
        result = accumulate(trainer, plan, tokens)
        if trainer.state.step == poison:
            next(trainer.model.parameters()).grad.fill_(float("nan"))
        return result
    Trainer._accumulate = poisoned
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
    "max_steps": 6, "threads": 1, "sinks": ["jsonl"], "precision": "fp32", "batch": {"tokens_per_step": 96}, "micro_batch_tokens": 40,
    "optimizer": {"name": "muon"}, "validation": {"every": 3}, "checkpoint": {"every": 3},
}  # fmt: skip


ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def launch(
    tmp_path: Path, out: str, ranks: int, *, fails: bool = False, restarts: int = 0, **options: Any
) -> list[dict[str, Any]]:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable]
    if ranks > 1:
        command += ["-m", "torch.distributed.run", "--standalone", f"--max-restarts={restarts}", f"--nproc-per-node={ranks}"]
    done = subprocess.run(
        [*command, str(script), str(tmp_path / out), json.dumps({**CONFIG, **options})],
        env=ENVIRONMENT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert (done.returncode != 0) == fails, done.stderr[-3000:]
    return list(read_metrics(tmp_path / out / "metrics.jsonl"))


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What a single process measures."""
    return launch(tmp_path_factory.mktemp("one"), "one", 1)


def losses(rows: list[dict[str, Any]], kind: str, key: str) -> list[float]:
    return [row[key] for row in rows if row["kind"] == kind]


@pytest.mark.slow
def test_two_ranks_give_the_losses_of_one_and_resume_on_another_number(tmp_path: Path, one: list[dict[str, Any]]) -> None:
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
def test_a_gradient_that_is_not_finite_on_one_rank_is_skipped_by_all(tmp_path: Path) -> None:
    two, one = (launch(tmp_path, f"{ranks}", ranks, poison=2) for ranks in (2, 1))
    assert [row["step"] for row in two if row.get("skipped")] == [3]
    assert losses(two, "step", "loss") == pytest.approx(losses(one, "step", "loss"), rel=1e-5)
    assert losses(two, "validation", "validation_loss") == pytest.approx(losses(one, "validation", "validation_loss"), rel=1e-5)


@pytest.mark.slow
def test_a_rank_that_dies_ends_the_launch_and_the_next_one_resumes(tmp_path: Path, one: list[dict[str, Any]]) -> None:
    launch(tmp_path, "two", 2, die=4, fails=True)  # the launcher ends the other rank too; nothing hangs
    two = launch(tmp_path, "two", 2)
    again = launch(tmp_path, "again", 2, die=4, restarts=1)  # the launcher itself starts both ranks anew
    for rows in (two, again):
        assert [row["step"] for row in rows if row["kind"] == "step"] == list(range(1, 7))
        assert losses(rows, "step", "loss") == pytest.approx(losses(one, "step", "loss"), rel=1e-5)


@pytest.mark.slow
def test_two_nodes_lose_a_rank_start_again_and_end_as_one_process(tmp_path: Path, one: list[dict[str, Any]]) -> None:
    """Two rendezvous agents on the loopback device, as two machines would run them; the rank of the second is killed."""
    (tmp_path / "script.py").write_text(SCRIPT)
    endpoint = f"127.0.0.1:{free_port()}"
    node = [
        sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", "--max-restarts=2",
        "--rdzv-backend=c10d", f"--rdzv-endpoint={endpoint}", "--rdzv-id=story", "--local-addr=127.0.0.1",
    ]  # fmt: skip
    task = [str(tmp_path / "script.py"), str(tmp_path / "two"), json.dumps({**CONFIG, "die": 4})]
    agents = [subprocess.Popen([*node, *task], env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        for agent in agents:
            _, errors = agent.communicate(timeout=300)
            assert agent.returncode == 0, errors[-3000:]
    finally:
        for agent in agents:
            agent.kill()
    rows = list(read_metrics(tmp_path / "two" / "metrics.jsonl"))
    assert [row["step"] for row in rows if row["kind"] == "step"] == list(range(1, 7))
    assert losses(rows, "step", "loss") == pytest.approx(losses(one, "step", "loss"), rel=1e-5)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_the_store_of_a_start_holds_nothing_of_the_start_before() -> None:
    """The launcher's store outlives the workers: a rank must not take a key of ranks that are gone for one of its own start."""
    kept = dist.HashStore()
    for start in range(3):
        with ThreadPoolExecutor(3) as ranks:
            stores = [store.result() for store in [ranks.submit(fresh_store, kept, rank, 3, timeout=30) for rank in (2, 1, 0)]]
        assert not any(store.check(["address"]) for store in stores)
        stores[0].set("address", str(start))
        assert {store.get("address") for store in stores} == {str(start).encode()}


def test_a_rank_that_does_not_come_is_named() -> None:
    with pytest.raises(TsTrainError, match="rank 1, 2 of 3 did not join"):
        fresh_store(dist.HashStore(), 0, 3, timeout=0.1)
    with pytest.raises(TsTrainError, match="rank 1: rank 0 did not join"):
        fresh_store(dist.HashStore(), 1, 3, timeout=0.1)


@pytest.mark.slow
def test_what_rank_0_refuses_ends_all_ranks_and_leaves_the_folder_free(tmp_path: Path, one: list[dict[str, Any]]) -> None:
    begun = time.monotonic()
    launch(tmp_path, "two", 2, sinks=["jsonl", "smoke"], fails=True)
    assert time.monotonic() - begun < 120, "a rank waited for another"
    assert not (tmp_path / "two" / "config.json").exists()
    with lock(tmp_path / "two" / "config.json"):
        launch(tmp_path, "two", 2, fails=True)  # another run holds the folder
    assert losses(launch(tmp_path, "two", 2), "step", "loss") == pytest.approx(losses(one, "step", "loss"), rel=1e-5)


LEAVING = """
import atexit, sys
from pathlib import Path
import torch.distributed as dist

# The first to register runs last: behind what ends the process group.
atexit.register(lambda: Path(sys.argv[1]).write_text("\\n".join(t.read_text() for t in Path("/proc/self/task").glob("*/comm"))))
from ts_train.runtime.distributed import join_world

join_world("cpu")[0].barrier()
import torch._dynamo   # as a training does at some time
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="lists threads by Linux's /proc")
def test_no_thread_of_the_process_group_is_left_when_the_interpreter_ends(tmp_path):
    script, threads = tmp_path / "script.py", tmp_path / "threads.txt"
    script.write_text(LEAVING)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=1", str(script), str(threads)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "python" in threads.read_text()
    assert "gloo" not in threads.read_text()

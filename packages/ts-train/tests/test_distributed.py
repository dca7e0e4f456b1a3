"""Two ranks of gloo: the same losses, one writer, resume on another number of ranks.

What the launcher does is tested with torchrun, as a user would start it; what the ranks do, in forked processes, which load nothing.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from ts_models.artefact import lock, write_model
from ts_train import TrainConfig, Trainer, resume, train
from ts_train.errors import ConfigError, TsTrainError
from ts_train.runtime.distributed import World, fresh_store, join_world, launched
from ts_train.sinks.jsonl import read_metrics
from ts_train.testing import fake_encoded

from .conftest import as_ranks, free_port

SCRIPT = """
import json, os, signal, sys
import torch
from ts_train import BaseCallback, TrainConfig, Trainer, train
from ts_train.errors import Interrupted, TsTrainError
from ts_train.testing import fake_encoded

torch.set_num_threads(1)
out, options = sys.argv[1], json.loads(sys.argv[2])
stop, refused = options.pop("stop", None), options.pop("refused", {})
die, poison = options.pop("die", None), options.pop("poison", None)
if die is not None and os.environ["RANK"] == "1" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
    step = Trainer.train_step
    def dying(trainer):
        if trainer.state.step == die:
            os.kill(os.getpid(), signal.SIGKILL)   # a machine that fails
        return step(trainer)
    Trainer.train_step = dying
if poison is not None and os.environ["RANK"] == "1":
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
for folder, changes in refused.items():
    try:
        train(TrainConfig.model_validate({**options, **changes}), fake_encoded(), folder)
    except TsTrainError as problem:
        print(f"rank {os.environ['RANK']}: {problem}")
    else:
        sys.exit(f"{folder}: was not refused")
try:
    train(TrainConfig.model_validate(options), fake_encoded(), out, callbacks=[Stop()])
except Interrupted:
    sys.exit(0)
"""
CONFIG: dict[str, Any] = {
    "model": {"kind": "transformer", "d_model": 16, "n_heads": 2, "n_layers": 1, "d_ff": 24, "max_seq_len": 16, "init_std": 0.1},
    "max_steps": 6, "threads": 1, "sinks": ["jsonl"], "precision": "fp32", "batch": {"tokens_per_step": 96}, "micro_batch_tokens": 40,
    "optimizer": {"name": "muon"}, "validation": {"every": 3}, "checkpoint": {"every": 3},
}  # fmt: skip


ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def launch(tmp_path: Path, out: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Train on two ranks of torchrun."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    return subprocess.run(
        [*command, str(tmp_path / out), json.dumps({**CONFIG, **options})],
        env=ENVIRONMENT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def fork(tmp_path: Path, out: str, **options: Any) -> list[dict[str, Any]]:
    """Train on two ranks, forked; the rows of metrics.jsonl, and behind them what the ranks printed."""
    context = multiprocessing.get_context("fork")
    arguments = [str(tmp_path / out), json.dumps({**CONFIG, **options})]
    ranks = [context.Process(target=_rank, args=(variables, arguments)) for variables in as_ranks(2)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(300)
    assert [rank.exitcode for rank in ranks] == [0, 0]
    lines = [line for path in tmp_path.glob("two.*.txt") for line in path.read_text().splitlines()]
    return [*read_metrics(tmp_path / out / "metrics.jsonl"), {"kind": "printed", "lines": lines}]


def _rank(variables: dict[str, str], arguments: list[str]) -> None:
    os.environ.update(variables)
    sys.argv[1:] = arguments
    with Path(f"{arguments[0]}.{variables['RANK']}.txt").open("w") as out, contextlib.redirect_stdout(out):
        exec(SCRIPT, {})


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What a single process measures."""
    torch.set_num_threads(1)
    return train(TrainConfig.model_validate(CONFIG), fake_encoded(), tmp_path_factory.mktemp("one") / "one").metrics


def losses(rows: list[dict[str, Any]], kind: str, key: str) -> list[float]:
    return [row[key] for row in rows if row["kind"] == kind]


def assert_same(rows: list[dict[str, Any]], one: list[dict[str, Any]]) -> None:
    """One row a step, and the losses of a single process."""
    assert losses(rows, "step", "step") == list(range(1, 7))  # rank 0 alone writes
    for kind, key in (("step", "loss"), ("validation", "validation_loss")):
        assert losses(rows, kind, key) == pytest.approx(losses(one, kind, key), rel=1e-5)


@pytest.mark.slow
def test_two_ranks_that_are_stopped_and_die_end_with_the_losses_of_one_process(tmp_path: Path, one: list[dict[str, Any]]) -> None:
    interrupted = fork(tmp_path, "two", stop=2)  # rank 0 gets a SIGTERM; both save and leave together
    assert losses(interrupted, "step", "step")[-1] in {2, 3}
    shutil.copytree(tmp_path / "two", tmp_path / "moved")
    assert launch(tmp_path, "two", die=4).returncode != 0  # the launcher ends the other rank too; nothing hangs
    assert losses(list(read_metrics(tmp_path / "two" / "metrics.jsonl")), "step", "step")[-1] == 4
    assert_same(fork(tmp_path, "two"), one)
    moved = resume(tmp_path / "moved", data=fake_encoded())  # begun on two ranks, ended on one
    assert_same(moved.metrics, one)


@pytest.mark.slow
def test_refusals_and_a_gradient_that_is_not_finite_are_those_of_all_ranks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every rank raises what rank 0 refuses, so that none waits; the folder stays free. One rank's NaN is skipped by both."""
    held = tmp_path / "held"
    held.mkdir()
    refused = {str(tmp_path / "two"): {"sinks": ["jsonl", "smoke"]}, str(held): {}}
    with lock(held / "config.json"):  # another run holds the folder
        two = fork(tmp_path, "two", poison=2, refused=refused)
    told = [line.partition(": ") for line in two[-1]["lines"]]
    for reason in ("no sink is named 'smoke'", "another process"):
        assert sorted(rank for rank, _, message in told if reason in message) == ["rank 0", "rank 1"]
    assert not (held / "config.json").exists()
    accumulate = Trainer._accumulate

    def poisoned(trainer: Trainer, plan: Any, tokens: int) -> Any:
        result = accumulate(trainer, plan, tokens)
        if trainer.state.step == 2:
            next(trainer.model.parameters()).grad.fill_(float("nan"))  # type: ignore[union-attr]
        return result

    monkeypatch.setattr(Trainer, "_accumulate", poisoned)
    one = train(TrainConfig.model_validate(CONFIG), fake_encoded(), tmp_path / "one").metrics
    assert [row["step"] for row in two if row.get("skipped")] == [3]
    assert_same(two, one)


@pytest.mark.slow
def test_two_nodes_lose_a_rank_start_again_and_end_as_one_process(tmp_path: Path, one: list[dict[str, Any]]) -> None:
    """Two rendezvous agents on the loopback device, as two machines would run them; the rank of the second is killed.

    torchrun's agents, without its command line: they and their ranks are forked.
    """
    launch_config = LaunchConfig(
        min_nodes=2, max_nodes=2, nproc_per_node=1, max_restarts=2, rdzv_backend="c10d",
        rdzv_endpoint=f"127.0.0.1:{free_port()}", run_id="story", local_addr="127.0.0.1", start_method="fork",
    )  # fmt: skip
    arguments = [str(tmp_path / "two"), json.dumps({**CONFIG, "die": 4})]
    context = multiprocessing.get_context("fork")
    agents = [context.Process(target=elastic_launch(launch_config, _node_rank), args=arguments) for _ in range(2)]
    try:
        for agent in agents:
            agent.start()
        for agent in agents:
            agent.join(300)
        assert [agent.exitcode for agent in agents] == [0, 0]
    finally:
        for agent in agents:
            agent.kill()
    assert_same(list(read_metrics(tmp_path / "two" / "metrics.jsonl")), one)


def _node_rank(*arguments: str) -> None:
    """What the agent of a node runs as its rank, with a launcher's variables set."""
    sys.argv[1:] = arguments
    exec(SCRIPT, {})


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


def test_a_lost_rank_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any, **options: Any) -> None:
        raise RuntimeError("[pair.cc:537] Read error: Connection reset by peer. This is typically caused by a remote worker")

    for name in ("all_reduce", "broadcast_object_list", "barrier"):
        monkeypatch.setattr(dist, name, broken)
    world, weight = World(size=2, joined=True), torch.nn.Parameter(torch.zeros(2))
    for call in (
        lambda: world.all_reduce_gradients([weight], torch.zeros(1)),
        lambda: world.all_reduce(torch.zeros(1)),
        lambda: world.broadcast_object(1),
        world.barrier,
    ):
        with pytest.raises(TsTrainError, match=r"another rank was lost .*reset by peer.*start the same command again"):
            call()


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE is 'two', a whole number"),
        ({"LOCAL_RANK": "-1"}, "LOCAL_RANK is '-1'"),
        ({"WORLD_SIZE": "2", "RANK": "2"}, "RANK is 2, but WORLD_SIZE is 2"),
        ({"WORLD_SIZE": "2", "RANK": "1"}, "the 2 ranks cannot meet: .*MASTER_ADDR.*Start them with torchrun"),
    ],
)
def test_an_environment_that_no_launcher_wrote(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], message: str
) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=message):
        join_world("cpu")


def test_a_rank_without_a_world_prints_its_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some schedulers set RANK for a single process too."""
    monkeypatch.setenv("RANK", "3")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert launched() == (0, 1, 0)


def test_utilisation_after_a_resume_is_of_the_ranks_that_there_are(tmp_path: Path) -> None:
    config = TrainConfig.model_validate(CONFIG)
    run = train(config, fake_encoded(), tmp_path / "run")
    manifest = run.manifest.model_copy(
        update={"peak_flops": 4e9, "environment": run.manifest.environment.model_copy(update={"world_size": 2})}
    )
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    shutil.rmtree(tmp_path / "run" / "model")
    write_model(tmp_path / "run" / "config.json", manifest)
    again = resume(tmp_path / "run", data=fake_encoded())
    for step in (row for row in again.metrics if row["kind"] == "step"):
        assert step["mfu"] == pytest.approx(step["tokens_per_second"] * manifest.flops_per_token / 2e9)

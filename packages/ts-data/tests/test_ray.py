"""The Ray engine on a cluster of two workers here: the bytes of the local engine, also when a worker is killed."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="needs the extra `ray`; run by `nox -s integration`")
pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("small_blocks")]

from ts_data import PrepareConfig, SourceError, prepare  # noqa: E402

CONFIG = PrepareConfig(validation=20)


def sha256_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def tree(folder: Path) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in folder.iterdir()}


def ray_workers() -> list[int]:
    """Process numbers of Ray's workers that are at a job of ours (they then bear its name)."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if line.startswith(b"ray::") and b"_perform" in line:
                found.append(int(entry.name))
    return found


@pytest.mark.parametrize("deduplicate", ["exact", "near"])
def test_ray_gives_the_bytes_of_the_local_engine(deduplicate: str, raw: Path, tmp_path: Path) -> None:
    config = PrepareConfig.model_validate({"validation": 20, "deduplicate": deduplicate})
    prepare(raw, tmp_path / "local", config, workers=1)
    prepare(raw, tmp_path / "ray", config, workers=2, engine="ray")
    assert tree(tmp_path / "ray") == tree(tmp_path / "local")


def test_a_killed_worker_changes_nothing(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ts_data.sources.blocks.BLOCK", 5_000)  # many jobs, so that one worker dies among them
    prepare(raw, tmp_path / "local", CONFIG, workers=1)
    killed: list[int] = []

    def kill_one() -> None:
        work = tmp_path / ".ray.ts-work"
        until = time.monotonic() + 120
        while time.monotonic() < until and len(list(work.glob("block-*.json"))) < 8:
            time.sleep(0.01)
        while time.monotonic() < until and not killed:
            for number in ray_workers()[:1]:
                os.kill(number, signal.SIGKILL)
                killed.append(number)

    thread = threading.Thread(target=kill_one)
    thread.start()
    prepare(raw, tmp_path / "ray", CONFIG, workers=2, engine="ray")
    thread.join()
    assert killed
    assert tree(tmp_path / "ray") == tree(tmp_path / "local")


@pytest.fixture
def two_machines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """A cluster of two nodes of one core, joined by RAY_ADDRESS; gives what takes the second one away at once."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    second = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    yield lambda: cluster.remove_node(second, allow_graceful=False)
    cluster.shutdown()


def test_a_cluster_that_loses_a_machine_changes_nothing(
    two_machines: Callable[[], None], raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ts_data.sources.blocks.BLOCK", 5_000)
    prepare(raw, tmp_path / "local", CONFIG, workers=1)
    jobs = raw.stat().st_size // 5_000
    done: list[int] = []

    def lose_one() -> None:
        until = time.monotonic() + 120
        while time.monotonic() < until and len(list((tmp_path / ".ray.ts-work").glob("block-*.json"))) < 8:
            time.sleep(0.01)
        done.append(len(list((tmp_path / ".ray.ts-work").glob("block-*.json"))))
        two_machines()

    thread = threading.Thread(target=lose_one)
    thread.start()
    prepare(raw, tmp_path / "ray", CONFIG, engine="ray")
    thread.join()
    assert 8 <= done[0] < jobs - 1, "the machine went half way"
    assert tree(tmp_path / "ray") == tree(tmp_path / "local")


def test_an_error_of_a_worker_arrives_as_what_it_is(raw: Path, tmp_path: Path) -> None:
    raw.write_bytes(raw.read_bytes() + b"\xff\xfe<|endoftext|>")
    with pytest.raises(SourceError, match="not UTF-8 at byte"):
        prepare(raw, tmp_path / "splits", CONFIG, workers=2, engine="ray")
    assert [path.name for path in tmp_path.iterdir()] == ["raw.txt"]

"""The Ray engine on a cluster of two workers here: the bytes of the local engine, also when a worker is killed."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="needs the extra `ray`; run by `nox -s integration`")
pytestmark = pytest.mark.integration

import ts_data  # noqa: E402
from ts_tokenizer import WordTokenizer, encode_splits  # noqa: E402


@pytest.fixture
def splits(tmp_path: Path) -> Path:
    (tmp_path / "raw.txt").write_text("\n<|endoftext|>\n".join(ts_data.sample(600, seed=1)), encoding="utf-8")
    ts_data.prepare(tmp_path / "raw.txt", tmp_path / "splits")
    return tmp_path / "splits"


@pytest.fixture
def tokenizer(splits: Path, monkeypatch: pytest.MonkeyPatch) -> WordTokenizer:
    monkeypatch.setattr("ts_tokenizer.encode.BATCH_ROWS", 10)  # many small batches
    return WordTokenizer.train(ts_data.read(splits, "train"), vocab_size=300)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def encoders() -> list[int]:
    """Process numbers of Ray's workers that are at a batch of ours (they then bear its name)."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if line.startswith(b"ray::") and b"_encode_cut" in line:
                found.append(int(entry.name))
    return found


def test_ray_gives_the_bytes_of_the_local_engine(splits: Path, tokenizer: WordTokenizer, tmp_path: Path) -> None:
    encode_splits(splits, tokenizer, tmp_path / "local", workers=1)
    encode_splits(splits, tokenizer, tmp_path / "ray", workers=2, engine="ray")
    assert files(tmp_path / "ray") == files(tmp_path / "local")


def test_a_killed_worker_changes_nothing(splits: Path, tokenizer: WordTokenizer, tmp_path: Path) -> None:
    encode_splits(splits, tokenizer, tmp_path / "local", workers=1)
    killed: list[int] = []

    def kill_one() -> None:
        journal = tmp_path / ".ray.ts-work" / "train.journal"
        until = time.monotonic() + 120
        while time.monotonic() < until and not (journal.exists() and journal.read_bytes().count(b"\n") >= 3):
            time.sleep(0.005)
        while time.monotonic() < until and not killed:
            for number in encoders()[:1]:
                os.kill(number, signal.SIGKILL)
                killed.append(number)

    thread = threading.Thread(target=kill_one)
    thread.start()
    encode_splits(splits, tokenizer, tmp_path / "ray", workers=2, engine="ray")
    thread.join()
    assert killed
    assert files(tmp_path / "ray") == files(tmp_path / "local")

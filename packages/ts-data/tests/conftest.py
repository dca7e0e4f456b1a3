"""Stories for the tests: a small sample with impurities, and the real ones where they are."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ts_data import sample

SEPARATOR = "<|endoftext|>"


@pytest.fixture(scope="session")
def stories() -> list[str]:
    return list(sample(600, seed=3, impurities=True))


@pytest.fixture
def raw(tmp_path: Path, stories: list[str]) -> Path:
    path = tmp_path / "raw.txt"
    path.write_text("".join(f"{story}\n{SEPARATOR}\n" for story in stories), encoding="utf-8", newline="\n")
    return path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    """Call a command: its exit code, stdout and stderr."""
    from ts_data.cli import main

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["ts-data", *map(str, arguments)])
        code: object = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code or 0
        out, err = capsys.readouterr()
        return int(code), out, err  # type: ignore[call-overload]

    return call


@pytest.fixture(scope="session")
def real() -> list[str]:
    """The 2,300 real stories, as they stand in the file."""
    for folder in Path(__file__).resolve().parents:
        path = folder.parent / "shared" / "data" / "tinystories-real-sample.txt"
        if path.exists():
            return path.read_text(encoding="utf-8").split(SEPARATOR)[:-1]
    pytest.skip("the real sample (shared/data beside the checkout) is not here")


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 20 kB and shards of 60 kB, so that small data make many of them (also in worker processes: they are told)."""
    monkeypatch.setattr("ts_data.sources.blocks.BLOCK", 20_000)
    monkeypatch.setattr("ts_data.pipeline.pipeline.SHARD", 60_000)
    monkeypatch.setattr("ts_data.pipeline.pipeline.PROCESS", 1)

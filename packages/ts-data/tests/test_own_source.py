"""Kinds of sources of somebody's own, from the config to the report: one class and one line in the table."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest

from ts_data import SOURCES, Block, Format, Input, PrepareConfig, RawSource, SourceType, open_manifest, prepare, read

CONFIG = PrepareConfig(validation=5)


class Tales(Format):
    """Stories that end with a line of three crosses; each block is ten stories."""

    def plan(self, source: Input, config: PrepareConfig) -> list[Block]:
        ends = [match.end() for match in re.finditer(b"\nxxx\n", Path(source.path).read_bytes())]
        cuts = [0, *ends[9:-1:10], ends[-1]]
        return [Block(source, start, end, end == ends[-1]) for start, end in pairwise(cuts)]

    def read(self, block: Block, config: PrepareConfig, bad: object) -> Iterator[tuple[pa.Array, bool]]:
        content = Path(block.input.path).read_bytes()[block.start : block.end]
        yield pa.array(content.decode().split("\nxxx\n")[:-1], pa.large_string()), False


class Shelf(Format):
    """Stories of a store, by its name."""

    stories: tuple[str, ...] = ()

    def stage(self, raw: RawSource, config: PrepareConfig) -> Input:
        path = raw.as_parquet(iter([pa.array(self.stories, pa.string())]))
        return Input(raw.name, str(path), str(path), "parquet", raw.role)


@pytest.fixture
def plain(stories: list[str], tmp_path: Path) -> Path:
    path = tmp_path / "plain.txt"
    path.write_text("".join(f"{story}<|endoftext|>" for story in stories[:200]), encoding="utf-8")
    prepare(path, tmp_path / "plain", CONFIG, workers=1)
    return tmp_path / "plain"


@pytest.mark.usefixtures("small_blocks")
def test_a_format_that_is_cut_into_blocks(
    plain: Path, stories: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SOURCES, "tales", SourceType(Tales, (".tale",)))
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.tale").write_text("".join(f"{story}\nxxx\n" for story in stories[:200]), encoding="utf-8")
    manifest = prepare(tmp_path / "raw", tmp_path / "splits", CONFIG, workers=1)
    assert manifest.sources[0].kind == "tales"
    assert manifest.stories_in == 200
    for split in ("train", "validation", "test", "removed"):
        assert list(read(tmp_path / "splits", split)) == list(read(plain, split))


def test_a_source_that_is_no_file_is_converted(
    plain: Path, stories: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SOURCES, "shelf", SourceType(Shelf, prefix="shelf:"))
    monkeypatch.setattr(Shelf, "stories", tuple(stories[:200]))
    manifest = prepare("shelf:fairy-tales", tmp_path / "splits", CONFIG, workers=1)
    assert [(source.name, source.stories) for source in open_manifest(tmp_path / "splits").sources] == [
        ("shelf:fairy-tales", 200)
    ]
    assert manifest.fingerprint == open_manifest(plain).fingerprint


SCRIPT = """
import runpy, sys
sys.path.insert(0, sys.argv.pop(1))
from ts_data import SOURCES, SourceType
SOURCES["tales"] = SourceType("tales:Tales", (".tale",))
runpy.run_module("ts_data", run_name="__main__")
"""
MODULE = """
from pathlib import Path
import pyarrow as pa
from ts_data import Block, Format
class Tales(Format):
    def plan(self, source, config):
        return [Block(source, 0, Path(source.path).stat().st_size, True)]
    def read(self, block, config, bad):
        yield pa.array(Path(block.input.path).read_text().split("xxx")[:-1], pa.large_string()), False
"""


def test_the_commands_know_it(stories: list[str], tmp_path: Path) -> None:
    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(tmp_path), *arguments], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    (tmp_path / "tales.py").write_text(MODULE, encoding="utf-8")
    (tmp_path / "a.tale").write_text("xxx".join([*stories[:60], ""]), encoding="utf-8")
    assert ".tale" in run("prepare", "--help")
    shown = run(
        "prepare", str(tmp_path / "a.tale"), "--out", str(tmp_path / "splits"), "--validation", "5", "--workers", "1", "-q"
    )
    assert shown.startswith(f"wrote {tmp_path / 'splits'}: 60 stories in")
    assert f"`{tmp_path / 'a.tale'}` (train, 60 stories" in (tmp_path / "splits" / "README.md").read_text(encoding="utf-8")

"""Kinds of sources of somebody's own, from the config to the report: one class and one line in the table."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from ts_data import PrepareConfig, open_manifest, prepare, read
from ts_data.arrow import strings
from ts_data.sources import SOURCES, SourceType
from ts_data.sources.blocks import Bad, Block, Format, Input, Raw, Texts, pieces
from ts_data.sources.text import cut_at

CONFIG = PrepareConfig(validation=5)


class Tales(Format):
    """Stories that end with a line of three crosses."""

    def plan(self, source: Input, config: PrepareConfig) -> list[Block]:
        return cut_at(source, b"\nxxx\n")

    def read(self, block: Block, config: PrepareConfig, bad: Bad) -> Texts:
        for _, parts, _ in pieces(block, b"\nxxx\n"):
            yield strings(parts), False


class Shelf(Format):
    """Stories of a store, by its name."""

    stories: tuple[str, ...] = ()

    def stage(self, raw: Raw, config: PrepareConfig) -> Input:
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
import sys
sys.path.insert(0, sys.argv.pop(1))
from ts_data.sources import SOURCES, SourceType
SOURCES["tales"] = SourceType("tales:Tales", (".tale",))
from ts_data.cli import main
main()
"""
MODULE = """
from ts_data.arrow import strings
from ts_data.sources.blocks import Format, pieces
from ts_data.sources.text import cut_at
class Tales(Format):
    def plan(self, source, config):
        return cut_at(source, b"xxx")
    def read(self, block, config, bad):
        for _, parts, _ in pieces(block, b"xxx"):
            yield strings(parts), False
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
    assert shown.startswith("60 stories in")
    assert f"`{tmp_path / 'a.tale'}` (train, 60 stories" in (tmp_path / "splits" / "README.md").read_text(encoding="utf-8")

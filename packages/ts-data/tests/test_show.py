"""Looking at stories and changes."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest

from ts_data import PrepareConfig, SourceError, changes, clean


def test_changes_of_one_step(raw: Path, stories: list[str]) -> None:
    found = dict(changes(raw, PrepareConfig(), step="stars"))
    expected = {i for i, story in enumerate(stories) if "stars" in {change.step for change in clean(story).changes}}
    assert set(found) == expected != set()
    dropped = dict(changes(raw, step="short"))
    assert {result.dropped for result in dropped.values()} == {"short"}


def test_changes_of_any_step_are_all_but_the_untouched(raw: Path, stories: list[str]) -> None:
    assert len(dict(changes(raw))) == sum(bool(r.changes or r.dropped) for r in map(clean, stories))


def test_a_story_that_the_end_of_its_file_cuts_is_among_the_changes(tmp_path: Path) -> None:
    (tmp_path / "raw.txt").write_text(
        "<|endoftext|>".join([f"{'They ran. ' * 30}", f"{'They ran. ' * 30}Then"]), encoding="utf-8"
    )
    for step in (None, "truncated"):
        found = list(changes(tmp_path / "raw.txt", step=step))
        assert [(position, result.dropped) for position, result in found if result.dropped] == [(1, "truncated")]


def test_what_can_be_read_once_only_is_refused(tmp_path: Path) -> None:
    for name in ("-", "hub:owner/name", os.devnull):
        with pytest.raises(SourceError, match="changes are shown for files"):
            next(changes(name))


@pytest.mark.parametrize("name", ["a.txt.gz", "a.json", "a.csv", "a.tsv"])
def test_changes_are_shown_for_packed_files_and_tables(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stories = [f"It was day {n}. They *all* ran. " + "They ran and ran. " * 12 for n in range(9)]
    content = {
        "a.txt.gz": gzip.compress("".join(f"{story}<|endoftext|>" for story in stories).encode()),
        "a.json": json.dumps(stories).encode(),
        "a.csv": ("text\n" + "\n".join(stories)).encode(),
        "a.tsv": ("n\ttext\n" + "\n".join(f"1\t{story}" for story in stories)).encode(),
    }
    (tmp_path / name).write_bytes(content[name])
    monkeypatch.chdir(tmp_path)
    assert [position for position, _ in changes(name, step="stars")] == list(range(9))
    assert [path.name for path in tmp_path.iterdir()] == [name]

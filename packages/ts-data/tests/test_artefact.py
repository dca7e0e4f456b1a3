"""Files and folders written aside and renamed: whole or not at all. (ts_models has the same module, to the byte.)"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel

from ts_data import artefact
from ts_data.errors import ArtefactError


class Note(BaseModel):
    format: Literal["test/note"] = "test/note"
    schema_version: int = 3
    text: str = ""


def write(target: Path, text: str) -> None:
    with artefact.write_folder(target, "note.json", "test/note") as aside:
        artefact.write_model(aside / "note.json", Note(text=text))


def read(target: Path) -> str:
    return artefact.read_model(target / "note.json", Note, package="test").text


def test_a_failure_leaves_what_stood_there(tmp_path: Path) -> None:
    def half_a_folder() -> None:
        with artefact.write_folder(tmp_path / "a", "note.json", "test/note") as aside:
            (aside / "note.json").write_text("{", encoding="utf-8")
            raise ZeroDivisionError

    def half_a_file() -> None:
        with artefact.write_file(tmp_path / "f") as place:
            place.write_bytes(b"half")
            raise ZeroDivisionError

    write(tmp_path / "a", "old")
    for half in (half_a_folder, half_a_file):
        with pytest.raises(ZeroDivisionError):
            half()
    assert read(tmp_path / "a") == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("killed_after", [0, 1, 2])
def test_a_kill_between_the_renames_is_mended_by_the_next_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_after: int
) -> None:
    """Stop at each rename of the folder, and for good: `finally` does not run after a kill."""
    target = tmp_path / "a"
    write(target, "old")
    real, calls = os.replace, []

    def replace(source: object, to: object) -> None:
        if Path(str(to)).suffix != ".json":
            calls.append(to)
            if len(calls) > killed_after:
                raise KeyboardInterrupt
        real(source, to)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace)
        patch.setattr(artefact.shutil, "rmtree", lambda *_, **__: None)
        if killed_after < 2:
            with pytest.raises(KeyboardInterrupt):
                write(target, "new")
        else:
            write(target, "new")
    artefact.recover(target)
    assert read(target) == ("new" if killed_after == 2 else "old")
    write(target, "newest")
    assert read(target) == "newest"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"format": "other"}, "field `format` is 'other', expected 'test/note'"),
        ({"schema_version": "3"}, "field `schema_version` is '3', expected a whole number from 1 to 3"),
        ({"schema_version": 4}, "written with schema version 4, but this test reads up to 3. Upgrade it: pip install -U test"),
        ({"schema_version": 1}, "schema version 1 can no longer be read by this test. Write the file again."),
        ({"text": 5}, "field `text`: input should be a valid string \\(it is 5\\)"),
    ],
)
def test_what_is_no_artefact_of_this_version_is_refused(content: dict[str, object], message: str, tmp_path: Path) -> None:
    whole = {"format": "test/note", "schema_version": 3, "text": "", **content}
    (tmp_path / "note.json").write_text(json.dumps(whole), encoding="utf-8")
    with pytest.raises(ArtefactError, match=message):
        artefact.read_model(tmp_path / "note.json", Note, package="test")


def test_older_versions_are_lifted_step_by_step() -> None:
    lift = {1: lambda old: {**old, "text": "two"}, 2: lambda old: {**old, "text": old["text"] + ", three"}}
    old = {"format": "test/note", "schema_version": 1}
    found = artefact.parse_model(old, Note, source="x", package="test", migrations=lift)
    assert (found.schema_version, found.text) == (3, "two, three")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff", "not UTF-8 at byte 0"),
        (b'{\n "a": }', "line 2: not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": 1' + b"0" * 5000 + b"}", "a number in it is too long"),
        (b"[1]", "holds a JSON list, an object was expected"),
    ],
)
def test_what_is_no_json_object_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(ArtefactError, match=message):
        artefact.read_json(tmp_path / "x.json")


def test_a_path_that_is_no_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ArtefactError, match="no such file"):
        artefact.read_json(tmp_path / "none.json")
    with pytest.raises(ArtefactError, match="is a folder, a JSON file was expected"):
        artefact.read_json(tmp_path)
    with pytest.raises(ArtefactError, match=r"file: is a file, a folder with x\.json was expected"):
        artefact.read_json(tmp_path / "file" / "x.json")


def test_a_disk_that_is_too_small_is_said_before_the_work(tmp_path: Path) -> None:
    artefact.need_space(tmp_path / "new" / "folder", 1, "the text")
    with pytest.raises(ArtefactError, match=r"the text needs about .* MB, but only .* MB are free"):
        artefact.need_space(tmp_path / "new" / "folder", 1 << 60, "the text")

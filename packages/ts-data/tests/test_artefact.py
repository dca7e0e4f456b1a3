"""Files and folders written aside and renamed: whole or not at all. (ts_models has the same module, to the byte.)"""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import json
import os
import stat
import subprocess
import sys
import threading
import time
import types
from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel, Field, ValidationError

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


class Sorts(BaseModel):
    names: tuple[str, ...] = Field(default=("a",), min_length=1)
    choices: dict[str, int] = Field(default={"a": 1, "b": 2}, min_length=2)
    few: tuple[int, ...] = Field(default=(), max_length=1)
    label: str = Field(default="x", min_length=1)
    note: Note | None = None
    count: int = 1
    share: float = 1.0
    on: bool = True


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"names": []}, "field `names`: number of entries should be 1 or more, not 0 (it is [])"),
        ({"names": "a"}, "field `names`: should be a list (it is 'a')"),
        ({"choices": {"a": 1}}, "field `choices`: number of entries should be 2 or more, not 1 (it is {'a': 1})"),
        ({"choices": [1]}, "field `choices`: should be a table of names and values (it is [1])"),
        ({"few": [1, 2]}, "field `few`: number of entries should be 1 or fewer, not 2 (it is [1, 2])"),
        ({"label": ""}, "field `label`: should have 1 or more characters (it is '')"),
        ({"note": 3}, "field `note`: should be a table of names and values (it is 3)"),
        ({"count": "a{b}"}, "field `count`: should be a whole number (it is 'a{b}')"),
        ({"count": 1.5}, "field `count`: should be a whole number (it is 1.5)"),
        ({"share": "much"}, "field `share`: should be a number (it is 'much')"),
        ({"on": "maybe"}, "field `on`: should be true or false (it is 'maybe')"),
    ],
)
def test_an_invalid_field_is_described_in_plain_words(content: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError) as found:
        Sorts.model_validate(content)
    assert artefact.describe_invalid(found.value) == message


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


# --- locks -------------------------------------------------------------------------------------


def hidden(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob(".*"))


HOLD = """
import sys, time
from ts_data import artefact
with artefact.lock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_writer_is_refused_with_the_number_of_the_first_and_a_dead_one_is_no_obstacle(tmp_path: Path) -> None:
    target = tmp_path / "a"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(target)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        expected = rf"a: another process \({other.pid}\) is writing here\. Wait until it has finished, or choose another --out\."
        with pytest.raises(ArtefactError, match=expected), artefact.lock(target):
            pass
        other.kill()
    assert hidden(tmp_path) == [".a.ts-lock"], "a killed process cannot remove its lock"
    write(target, "new")
    assert read(target) == "new"
    assert hidden(tmp_path) == []


def test_a_lock_is_taken_again_only_by_who_says_so(tmp_path: Path) -> None:
    with artefact.lock(tmp_path / "a"):
        write(tmp_path / "a", "by the owner")
        with pytest.raises(ArtefactError, match="another writer is writing here"), artefact.lock(tmp_path / "a"):
            pass
    assert hidden(tmp_path) == []


def test_work_that_fails_leaves_no_folder_that_its_lock_made(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    for target in (tmp_path / "a/b/out.json", tmp_path / "mine/c/out.json"):
        with pytest.raises(KeyboardInterrupt), artefact.lock(target):
            raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    with artefact.lock(tmp_path / "a/b/out.json"):
        write(tmp_path / "a/b/out.json", "done")
    assert (tmp_path / "a/b/out.json").exists()


def test_a_link_and_its_target_have_one_lock(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with artefact.lock(tmp_path / "link"), pytest.raises(ArtefactError), artefact.lock(tmp_path / "real"):
        pass


def test_windows_locks_without_fcntl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The branch of Windows, loaded twice as by two processes. An flock stands for its lock: both end with the descriptor."""
    fcntl = pytest.importorskip("fcntl")
    locking = lambda handle, mode, size: fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # noqa: E731

    def load(name: str) -> types.ModuleType:
        spec = importlib.util.spec_from_file_location(name, artefact.__file__)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        with monkeypatch.context() as windows:
            windows.setattr(sys, "platform", "win32")
            windows.setitem(sys.modules, "fcntl", None)
            windows.setitem(sys.modules, "msvcrt", types.SimpleNamespace(LK_NBLCK=2, locking=locking))
            spec.loader.exec_module(module)
        return module

    one, two = load("ts_data.one"), load("ts_data.two")
    with one.lock(tmp_path / "a"):
        with one.write_file(tmp_path / "a") as aside:
            aside.write_text("by the owner")
        with pytest.raises(ArtefactError, match="another writer is writing here"), two.lock(tmp_path / "a"):
            pass
    with two.lock(tmp_path / "a"):
        assert (tmp_path / "a").read_text() == "by the owner"
    assert hidden(tmp_path) == []


def test_windows_flushes_what_may_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows flushes no file that is open for reading only."""
    fcntl = pytest.importorskip("fcntl")

    def fsync(handle: int) -> None:
        if stat.S_ISREG(os.fstat(handle).st_mode) and fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(os, "fsync", fsync)
    write(tmp_path / "a", "new")
    artefact.write_text(tmp_path / "b", "new")
    assert read(tmp_path / "a") == (tmp_path / "b").read_text() == "new"


def test_each_file_of_a_folder_is_flushed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda handle: flushed.append(os.fstat(handle).st_ino))
    with artefact.write_folder(tmp_path / "a", "note.json", "test/note") as aside:
        artefact.write_text(aside / "note.json", "{}")
        (aside / "body").write_text("body")
    artefact.write_text(tmp_path / "b", "{}")
    for file in (tmp_path / "a" / "note.json", tmp_path / "a" / "body", tmp_path / "b"):
        assert flushed.count(file.stat().st_ino) == 1, file


SAVE = """
import sys, time
from ts_data import artefact
for n in range(20):
    with artefact.write_folder(sys.argv[1], "note.json", "test/note") as aside:
        (aside / "note.json").write_text('{"format": "test/note"}')
        (aside / "body").write_text(sys.argv[2] * 1000)
    artefact.write_text(sys.argv[1] + ".txt", sys.argv[2] * 1000)
"""


def test_writers_of_one_folder_and_file_take_turns(tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", SAVE, str(tmp_path / "a")]
    writers = [subprocess.Popen([*arguments, letter], stderr=subprocess.PIPE, text=True) for letter in "abc"]
    for writer in writers:
        assert writer.communicate(timeout=120)[1] == ""
        assert writer.returncode == 0
    for file in (tmp_path / "a" / "body", tmp_path / "a.txt"):
        assert file.read_text() in {letter * 1000 for letter in "abc"}
    assert hidden(tmp_path) == []


def test_threads_that_write_one_file_take_turns(tmp_path: Path) -> None:
    problems: list[BaseException] = []

    def work(letter: str) -> None:
        try:
            for _ in range(30):
                artefact.write_text(tmp_path / "f", letter * 50_000)
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=work, args=(letter,)) for letter in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert (tmp_path / "f").read_text() in {letter * 50_000 for letter in "abcd"}


def test_a_writer_waits_and_then_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, done = threading.Event(), threading.Event()

    def hold() -> None:
        with artefact.lock(tmp_path / "a"):
            begun.set()
            done.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    begun.wait(30)
    monkeypatch.setattr(artefact, "WAIT", 0.2)
    start = time.monotonic()
    with pytest.raises(ArtefactError, match="another writer is writing here"):
        write(tmp_path / "a", "new")
    assert time.monotonic() - start >= 0.2
    monkeypatch.setattr(artefact, "WAIT", 30.0)
    threading.Timer(0.2, done.set).start()
    write(tmp_path / "a", "new")
    assert read(tmp_path / "a") == "new"
    thread.join()


# --- links, and what belongs to others -----------------------------------------------------------


def test_a_link_stays_a_link_and_the_data_land_behind_it(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    for name, behind in (("folder", "disk/a"), ("file.txt", "disk/f.txt")):
        (tmp_path / name).symlink_to(behind)  # dangling at first
    for text in ("one", "two", "three"):
        write(tmp_path / "folder", text)
        artefact.write_text(tmp_path / "file.txt", text)
        assert read(tmp_path / "disk" / "a") == text
        assert (tmp_path / "disk" / "f.txt").read_text() == text
    assert (tmp_path / "folder").is_symlink()
    assert (tmp_path / "file.txt").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["disk", "file.txt", "folder"]
    assert hidden(tmp_path) == []


def test_a_link_to_itself_is_an_error_of_the_disk(tmp_path: Path) -> None:
    (tmp_path / "x").symlink_to("x")
    for call in (lambda: write(tmp_path / "x", "a"), lambda: artefact.write_text(tmp_path / "x", "a")):
        with pytest.raises(OSError, match="symbolic links"):
            call()


@pytest.mark.parametrize("name", [".a.partial", ".a.old", ".a.work", ".a.lock", "a.lock"])
def test_names_that_a_user_may_give_are_left_alone(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "note.txt").write_text("mine")
    write(tmp_path / "a", "one")
    artefact.recover(tmp_path / "a")
    write(tmp_path / "a", "two")
    assert (tmp_path / name / "note.txt").read_text() == "mine"


def test_the_user_s_files_stay_when_a_folder_is_replaced(tmp_path: Path) -> None:
    target = tmp_path / "a"
    with artefact.write_folder(target, "note.json", "test/note") as aside:
        artefact.write_model(aside / "note.json", Note(text="old"))
        (aside / "part-1").write_text("ours, and gone in the new one")
    (target / "notes.txt").write_text("mine")
    (target / "deep" / "er").mkdir(parents=True)
    (target / "deep" / "er" / "x").write_text("mine too")
    (target / "empty").mkdir()
    (target / "link").symlink_to("notes.txt")
    with artefact.write_folder(target, "note.json", "test/note", owned=["note.json", "part-*"]) as aside:
        artefact.write_model(aside / "note.json", Note(text="new"))
    assert read(target) == "new"
    assert (target / "notes.txt").read_text() == "mine"
    assert (target / "deep" / "er" / "x").read_text() == "mine too"
    assert (target / "empty").is_dir()
    assert (target / "link").readlink() == Path("notes.txt")
    assert not (target / "part-1").exists()
    assert hidden(tmp_path) == []


def test_the_user_s_files_survive_a_kill_at_each_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a"
    write(target, "old")
    (target / "notes.txt").write_text("mine")
    for function in ("link", "replace"):
        for killed_after in range(3):
            write(target, "old")  # what the kill before left is cleared away
            real, calls = getattr(os, function), []

            def stop(*arguments: object, real=real, calls=calls, killed_after=killed_after, **named: object) -> None:  # type: ignore[no-untyped-def]
                calls.append(arguments)
                if len(calls) > killed_after:
                    raise KeyboardInterrupt
                real(*arguments, **named)

            with monkeypatch.context() as patch:
                patch.setattr(os, function, stop)
                patch.setattr(artefact.shutil, "rmtree", lambda *_, **__: None)
                with contextlib.suppress(KeyboardInterrupt):
                    write(target, "new")
            artefact.recover(target)
            assert (target / "notes.txt").read_text() == "mine"
            assert read(target) in {"old", "new"}
    write(target, "newest")
    assert (target / "notes.txt").read_text() == "mine"
    assert hidden(tmp_path) == []


def test_devices_roots_and_the_folder_one_is_in_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for target, message in (
        (".", "the folder that you are in"),
        ("..", "is there and is no earlier"),
        ("/", "is the root of a disk"),
    ):
        with pytest.raises(ArtefactError, match=message):
            write(Path(target), "x")
    with pytest.raises(ArtefactError, match="a folder, where a file is to be written"):
        artefact.write_text(tmp_path, "x")


def test_a_full_disk_is_told_with_the_place_whatever_library_writes(tmp_path: Path) -> None:
    for problem in (OSError(errno.ENOSPC, "full"), RuntimeError("Error: No space left on device (os error 28)")):
        with pytest.raises(OSError, match=r"o space|full") as found, artefact.write_folder(tmp_path / "new", "a.json", "a"):
            raise problem
        assert (found.value.errno, found.value.filename) == (errno.ENOSPC, str(tmp_path / "new"))
    with pytest.raises(RuntimeError, match="other"), artefact.write_folder(tmp_path / "new", "a.json", "a"):
        raise RuntimeError("other")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="a device")
def test_a_device_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    (tmp_path / "null").symlink_to("/dev/null")
    reader, writer = os.pipe()
    for place in (tmp_path / "null", Path(f"/dev/fd/{writer}")):
        with pytest.raises(ArtefactError, match="a device or pipe, where a file is to be written"):
            artefact.write_text(place, "x")
    os.close(reader)
    os.close(writer)
    assert not Path("/dev/null").is_file()


@pytest.mark.parametrize(
    ("out", "item", "message"),
    [
        ("a", "a", "is an input as well"),
        ("a", "a/raw.txt", "holds the input"),
        ("a/b/c", "a", "lies in the input"),
        ("link", "a/raw.txt", "holds the input"),
        ("a/../a", "a", "is an input as well"),
        ("b", "a", None),
        ("ab", "a", None),
        ("a/new.txt", "a/raw.txt", None),
    ],
)
def test_a_place_that_is_holds_or_lies_in_an_input_is_refused(out: str, item: str, message: str | None, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "raw.txt").write_text("x")
    (tmp_path / "link").symlink_to("a")
    if message is None:
        artefact.keep_apart(tmp_path / out, [tmp_path / item, "hub:x/y"])
        return
    with pytest.raises(ArtefactError, match=message):
        artefact.keep_apart(tmp_path / out, [tmp_path / item])


@pytest.mark.skipif(os.name != "posix", reason="modes")
def test_files_have_the_mode_that_the_umask_asks_for(tmp_path: Path) -> None:
    def private(path: Path) -> None:
        path.write_bytes(b"x")
        path.chmod(0o600)

    before = os.umask(0o027)
    try:
        with artefact.write_folder(tmp_path / "a", "note.json", "test/note") as aside:
            artefact.write_model(aside / "note.json", Note())
            private(aside / "weights")
        with artefact.write_file(tmp_path / "f") as place:
            private(place)
    finally:
        os.umask(before)
    for file in (tmp_path / "a" / "weights", tmp_path / "a" / "note.json", tmp_path / "f"):
        assert file.stat().st_mode & 0o777 == 0o640


class Numbers(BaseModel):
    maybe: float | None = 1.0
    always: float = 1.0
    many: list[float] = []


def test_what_is_written_is_json_also_with_numbers_that_json_does_not_have(tmp_path: Path) -> None:
    def strict(path: Path) -> object:
        def refuse(name: str) -> None:
            raise AssertionError(name)

        return json.loads(path.read_bytes().decode("utf-8"), parse_constant=refuse)

    artefact.write_model(tmp_path / "a.json", Numbers(maybe=float("nan")))
    assert strict(tmp_path / "a.json") == {"maybe": None, "always": 1.0, "many": []}
    whole = Numbers(maybe=float("-inf"), always=float("inf"), many=[1.0, float("nan")])
    artefact.write_model(tmp_path / "b.json", whole)
    assert strict(tmp_path / "b.json") == {"maybe": "-Infinity", "always": "Infinity", "many": [1.0, "NaN"]}
    assert repr(Numbers.model_validate(strict(tmp_path / "b.json"))) == repr(whole)
    artefact.write_model(tmp_path / "c.json", Note(text="caf\udce9"))
    assert strict(tmp_path / "c.json") == {"format": "test/note", "schema_version": 3, "text": "caf\udce9"}
    artefact.write_text(tmp_path / "page.html", "caf\udce9 é")
    assert (tmp_path / "page.html").read_bytes() == rb"caf\udce9 " + "é".encode()

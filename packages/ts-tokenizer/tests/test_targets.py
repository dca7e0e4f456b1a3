"""Where encode and train write: one writer at a time, other results and strangers' files are left alone."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import ts_data
import ts_tokenizer
from ts_data.artefact import sha256_file
from ts_data.console import run
from ts_tokenizer import WordTokenizer, encode, encode_splits
from ts_tokenizer.cli import app
from ts_tokenizer.errors import ArtefactError, ConfigError, TsTokenizerError
from ts_tokenizer.train import train_file


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders of splits, and a tokenizer of each."""
    path = tmp_path_factory.mktemp("targets")
    (path / "raw.txt").write_text("\n<|endoftext|>\n".join(ts_data.sample(160, seed=5)), encoding="utf-8")
    for name, seed in (("splits", 1), ("other", 2)):
        ts_data.prepare(path / "raw.txt", path / name, ts_data.PrepareConfig(seed=seed))
        train_file(path / name, path / f"{name}.json", vocab_size=200)
    return path


@pytest.fixture
def encoded(folder: Path, tmp_path: Path) -> Path:
    ts_tokenizer.encode_splits(folder / "splits", folder / "splits.json", tmp_path / "encoded")
    return tmp_path / "encoded"


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def _call(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    with pytest.raises(SystemExit) as stop:
        run(app, [str(word) for word in words])
    return int(stop.value.code or 0), capsys.readouterr().err


# --- other results -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("splits", "tokenizer", "message"),
    [
        ("other", "splits", r"holds ids of other splits\. Pass --force"),
        ("splits", "other", r"holds ids of another tokenizer\. Pass --force"),
        ("other", "other", r"holds ids of other splits and another tokenizer\. Pass --force"),
    ],
)
def test_ids_of_other_inputs_stay(folder: Path, encoded: Path, splits: str, tokenizer: str, message: str) -> None:
    before = _files(encoded)
    with pytest.raises(ArtefactError, match=message):
        ts_tokenizer.encode_splits(folder / splits, folder / f"{tokenizer}.json", encoded)
    assert _files(encoded) == before
    ts_tokenizer.encode_splits(folder / splits, folder / f"{tokenizer}.json", encoded, force=True)
    found = ts_tokenizer.open_encoded(encoded, verify=True)
    assert found.manifest.splits_fingerprint == ts_data.open_manifest(folder / splits).fingerprint
    assert found.manifest.tokenizer_sha256 == sha256_file(folder / f"{tokenizer}.json")


def test_ids_of_the_same_inputs_may_be_written_again(folder: Path, encoded: Path) -> None:
    before = _files(encoded)
    for force in (False, True):
        (encoded / "val.bin").write_bytes(b"")
        ts_tokenizer.encode_splits(folder / "splits", folder / "splits.json", encoded, force=force)
        assert _files(encoded) == before


def test_the_commands_take_force_and_name_other_splits(
    folder: Path, encoded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("encode", folder / "other", "-t", folder / "splits.json", "-o", encoded, "--quiet")
    code, error = _call(capsys, *words)
    assert (code, error.count("\n")) == (2, 1)
    assert "holds ids of other splits. Pass --force" in error
    code, error = _call(capsys, *words, "--force")
    assert code == 0
    assert "warning: " in error
    assert "was trained on other splits" in error
    file = tmp_path / "t.json"
    assert _call(capsys, "train", folder / "splits", "-o", file, "--vocab-size", 100, "--quiet")[0] == 0
    code, error = _call(capsys, "train", folder / "other", "-o", file, "--vocab-size", 100, "--quiet")
    assert code == 2
    assert (
        error
        == f"error: {file}: is a tokenizer of other splits. Pass --force (force=True) to replace it, or choose another --out.\n"
    )
    assert _call(capsys, "train", folder / "other", "-o", file, "--vocab-size", 100, "--force", "--quiet")[0] == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vocab_size": 100}, r"is a tokenizer of 200 entries instead of 100\. Pass --force"),
        ({"vocab_size": 200, "casing": "keep"}, r"is a tokenizer with casing=lower\. Pass --force"),
    ],
)
def test_a_tokenizer_of_other_settings_stays(folder: Path, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    file = tmp_path / "t.json"
    first = train_file(folder / "splits", file, vocab_size=200)
    with pytest.raises(ArtefactError, match=message):
        train_file(folder / "splits", file, **options)
    assert sha256_file(file) == first.sha256
    again = train_file(folder / "splits", file, vocab_size=200)
    assert again.sha256 == first.sha256 == sha256_file(file), "the same splits and settings give the same bytes"
    train_file(folder / "splits", file, force=True, **options)
    assert sha256_file(file) != first.sha256


def test_a_vocabulary_of_all_words_is_the_same_for_every_larger_size(folder: Path, tmp_path: Path) -> None:
    whole = train_file(folder / "splits", tmp_path / "t.json", vocab_size=9_000)
    assert whole.vocab_size < 9_000
    assert train_file(folder / "splits", tmp_path / "t.json", vocab_size=8_000).sha256 == whole.sha256
    with pytest.raises(ArtefactError, match="entries instead of 50"):
        train_file(folder / "splits", tmp_path / "t.json", vocab_size=50)


def test_a_tokenizer_that_does_not_name_its_splits_stays(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "t.json"
    WordTokenizer.train(list(ts_data.read(folder / "splits", "train")), vocab_size=200).save(file)
    with pytest.raises(ArtefactError, match="is a tokenizer that does not name its splits"):
        train_file(folder / "splits", file, vocab_size=200)


def test_python_and_the_command_write_the_same_file(folder: Path) -> None:
    tokenizer = WordTokenizer.train(ts_data.read(folder / "splits", "train"), vocab_size=200)
    assert tokenizer.sha256 == sha256_file(folder / "splits.json")
    assert WordTokenizer.train(ts_data.read(folder / "splits", "test"), vocab_size=50).spec.trained_on.splits_fingerprint is None


@pytest.mark.parametrize("content", ["thesis", '{"format": "ts-data/manifest"}', "[1]", "", "\ufeff{}"])
def test_a_file_that_is_no_tokenizer_stays(folder: Path, tmp_path: Path, content: str) -> None:
    file = tmp_path / "thesis.txt"
    file.write_text(content, encoding="utf-8")
    for force in (False, True):
        with pytest.raises(ArtefactError, match=r"thesis\.txt: exists and is not a tokenizer file; it is left unchanged\."):
            train_file(folder / "splits", file, vocab_size=200, force=force)
    assert file.read_text(encoding="utf-8") == content


def test_an_empty_train_split_is_no_vocabulary() -> None:
    with pytest.raises(ConfigError, match="texts: contains no story"):
        WordTokenizer.train([])


# --- places ------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["splits", "splits/encoded", ".", "link", "link/encoded"])
@pytest.mark.parametrize("force", [False, True])
def test_out_is_no_input_holds_none_and_lies_in_none(folder: Path, tmp_path: Path, place: str, force: bool) -> None:
    target = folder / place
    if "link" in place:
        (tmp_path / "link").symlink_to(folder / "splits")
        target = tmp_path / place
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(ArtefactError, match=r"(is an input|lies in the input|holds the input).*Choose another --out"):
        ts_tokenizer.encode_splits(folder / "splits", folder / "splits.json", target, force=force)
    if place != ".":
        with pytest.raises(ArtefactError, match=r"(is an input|lies in the input).*Choose another --out"):
            train_file(folder / "splits", target, force=force)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_file_or_a_strangers_folder_stays(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "manifest.json").write_text("{}")
    (tmp_path / "file").write_text("precious")
    for name in ("mine", "file"):
        for force in (False, True):
            with pytest.raises(ArtefactError, match=r"left unchanged|a file"):
                ts_tokenizer.encode_splits(folder / "splits", folder / "splits.json", tmp_path / name, force=force)
    with pytest.raises(ArtefactError, match=r"is a folder, where a file is to be written"):
        train_file(folder / "splits", tmp_path / "mine", vocab_size=200)
    assert (tmp_path / "file").read_text() == "precious"
    assert _files(tmp_path / "mine") == {"manifest.json": b"{}"}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a pipe with a name")
def test_a_pipe_is_refused_and_not_read(folder: Path, tmp_path: Path) -> None:
    """Reading it would wait for a writer, for ever."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ArtefactError, match="is a device or pipe"):
        train_file(folder / "splits", tmp_path / "pipe", vocab_size=200)


def test_the_folder_that_one_is_in_is_refused_before_the_work(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ts_tokenizer.encode._open_work", lambda *_: pytest.fail("began"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArtefactError, match="the folder that you are in"):
        ts_tokenizer.encode_splits(folder / "splits", folder / "splits.json", tmp_path)


def test_the_users_files_stay(folder: Path, encoded: Path) -> None:
    (encoded / "notes.md").write_text("mine")
    (encoded / "plots").mkdir()
    (encoded / "plots" / "lengths.png").write_bytes(b"png")
    ts_tokenizer.encode_splits(folder / "other", folder / "other.json", encoded, force=True)
    assert (encoded / "notes.md").read_text() == "mine"
    assert (encoded / "plots" / "lengths.png").read_bytes() == b"png"
    ts_tokenizer.open_encoded(encoded, verify=True)


def test_links_stay_links(folder: Path, encoded: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    (tmp_path / "out").symlink_to(disk)
    (tmp_path / "gone").symlink_to(disk / "made")
    for name in ("out", "gone", "out"):
        ts_tokenizer.encode_splits(folder / "splits", folder / "splits.json", tmp_path / name)
        assert (tmp_path / name).is_symlink()
    assert _files(disk / "made") == _files(encoded)
    assert (disk / "train.bin").read_bytes() == (encoded / "train.bin").read_bytes()
    (tmp_path / "t.json").symlink_to(disk / "real.json")
    train_file(folder / "splits", tmp_path / "t.json", vocab_size=200)
    assert (tmp_path / "t.json").is_symlink()
    assert (disk / "real.json").read_bytes() == (folder / "splits.json").read_bytes()


# --- the work folder ---------------------------------------------------------------------------


@pytest.mark.parametrize("note", [None, "[]", '{"made": "by prepare"}', "no json"])
def test_a_strangers_work_folder_stays(folder: Path, tmp_path: Path, note: str | None) -> None:
    work = tmp_path / ".encoded.ts-work"
    work.mkdir()
    (work / "thesis.txt").write_text("precious")
    if note is not None:
        (work / "identity.json").write_text(note)
    before = _files(work)
    with pytest.raises(ArtefactError, match=r"\.encoded\.ts-work: exists and is not a work folder of ts-tokenizer"):
        ts_tokenizer.encode_splits(folder / "splits", folder / "splits.json", tmp_path / "encoded")
    assert _files(work) == before


def test_an_engine_that_there_is_not_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(TsTokenizerError, match=r"--engine: 'foo' is unknown\. Choose local or ray"):
        ts_tokenizer.encode_splits(folder / "splits", folder / "splits.json", tmp_path / "encoded", engine="foo")
    assert list(tmp_path.iterdir()) == []


class _Killed(BaseException):
    pass


def test_what_a_user_put_into_the_work_folder_stays(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, work = tmp_path / "encoded", tmp_path / ".encoded.ts-work"

    def kill(*_: object) -> None:
        raise _Killed

    monkeypatch.setattr(encode, "_finish", kill)
    with pytest.raises(_Killed):
        ts_tokenizer.encode_splits(folder / "splits", folder / "splits.json", out)
    monkeypatch.undo()
    (work / "thesis.bin").write_text("precious")
    ts_tokenizer.encode_splits(folder / "other", folder / "other.json", out)
    assert _files(work) == {"thesis.bin": b"precious"}
    assert not (out / "thesis.bin").exists()
    ts_tokenizer.open_encoded(out, verify=True)


def test_what_a_kill_after_the_last_rename_left_is_cleared(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files of the work folder are hard links to the finished ones: damage in one must not come back from the other."""
    out = tmp_path / "encoded"
    clear = encode._clear_work

    def kill(work: Path) -> None:
        if out.exists():
            raise _Killed
        clear(work)

    for damaged in (False, True):
        monkeypatch.setattr(encode, "_clear_work", kill)
        with pytest.raises(_Killed):
            ts_tokenizer.encode_splits(folder / "splits", folder / "splits.json", out)
        monkeypatch.undo()
        before = _files(out)
        if damaged:
            with (out / "train.bin").open("r+b") as file:
                file.write(b"\7\7\7\7")
        ts_tokenizer.encode_splits(folder / "splits", folder / "splits.json", out)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["encoded"]
        assert _files(out) == before
        shutil.rmtree(out)


# --- two writers -------------------------------------------------------------------------------


_both: Any = None


def _encode(splits: Path, tokenizer: Path, out: Path) -> None:
    """Encode in a forked process, at the same time as the other one."""
    _both.wait(60)
    encode.BATCH_ROWS = 4
    encode_splits(splits, tokenizer, out, force=True)


@pytest.mark.parametrize("inputs", [("splits", "splits"), ("splits", "other")])
def test_two_processes_write_one_folder(
    folder: Path, tmp_path: Path, inputs: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fork = multiprocessing.get_context("fork")
    monkeypatch.setattr(sys.modules[__name__], "_both", fork.Barrier(2))
    out = tmp_path / "encoded"
    expected = []
    for name in inputs:
        encode_splits(folder / name, folder / f"{name}.json", tmp_path / "alone", force=True)
        expected.append((tmp_path / "alone" / "train.bin").read_bytes())
    for _ in range(2):
        with ProcessPoolExecutor(2, fork) as pool:
            both = [pool.submit(_encode, folder / name, folder / f"{name}.json", out) for name in inputs]
            problems = [process.exception() for process in both]
        assert None in problems
        for problem in filter(None, problems):
            assert isinstance(problem, TsTokenizerError)
            assert "is writing here. Wait until it has finished" in str(problem)
            assert "\n" not in str(problem)
        found = ts_tokenizer.open_encoded(out, verify=True)
        assert (out / "train.bin").read_bytes() in expected
        assert found.manifest.splits["train"].bin.bytes == len((out / "train.bin").read_bytes())
        assert sorted(path.name for path in tmp_path.iterdir()) == ["alone", "encoded"]


# --- few stories -------------------------------------------------------------------------------


def _without(splits: Path, name: str, out: Path, *, empty: bool) -> Path:
    """The splits with a split taken out, or with no story left in it."""
    out.mkdir()
    for path in splits.iterdir():
        os.link(path, out / path.name)
    content = json.loads((out / "manifest.json").read_text())
    (out / f"{name}.parquet").unlink()
    if empty:
        pq.write_table(pa.table({"text": pa.array([], pa.large_string())}), out / f"{name}.parquet")
        file = {**content["splits"][name]["files"][0], "rows": 0, "bytes": (out / f"{name}.parquet").stat().st_size}
        content["splits"][name] |= {"stories": 0, "words": 0, "characters": 0, "utf8_bytes": 0, "files": [file]}
    else:
        del content["splits"][name]
    (out / "manifest.json").unlink()
    (out / "manifest.json").write_text(json.dumps(content))
    return out


@pytest.mark.parametrize("empty", [False, True])
@pytest.mark.parametrize("name", ["validation", "test"])
def test_a_split_may_be_empty_or_absent(
    folder: Path, tmp_path: Path, name: str, empty: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    splits = _without(folder / "splits", name, tmp_path / "few", empty=empty)
    out = tmp_path / "encoded"
    assert _call(capsys, "encode", splits, "-t", folder / "splits.json", "-o", out, "--quiet")[0] == 0
    found = ts_tokenizer.open_encoded(out, verify=True)
    assert (name in found) == empty
    if empty:
        assert len(found[name]) == 0
        assert list(found[name]) == []
        assert found.manifest.splits[name].priced_stories == 0  # type: ignore[index]
        assert np.load(out / found.manifest.splits[name].idx.name).tolist() == [0]  # type: ignore[index]
    assert len(found["train"]) == len(ts_data.read(folder / "splits", "train"))
    for command in (("stats", out), ("check", folder / "splits.json", splits, "--split", "train", "--limit", 5)):
        assert _call(capsys, *command)[0] == 0
    code, error = _call(capsys, "check", folder / "splits.json", splits, "--split", name)
    assert code == 0 if empty else (code, error.count("\n")) == (2, 1)

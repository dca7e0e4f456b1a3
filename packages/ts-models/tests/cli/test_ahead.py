"""The first start: another process compiles the kernels, this one writes without them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("numba")

from ts_models import LanguageModel
from ts_models.cli import _ahead
from ts_models.console import asked


@pytest.fixture
def started(monkeypatch, tmp_path):
    """The commands that were started in place of processes."""
    commands: list[list[str]] = []
    monkeypatch.setattr(_ahead, "own_process", True)
    monkeypatch.setattr(subprocess, "Popen", lambda command, **_: commands.append(command))
    monkeypatch.setattr(os, "environ", {**os.environ, "XDG_CACHE_HOME": str(tmp_path)})
    for name in _ahead._PLAIN:
        os.environ.pop(name, None)
    return commands


def test_one_process_compiles_while_each_start_works_without_the_kernels_on_one_thread(started, monkeypatch):
    threads: list[int] = []
    monkeypatch.setattr("torch.set_num_threads", threads.append)
    assert _ahead.at_first_start()
    assert threads == [1]
    assert os.environ.pop("TS_MODELS_KERNELS") == os.environ.pop("TS_TOKENIZER_KERNELS") == "plain"
    assert _ahead.at_first_start()
    [command] = started
    assert command[:3] == [sys.executable, "-m", "ts_models.cli._ahead"]


def test_nothing_begins_where_they_are_compiled_or_the_caller_chose(started):
    note = _ahead._note()
    note.parent.mkdir()
    note.touch()
    assert not _ahead.at_first_start()
    note.unlink()
    os.environ["TS_MODELS_KERNELS"] = "compiled"
    assert not _ahead.at_first_start()
    assert not started
    assert "TS_TOKENIZER_KERNELS" not in os.environ


def test_without_a_place_for_the_note_the_work_compiles(started, tmp_path):
    (tmp_path / "ts-models").touch()
    assert not _ahead.at_first_start()
    assert not started


def test_kernels_that_no_folder_can_keep_are_not_compiled_at_each_start(started, tmp_path, monkeypatch, capsys):
    """As another user on a read-only installation each short story took 20 seconds of compilation, without a word."""
    kept, access = tmp_path / "kept", os.access
    monkeypatch.setattr(os, "access", lambda path, mode: access(path, mode) and (mode == os.F_OK or path == kept))
    os.environ["XDG_CACHE_HOME"] = str(tmp_path / "file/cache")
    (tmp_path / "file").touch()
    _ahead.warn_unkept()
    assert "each start compiles them anew. Set NUMBA_CACHE_DIR" in capsys.readouterr().err
    assert not _ahead.at_first_start()
    assert os.environ.pop("TS_MODELS_KERNELS") == os.environ.pop("TS_TOKENIZER_KERNELS") == "plain"
    kept.mkdir()
    os.environ["NUMBA_CACHE_DIR"] = str(kept)
    _ahead.warn_unkept()
    assert capsys.readouterr().err == ""
    assert not _ahead.at_first_start()
    assert "TS_MODELS_KERNELS" not in os.environ
    assert not started


def test_a_process_that_broke_off_is_replaced(started):
    assert _ahead.at_first_start()
    for name in _ahead._PLAIN:
        del os.environ[name]
    os.utime(_ahead._note().with_suffix(".begun"), (0, 0))
    assert _ahead.at_first_start()
    assert len(started) == 2


def test_other_processes_keep_their_kernels(started, monkeypatch):
    monkeypatch.setattr(_ahead, "own_process", False)
    assert not _ahead.at_first_start()


@pytest.mark.parametrize("reads_text", [True, False])
def test_what_is_compiled_is_noted(lm, reads_text, monkeypatch, tmp_path):
    monkeypatch.setattr("ts_models.io.loading.load", lambda name: lm if reads_text else LanguageModel(lm.model))
    monkeypatch.setattr(os, "nice", lambda step: step)
    begun, done = tmp_path / "x.begun", tmp_path / "x.compiled"
    begun.touch()
    _ahead._compile(done)
    assert [path.name for path in tmp_path.iterdir()] == ["x.compiled"]


def test_the_first_use_of_a_precision_is_said_once(started, capsys, monkeypatch):
    def told(precision: str, *, quiet: bool = False) -> str:
        monkeypatch.setattr(asked, "quiet", quiet)
        with _ahead.first_use(precision):
            return str(capsys.readouterr().err)

    assert told("float32") == ""
    assert told("int8").count("\n") == 1
    assert told("int8") == ""
    assert told("int4", quiet=True) == ""
    assert told("int4") == "", "noted by the use before"

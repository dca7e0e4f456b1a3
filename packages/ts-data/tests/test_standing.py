"""What stands where `prepare` and `sample` write: nothing of a user is lost, and no splits are replaced by others unasked."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ts_data import (
    ArtefactError,
    ConfigError,
    PrepareConfig,
    TsDataError,
    changes,
    clean,
    leakage,
    open_manifest,
    prepare,
    read,
    removed,
    sample,
)

CONFIG = PrepareConfig(validation=20)
Run = Callable[..., tuple[int, str, str]]


def sha256_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def tree(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): sha256_file(path) for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def splits(raw: Path, tmp_path: Path) -> Path:
    prepare(raw, tmp_path / "splits", CONFIG, workers=1)
    return tmp_path / "splits"


# --- other settings, other sources -------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 5}, r"\(seed 1 there, 5 here\)"),
        ({"validation": 0.1}, r"validation 20 there, 0\.1 here"),
        ({"validation": None, "near": {"ngram": 3}}, "near.ngram 5 there, 3 here.*validation 20 there, its default here"),
        ({"leakage": "drop"}, "leakage"),
        ({"steps": ("whitespace", "empty")}, "steps"),
    ],
)
def test_splits_of_other_settings_stay_unless_forced(splits: Path, raw: Path, change: dict[str, Any], message: str) -> None:
    before = tree(splits)
    config = PrepareConfig.model_validate({**CONFIG.model_dump(), **change})
    with pytest.raises(ConfigError, match=rf"splits: holds splits made with other settings .*{message}.*--force"):
        prepare(raw, splits, config, workers=1)
    assert tree(splits) == before
    assert prepare(raw, splits, config, workers=1, force=True).config == config
    assert not [path for path in splits.parent.iterdir() if path.name.startswith(".")]


def test_splits_of_other_sources_stay_unless_forced(splits: Path, raw: Path, tmp_path: Path) -> None:
    before = tree(splits)
    raw.write_text(raw.read_text(encoding="utf-8") + "One more story." * 20 + "\n<|endoftext|>\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"made of other sources; they differ in .*raw\.txt\..*--force"):
        prepare(raw, splits, CONFIG, workers=1)
    other = tmp_path / "other.txt"
    other.write_bytes(raw.read_bytes())
    with pytest.raises(ConfigError, match="made of other sources"):
        prepare([raw, other], splits, CONFIG, workers=1)
    with pytest.raises(ConfigError, match="made of other sources"):
        prepare(raw, splits, CONFIG, test=other, workers=1)
    assert tree(splits) == before
    assert prepare(raw, splits, CONFIG, workers=1, force=True).stories_in == 601


def test_the_same_call_gives_back_what_stands_there_and_mends_what_is_damaged(splits: Path, raw: Path) -> None:
    before, stages = tree(splits), []
    inode = (splits / "train.parquet").stat().st_ino
    manifest = prepare(raw, splits, CONFIG, workers=1, progress=lambda stage, done, total=None: stages.append(stage))
    assert manifest == open_manifest(splits)
    assert "clean" not in stages
    assert (splits / "train.parquet").stat().st_ino == inode
    content = (splits / "train.parquet").read_bytes()
    (splits / "train.parquet").write_bytes(content[:-100] + bytes(100))
    prepare(raw, splits, CONFIG, workers=1)
    assert tree(splits) == before


def test_the_same_stories_under_another_name_are_prepared_anew(splits: Path, raw: Path, tmp_path: Path) -> None:
    raw.rename(tmp_path / "renamed.txt")
    manifest = prepare(tmp_path / "renamed.txt", splits, CONFIG, workers=1)
    assert [Path(source.name).name for source in manifest.sources] == ["renamed.txt"]


def test_a_change_of_the_cleaning_code_is_no_reason_to_replace_splits_unasked(
    splits: Path, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ts_data.cleaning.cleaner._CODE_VERSION", 99)
    with pytest.raises(ConfigError, match="another version of the cleaning code"):
        prepare(raw, splits, CONFIG, workers=1)


@pytest.mark.parametrize("content", ['{"format": "ts-data/manifest"}', '{"format": "ts-data/manifest", "schema_version": 99}'])
def test_splits_whose_manifest_cannot_be_read_stay_unless_forced(splits: Path, raw: Path, content: str) -> None:
    (splits / "manifest.json").write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"manifest\.json.*--force"):
        prepare(raw, splits, CONFIG, workers=1)
    prepare(raw, splits, CONFIG, workers=1, force=True)


# --- the user's files --------------------------------------------------------------------------


def test_out_and_work_never_touch_a_source(raw: Path, tmp_path: Path, stories: list[str]) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    source = raw.rename(folder / "raw.txt")
    (folder / "notes.md").write_text("mine")
    before = tree(tmp_path)
    link = tmp_path / "link"
    link.symlink_to(folder)
    for arguments, message in (
        ({"out": folder}, "holds the input"),
        ({"out": tmp_path}, "holds the input"),
        ({"out": link}, "holds the input"),
        ({"out": source}, "is an input as well"),
        ({"source": folder, "out": folder / "splits"}, "lies in the input"),
        ({"out": tmp_path / "s", "work": folder}, "holds the input"),
        ({"source": folder, "out": tmp_path / "s", "work": folder / "w"}, "lies in the input"),
        ({"out": tmp_path / "s", "work": tmp_path / "s"}, "is an input as well|--work"),
        ({"out": tmp_path / "s", "work": tmp_path / "s" / "w"}, "--work"),
        ({"source": tmp_path / "none.txt", "out": folder, "test": source}, "holds the input"),
        ({"source": tmp_path / "none.txt", "out": folder, "against": source}, "holds the input"),
    ):
        with pytest.raises(ConfigError, match=message):
            prepare(**{"source": source, "config": CONFIG, "force": True, "workers": 1, **arguments})
    link.unlink()
    assert tree(tmp_path) == before


def test_notes_in_a_splits_folder_survive(splits: Path, raw: Path) -> None:
    (splits / "notes.md").write_text("mine")
    (splits / "more").mkdir()
    (splits / "more" / "x.txt").write_text("mine, too")
    prepare(raw, splits, PrepareConfig(validation=20, seed=2), workers=1, force=True)
    assert (splits / "notes.md").read_text() == "mine"
    assert (splits / "more" / "x.txt").read_text() == "mine, too"


@pytest.mark.parametrize("name", ["poetry", "uv", "Cargo", "work"])
def test_a_work_folder_leaves_the_files_beside_it_alone(name: str, raw: Path, tmp_path: Path) -> None:
    lock = tmp_path / f"{name}.lock"
    lock.write_text("pinned")
    prepare(raw, tmp_path / "splits", CONFIG, work=tmp_path / name, workers=1)
    assert lock.read_text() == "pinned"
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("mark", [None, "", "[]", '{"format": "of somebody else"}'])
def test_a_strangers_work_folder_is_left_alone(mark: str | None, raw: Path, tmp_path: Path) -> None:
    work = tmp_path / "mine"
    work.mkdir()
    (work / "block-000000.text").write_text("mine")
    if mark is not None:
        (work / "identity.json").write_text(mark)
    before = tree(work)
    with pytest.raises(ConfigError, match="no work folder of ts-data; it is left alone"):
        prepare(raw, tmp_path / "splits", CONFIG, work=work, workers=1)
    assert tree(work) == before


def test_a_file_of_the_user_in_our_work_folder_survives(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ts_data.pipeline.writer.write_splits", fail)
    with pytest.raises(KeyboardInterrupt):
        prepare(raw, tmp_path / "splits", CONFIG, work=tmp_path / "work", workers=1)
    (tmp_path / "work" / "notes.md").write_text("mine")
    monkeypatch.undo()
    prepare(raw, tmp_path / "splits", CONFIG, work=tmp_path / "work", workers=1)
    assert sorted(path.name for path in (tmp_path / "work").iterdir()) == ["identity.json", "notes.md"]
    prepare(raw, tmp_path / "other", CONFIG, work=tmp_path / "work", workers=1)
    assert (tmp_path / "work" / "notes.md").read_text() == "mine"


@pytest.mark.skipif(os.name != "posix", reason="signals and links")
def test_two_prepares_into_one_folder_give_one_sentence(raw: Path, tmp_path: Path) -> None:
    script = "import sys, ts_data, ts_data.pipeline.pipeline as p, time\n"
    script += (
        "def slow(*a):\n    print('in', flush=True); time.sleep(60)\np._Run.run = slow\nts_data.prepare(sys.argv[1], sys.argv[2])"
    )
    arguments = [sys.executable, "-c", script, str(raw), str(tmp_path / "splits")]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        first.stdout.readline()
        command = [sys.executable, "-m", "ts_data", "prepare", str(raw), "--out", str(tmp_path / "splits"), "-q"]
        second = subprocess.run(command, capture_output=True, text=True, check=False)
        first.kill()
    assert second.returncode == 2
    assert second.stderr.count("\n") == 1
    assert "is writing here" in second.stderr
    prepare(raw, tmp_path / "splits", CONFIG, workers=1)


def test_a_link_to_another_disk_stays_a_link(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "splits").symlink_to(tmp_path / "disk" / "splits")
    for seed in (1, 2):
        prepare(raw, tmp_path / "splits", PrepareConfig(validation=20, seed=seed), workers=1, force=True)
        assert (tmp_path / "splits").is_symlink()
        assert len(read(tmp_path / "disk" / "splits", "validation")) == 20


def test_a_sample_replaces_no_other_file(tmp_path: Path, run: Run) -> None:
    raw = tmp_path / "raw.txt"
    raw.write_text("My own stories.")
    code, _, err = run("sample", "--stories", 3, "--out", raw)
    assert code == 2
    assert re.search(r"holds something else; it is left alone.*--force", err)
    assert raw.read_text() == "My own stories."
    assert run("sample", "--stories", 3, "--out", raw, "--force")[0] == 0
    same = raw.read_text()
    assert run("sample", "--stories", 3, "--out", raw)[0] == 0, "the same stories again"
    assert run("sample", "--stories", 4, "--out", raw)[0] == 2
    assert raw.read_text() == same


# --- damage is noticed -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["train.parquet", "test.parquet", "removed.parquet"])
def test_a_truncated_file_is_noticed_by_every_reader(name: str, splits: Path, run: Run) -> None:
    path = splits / name
    path.write_bytes(path.read_bytes()[:-200])
    for arguments in (["stats", splits], ["leakage", splits, "-q"]):
        code, _, err = run(*arguments)
        assert code == 2
        assert f"{name}: has" in err
    with pytest.raises(ArtefactError, match="its manifest says"):
        leakage(splits)
    if name == "removed.parquet":
        with pytest.raises(ArtefactError, match="its manifest says"):
            next(removed(splits))


def test_changes_of_a_raw_file_that_was_changed_are_refused(splits: Path, raw: Path, run: Run) -> None:
    raw.write_text(raw.read_text(encoding="utf-8") + "More.", encoding="utf-8")
    code, _, err = run("show", splits, "--changed", "any")
    assert code == 2
    assert "it was changed" in err


# --- wrong types, pickles ----------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, float("nan"), b"bytes", 5, ["a story"], {"text": "x"}])
def test_clean_takes_a_text_only(value: Any) -> None:
    with pytest.raises(TypeError, match="text: a str is expected, this is"):
        clean(value)
    with pytest.raises(TypeError, match="config: a PrepareConfig is expected"):
        clean("text", {"seed": 1})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda raw, out: prepare(None, out), "source: a path or a list"),
        (lambda raw, out: prepare(5, out), "source: a path or a list"),
        (lambda raw, out: prepare(b"raw", out), "source: a path or a list"),
        (lambda raw, out: prepare([None], out), "source: a path is expected, not None"),
        (lambda raw, out: prepare(["One story.", 5], out), "source: a path is expected, not 5"),
        (lambda raw, out: prepare("", out), "an empty name"),
        (lambda raw, out: prepare(raw, None), "out: the path of a folder"),
        (lambda raw, out: prepare(raw, ""), "out: the path of a folder"),
        (lambda raw, out: prepare(raw, out, {"seed": 2}), "config: a PrepareConfig"),
        (lambda raw, out: prepare(["-", "-"], out), "is named twice"),
        (lambda raw, out: prepare("-", out, test="-"), "stdin can be read once"),
        (lambda raw, out: prepare("x" * 5000, out), "cannot be read: File name too long"),
        (lambda raw, out: open_manifest(None), "splits: the path"),
        (lambda raw, out: read(5, "train"), "splits: the path"),
        (lambda raw, out: sample("5"), "stories: a whole number"),
        (lambda raw, out: sample(2.5), "stories: a whole number"),
        (lambda raw, out: sample(True), "stories: a whole number"),
        (lambda raw, out: sample(2, seed=None), "seed: a whole number"),
    ],
)
def test_a_wrong_argument_is_one_sentence(call: Callable[[Path, Path], object], message: str, raw: Path, tmp_path: Path) -> None:
    with pytest.raises((TypeError, TsDataError), match=message) as caught:
        call(raw, tmp_path / "splits")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "splits").exists()


def again(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))  # noqa: S301 - our own bytes


def test_what_a_user_holds_can_be_pickled_and_copied(splits: Path, raw: Path) -> None:
    train = read(splits, "train")
    _ = train[3]
    for other in (again(train), copy.deepcopy(train), copy.copy(train)):
        assert list(other) == list(train)
        assert repr(other) == repr(train)
    for value in (
        open_manifest(splits),
        clean("He said *so*."),
        next(removed(splits)),
        next(changes(raw)),
        leakage(splits),
        CONFIG,
    ):
        assert again(value) == value == copy.deepcopy(value)
    for problem in (ArtefactError("a"), ConfigError("b"), TsDataError("c")):
        assert str(again(problem)) == str(problem)


def test_a_manifest_is_json_that_names_its_warnings(splits: Path) -> None:
    assert json.loads((splits / "manifest.json").read_bytes())["warnings"] == []

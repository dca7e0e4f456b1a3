"""Folders and files: what is read is not overwritten, what is not ours is kept, links stay links, wrong folders are answered."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

import ts_data
import ts_eval
import ts_tokenizer
from ts_data import artefact
from ts_eval import StoryIndex
from ts_eval.cli import main
from ts_eval.errors import ArtefactError, ConfigError
from ts_eval.index import store
from ts_eval.schemas import EvalConfig

SMALL = EvalConfig(stories=3, perplexity_stories=3, resamples=100, parts=("perplexity",))
FEW = ("--set", "method=['greedy']", "--set", "max_new_tokens=2", "--stories", 3)
PARTS = ("perplexity", "memorisation", "overfitting", "paper")


@pytest.fixture
def run(capsys, monkeypatch):
    """Call the console script: exit code, and stderr, which is one line after an error."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["ts-eval", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            main()
        _, err = capsys.readouterr()
        code = stop.value.code or 0
        if code:
            assert (err[:7], err.count("\n")) == ("error: ", 1)
        return code, err

    return call


@pytest.fixture
def inputs(model_folder, splits, tmp_path):
    """Copies of the model and of the splits, and the report's usual neighbours."""
    shutil.copytree(model_folder, tmp_path / "run" / "model")
    shutil.copytree(splits, tmp_path / "splits")
    return tmp_path


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("out", ["run/model", "run/model/report", "splits", "splits/report", "splits/train/x", "link/report"])
def test_a_report_is_not_written_into_what_it_reads(run, inputs, out):
    (inputs / "link").symlink_to(inputs / "run" / "model")
    before = content(inputs)
    code, err = run("report", inputs / "run" / "model", "--data", inputs / "splits", "--out", inputs / out, "-q")
    assert code == 2
    assert "Choose another --out" in err or "needs a folder of its own" in err
    assert content(inputs) == before


@pytest.mark.parametrize("index", ["run/model", "run/model/index", "splits", "run", "."])
def test_neither_is_the_index(run, inputs, index):
    before = content(inputs)
    for words in (("perplexity",), ("report", "--out", inputs / "report")):
        code, err = run(
            words[0], inputs / "run" / "model", "--data", inputs / "splits", "--index", inputs / index, "-q", *words[1:]
        )
        assert code == 2
        assert "Choose another --index" in err
    assert content(inputs) == before


def test_a_report_beside_its_inputs_is_fine(inputs, monkeypatch):
    monkeypatch.chdir(inputs)
    ts_eval.evaluate("run/model", "splits", SMALL, out=".")
    assert (inputs / "report.html").is_file()


def test_a_file_of_stories_is_not_overwritten_by_the_report_on_it(run, inputs, stories):
    (inputs / "report").mkdir()
    told = inputs / "report" / "stories.jsonl"
    told.write_text("\n".join(json.dumps({"story": text}) for text in stories[:5]))
    before = told.read_text()
    code, err = run("report", told, "--data", inputs / "splits", "--out", inputs / "report", "-q")
    assert code == 2
    assert "is read by this evaluation" in err
    assert told.read_text() == before


@pytest.mark.parametrize("name", ["report.json", "report.html", "stories.jsonl"])
def test_files_of_somebody_else_are_left_alone(inputs, name):
    (inputs / "out").mkdir()
    (inputs / "out" / name).write_text('{"mine": true}')
    with pytest.raises(ConfigError, match="is there and is no earlier report"):
        ts_eval.evaluate(inputs / "run" / "model", inputs / "splits", SMALL, out=inputs / "out")
    assert content(inputs / "out") == {name: b'{"mine": true}'}


def test_a_report_and_its_index_are_renewed_around_the_users_files(inputs, stories):
    out = inputs / "out"
    config = SMALL.model_copy(update={"parts": ("texts",)})
    ts_eval.evaluate(inputs / "run" / "model", inputs / "splits", config, out=out)
    for place in (out, out / "index"):
        (place / "notes.txt").write_text("mine")
    (inputs / "raw.txt").write_text("\n<|endoftext|>\n".join(stories[:300]), encoding="utf-8")
    ts_data.prepare(inputs / "raw.txt", inputs / "others", ts_data.PrepareConfig(validation=30))
    before = (out / "index" / "index.json").read_bytes()
    ts_eval.evaluate(inputs / "run" / "model", inputs / "others", config, out=out)
    assert (out / "index" / "index.json").read_bytes() != before
    assert [(place / "notes.txt").read_text() for place in (out, out / "index")] == ["mine", "mine"]


def test_links_stay_links(inputs):
    disk = inputs / "bigger-disk"
    for name in ("out", "index"):
        (disk / name).mkdir(parents=True)
        (inputs / name).symlink_to(disk / name)
    (inputs / "sweep.json").symlink_to(disk / "swept.json")
    model, splits = inputs / "run" / "model", inputs / "splits"
    for _ in range(2):
        ts_eval.evaluate(model, splits, SMALL, out=inputs / "out", index=inputs / "index")
        ts_eval.sweep(
            model, splits, ts_eval.SweepConfig(method=("greedy",), max_new_tokens=2, stories=3), out=inputs / "sweep.json"
        )
    assert all((inputs / name).is_symlink() for name in ("out", "index", "sweep.json"))
    assert (disk / "out" / "report.html").is_file()
    assert (disk / "index" / "index.json").is_file()
    assert (disk / "swept.json").is_file()


def test_a_link_to_itself_is_answered(run, inputs):
    link = inputs / "link"
    link.symlink_to(link)
    code, err = run("report", inputs / "run" / "model", "--data", inputs / "splits", "--out", link, "-q")
    assert code == 2
    assert "too many symbolic links" in err
    code, err = run("panel", link, link.with_name("other"), "-q")
    assert (code, "cannot be read" in err) == (2, True)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has names that are no UTF-8")
def test_names_that_are_no_utf_8(inputs):
    file = inputs / os.fsdecode(b"caf\xe9.txt")
    file.write_text("A cat sat on the mat.<|endoftext|>Tom ran home.")
    out = inputs / os.fsdecode(b"out\xe9")
    config = SMALL.model_copy(update={"parts": ("overfitting",)})
    ts_eval.evaluate(file, inputs / "splits", config, out=out)
    assert [story.source for story in ts_eval.read_stories(out / "stories.jsonl")][:2] == [file.stem] * 2
    assert r"caf\udce9" in (out / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "out", ["run/model/config.json", "splits/manifest.json", "splits/sweep.json", "run/model", "mine.json", "."]
)
def test_a_sweep_overwrites_nothing_but_a_sweep(run, inputs, out):
    (inputs / "mine.json").write_text('{"mine": true}')
    before = content(inputs)
    code, _ = run("sweep", inputs / "run" / "model", "--data", inputs / "splits", "-q", *FEW, "--out", inputs / out)
    assert code == 2
    assert content(inputs) == before
    for _ in range(2):
        assert run("sweep", inputs / "run" / "model", "--data", inputs / "splits", "-q", *FEW, "--out", inputs / "s.json")[0] == 0


def test_two_evaluations_into_one_folder_are_one_and_a_sentence(inputs):
    model, splits, out = inputs / "run" / "model", inputs / "splits", inputs / "out"
    sweep = ts_eval.SweepConfig(method=("greedy",), max_new_tokens=2, stories=3)
    held = [artefact.lock(out / "report.json"), artefact.lock(inputs / "sweep.json")]
    with ThreadPoolExecutor(1) as other, other.submit(ExitStack).result() as stack:
        for lock in held:
            other.submit(stack.enter_context, lock).result()
        with pytest.raises(ConfigError, match="is writing here"):
            ts_eval.evaluate(model, splits, SMALL, out=out)
        with pytest.raises(ConfigError, match="is writing here"):
            ts_eval.sweep(model, splits, sweep, out=inputs / "sweep.json")
        other.submit(stack.close).result()
    ts_eval.evaluate(model, splits, SMALL, out=out)
    ts_eval.sweep(model, splits, sweep, out=inputs / "sweep.json")


@pytest.mark.parametrize(
    ("words", "file"),
    [
        (("extraction", "run/model", "--data", "splits", "--out", "new"), "new/extraction.json"),
        (("probe", "run/model", "--out", "new"), "new/probe.json"),
        (("calibrate", "--backend", "features", "--out", "new.json"), "new.json"),
        (("best", "run/model", "--out", "new.jsonl"), "new.jsonl"),
    ],
)
def test_what_another_process_writes_is_answered_before_the_work(run, inputs, monkeypatch, words, file):
    monkeypatch.chdir(inputs)
    with artefact.lock(file):
        code, err = run(*words, "-q")
        assert (code, err.count("\n")) == (2, 1)
        assert "is writing here. Wait until it has finished" in err
        assert "stories" not in err


def test_an_index_that_two_want_is_built_once(stories, tmp_path, monkeypatch):
    built = []
    whole = store.write
    monkeypatch.setattr(store, "write", lambda *a, **k: (built.append(1), time.sleep(0.5), whole(*a, **k)))
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: StoryIndex.cached(tmp_path / "index", stories[:60]), range(3)))
    assert len(built) == 1
    assert len({index.sha256 for index in found}) == 1
    assert {p.name for p in tmp_path.iterdir()} == {"index"}


# --- damage ------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0, 0.5])
@pytest.mark.parametrize("name", ["stream.bin", "words.txt", "offsets.npy", "second.npy", "df.npy", "norms.npy"])
def test_a_cut_index_is_refused_and_built_anew(stories, tmp_path, name, share):
    path = tmp_path / "index"
    good = StoryIndex.cached(path, stories[:60]).closest(stories[60:64])
    file = path / name
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * share)])
    if len(whole) == file.stat().st_size:
        pytest.skip("this file is empty")
    with pytest.raises(ArtefactError, match="missing or damaged"):
        StoryIndex.open(path)
    assert StoryIndex.cached(path, stories[:60]).closest(stories[60:64]) == good
    assert file.read_bytes() == whole


def test_a_cut_manifest_of_an_index_is_answered_before_the_work(run, inputs, stories):
    """Whose folder it is cannot be told any more, so it is not replaced."""
    path = inputs / "index"
    StoryIndex.cached(path, stories[:60])
    (path / "index.json").write_bytes((path / "index.json").read_bytes()[:50])
    before = content(path)
    with pytest.raises(ArtefactError, match="Delete the folder"):
        StoryIndex.cached(path, stories[:60])
    code, err = run("memorisation", inputs / "run" / "model", "--data", inputs / "splits", "--index", path)
    assert code == 2
    assert "damaged. Delete the folder" in err
    assert content(path) == before


@pytest.mark.parametrize("split", ["train", "test"])
def test_cut_splits_are_noticed_by_every_command(run, inputs, split):
    file = next(inputs.glob(f"splits/**/{split}*.parquet"))
    file.write_bytes(file.read_bytes()[:-100])
    for part in PARTS:
        code, err = run(part, inputs / "run" / "model", "--data", inputs / "splits", "-q")
        assert code == 2
        assert file.name in err
    assert run("report", inputs / "run" / "model", "--data", inputs / "splits", "-q", "--out", inputs / "r")[0] == 2
    assert run("sweep", inputs / "run" / "model", "--data", inputs / "splits", "-q", *FEW)[0] == 2
    assert not (inputs / "r").exists()


# --- wrong folders -----------------------------------------------------------------------------


@pytest.fixture
def wrong(inputs):
    ts_tokenizer.encode_splits(inputs / "splits", inputs / "run" / "model" / "word_tokenizer.json", inputs / "encoded")
    (inputs / "file").write_text("x")
    (inputs / "empty").mkdir()
    (inputs / "parent").mkdir()
    shutil.copytree(inputs / "splits", inputs / "parent" / "splits")
    return inputs


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("encoded", "is a folder of ts-tokenizer/encoded"),
        ("run/model", "is a model folder"),
        ("run", "it has no manifest.json"),
        ("empty", "it has no manifest.json"),
        ("file", "is a file"),
        ("file/x", "no such folder"),
        ("nothing", "no such folder"),
        ("parent", "Did you mean"),
    ],
)
def test_wrong_splits_are_answered_with_the_command_that_makes_the_right_ones(run, wrong, data, words):
    for command in (*PARTS, "sweep"):
        code, err = run(command, wrong / "run" / "model", "--data", wrong / data, "-q")
        assert code == 2
        assert words in err
        assert "`ts-data prepare`" in err


@pytest.mark.parametrize(
    ("model", "words"), [("splits", "ts-train run"), ("empty", "ts-train run"), ("run", "Did you mean"), ("file", "folders")]
)
def test_wrong_models_are_answered(run, wrong, model, words):
    for command in (*PARTS, "sweep"):
        code, err = run(command, wrong / model, "--data", wrong / "splits", "-q")
        assert code == 2
        assert words in err


def test_splits_without_a_test_split_and_with_an_empty_one(run, inputs):
    import pyarrow.parquet as pq

    manifest = json.loads((inputs / "splits" / "manifest.json").read_text())
    info = manifest["splits"]["test"]
    for empty in (False, True):
        if empty:
            file = inputs / "splits" / info["files"][0]["name"]
            pq.write_table(pq.read_table(file).slice(0, 0), file)
            size = {"rows": 0, "bytes": file.stat().st_size}
            manifest["splits"]["test"] = {**info, "files": [{**info["files"][0], **size}], "stories": 0}
        else:
            del manifest["splits"]["test"]
        (inputs / "splits" / "manifest.json").write_text(json.dumps(manifest))
        for command in (*PARTS, "sweep"):
            code, err = run(command, inputs / "run" / "model", "--data", inputs / "splits", "-q")
            assert code == 2
            assert "Run `ts-data prepare`" in err

"""The line: what goes where, the same bytes however it runs, every kind of source, clear refusals."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from ts_data import (
    ConfigError,
    NearConfig,
    PrepareConfig,
    SourceError,
    TsDataError,
    clean,
    leakage,
    open_manifest,
    prepare,
    read,
    removed,
    sample,
)
from ts_data.reports.show import page_of_changes

CONFIG = PrepareConfig(validation=20)


def join(stories: list[str]) -> str:
    return "".join(f"{story}\n<|endoftext|>\n" for story in stories)


def sha256_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def tree(folder: Path) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in folder.iterdir()}


def test_a_folder_named_like_a_home_is_a_folder_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("raw.txt").write_text("\n<|endoftext|>\n".join(sample(30, seed=2)), encoding="utf-8")
    prepare("raw.txt", "~root/splits", PrepareConfig(validation=2), workers=1)
    assert Path("~root/splits/train.parquet").is_file()
    assert len(read("~root/splits", "train")) == 26
    assert list(removed("~root/splits")) == []


def test_every_story_is_in_one_place_and_accounted_for(raw: Path, stories: list[str], tmp_path: Path) -> None:
    manifest = prepare(raw, tmp_path / "splits", CONFIG, workers=1)
    kept = {name: list(read(tmp_path / "splits", name)) for name in ("train", "validation", "test")}
    everything = [text for texts in kept.values() for text in texts]
    assert len(kept["validation"]) == len(kept["test"]) == 20
    assert len(everything) == len(set(everything)) == manifest.kept
    gone = list(removed(tmp_path / "splits"))
    assert manifest.stories_in == len(stories) == manifest.kept + len(gone) == manifest.kept + sum(manifest.removed.values())
    assert Counter(item.reason for item in gone) == manifest.removed
    assert manifest.removed["duplicate"] > 50
    # An independent, plain implementation agrees.
    seen: dict[str, int] = {}
    expected = {}
    for number, story in enumerate(stories):
        result = clean(story)
        if result.dropped:
            expected[number] = (result.dropped, None)
        elif result.text in seen:
            expected[number] = ("duplicate", seen[result.text])
        else:
            seen[result.text] = number
    assert {item.story: (item.reason, item.twin) for item in gone} == expected
    assert set(everything) == set(seen)
    assert [t for t in seen if t in set(kept["train"])] == kept["train"], "train keeps the source's order"


def test_manifest_counts_what_is_there(raw: Path, tmp_path: Path) -> None:
    manifest = prepare(raw, tmp_path / "splits", CONFIG, workers=1)
    assert open_manifest(tmp_path / "splits") == manifest
    for name, info in manifest.splits.items():
        texts = list(read(tmp_path / "splits", name))
        assert info.stories == len(texts) == sum(file.rows for file in info.files) == sum(info.lengths.histogram)
        assert info.words == sum(len(text.split()) for text in texts)
        assert info.characters == sum(map(len, texts))
        assert info.utf8_bytes == sum(len(text.encode()) for text in texts)
        assert info.lengths.maximum == max(len(text.split()) for text in texts)
        for file in info.files:
            assert sha256_file(tmp_path / "splits" / file.name) == file.sha256
    assert manifest.sources[0].sha256 == sha256_file(raw)
    changed = {report.step: report.changed for report in manifest.steps}
    assert changed["mojibake"] > 0
    assert changed["stars"] > 0
    assert all(len(report.examples) == min(3, report.changed) for report in manifest.steps)


@pytest.mark.usefixtures("small_blocks")
def test_same_bytes_for_any_number_of_workers(raw: Path, tmp_path: Path) -> None:
    for workers in (1, 2, 3):
        prepare(raw, tmp_path / f"w{workers}", CONFIG, workers=workers)
    first = tree(tmp_path / "w1")
    assert len([name for name in first if name.startswith("train-")]) > 3, "the data make several shards"
    assert tree(tmp_path / "w2") == first
    assert tree(tmp_path / "w3") == first
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")], "no work folder, no lock is left"


def test_block_size_moves_no_story(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(raw, tmp_path / "one", CONFIG, workers=1)
    monkeypatch.setattr("ts_data.sources.blocks.BLOCK", 5_000)
    prepare(raw, tmp_path / "many", CONFIG, workers=1)
    for split in ("train", "validation", "test", "removed"):
        assert list(read(tmp_path / "one", split)) == list(read(tmp_path / "many", split))


@pytest.mark.parametrize("kind", ["txt", "bom.txt", "jsonl", "parquet"])
def test_the_pieces_that_are_read_together_move_no_story(
    kind: str, stories: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "raw.txt"
    source.write_text(join(stories), encoding="utf-8") if kind == "txt" else None
    source = source if kind == "txt" else as_file(kind, stories, tmp_path)
    prepare(source, tmp_path / "one", CONFIG, workers=1)
    monkeypatch.setattr("ts_data.sources.blocks.PIECE", 700)  # less than a story, and a separator may lie across
    monkeypatch.setattr("ts_data.sources.blocks.ROWS", 7)
    prepare(source, tmp_path / "many", CONFIG, workers=1)
    assert tree(tmp_path / "one") == tree(tmp_path / "many")


def test_pandas_is_not_loaded(raw: Path, tmp_path: Path) -> None:
    """It takes 0.2 s to load, in every process; Arrow does so of itself where it is asked to convert arrays."""
    code = "import sys, ts_data; ts_data.prepare(sys.argv[1], sys.argv[2], workers=1); print('numpy' in sys.modules, 'pandas' in sys.modules)"
    arguments = [sys.executable, "-c", code, str(raw), str(tmp_path / "splits")]
    assert subprocess.run(arguments, capture_output=True, text=True, check=True).stdout == "True False\n"


def test_another_seed_draws_others(raw: Path, tmp_path: Path) -> None:
    prepare(raw, tmp_path / "a", CONFIG, workers=1)
    prepare(raw, tmp_path / "b", PrepareConfig(validation=20, seed=2), workers=1)
    assert set(read(tmp_path / "a", "validation")) != set(read(tmp_path / "b", "validation"))


def test_a_test_file_is_normalised_and_loses_no_story(raw: Path, tmp_path: Path) -> None:
    test = tmp_path / "valid.txt"
    given = ["*Short.*", "", "caf\u00e9", "*Short.*", "It stops in the mid"]
    test.write_text("<|endoftext|>".join(given) + "\n", encoding="utf-8")
    manifest = prepare(raw, tmp_path / "splits", CONFIG, test=test, workers=1)
    assert list(read(tmp_path / "splits", "test")) == ["Short.", "", "caf\u00e9", "Short.", "It stops in the mid"]
    assert manifest.splits["validation"].stories == 20
    assert {report.step for report in manifest.test_steps if report.changed} == {"stars", "whitespace"}
    assert not any(report.dropped for report in manifest.test_steps)


def test_steps_can_be_left_out_and_reordered(raw: Path, tmp_path: Path) -> None:
    config = PrepareConfig(validation=20, steps=("whitespace", "short", "stars"), deduplicate="none")
    manifest = prepare(raw, tmp_path / "splits", config, workers=1)
    assert [report.step for report in manifest.steps] == ["whitespace", "short", "stars"]
    assert "duplicate" not in manifest.removed
    assert any("\u201c" in text or "\u00e2" in text for text in read(tmp_path / "splits", "train"))


def test_near_duplicates_go_and_clusters_stay_whole(stories: list[str], tmp_path: Path) -> None:
    base = [clean(story).text for story in stories[:300]]
    base = [text for text in dict.fromkeys(base) if len(text) > 300]
    close = [text.replace("The ", "A ", 1) + " The end." for text in base[:80]]
    raw = tmp_path / "raw.txt"
    raw.write_text(join(base + close), encoding="utf-8")
    near = PrepareConfig(validation=20, deduplicate="near")
    manifest = prepare(raw, tmp_path / "near", near, workers=1)
    assert manifest.removed["near_duplicate"] == 80
    for item in removed(tmp_path / "near", "near_duplicate"):
        assert item.twin == item.story - len(base)
        assert 0.8 <= (item.similarity or 0) < 1
    prepare(raw, tmp_path / "cluster", PrepareConfig(validation=40, deduplicate="cluster"), workers=1)
    where = {text: name for name in ("train", "validation", "test") for text in read(tmp_path / "cluster", name)}
    assert Counter(where.values())["validation"] == 40
    assert all(where[text] == where[other] for text, other in zip(base, close, strict=False))


def test_near_duplicates_of_a_chain_are_in_one_split(tmp_path: Path) -> None:
    """Each story differs a little from the one before it, and much from those at the other end."""
    dice, chains = random.Random(1), []
    for story in sample(40, seed=5):
        words = story.split()
        for _ in range(5):
            chains.append(" ".join(words))
            for place in dice.sample(range(len(words)), len(words) // 40):
                words[place] = dice.choice(words)
    dice.shuffle(chains)
    (tmp_path / "raw.txt").write_text(join(chains), encoding="utf-8")
    config = PrepareConfig(validation=50, test=50, deduplicate="cluster", near=NearConfig(threshold=0.7))
    prepare(tmp_path / "raw.txt", tmp_path / "splits", config, workers=1)
    assert {name: found.near for name, found in leakage(tmp_path / "splits").splits.items()} == {"validation": 0, "test": 0}


def test_what_nearly_stands_in_the_test_file_goes_too(stories: list[str], tmp_path: Path) -> None:
    """With near-duplicates asked for, a story goes whose words are nearly those of a test story; the likest one is its twin."""
    base = list(dict.fromkeys(text for story in stories[:200] if len(text := clean(story).text) > 300))
    close = [text + " The end." for text in base[:20]]
    farther = [text + " They all went home." for text in base[:5]]
    raw, test = tmp_path / "raw.txt", tmp_path / "valid.txt"
    raw.write_text(join([*close, *base[20:]]), encoding="utf-8")
    test.write_text(join([*farther, *base[:20]]), encoding="utf-8")
    config = PrepareConfig(validation=20, leakage="drop", deduplicate="near")
    manifest = prepare(raw, tmp_path / "drop", config, test=test, workers=1)
    assert manifest.removed["leakage"] == 20
    found = list(removed(tmp_path / "drop", "leakage"))
    assert [item.story for item in found] == list(range(20))
    assert all(item.twin_source == str(test) and 0.8 <= (item.similarity or 0) < 1 for item in found)
    assert [item.twin for item in found] == list(range(5, 25))


def test_what_stands_in_the_test_file_can_be_dropped(raw: Path, stories: list[str], tmp_path: Path) -> None:
    test = tmp_path / "valid.txt"
    test.write_text(join([story for story in stories[:30] if len(story) > 200]), encoding="utf-8")
    prepare(raw, tmp_path / "keep", CONFIG, test=test, workers=1)
    manifest = prepare(raw, tmp_path / "drop", PrepareConfig(validation=20, leakage="drop"), test=test, workers=1)
    held = set(read(tmp_path / "drop", "test"))
    assert held & (set(read(tmp_path / "keep", "train")) | set(read(tmp_path / "keep", "validation")))
    assert not held & (set(read(tmp_path / "drop", "train")) | set(read(tmp_path / "drop", "validation")))
    assert manifest.removed["leakage"] > 10
    assert all(item.twin_source == str(test) for item in removed(tmp_path / "drop", "leakage"))


# --- sources -----------------------------------------------------------------------------------


def as_file(kind: str, stories: list[str], folder: Path) -> Path:
    path = folder / f"raw.{kind}"
    text = join(stories)
    lines = "".join(json.dumps({"story": story, "n": 1}) + "\n" for story in stories)
    if kind == "crlf.txt":
        path.write_bytes(text.replace("\n", "\r\n").encode())
    elif kind == "bom.txt":
        path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    elif kind == "jsonl":
        path.write_text(lines, encoding="utf-8")
    elif kind == "txt.gz":
        path.write_bytes(gzip.compress(text.encode()))
    elif kind == "jsonl.zst":
        with pa.CompressedOutputStream(str(path), "zstd") as stream:
            stream.write(lines.encode())
    elif kind == "parquet":
        pq.write_table(pa.table({"text": stories}), path, row_group_size=50)
    elif kind == "csv":
        pa.csv.write_csv(pa.table({"n": list(range(len(stories))), "text": stories}), path)
    return path


@pytest.mark.parametrize("kind", ["crlf.txt", "bom.txt", "jsonl", "txt.gz", "jsonl.zst", "parquet", "csv"])
@pytest.mark.usefixtures("small_blocks")
def test_every_kind_of_file_gives_the_same_splits(kind: str, stories: list[str], tmp_path: Path) -> None:
    plain = tmp_path / "plain.txt"
    plain.write_text(join(stories[:200]), encoding="utf-8")
    prepare(plain, tmp_path / "plain", CONFIG, workers=1)
    manifest = prepare(as_file(kind, stories[:200], tmp_path), tmp_path / "other", CONFIG, workers=1)
    for split in ("train", "validation", "test", "removed"):
        assert list(read(tmp_path / "other", split)) == list(read(tmp_path / "plain", split))
    assert manifest.sources[0].sha256 == sha256_file(tmp_path / f"raw.{kind}")


def test_stdin(stories: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stdin:
        buffer = io.BytesIO(join(stories[:200]).encode())

    monkeypatch.setattr(sys, "stdin", Stdin)
    assert prepare("-", tmp_path / "splits", CONFIG, workers=1).stories_in == 200


def test_changes_of_a_pipe_are_refused_as_such(stories: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(join(stories[:60]).encode())))
    prepare("-", tmp_path / "splits", CONFIG, workers=1)
    with pytest.raises(SourceError, match="-: changes are shown for files, not for what came through a pipe"):
        next(page_of_changes(tmp_path / "splits", "any", 0, 1, color=False))


def test_several_sources_and_a_hub_data_set(stories: list[str], tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    hub = tmp_path / "hub"
    hub.mkdir()
    pq.write_table(pa.table({"text": stories[:150]}), hub / "train.parquet")
    other = tmp_path / "other.jsonl"
    other.write_text("".join(json.dumps(story) + "\n" for story in stories[100:200]), encoding="utf-8")
    manifest = prepare([f"hub:{hub}", other], tmp_path / "splits", CONFIG, workers=1)
    assert [source.stories for source in manifest.sources] == [150, 100]
    twins = [item for item in removed(tmp_path / "splits", "duplicate") if item.source == str(other)]
    assert {(item.twin_source, item.story + 100 - (item.twin or 0)) for item in twins} >= {(f"hub:{hub}", 0)}


def test_a_hub_data_set_that_breaks_off_or_is_empty_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")

    class Rows(list[dict[str, str]]):
        def iter(self, batch_size: int) -> Iterator[dict[str, list[str]]]:
            yield {"text": ["one"]}
            raise ConnectionResetError("the other side hung up")

    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: Rows([{"text": "one"}]))
    refuse(tmp_path, "hub:owner/name", "hub:owner/name: cannot be read from the Hub: the other side hung up")
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: Rows())
    refuse(tmp_path, "hub:owner/name", "has no rows")
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: Rows([{"body": "one"}]))
    refuse(tmp_path, "hub:owner/name", "no column 'text'; there are: body")


def refuse(
    tmp_path: Path, source: str | Path, message: str, config: PrepareConfig = CONFIG, error: type[Exception] = SourceError
) -> None:
    before = set(tmp_path.iterdir())
    with pytest.raises(error, match=message):
        prepare(source, tmp_path / "splits", config, workers=1)
    assert set(tmp_path.iterdir()) == before, "nothing is left behind"


def test_refusals_leave_nothing_behind(tmp_path: Path, stories: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def write(name: str, content: bytes) -> Path:
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    good = join(stories[:50]).encode()
    line = good.count(b"\n") + 1
    refuse(tmp_path, write("latin.txt", good + "caf\xe9".encode("latin-1")), rf"line {line}: not UTF-8 at byte {len(good) + 3:,}")
    refuse(tmp_path, write("half.txt", good + "caf\xe9".encode()[:-1]), rf"line {line}: not UTF-8 at byte {len(good) + 3:,}")
    refuse(tmp_path, write("wide.txt", good.decode().encode("utf-16")), "is UTF-16, not UTF-8.*iconv -f UTF-16")
    refuse(tmp_path, write("packed.txt", gzip.compress(good)), r"is a \.gz file, not text")
    refuse(tmp_path, write("plain.txt", b"One story. " * 100), r"separator '<\|endoftext\|>' is not in the file")
    refuse(tmp_path, write("empty.txt", b""), "is empty")
    (tmp_path / "void").mkdir()
    refuse(tmp_path, tmp_path / "void", "is a folder without any file of stories")
    refuse(tmp_path, tmp_path / "none.txt", "no such file")
    refuse(
        tmp_path, write("bad.jsonl", b'{"text": "x"}\n{"text"\n'), r"bad\.jsonl, line 2: not JSON \(Expecting .* at character 8\)"
    )
    refuse(tmp_path, write("list.jsonl", b"[1]\n"), r"list\.jsonl, entry 1: is neither an object nor a string.*list of such")
    refuse(tmp_path, write("half.jsonl", b'"x"\n\n{"text": "\\ud800"}\n'), r"half\.jsonl, line 3: holds half a character")
    refuse(tmp_path, write("latin.jsonl", b'"x"\n"caf\xe9"\n'), r"latin\.jsonl, line 2: not UTF-8 at byte 8")
    refuse(tmp_path, write("number.jsonl", b'{"text": 5}\n'), r"number\.jsonl, line 1: the story is a number, text was expected")
    refuse(tmp_path, write("other.jsonl", b'{"body": "x"}\n'), "no column 'text'; there are: body")
    refuse(tmp_path, write("bad.parquet", b"PAR1 not really"), "not a Parquet file")
    refuse(tmp_path, write("bad.txt.gz", gzip.compress(good)[:-200]), "cut off")
    refuse(tmp_path, write("bad.csv", b"text\nx\ncaf\xe9\n"), r"bad\.csv, line 3: not UTF-8 at byte 10")
    refuse(tmp_path, write("torn.csv", b"n,text\n1,x\n1,2,3\n"), "not readable as CSV: .*Expected 2 columns, got 3")
    pq.write_table(pa.table({"text": [1, 2]}), tmp_path / "numbers.parquet")
    refuse(tmp_path, tmp_path / "numbers.parquet", "'text' holds int64, text was expected")
    pq.write_table(pa.table({"text": stories[:50]}), tmp_path / "good.parquet", compression="zstd")
    whole = (tmp_path / "good.parquet").read_bytes()
    refuse(tmp_path, write("torn.parquet", whole[:200] + bytes(200) + whole[400:]), r"torn\.parquet: damaged")
    few = write("few.txt", good)
    refuse(tmp_path, few, "only .* stories are left", PrepareConfig(validation=60), ConfigError)
    refuse(tmp_path, few, r"no story is left .*\(removed: short 50\)", PrepareConfig(min_characters=10**6), ConfigError)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
    refuse(tmp_path, few, "needs about", error=TsDataError)


def test_a_file_that_may_not_be_read_is_refused(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, _: Path(path) != raw)  # root may read everything
    refuse(tmp_path, raw, "may not be read")


def room(monkeypatch: pytest.MonkeyPatch, free: Callable[[Path], int]) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**12, 0, free(Path(path))))


def test_the_disk_of_the_work_and_the_one_of_the_splits_are_looked_at(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = raw.stat().st_size
    (tmp_path / "other").mkdir()
    room(monkeypatch, lambda path: 4 * size if path.name == "other" else size // 2)
    with pytest.raises(TsDataError, match=r"splits: the result needs about"):
        prepare(raw, tmp_path / "splits", CONFIG, work=tmp_path / "other" / "work")
    room(monkeypatch, lambda path: size if path.name == "other" else 10 * size)
    with pytest.raises(TsDataError, match=r"work: preparing these stories needs about"):
        prepare(raw, tmp_path / "splits", CONFIG, work=tmp_path / "other" / "work")
    assert not list((tmp_path / "other").iterdir())


def test_packed_stories_need_the_room_that_they_take_unpacked(
    stories: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = as_file("txt.gz", stories[:200], tmp_path)
    room(monkeypatch, lambda _: 4 * packed.stat().st_size)
    with pytest.raises(TsDataError, match="needs about"):
        prepare(packed, tmp_path / "splits", CONFIG)


def test_out_that_is_a_file_and_unknown_engine_are_refused(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="is a file"):
        prepare(raw, tmp_path / "file", CONFIG)
    with pytest.raises(ConfigError, match="there are: local"):
        prepare(raw, tmp_path / "splits", CONFIG, engine="spark")
    with pytest.raises(ConfigError, match="no source"):
        prepare([], tmp_path / "splits")
    for workers in (0, 1.5, "2"):
        with pytest.raises(ConfigError, match="workers: at least one"):
            prepare(raw, tmp_path / "splits", workers=workers)  # type: ignore[arg-type]


@pytest.mark.parametrize("folder", ["out", "work"])
@pytest.mark.parametrize("holds", ["notes.txt", "manifest.json"])
def test_a_folder_of_something_else_is_left_alone(raw: Path, tmp_path: Path, folder: str, holds: str) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / holds).write_text('{"format": "of somebody else"}')
    with pytest.raises(ConfigError, match="it is left alone"):
        prepare(raw, **{"out": tmp_path / "splits", "config": CONFIG, "work": None, folder: own})
    assert [file.name for file in own.iterdir()] == [holds]
    assert not (tmp_path / "splits").exists()


def test_a_work_folder_half_cleared_is_still_known_for_one(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work, seen = tmp_path / "work", []
    remove = Path.unlink

    def unlink(path: Path, missing_ok: bool = False) -> None:
        remove(path, missing_ok)
        if path.parent == work:
            seen.append(path.name)
            raise KeyboardInterrupt

    monkeypatch.setattr(Path, "unlink", unlink)
    with pytest.raises(KeyboardInterrupt):
        prepare(raw, tmp_path / "splits", CONFIG, work=work)
    monkeypatch.undo()
    assert seen
    assert (work / "identity.json").is_file()
    prepare(raw, tmp_path / "splits", CONFIG, work=work)
    assert not work.exists()


def test_an_empty_folder_and_earlier_splits_are_replaced(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "splits").mkdir()
    first = prepare(raw, tmp_path / "splits", CONFIG)
    again = prepare(raw, tmp_path / "splits", CONFIG.model_copy(update={"seed": CONFIG.seed + 1}), force=True)
    assert first.splits["train"].files != again.splits["train"].files


def test_errors_of_a_worker_arrive_as_what_they_are(stories: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ts_data.sources.blocks.BLOCK", 20_000)
    monkeypatch.setattr("ts_data.pipeline.pipeline.PROCESS", 1)
    bad = tmp_path / "bad.txt"
    bad.write_bytes(join(stories).encode() + b"\xff\xfe<|endoftext|>")
    with pytest.raises(SourceError, match="not UTF-8 at byte"):
        prepare(bad, tmp_path / "splits", CONFIG, workers=2)


def test_truncated_last_story_goes(stories: list[str], tmp_path: Path) -> None:
    raw = tmp_path / "raw.txt"
    raw.write_text(join(stories[:60]) + "Once there was a very long story that was cut " * 8 + "off in the", encoding="utf-8")
    manifest = prepare(raw, tmp_path / "splits", PrepareConfig(validation=5), workers=1)
    assert manifest.removed["truncated"] == 1


# --- killed ------------------------------------------------------------------------------------


SCRIPT = """
import sys, ts_data, ts_data.sources.blocks, ts_data.pipeline.pipeline
ts_data.sources.blocks.BLOCK, ts_data.pipeline.pipeline.SHARD, ts_data.pipeline.pipeline.PROCESS = 20_000, 60_000, 1
ts_data.prepare(sys.argv[1], sys.argv[2], ts_data.PrepareConfig(validation=20), workers=2)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="kill -9")
def test_killed_and_run_again_gives_the_same_bytes(raw: Path, tmp_path: Path, small_blocks: None) -> None:
    prepare(raw, tmp_path / "whole", CONFIG, workers=1)
    work = tmp_path / ".out.ts-work"
    resumed = 0
    for wanted, end in ((1, signal.SIGKILL), (4, signal.SIGINT), (8, signal.SIGTERM), (20, signal.SIGKILL)):
        arguments = [sys.executable, "-c", SCRIPT, str(raw), str(tmp_path / "out")]
        process = subprocess.Popen(arguments, start_new_session=True, stderr=subprocess.DEVNULL)
        while process.poll() is None and len(list(work.glob("block-*.json"))) < wanted:
            time.sleep(0.005)
        # Ctrl-C reaches the workers as well
        os.killpg(process.pid, end) if end == signal.SIGINT and process.poll() is None else process.send_signal(end)
        process.wait()
        resumed += len(list(work.glob("block-*.json"))) > 0
        assert not (tmp_path / "out").exists() or (tmp_path / "out" / "manifest.json").exists()
    assert resumed, "at least one kill fell into the work"
    prepare(raw, tmp_path / "out", CONFIG, workers=1)
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")
    assert not work.exists()


def test_work_of_another_call_is_not_taken_over(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ts_data.pipeline.writer.write_splits", fail)
    with pytest.raises(KeyboardInterrupt):
        prepare(raw, tmp_path / "out", CONFIG, workers=1)
    assert (tmp_path / ".out.ts-work").exists(), "an interrupt keeps the work"
    monkeypatch.undo()
    changed = PrepareConfig(validation=20, min_characters=400)
    prepare(raw, tmp_path / "out", changed, workers=1)
    prepare(raw, tmp_path / "fresh", changed, workers=1)
    assert tree(tmp_path / "out") == tree(tmp_path / "fresh")


def test_progress_ends_at_the_total(raw: Path, tmp_path: Path) -> None:
    seen: dict[str, tuple[int, int | None]] = {}
    prepare(
        raw, tmp_path / "out", CONFIG, workers=1, progress=lambda stage, done, total=None: seen.update({stage: (done, total)})
    )
    assert seen["read"] == (1, 1)
    assert seen["clean"] == (raw.stat().st_size, raw.stat().st_size)
    assert seen["write"][0] == seen["write"][1]
    packed = tmp_path / "raw.parquet"
    pq.write_table(pa.table({"text": raw.read_text(encoding="utf-8").split("<|endoftext|>")}), packed)
    prepare(
        packed, tmp_path / "two", CONFIG, workers=1, progress=lambda stage, done, total=None: seen.update({stage: (done, total)})
    )
    assert seen["clean"][0] == seen["clean"][1]
    assert seen["clean"][0] > raw.stat().st_size / 2, "bytes as well, not row groups"


def test_the_folder_opens_in_datasets(raw: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    prepare(raw, tmp_path / "splits", CONFIG, workers=1)
    loaded = datasets.load_dataset(str(tmp_path / "splits"), cache_dir=str(tmp_path / "cache"))
    assert {name: len(rows) for name, rows in loaded.items()} == {
        name: info.stories for name, info in open_manifest(tmp_path / "splits").splits.items()
    }
    assert loaded["test"]["text"][:] == list(read(tmp_path / "splits", "test"))

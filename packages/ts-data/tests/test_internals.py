"""Parts that have no public way to every case of theirs: arrays, kinds of files, separators, sizes, the corpus, engines, the terminal."""

from __future__ import annotations

import errno
import io
import json
import random
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import process_time

import numpy as np
import pyarrow as pa
import pytest

import ts_data
from ts_data import ConfigError, PrepareConfig, TsDataError, arrow, console, prepare
from ts_data.artefact import lock
from ts_data.cli import histogram
from ts_data.corpus.grammar import FEATURES, Plan, plan, render
from ts_data.corpus.impurities import DEFECTS
from ts_data.dedup.exact import first_occurrence
from ts_data.engines import ENGINES, Task, load
from ts_data.engines.worker import decode, encode, outcome_of, raise_failure
from ts_data.pipeline.manifest import lengths
from ts_data.pipeline.pipeline import _useful_workers
from ts_data.pipeline.splits import sizes
from ts_data.pipeline.tasks import HashSource
from ts_data.pipeline.workdir import WorkDir
from ts_data.reports.show import highlight, visible
from ts_data.sources import kind_of
from ts_data.sources.csv import delimiter_of
from ts_data.sources.jsonl import entries
from ts_data.sources.separators import found_inside
from ts_data.sources.storage import _limited

CONFIG = PrepareConfig(validation=20)


def test_in_the_histogram_a_bin_with_few_stories_shows() -> None:

    lines = histogram(lengths(np.array([10] * 1_000 + [30]))).splitlines()
    assert lines[0].split() == ["0–24", "█" * 50, "1,000"]
    assert lines[1].split() == ["25–49", "▏", "1"]


def test_a_process_for_all_that_is_worth_one(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _useful_workers([str(raw)]) == 1
    monkeypatch.setattr("ts_data.pipeline.pipeline.PROCESS", raw.stat().st_size // 3)
    assert _useful_workers([str(raw)]) in (3, 4)
    assert _useful_workers([str(raw), "-"]) > 1_000_000, "nobody knows how much comes through a pipe"


def test_default_sizes() -> None:
    assert sizes(1_798_756, PrepareConfig(), test_given=True) == (73_728, 0)
    assert sizes(20_000, PrepareConfig(), test_given=False) == (1_000, 1_000)
    assert sizes(3, PrepareConfig(), test_given=False) == (1, 1)
    with pytest.raises(ConfigError, match=r"`validation`.*only 100 stories"):
        sizes(100, PrepareConfig(validation=100), test_given=True)
    with pytest.raises(ConfigError, match=r"no story is left after cleaning \(removed: empty 2\)\. Check the sources"):
        sizes(0, PrepareConfig(), test_given=False, removed={"empty": 2, "short": 0})


@pytest.mark.parametrize(("workers", "number"), [(1, errno.ENOSPC), (2, errno.ENOSPC), (1, errno.EDQUOT), (2, errno.EFBIG)])
def test_a_disk_that_fills_up_is_named_and_the_work_kept_and_gone_on_with(
    raw: Path, tmp_path: Path, small_blocks: None, monkeypatch: pytest.MonkeyPatch, workers: int, number: int
) -> None:
    def no_space(task: object) -> None:
        raise OSError(number, "full")

    def full(self: object, tasks: Sequence[Task]) -> Iterator[int]:
        for place, task in enumerate(tasks):
            if place == 5:
                monkeypatch.setattr(type(task), "run", no_space)
            if workers == 2:  # as a worker process does it
                raise_failure(outcome_of(decode(encode(task))))
            else:
                task.run()
            yield place

    monkeypatch.setattr("ts_data.engines.local.Engine.run", full)
    with pytest.raises(TsDataError, match=r"\.splits\.ts-work: no space is left on its disk\..*it resumes"):
        prepare(raw, tmp_path / "splits", CONFIG, workers=workers)
    monkeypatch.undo()
    held = sum(file.stat().st_size for file in (tmp_path / ".splits.ts-work").iterdir())
    assert held > 60_000
    monkeypatch.setattr("ts_data.sources.blocks.BLOCK", 20_000)
    monkeypatch.setattr("ts_data.pipeline.pipeline.SHARD", 60_000)
    free = int(raw.stat().st_size * 3.5) - held  # enough for the rest, not for the whole
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**12, 0, free))
    seen = []
    prepare(raw, tmp_path / "splits", CONFIG, progress=lambda stage, done, total=None: seen.append((stage, done)))
    assert next(done for stage, done in seen if stage == "clean") > 60_000, "it goes on where it stood"


@pytest.mark.parametrize(
    "problem", [OSError(errno.EROFS, "Read-only file system", "a/b"), OSError("damaged"), MemoryError("8 GB")]
)
def test_a_failure_of_the_machine_leaves_a_worker_as_itself(problem: Exception) -> None:
    class Failing(HashSource):
        def run(self) -> None:
            raise problem

    with pytest.raises(type(problem)) as found:
        raise_failure(outcome_of(Failing(WorkDir(Path("work")), 0, "raw.txt")))
    assert console.explain(found.value) == console.explain(problem)


def test_only_one_at_a_time(raw: Path, tmp_path: Path) -> None:
    with (
        lock(tmp_path / "out"),
        pytest.raises(TsDataError, match=r"out: another writer is writing here\. Wait until it has finished"),
    ):
        prepare(raw, tmp_path / "out", CONFIG, workers=1)


@pytest.mark.integration
def test_the_shuffle_finds_the_first_of_each_hash() -> None:
    pytest.importorskip("ray", reason="needs the extra `ray`; run by `nox -s integration`")
    hashes = np.random.default_rng(4).integers(0, 60, (20_000, 2), dtype=np.uint64)
    with load("ray", 2) as engine:
        assert (engine.first_occurrence(hashes) == first_occurrence(hashes)).all()
        assert len(engine.first_occurrence(hashes[:0])) == 0


def test_a_google_store_is_not_asked_for_a_quarter_of_an_hour() -> None:
    assert _limited("gs://bucket/raw.txt") == "gs://bucket/raw.txt?retry_limit_seconds=20"
    assert _limited("gs://bucket/raw.txt?anonymous=true") == "gs://bucket/raw.txt?anonymous=true&retry_limit_seconds=20"
    assert _limited("gs://bucket/raw.txt?retry_limit_seconds=9") == "gs://bucket/raw.txt?retry_limit_seconds=9"
    assert _limited("s3://bucket/raw.txt") == "s3://bucket/raw.txt"


def test_a_json_list_is_read_in_pieces() -> None:
    tales = [f'"Hi; I am {n}," said Tom.' for n in range(60)]
    for size in (1, 7, 1000):
        content = json.dumps([{"text": tale, "n": {"a": [1]}} for tale in tales], indent=1).encode()
        pieces = iter([content[at : at + size] for at in range(0, len(content), size)])
        assert [entry["text"] for entry in entries("x.json", lambda pieces=pieces: next(pieces, b""))] == tales
    pieces = iter([b"[1", b"2, 3.", b"5 ,-1]"])
    assert list(entries("x.json", lambda: next(pieces, b""))) == [12, 3.5, -1]


def test_a_long_entry_of_a_json_list_takes_time_in_proportion_to_it() -> None:
    content = io.BytesIO(json.dumps([[{"text": "a b c"}] * 100_000]).encode())
    begun = process_time()
    assert [len(entry) for entry in entries("x.json", lambda: content.read(1000))] == [100_000]
    assert process_time() - begun < 2  # 22 s where each piece starts the entry anew


@pytest.mark.parametrize("entry", [b'{"text": nope}', b"9" * 5000, b'"a\nb"'])
def test_a_damaged_entry_of_a_json_list_is_named_before_the_file_is_in_memory(entry: bytes) -> None:
    content = io.BytesIO(b'["One.", ' + entry + b', "Two."' * 50_000 + b"]")
    with pytest.raises(ts_data.SourceError, match="entry 2: not JSON"):
        list(entries("x.json", lambda: content.read(1000)))
    assert content.tell() < 20_000


def test_delimiters() -> None:
    assert delimiter_of('n;text\n1;"a, b; c"\n2;d,e\n', ("text",)) == ";"
    assert delimiter_of('n,text\n1,"a; b, c"\n2,d;e\n', ("text",)) == ","
    assert delimiter_of('text\n"a, b"\n"c; d"\n', ("text",)) == ","
    assert delimiter_of("text\na, b\nc d\n", ("text",)) != ",", "an unquoted comma does not part a single column"
    assert delimiter_of("n\ttext\n1\ta, b; c\n", ("text",)) == "\t"
    assert delimiter_of("", ("text",)) == ","


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.JSONL", ("jsonl", None)),
        ("a.jsonl.Gz", ("jsonl", "gzip")),
        ("a.TSV.ZST", ("tsv", "zstd")),
        ("a.gz", ("text", "gzip")),
        ("a.Parquet", ("parquet", None)),
        ("a", ("text", None)),
        (".json", ("text", None)),
    ],
)
def test_a_kind_is_known_by_the_ending_in_any_case(name: str, kind: tuple[str, str | None]) -> None:
    assert kind_of(name) == kind


@pytest.mark.parametrize(
    "text",
    ["He said --- no.", "5 * 5 * 5", "<3 <b>bold</b>", "I [think] so", "The end", "a - b - c", "It is *** here", "</p>", "snake_case ___ x",
     "#1 ## two", "[sic]", "He sent it.\n- one\n- two", "~ so ~"],
)  # fmt: skip
def test_what_stands_in_a_line_of_text_is_no_separator(text: str) -> None:
    assert not found_inside(pa.array([f"Before.\n{text}\nAfter."], pa.large_string()))


def test_a_separator_at_the_ends_of_a_story_is_none() -> None:
    assert not found_inside(pa.array(["\n---\nA story.\n---\n", "\f"], pa.large_string()))


@pytest.mark.parametrize(
    ("validation", "test", "expected"),
    [
        (0.05, None, (5, 5)),
        (0.1, 0.2, (10, 20)),
        (0, None, (0, 0)),
        (0, 7, (0, 7)),
        (4, 0, (4, 0)),
        (0.001, 0, (1, 0)),
        (None, 0, (5, 0)),
    ],
)
def test_sizes_by_number_share_and_none(validation: float | None, test: float | None, expected: tuple[int, int]) -> None:
    assert sizes(100, PrepareConfig(validation=validation, test=test), test_given=False) == expected


@pytest.mark.parametrize("feature", FEATURES)
def test_a_story_has_its_words_and_features(feature: str) -> None:
    for number in range(40):
        dice = random.Random(number)
        drawn = plan(dice)
        story = render(Plan(drawn.noun, drawn.verb, drawn.adjective, frozenset([feature])), dice)
        assert drawn.noun in story
        assert drawn.adjective in story
        assert ('"' in story) == (feature == "dialogue")


@pytest.mark.parametrize("kind", DEFECTS)
def test_each_damage_does_something(kind: str) -> None:
    text = 'They ran. "Yes," said Tom, and the first bird didn\'t fly.\n\nIt was a fine and different day. They smiled.' * 3
    _, damage = DEFECTS[kind]
    assert any(damage(text, random.Random(i)) != text for i in range(5))


def test_highlight() -> None:
    assert highlight("He *ran* home", "He ran home") == "He [-*-]ran[-*-] home"
    assert highlight("a\u200bb", "ab") == "[-a\\u200bb-]{+ab+}"
    assert highlight("x y", "x z", color=True) == "x \x1b[1;31my\x1b[0m\x1b[1;32mz\x1b[0m"
    long = "word " * 40
    assert highlight(long + "old" + long, long + "new" + long, around=10).startswith("…")


def test_what_the_terminal_could_obey_is_escaped() -> None:
    assert "\x1b[" not in highlight("a\x1b[2Jb", "ab")
    assert highlight("\x1b[2J x", "\x1b[2J y") == "\\x1b[2J [-x-]{+y+}"
    assert visible("a\u202eb\nc\t") == "a\\u202eb\nc\\t"


def test_lines_break_between_words_and_keep_their_colours(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    text = highlight("the old dog " + "ran " * 30, "the new dog " + "ran " * 30, color=True, around=200)
    console.emit({}, text)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert all(len(re.sub(r"\x1b\[[\d;]*m", "", line)) <= 40 for line in lines)
    assert "\x1b[1;31mold\x1b[0m" in lines[0]
    assert not any(line.startswith(("an", "n ")) for line in lines)


@pytest.mark.parametrize("name", ["int8", "uint32", "int64", "float32", "float64", "bool"])
def test_numbers_come_back_as_they_went(name: str) -> None:
    values = np.array([1, 0, 1, 1, 0, 0, 1, 0, 1, 1], name)
    column = arrow.fixed(values)
    assert column.type == pa.from_numpy_dtype(values.dtype)
    for part, expected in ((column, values), (column[3:], values[3:]), (column[2:9], values[2:9]), (column[:0], values[:0])):
        back = arrow.numbers(part)
        assert back.dtype == values.dtype
        assert back.tolist() == expected.tolist()


def test_places_without_a_value_are_null() -> None:
    assert arrow.fixed(np.array([1, 2, 3]), np.array([True, False, True])).to_pylist() == [1, None, 3]


def test_texts_are_taken_as_they_are() -> None:
    assert arrow.strings([b"a", b"", "é".encode()]).to_pylist() == ["a", "", "é"]
    with pytest.raises(pa.ArrowInvalid):
        arrow.strings([b"\xff"]).validate(full=True)


def test_engines_table_names_modules() -> None:
    assert set(ENGINES) == {path.stem for path in Path(ts_data.__file__).parent.glob("engines/*.py")} - {
        "__init__",
        "messages",
        "worker",
    }

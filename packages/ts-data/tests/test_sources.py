"""Raw files of every spelling: JSON lists, TSV, CSV with other delimiters, structs, folders, patterns, pipes, encodings, bad lines."""

from __future__ import annotations

import bz2
import csv
import gzip
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ts_data import ConfigError, Input, PrepareConfig, SourceError, clean, prepare, read
from ts_data.pipeline.tasks import CleanBlock

CONFIG = PrepareConfig(validation=3, test=3)
REST = " They walked to the park and played with the red ball until the sun went down, and then they all went home to eat. " * 2


@pytest.fixture
def tales() -> list[str]:
    """Sixty stories: dialogue at the beginning and the end, commas, semicolons, tabs are absent."""
    return [f'"Hi; I am {n}," said Tom, and smiled.{REST}"Bye," said Sue.' for n in range(60)]


def stories_of(folder: Path) -> set[str]:
    return {text for split in ("train", "validation", "test") for text in read(folder, split)}


def cleaned(tales: list[str]) -> set[str]:
    return {clean(tale).text for tale in tales}


def json_list(tales: list[str]) -> bytes:
    return json.dumps([{"text": tale, "n": {"a": [1]}} for tale in tales], indent=1).encode()


def lines(tales: list[str]) -> bytes:
    return "".join(json.dumps({"text": tale}) + "\n" for tale in tales).encode()


def plain(tales: list[str]) -> bytes:
    return "".join(f"{tale}\n<|endoftext|>\n" for tale in tales).encode()


def rows(tales: list[str], delimiter: str, **options: object) -> bytes:
    import io

    target = io.StringIO(newline="")
    writer = csv.writer(target, delimiter=delimiter, **options)  # type: ignore[arg-type]
    writer.writerow(["n", "text"])
    writer.writerows([n, tale] for n, tale in enumerate(tales))
    return target.getvalue().encode()


def tsv(tales: list[str]) -> bytes:
    return ("n\ttext\n" + "".join(f"{n}\t{tale}\n" for n, tale in enumerate(tales))).encode()


BOM = b"\xef\xbb\xbf"
FILES = {
    "array.json": json_list,
    "array.jsonl": json_list,
    "strings.json": lambda tales: json.dumps(tales).encode(),
    "bom.json": lambda tales: BOM + b"  \n" + json_list(tales),
    "array.JSON.GZ": lambda tales: gzip.compress(json_list(tales)),
    "lines.JSONL": lines,
    "lines.Ndjson": lines,
    "lines.jsonlines": lines,
    "lines.json": lines,
    "bom.jsonl": lambda tales: BOM + lines(tales),
    "crlf.jsonl": lambda tales: lines(tales).replace(b"\n", b"\r\n"),
    "lines.jsonl.bz2": lambda tales: bz2.compress(lines(tales)),
    "plain.TXT": plain,
    "plain": plain,
    "plain.txt.GZIP": lambda tales: gzip.compress(plain(tales)),
    "bom.txt": lambda tales: BOM + plain(tales),
    "comma.csv": lambda tales: rows(tales, ","),
    "comma.CSV": lambda tales: BOM + rows(tales, ","),
    "semicolon.csv": lambda tales: rows(tales, ";"),
    "quoted-semicolon.csv": lambda tales: rows(tales, ";", quoting=csv.QUOTE_ALL),
    "tabs.csv": lambda tales: rows(tales, "\t"),
    "pipes.csv": lambda tales: rows(tales, "|"),
    "one-column.csv": lambda tales: ("text\n" + "".join('"{}"\n'.format(tale.replace('"', '""')) for tale in tales)).encode(),
    "plain.tsv": tsv,
    "PLAIN.TSV": tsv,
    "plain.tab": tsv,
    "packed.TSV.gz": lambda tales: gzip.compress(tsv(tales)),
    "first-column.tsv": lambda tales: ("text\tn\n" + "".join(f"{tale}\t{n}\n" for n, tale in enumerate(tales))).encode(),
    "one-column.tsv": lambda tales: ("text\n" + "".join(f"{tale}\n" for tale in tales)).encode(),
    "bom.tsv": lambda tales: BOM + tsv(tales),
    "quoted.tsv": lambda tales: rows(tales, "\t", quoting=csv.QUOTE_ALL),
}


@pytest.mark.parametrize("name", FILES)
def test_sixty_rows_are_sixty_stories_in_every_kind_of_file(name: str, tales: list[str], tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(FILES[name](tales))
    manifest = prepare(tmp_path / name, tmp_path / "splits", CONFIG, workers=1)
    assert (manifest.stories_in, manifest.kept, manifest.warnings) == (60, 60, ())
    assert stories_of(tmp_path / "splits") == cleaned(tales)


def test_a_single_quotation_mark_of_a_tsv_row_swallows_no_other_row(tales: list[str], tmp_path: Path) -> None:
    torn = [tale.replace('"Hi; ', '"Hi ').replace(',"', ",") if n % 2 else tale for n, tale in enumerate(tales)]
    (tmp_path / "a.tsv").write_text("text\tn\n" + "".join(f"{tale}\t{n}\n" for n, tale in enumerate(torn)), encoding="utf-8")
    assert prepare(tmp_path / "a.tsv", tmp_path / "splits", CONFIG, workers=1).stories_in == 60
    assert stories_of(tmp_path / "splits") == cleaned(torn)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", b'[{"text": "x"}', "a.json, entry 1: the file ends after it"),
        ("a.json", b'[{"text": "x"} {"text": "y"}]', "a.json, entry 1: '{' follows it, a comma"),
        ("a.json", b'["x", ]', "a.json, entry 2: not JSON"),
        ("a.json", b'["x"] tail', "'t' follows the end of the list"),
        ("a.json", b"[]", "is an empty list"),
        ("a.json", b'["x", 5]', "a.json, entry 2: is neither an object nor a string"),
        ("a.json", b'[{"text": NaN}]', "a.json, entry 1: the story is a number"),
        ("a.json", b"[" * 100_000, "nested too deeply"),
        ("a.jsonl", b'{"text": ' + b"[" * 100_000 + b"\n", "a.jsonl, line 1: nested too deeply"),
        ("a.json", b'["caf\xe9"]', "not UTF-8"),
        ("a.jsonl", b'{"text": "x"}\n{"text": "caf\xe9"}\n', "a.jsonl, line 2: not UTF-8 at byte 27"),
        ("a.jsonl", b'{"text": "x"}\n{"text": "caf\xc3', "a.jsonl, line 2: not UTF-8 at byte 27 .*The file ends there: .*bad_lines=skip"),
        ("a.txt", "Once… <|endoftext|> so…".encode()[:-1], "line 1: not UTF-8 .*The file ends there: if it was cut off, download"),
        ("a.jsonl", b'{"text": "x\n', r"not JSON \(Unterminated string starting at character 10\)"),
        ("a.csv", b"text,text\nx,y\n", "has 2 columns 'text'"),
        ("a.csv", b'n,text\n1,"Hi" said Tom.\n', "a.csv, line 2: text follows a closing quotation mark"),
        ("a.csv", b'n,text\n1,"One.\n2,"Two."\n', r"a.csv, line 3: text follows a closing .*the row begins in line 2\)"),
        ("a.csv", b"n,text\n" + b"1,x\n" * 70_000 + b'2,"Hi" x\n', "a.csv, line 70,002: text follows a closing quotation mark"),
        ("a.csv", b"n,text\n" + b"1,x\n" * 70_000 + b'2,"Hi\n3,x\n', "a.csv, line 70,002: a quotation mark opens a field that never"),
        ("a.csv", b"text;n\nx;1;2\n", "not readable as CSV.*bad_lines=skip"),
        ("a.tsv", b"n\ttext\n1\tx\n2\n", "not readable as TSV"),
        ("wide.txt", "One. " .encode("utf-32") * 20, "is UTF-32, not UTF-8.*iconv -f UTF-32 "),
        ("wide.jsonl", '{"text": "x"}\n'.encode("utf-32-be"), "is UTF-32BE, not UTF-8.*iconv -f UTF-32BE "),
        ("wide.csv", "text\nOnce there was\n".encode("utf-16-le"), "is UTF-16LE, not UTF-8"),
        ("wide.json", '["Once there was"]'.encode("utf-16"), "is UTF-16, not UTF-8.*iconv -f UTF-16 "),
        ("wide.tsv", "n\ttext\n1\tOnce there was\n".encode("utf-16-be"), "is UTF-16BE"),
        ("tales.txt", b'{"text": "One"}\n' * 3, "looks like JSON, but its ending says text"),
        ("tales.txt", b"One.\n---\nTwo.\n---\n", r"is not in the file \(but '---' is\)"),
        ("tales.tar.gz", b"x", ".tar files cannot be read"),
        ("tales.txt", b"PK\x03\x04xxx", r"is a \.zip file, not text"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_in_one_sentence(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=message) as caught:
        prepare(tmp_path / name, tmp_path / "splits", CONFIG, workers=1)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == [name]


# --- structs -----------------------------------------------------------------------------------


def test_a_column_inside_a_struct(tales: list[str], tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"text_column": "meta.inner.body"})
    meta = [{"inner": {"body": tale, "n": 1}, "other": "x"} for tale in tales]
    pq.write_table(pa.table({"n": list(range(60)), "meta": meta}), tmp_path / "a.parquet")
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"meta": item}) + "\n" for item in meta), encoding="utf-8")
    (tmp_path / "a.json").write_text(json.dumps([{"meta": item} for item in meta]), encoding="utf-8")
    pq.write_table(pa.table({"meta.inner.body": tales}), tmp_path / "literal.parquet")
    for delimiter, name in ((",", "literal.csv"), ("\t", "literal.tsv")):
        (tmp_path / name).write_bytes(rows(tales, delimiter).replace(b"text", b"meta.inner.body", 1))
    for name in ("a.parquet", "a.jsonl", "a.json", "literal.parquet", "literal.csv", "literal.tsv"):
        prepare(tmp_path / name, tmp_path / f"{name}-splits", config, workers=1)
        assert stories_of(tmp_path / f"{name}-splits") == cleaned(tales)
    wrong = CONFIG.model_copy(update={"text_column": "meta.nothing"})
    with pytest.raises(SourceError, match=r"no column 'meta.nothing'"):
        prepare(tmp_path / "a.parquet", tmp_path / "wrong", wrong, workers=1)
    with pytest.raises(SourceError, match=r"line 1: no column 'meta.nothing'; there are: meta"):
        prepare(tmp_path / "a.jsonl", tmp_path / "wrong", wrong, workers=1)


@pytest.mark.parametrize("name", ["body", "story", "a.b", "text"])
def test_the_column_of_a_table_has_any_name(name: str, tales: list[str], tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(rows(tales, ",").replace(b"text", name.encode(), 1))
    prepare(tmp_path / "a.csv", tmp_path / "splits", CONFIG.model_copy(update={"text_column": name}), workers=1)
    assert stories_of(tmp_path / "splits") == cleaned(tales)


@pytest.mark.parametrize("kind", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())])
def test_parquet_holds_text_in_every_type_of_text(kind: pa.DataType, tales: list[str], tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": pa.array(tales).cast(kind)}), tmp_path / "a.parquet")
    prepare(tmp_path / "a.parquet", tmp_path / "splits", CONFIG, workers=1)
    assert stories_of(tmp_path / "splits") == cleaned(tales)


def test_a_parquet_file_with_a_damaged_description_is_refused_by_its_name(tales: list[str], tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": tales}), tmp_path / "a.parquet")
    content = bytearray((tmp_path / "a.parquet").read_bytes())
    content[-300:-250] = b"\xff" * 50
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(SourceError, match=r"a\.parquet: not a Parquet file, or damaged: "):
        prepare(tmp_path / "a.parquet", tmp_path / "splits", CONFIG, workers=1)


def test_a_parquet_file_with_a_page_of_an_unknown_kind_is_refused(tales: list[str], tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": tales}), tmp_path / "a.parquet", use_dictionary=False)
    content = bytearray((tmp_path / "a.parquet").read_bytes())
    assert content[4:6] == b"\x15\x00", "a page's header begins with its kind, 0: data"
    content[5] = 1
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(SourceError, match=rf"a\.parquet: damaged: 0 of its {len(tales)} rows can be read"):
        prepare(tmp_path / "a.parquet", tmp_path / "splits", CONFIG, workers=1)


# --- files that change while they are read ------------------------------------------------------


def _append(path: Path, tales: list[str]) -> None:
    path.write_bytes(plain([*tales, tales[0] + " And more."]))


def _shorten(path: Path, tales: list[str]) -> None:
    path.write_bytes(plain(tales[:20]))


def _replace(path: Path, tales: list[str]) -> None:
    path.with_name("new").write_bytes(plain(tales[::-1]))
    path.with_name("new").replace(path)


def _remove(path: Path, tales: list[str]) -> None:
    path.unlink()


@pytest.mark.parametrize("change", [_append, _shorten, _replace, _remove])
def test_a_file_that_changes_while_it_is_read_is_refused(
    change: Callable[[Path, list[str]], None], tales: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = tmp_path / "a.txt"
    raw.write_bytes(plain(tales))
    clean_block = CleanBlock.run

    def run(task: CleanBlock) -> None:
        clean_block(task)
        change(raw, tales)

    monkeypatch.setattr(CleanBlock, "run", run)
    with pytest.raises(SourceError, match=r"a\.txt: changed while it was read"):
        prepare(raw, tmp_path / "splits", CONFIG, workers=1)
    assert not (tmp_path / "splits").exists()


# --- folders, patterns, pipes ------------------------------------------------------------------


def test_a_folder_and_a_pattern_give_their_files_in_order(tales: list[str], tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    (raw / "deep").mkdir(parents=True)
    (raw / "b.JSONL").write_bytes(lines(tales[:20]))
    (raw / "a.txt.gz").write_bytes(gzip.compress(plain(tales[20:40])))
    (raw / "deep" / "c.csv").write_bytes(rows(tales[40:], ","))
    (raw / "README.md").write_text("not a story")
    (raw / ".hidden.txt").write_text("nor this")
    manifest = prepare(raw, tmp_path / "splits", CONFIG, workers=1)
    assert [Path(source.name).name for source in manifest.sources] == ["a.txt.gz", "b.JSONL", "c.csv"]
    assert stories_of(tmp_path / "splits") == cleaned(tales)
    manifest = prepare(f"{raw}/*.[Jt]*", tmp_path / "some", CONFIG, workers=1)
    assert [Path(source.name).name for source in manifest.sources] == ["a.txt.gz", "b.JSONL"]
    prepare(f"{raw}/**/*.csv", tmp_path / "deep", CONFIG, workers=1)
    assert stories_of(tmp_path / "deep") == cleaned(tales[40:])
    (tmp_path / "link.jsonl").symlink_to(raw / "b.JSONL")
    for again in (raw / "b.JSONL", f"{raw}/./b.JSONL", f"{raw}/deep/../b.JSONL", tmp_path / "link.jsonl"):
        with pytest.raises(ConfigError, match=r"(b\.JSONL|link\.jsonl): is named twice"):
            prepare([raw, again], tmp_path / "twice", CONFIG)


def test_splits_as_a_source_give_their_stories_and_no_removed_ones(tales: list[str], tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines([*tales, tales[0]]))
    prepare(tmp_path / "a.jsonl", tmp_path / "one", CONFIG, workers=1)
    manifest = prepare(tmp_path / "one", tmp_path / "two", CONFIG, workers=1)
    assert manifest.stories_in == manifest.kept == 60


@pytest.mark.skipif(os.name != "posix", reason="named pipes")
@pytest.mark.parametrize(
    "make", [plain, lines, json_list, lambda tales: gzip.compress(lines(tales)), lambda tales: BOM + lines(tales)]
)
def test_a_pipe_is_read_once_and_its_kind_is_known_by_its_content(make: object, tales: list[str], tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    threading.Thread(target=pipe.write_bytes, args=(make(tales),), daemon=True).start()  # type: ignore[operator]
    prepare(pipe, tmp_path / "splits", CONFIG, workers=1)
    assert stories_of(tmp_path / "splits") == cleaned(tales)


@pytest.mark.parametrize("content", [b"", b" \n "])
def test_an_empty_or_closed_stdin_is_refused(content: bytes, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ts_data", "prepare", "-", "--out", str(tmp_path / "splits"), "-q"]
    done = subprocess.run(command, input=content, capture_output=True, check=False)
    assert done.returncode == 2
    assert done.stderr.decode().count("\n") == 1
    assert not list(tmp_path.iterdir())


# --- bad lines ---------------------------------------------------------------------------------


SKIP = PrepareConfig(validation=3, test=3, bad_lines="skip")


@pytest.mark.parametrize(
    ("name", "content", "skipped"),
    [
        (
            "a.jsonl",
            lambda tales: lines(tales[:30]) + b'{"text"\n5\n{"body": "x"}\n{"text": null}\n\xff\n' + lines(tales[30:]),
            5,
        ),
        ("a.json", lambda tales: json.dumps([*tales, 5, None, {"text": 1}]).encode(), 3),
        ("a.txt", lambda tales: plain(tales[:30]) + b"caf\xe9 was here\n<|endoftext|>\n" + plain(tales[30:]), 1),
        ("a.csv", lambda tales: rows(tales, ",") + b"1,2,3\n7,caf\xe9\n8,9,caf\xe9\n", 3),
        ("a.tsv", lambda tales: tsv(tales) + b"1\n2\tx\ty\n", 2),
    ],
)
def test_bad_lines_stop_by_default_and_are_skipped_and_counted_by_option(
    name: str, content: object, skipped: int, tales: list[str], tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content(tales))  # type: ignore[operator]
    with pytest.raises(SourceError):
        prepare(tmp_path / name, tmp_path / "splits", CONFIG, workers=1)
    with pytest.warns(UserWarning, match=rf"{name}: {skipped} .* could not be read and were left out"):
        manifest = prepare(tmp_path / name, tmp_path / "splits", SKIP, workers=1)
    assert [source.skipped for source in manifest.sources] == [skipped]
    assert manifest.stories_in == 60
    assert stories_of(tmp_path / "splits") == cleaned(tales)


def test_a_skipped_last_story_leaves_the_one_before_it_whole(tales: list[str], tmp_path: Path) -> None:
    """Only the last story of a file can be cut off by its end."""
    (tmp_path / "a.txt").write_bytes(plain([*tales, tales[0].rstrip('.!?"') + " and"]) + b"half a st\xff")
    with pytest.warns(UserWarning, match="1 lines or rows could not be read"):
        manifest = prepare(tmp_path / "a.txt", tmp_path / "splits", SKIP, workers=1)
    assert (manifest.stories_in, manifest.kept, manifest.removed) == (61, 61, {})


def test_skipped_lines_are_not_looked_for(tales: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line and the byte of a fault are counted from the beginning of the file: for each of many this takes hours."""

    def never(*_: object) -> None:
        raise AssertionError

    (tmp_path / "a.jsonl").write_bytes(lines(tales) + b'{"text": null}\n{"text"\n"caf\xe9"\n')
    monkeypatch.setattr("ts_data.sources.jsonl.line_of", never)
    monkeypatch.setattr("ts_data.sources.jsonl.not_utf8", never)
    with pytest.warns(UserWarning, match="3 lines or rows could not be read"):
        prepare(tmp_path / "a.jsonl", tmp_path / "splits", SKIP, workers=1)


# --- many files --------------------------------------------------------------------------------


def test_each_of_many_files_is_looked_for_once(tales: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of files: what is compared must not grow with the square of their number."""
    compared, equal = [], Input.__eq__

    def count(self: Input, other: object) -> bool:
        compared.append(self.name)
        return equal(self, other)

    monkeypatch.setattr(Input, "__eq__", count)
    (tmp_path / "raw").mkdir()
    for number, tale in enumerate(tales):
        (tmp_path / "raw" / f"{number:02d}.jsonl").write_bytes(lines([tale]))
    manifest = prepare(tmp_path / "raw", tmp_path / "splits", CONFIG, workers=1)
    assert [source.stories for source in manifest.sources] == [1] * 60
    assert len(compared) <= 5 * 60

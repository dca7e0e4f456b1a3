"""Warnings with numbers; shares and none for validation; stories that stand elsewhere."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ts_data import ConfigError, DatasetManifest, PrepareConfig, prepare, read, removed

CONFIG = PrepareConfig(validation=3, test=3)


def tales(count: int, first: int = 0) -> list[str]:
    return [
        f"Once upon a time there was cat number {n}. " + "It ran and ran and sat on a mat. " * 6
        for n in range(first, first + count)
    ]


def prepared(source: Path, out: Path, config: PrepareConfig = CONFIG, **options: Any) -> DatasetManifest:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return prepare(source, out, config, workers=1, **options)


def write(path: Path, stories: list[str], separator: str = "<|endoftext|>") -> Path:
    path.write_text("".join(f"{story}\n{separator}\n" for story in stories), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "mark",
    ["<|endoftext |>", "< |endoftext| >", "<|END|>", "<|EndOfText|>", "<| end_of_text |>", "---", "***", "* * *", "-----", "===", "###",
     "\f", "</s>", "[END]", "<eos>", "———"],
)  # fmt: skip
def test_a_separator_inside_stories_is_a_warning_with_numbers(mark: str, tmp_path: Path) -> None:
    pairs = [f"{a}\n{mark}\n{b}" for a, b in zip(tales(29), tales(29, 29), strict=True)]
    manifest = prepared(write(tmp_path / "raw.txt", [*pairs, *tales(2, 90)]), tmp_path / "splits")
    assert manifest.stories_in == 31
    assert len(manifest.warnings) == 1
    assert f"raw.txt: 29 of 31 stories hold {mark!r} inside, which may be a separator" in manifest.warnings[0]


def test_a_jsonl_story_that_holds_the_separator_is_named(tmp_path: Path) -> None:
    import json

    (tmp_path / "a.jsonl").write_text("".join(json.dumps(f"{t}<|endoftext|>{t}x") + "\n" for t in tales(10)), encoding="utf-8")
    manifest = prepared(tmp_path / "a.jsonl", tmp_path / "splits")
    assert any("10 of 10 stories hold '<|endoftext|>' inside" in message for message in manifest.warnings)


def test_a_story_many_times_longer_than_the_rest_is_named(tmp_path: Path) -> None:
    stories = tales(40)
    stories[7] = " ".join(tales(25, 100))
    manifest = prepared(write(tmp_path / "raw.txt", stories), tmp_path / "splits")
    (message,) = manifest.warnings
    words = len(stories[0].split())
    assert f"raw.txt: story 7 has {25 * words:,} words, 25 times the median of {words}; is a separator missing in it?" in message


def test_a_test_file_that_stands_in_train_is_named_with_its_number(tmp_path: Path) -> None:
    raw = write(tmp_path / "raw.txt", tales(60))
    test = write(tmp_path / "valid.txt", [*tales(12), *tales(8, 500)])
    manifest = prepared(raw, tmp_path / "splits", PrepareConfig(validation=3), test=test)
    (message,) = manifest.warnings
    assert "valid.txt: 12 of its 20 test stories are also in train or validation" in message
    assert prepared(raw, tmp_path / "drop", PrepareConfig(validation=3, leakage="drop"), test=test).warnings == ()


@pytest.mark.parametrize(
    ("settings", "test", "message"),
    [
        ({"leakage": "drop"}, False, "leakage=drop does nothing"),
        ({"test": 5}, True, "test=… does nothing"),
        ({"min_characters": 9, "steps": ("whitespace",)}, False, "min_characters=… does nothing"),
    ],
)
def test_a_setting_that_does_nothing_is_named(settings: dict[str, Any], test: bool, message: str, tmp_path: Path) -> None:
    other = write(tmp_path / "valid.txt", tales(3, 900))
    config = PrepareConfig.model_validate({"validation": 3, **settings})
    manifest = prepared(write(tmp_path / "raw.txt", tales(60)), tmp_path / "splits", config, test=other if test else None)
    assert [found[: len(message)] for found in manifest.warnings] == [message]


def test_good_sources_give_no_warning(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert prepare(write(tmp_path / "raw.txt", tales(60)), tmp_path / "splits", CONFIG, workers=1).warnings == ()


def test_the_command_prints_each_warning_on_a_line(tmp_path: Path, run: Callable[..., tuple[int, str, str]]) -> None:
    raw = write(tmp_path / "raw.txt", [f"{a}\n---\n{a}" for a in tales(20)])
    code, out, err = run("prepare", raw, "--out", tmp_path / "splits", "-q", "--json")
    assert code == 0
    assert err.startswith(f"warning: {raw}: 20 of 20 stories hold '---' inside")
    assert err.count("\n") == 1
    assert out.count("\n") == 1


# --- shares and none ---------------------------------------------------------------------------


@pytest.mark.parametrize("value", [-1, 1.5, 1.0, -0.1, True, "few", float("nan"), float("inf")])
def test_what_is_neither_a_number_nor_a_share_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="a whole number of stories from 0 on, or a share between 0 and 1"):
        PrepareConfig(validation=value)


@pytest.mark.parametrize(("text", "stories"), [("0.05", 5), ("5%", 5), ("0", 0), ("7", 7)])
def test_the_option_takes_a_number_a_share_or_none(
    text: str, stories: int, tmp_path: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    raw = write(tmp_path / "raw.txt", tales(100))
    assert run("prepare", raw, "--out", tmp_path / "splits", "-q", "--validation", text)[0] == 0
    assert len(read(tmp_path / "splits", "validation")) == stories
    assert "validation" in run("stats", tmp_path / "splits")[1]


def test_a_split_without_stories_has_no_file_and_reads_as_empty(tmp_path: Path) -> None:
    manifest = prepared(write(tmp_path / "raw.txt", tales(30)), tmp_path / "splits", PrepareConfig(validation=0))
    assert manifest.splits["validation"].stories == 0
    assert manifest.splits["validation"].files == ()
    assert not (tmp_path / "splits" / "validation.parquet").exists()
    empty = read(tmp_path / "splits", "validation")
    assert (len(empty), list(empty), list(empty.batches()), empty[0:5]) == (0, [], [], [])
    assert len(read(tmp_path / "splits", "train")) == 30
    assert "split: validation" not in (tmp_path / "splits" / "README.md").read_text(encoding="utf-8")
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset(str(tmp_path / "splits"), cache_dir=str(tmp_path / "cache"))
    assert {name: len(rows) for name, rows in loaded.items()} == {"train": 30}


def test_no_story_at_all_is_still_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no story is left"):
        prepared(write(tmp_path / "raw.txt", ["short"] * 5), tmp_path / "splits", PrepareConfig(validation=0))
    (tmp_path / "raw.jsonl").write_text("\n\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"no story is in the sources\.$"):
        prepared(tmp_path / "raw.jsonl", tmp_path / "splits", PrepareConfig(validation=0))


# --- against -----------------------------------------------------------------------------------


def test_stories_that_stand_elsewhere_are_removed_and_counted(tmp_path: Path) -> None:
    raw = write(tmp_path / "raw.txt", [*tales(60), *tales(5)])
    other = write(tmp_path / "other.txt", [f"*{t.strip()}*\n" for t in tales(20, 10)])
    prepared(other, tmp_path / "other-splits")
    for against in (other, tmp_path / "other-splits"):
        out = tmp_path / f"out-{against.name}"
        manifest = prepared(raw, out, against=against)
        assert manifest.removed == {"duplicate": 5, "against": 20}
        assert (manifest.stories_in, manifest.kept) == (65, 40)
        gone = list(removed(out, "against"))
        assert [item.story for item in gone] == list(range(10, 30))
        assert all(str(item.twin_source).startswith(str(against)) and item.twin is not None for item in gone)
        assert {source.role for source in manifest.sources} == {"train", "against"}
        left = [text for split in ("train", "validation", "test") for text in read(out, split)]
        assert len(left) == 40
        assert not set(left) & {
            text for split in ("train", "validation", "test") for text in read(tmp_path / "other-splits", split)
        }


def test_near_ones_go_too_where_near_duplicates_are_asked_for(tmp_path: Path) -> None:
    long = [
        f"{t} The cat number {n} had a hat, a coat and {n} shoes, and it was {n} years old. " * 2 for n, t in enumerate(tales(30))
    ]
    raw = write(tmp_path / "raw.txt", [f"{t} The end." for t in long])
    other = write(tmp_path / "other.txt", long[:4])
    near = PrepareConfig(validation=1, test=1, deduplicate="near", near={"threshold": 0.9})
    assert prepared(raw, tmp_path / "near", near, against=other).removed["against"] >= 4
    assert "against" not in prepared(raw, tmp_path / "exact", CONFIG, against=other).removed


def test_against_may_be_given_with_a_test_file(tmp_path: Path) -> None:
    raw, test = write(tmp_path / "raw.txt", tales(40)), write(tmp_path / "test.txt", tales(6, 100))
    manifest = prepared(raw, tmp_path / "splits", test=test, against=write(tmp_path / "old.txt", tales(10)))
    assert manifest.splits["test"].stories == 6
    assert manifest.removed["against"] == 10

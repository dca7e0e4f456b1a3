"""Cleaning: one text with its changes, and the batch function against it."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ts_data import PrepareConfig, clean
from ts_data.cleaning.cleaner import CLEANED, KEPT, Cleaner, cleaner_hash
from ts_data.schemas import DEFAULT_STEPS

PIECES = st.lists(
    st.one_of(
        st.sampled_from(
            [
                " ",
                "\n",
                "\n\n",
                "\t",
                ".",
                ". ",
                "..",
                ". .",
                "- ",
                " -",
                "--",
                "-",
                '"',
                ',"',
                "'",
                "''",
                "`",
                "*",
                "\\",
                "\\n",
                "word",
                "The",
                "5",
                "…",
                "—",
                "–",
                "“",
                "”",
                "’",
                "â€œ",
                "â€",
                "â€™",
                "é",
                "\u200b",
                "\xad",
                "ﬁ",
                "\xa0",
                "\x00",
                "\x1c",
                "\r\n",
                "＊",
                "Ã©",
            ]
        ),
        st.text(max_size=4),
    ),
    max_size=25,
).map("".join)


def run(texts: list[str], config: PrepareConfig, *, keep_all: bool = False) -> pa.RecordBatch:
    batch = pa.record_batch([pa.array(texts, pa.string())], ["text"])
    return Cleaner(config, keep_all=keep_all).batch(batch)


@settings(max_examples=200, deadline=None)
@given(texts=st.lists(PIECES, max_size=6), order=st.permutations(DEFAULT_STEPS))
def test_batch_is_clean_of_each_text_whatever_the_order(texts: list[str], order: list[str]) -> None:
    texts = [text for text in texts if text.isprintable() or "\ud800" not in text]
    config = PrepareConfig(min_characters=12, steps=tuple(order))
    result = run(texts, config)
    assert result.schema == CLEANED
    for text, row in zip(texts, result.to_pylist(), strict=True):
        one = clean(text, config)
        assert row["text"] == one.text
        assert (None if row["dropped_by"] == KEPT else config.steps[row["dropped_by"]]) == one.dropped
        assert {config.steps[bit] for bit in range(32) if row["changed"] >> bit & 1} == {change.step for change in one.changes}
        assert row["characters"] == len(one.text)
        assert row["bytes"] == len(one.text.encode())
        digest = hashlib.blake2b(one.text.encode(), digest_size=16).digest()
        assert (row["hash_hi"].to_bytes(8, "little"), row["hash_lo"].to_bytes(8, "little")) == (digest[:8], digest[8:])


@settings(max_examples=100, deadline=None)
@given(text=PIECES)
def test_a_second_cleaning_reaches_a_fixed_point(text: str) -> None:
    config = PrepareConfig(min_characters=0)
    twice = clean(clean(text, config).text, config)
    assert clean(twice.text, config).text == twice.text


def test_a_cleaned_story_is_changed_no_more(stories: list[str]) -> None:
    config = PrepareConfig(min_characters=0)
    cleaned = [result.text for result in (clean(text, config) for text in stories) if result.dropped is None]
    assert len(cleaned) > 500
    assert [clean(text, config).changes for text in cleaned] == [()] * len(cleaned)


@settings(max_examples=100, deadline=None)
@given(
    texts=st.lists(
        st.tuples(PIECES, st.sampled_from(["plain words\n\n", "two  blanks ", "\tboth ends\r\n"])), min_size=1, max_size=30
    )
)
def test_words_and_plain_stories_are_what_they_are_one_by_one(texts: list[tuple[str, str]]) -> None:
    config = PrepareConfig(min_characters=25)
    mixed = [text for pair in texts for text in (pair[0], pair[1] * 2, pair[1] * 3, "")]
    for text, row in zip(mixed, run(mixed, config).to_pylist(), strict=True):
        one = clean(text, config)
        assert (row["text"], row["words"]) == (one.text, len(one.text.split()))
        assert (None if row["dropped_by"] == KEPT else config.steps[row["dropped_by"]]) == one.dropped
        assert {config.steps[bit] for bit in range(32) if row["changed"] >> bit & 1} == {change.step for change in one.changes}


def test_an_empty_batch_comes_out_empty() -> None:
    assert run([], PrepareConfig()).num_rows == 0


def test_a_sliced_batch_is_read_from_its_offset() -> None:
    texts = ["a*b" * 10, "one  two", "*cd*", "plain"]
    batch = pa.record_batch([pa.array(texts, pa.string())], ["text"]).slice(2)
    result = Cleaner(PrepareConfig(min_characters=0)).batch(batch)
    assert result.column("text").to_pylist() == ["cd", "plain"]


def test_the_default_line_on_one_story() -> None:
    story = "He said â€œMommy,â€ and *ran*  -- \u200bquickly.\n\nâ€œWait…â€ she cried." + " They went home." * 12
    result = clean(story)
    assert result.text.startswith('He said "Mommy," and ran — quickly. "Wait..." she cried. They')
    assert result.dropped is None
    assert [change.step for change in result.changes] == [
        "invisible",
        "mojibake",
        "quotes",
        "stars",
        "ellipses",
        "whitespace",
        "dashes",
    ]


def test_keep_all_repairs_and_drops_nothing() -> None:
    result = run(["", "café*", "short"], PrepareConfig(), keep_all=True)
    assert result.column("text").to_pylist() == ["", "café", "short"]
    assert set(result.column("dropped_by").to_pylist()) == {KEPT}


def test_only_a_cut_story_can_be_truncated() -> None:
    texts = pa.array(["It was a very" + " long day" * 30] * 2)
    batch = pa.record_batch([texts, pa.array([False, True])], ["text", "cut"])
    assert Cleaner(PrepareConfig()).batch(batch).column("dropped_by").to_pylist() == [KEPT, DEFAULT_STEPS.index("truncated")]


def test_hash_of_the_cleaner_follows_its_settings() -> None:
    hashes = {cleaner_hash(PrepareConfig(**values)) for values in ({}, {"min_characters": 5}, {"steps": ("stars",)})}
    assert len(hashes) == 3
    assert cleaner_hash(PrepareConfig(seed=9)) == cleaner_hash(PrepareConfig())


@pytest.mark.real_data
def test_real_stories_come_out_without_damage(real: list[str]) -> None:
    """The table and ftfy together leave nothing beyond ASCII but the em dash, and a second cleaning finds nothing to do."""
    texts = [clean(text, PrepareConfig(min_characters=0)) for text in real]
    assert len(texts) == 2_300
    assert all(result.dropped is None for result in texts)
    assert {c for result in texts for c in result.text if not c.isascii()} <= {"—"}
    assert sum("mojibake" in {c.step for c in result.changes} for result in texts) == 77
    assert all(clean(result.text, PrepareConfig(min_characters=0)).changes == () for result in texts)


@pytest.mark.real_data
def test_the_table_leaves_only_five_marks_in_the_real_stories(real: list[str]) -> None:
    config = PrepareConfig(steps=("mojibake",))
    assert {c for text in real for c in clean(text, config).text if not c.isascii()} == set("“”’–—")


def test_words_are_counted() -> None:
    assert run(["one two  three", "", "x"], PrepareConfig(min_characters=0)).column("words").to_pylist() == [3, 0, 1]
    config = PrepareConfig(min_characters=0, steps=("paragraphs",))
    assert np.array_equal(run(["one two\n\nthree"], config).column("words").to_numpy(), [3])

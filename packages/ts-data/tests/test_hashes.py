"""Hashes of stories: what they ignore, what they tell apart, what they refuse."""

from __future__ import annotations

import hashlib
import time
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ts_data import PrepareConfig, clean, sample, story_hashes
from ts_data.schemas import DEFAULT_STEPS


def test_the_hash_is_blake2b_of_casefolded_letters_and_digits() -> None:
    expected = int.from_bytes(hashlib.blake2b(b"hesaidits5oclock", digest_size=8).digest(), "little")
    found = story_hashes(["He said: \"It's 5 o'clock!\""])
    assert found.dtype == np.uint64
    assert found.tolist() == [expected]


@pytest.mark.parametrize(
    "other",
    [
        "He said, “It’s a café.” — So?",
        "HE SAID: 'its A cafe' so",
        "he\u200b said\n\nIt's a caf\u0065\u0301 *so*",
        "He ſaid it's a ｃafé so",
    ],
)
def test_marks_case_accents_and_blanks_do_not_count(other: str) -> None:
    assert story_hashes([other]) == story_hashes(['He said, "It\'s a café." So?'])


@pytest.mark.parametrize("other", ["He said it is a cafe so", "He said its 2 cafes", "日本", "Он сказал", "", "½"])
def test_letters_and_digits_count(other: str) -> None:
    assert story_hashes([other]) != story_hashes(["He said it's a café so"])


def test_ligatures_of_every_spelling_agree() -> None:
    assert len(set(story_hashes(["Æther œuvre ﬁne", "Aether OEUVRE fine", "aetheroeuvreﬁne"]).tolist())) == 1


def test_two_cleanings_of_the_same_stories_have_the_same_hashes() -> None:
    raw = list(sample(300, seed=5))
    steps = tuple(name for name in DEFAULT_STEPS if name not in ("quotes", "dashes", "whitespace"))
    once = story_hashes(clean(text).text for text in raw)
    assert (once == story_hashes(clean(text, PrepareConfig(steps=steps)).text for text in raw)).all()
    assert (once == story_hashes(raw)).all()


def test_a_text_with_a_lone_surrogate_and_no_texts_at_all() -> None:
    assert story_hashes(["a\ud800b"]) == story_hashes(["ab"])
    assert story_hashes([]).shape == (0,)


@pytest.mark.parametrize("column", [pa.array(["a", "b"]), pa.chunked_array([["a"], ["b"]]), np.array(["a", "b"])])
def test_a_column_is_a_list_of_texts(column: Any) -> None:
    assert story_hashes(column).tolist() == story_hashes(["a", "b"]).tolist()


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("abc", "a list of stories is expected, not one str"),
        (b"abc", "not one bytes"),
        (5, "not one int"),
        (["a", None], r"texts\[1\]: a str is expected, this is None"),
        ([float("nan")], r"texts\[0\]: a str is expected, this is nan"),
        ([["a"]], r"texts\[0\]: a str is expected, this is of type list"),
        (pa.array(["a", None]), r"texts\[1\]: a str is expected, this is None"),
        ({"text": ["a"]}, r"not a table \(dict\)\. Pass one of its columns"),
        (np.array([["a"]]), r"not a table \(ndarray\)"),
    ],
)
def test_what_is_no_list_of_texts_is_refused(texts: object, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        story_hashes(texts)  # type: ignore[arg-type]


def test_it_is_fast() -> None:
    """Ten times what a busy machine needs for 20 MB."""
    texts = ["Once upon a time — there was a little girl named Lily. " * 16] * 20_000
    start = time.process_time()
    story_hashes(texts)
    assert time.process_time() - start < 3

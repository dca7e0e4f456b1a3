"""Long chunks: spaCy's tokens without spaCy's quadratic time."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterable
from functools import cache
from re import _parser  # type: ignore[attr-defined]  # private: this proof alone reads it
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ts_tokenizer import WordTokenizer
from ts_tokenizer.rules.linear import _USER, _USER_LINEAR, LONG, WINDOW, LinearTokenizer
from ts_tokenizer.rules.pinned import Rules, pin

UNITS = ["km", "m²", "kg", "mb", "°c.", "us$", "c$", "%", "'s", "'S", "’s"]
ALPHABET = "ab1.,!?'\"()-–—…:;)(8o_/@#$£+*&<>[]{}|~`^\\=§°²·“”‘’é漢、。🙂\u200b\x00"


@cache
def _rules() -> Rules:
    return Rules(pin())


@cache
def _linear() -> LinearTokenizer:
    linear = _rules()._linear
    assert linear is not None
    return linear


@cache
def _spacy() -> Any:
    import spacy

    return spacy.blank("en").tokenizer


def _same(text: str) -> None:
    assert _linear().split(text) == [token.text for token in _spacy()(text)], text


# --- why a window is enough --------------------------------------------------------------------


def _alternatives(pattern: str) -> list[Any]:
    """The alternatives of a parsed pattern; a common "^" before them is taken off."""
    items = list(_parser.parse(pattern))
    if str(items[0][0]) == "AT":
        items = items[1:]
    assert [str(op) for op, _ in items] == ["BRANCH"]
    return list(items[0][1][1])


def _beside(items: Iterable[Any]) -> int:
    """The most characters that a look-around of a parsed pattern sees."""
    widths = [0]
    for op, argument in items:
        name = str(op)
        if name in ("ASSERT", "ASSERT_NOT"):
            widths += [argument[1].getwidth()[1], _beside(argument[1])]
        elif name == "BRANCH":
            widths += map(_beside, argument[1])
        elif name == "SUBPATTERN":
            widths.append(_beside(argument[3]))
        elif name in ("MAX_REPEAT", "MIN_REPEAT"):
            widths.append(_beside(argument[2]))
    return max(widths)


@pytest.mark.parametrize("name", ["prefix", "suffix"])
def test_but_for_periods_the_patterns_see_less_than_the_window(name: str) -> None:
    pattern = getattr(pin(), name)
    wide = [part for part in _alternatives(pattern) if part.getwidth()[1] + _beside(part) >= WINDOW]
    periods = {"prefix": r"\.\.+", "suffix": r"\.\.+$"}[name]
    assert [str(part) for part in wide] == [str(_parser.parse(periods))]


def test_every_prefix_begins_at_the_beginning() -> None:
    assert str(next(iter(_parser.parse(pin().prefix)))) == str(next(iter(_parser.parse("^"))))


def test_the_user_part_of_an_address_is_rewritten() -> None:
    import re

    assert (pin().url_match or "").count(_USER) == 1
    theirs, ours = re.compile(_USER), re.compile(_USER_LINEAR)
    for length in range(6):
        for text in map("".join, itertools.product("a:@", repeat=length)):
            assert bool(theirs.fullmatch(text)) == bool(ours.fullmatch(text)), text


def test_other_patterns_go_to_spacy() -> None:
    rules = Rules(pin().model_copy(update={"suffix": r"x+$"}))
    assert rules._linear is None
    assert rules.split("a" * LONG + "xx") == ["a" * LONG, "xx"]


# --- the same tokens ---------------------------------------------------------------------------

PIECES = [
    *"ab1.,!?'\"()-:;8o_/@#$*", "..", "...", "''", "'s", "n't", "can't", "cannot", ":)", ":-(", "8)", ":}", "o.o", "<3", "a.m.", "5km",
    "10kg.", "u.s.", "us$5", "http://a.com/x?y=1", "a@b.org", "ab-cd", "x/y", "—", "…", "é", "🙂", "\u200b", "ù.s", "mr.", "'em", "d.",
    "3.14", "+1", "+a", "..a", ".", "\\n", "^_^", "(°□°", "）", "＼", "：", "-", "--", "(", ")", "i'm", "’s", "°c.",
]  # fmt: skip


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(PIECES), max_size=60).map("".join))
def test_chunks_of_pieces(chunk: str) -> None:
    _same(chunk.lower())


@settings(max_examples=300, deadline=None)
@given(st.text(ALPHABET, max_size=60))
def test_chunks_of_marks(chunk: str) -> None:
    _same(chunk.lower())


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=40))
def test_any_text(text: str) -> None:
    _same(text.lower())


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([*PIECES, *UNITS, " ", " ", "  ", "\n", "\t ", "\u00a0"]), max_size=40).map("".join))
def test_texts_with_blanks(text: str) -> None:
    _same(text.lower())


def test_every_special_case_among_marks() -> None:
    for case in pin().exceptions:
        for before, behind in (("", ""), ("!", "!"), ("a", "b"), ("(", ")."), ("..", "..."), ("-", "-"), (" ", " "), ("'", "''")):
            _same((before + case + behind).lower())


@pytest.mark.parametrize("seed", range(12))
def test_long_chunks_of_every_kind(seed: int) -> None:
    """A thousand characters each, through the tokenizer's own door and straight."""
    rng = random.Random(seed)
    pieces = rng.sample(PIECES, rng.randint(1, 8)) + rng.sample(UNITS, rng.randint(0, 2))
    chunk = "".join(rng.choices(pieces, k=500))[:1_000].lower()
    expected = [token.text for token in _spacy()(chunk)]
    assert _linear().split(chunk) == expected
    assert _rules().split(f"tom {chunk} said") == [token.text for token in _spacy()(f"tom {chunk} said")]
    assert _rules().split_chunks(["tom", chunk])[1] == expected


# --- time --------------------------------------------------------------------------------------

SLOW = {
    "!": "!" * 16_000, "'": "'" * 16_000, "(": "(" * 16_000, ".": "." * 16_000, "a-": "a-" * 8_000, "5km": "5km" * 5_300,
    "km.": "5km." * 4_000, "url": "http://a.com/" * 1_200, "user": "a:b@c" * 3_200, "colons": "a:" * 8_000, "mixed": "a!?" * 5_300,
    "!.": "!." * 8_000, "word!": "a" * 8_000 + "!" * 8_000, "!word": "!" * 8_000 + "a" * 8_000, ":)": ":)" * 8_000, '"\'': "\"'" * 8_000,
    "8(:}8": "8(:}8" * 3_200, "$": "us$" * 5_300, "—": "—" * 16_000, "🙂": "🙂" * 16_000, "a": "a" * 16_000, "1,": "1," * 8_000,
    "…": "…" * 16_000, "a.": "a." * 8_000, "a..": "a.." * 5_300, "n't": "n't" * 5_300, "[x": "[x" * 8_000, "x]": "x]" * 8_000,
    "dots words": "a" + "." * 15_999, "+": "+" * 16_000, "-": "-" * 16_000, "\\": "\\" * 16_000, "漢": "漢" * 16_000, "a/": "a/" * 8_000,
    "crossing": "8( :}8 " + "!" * 16_000, "many": " ".join(["!" * 300, "'" * 300, "(a" * 300] * 18), "lines": "\n".join(["!" * 400] * 40),
}  # fmt: skip


@pytest.mark.parametrize("kind", SLOW)
def test_sixteen_thousand_characters_take_no_second(kind: str, tokenizer: WordTokenizer) -> None:
    text = SLOW[kind]
    tokenizer.encode("Tom!" + "!" * LONG)  # spaCy's import, and the tables
    begun = time.process_time()
    tokens = tokenizer.tokens(text)
    flat, lengths = tokenizer.encode_flat([text])
    used = time.process_time() - begun
    assert "".join(tokens) == "".join(text.split(" "))
    assert lengths.tolist() == [len(tokens)] == [len(flat)]
    assert used < 2.0, f"{used:.1f} s of processor time"  # spaCy: 16 s for the first

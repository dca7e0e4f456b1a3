"""Plain chunks: the proof from the patterns, and the same answers as spaCy's on words and marks of every kind."""

from __future__ import annotations

import itertools
import re
import string
from collections.abc import Iterable
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ts_tokenizer.rules.pinned import PROVEN, Rules, fingerprint, pin
from ts_tokenizer.rules.plain_words import MARKS, STAND_IN, PlainWords

LETTERS = frozenset(string.ascii_lowercase)
CATEGORIES = {"CATEGORY_WORD": r"\w", "CATEGORY_DIGIT": r"\d", "CATEGORY_SPACE": r"\s", "CATEGORY_NOT_SPACE": r"\S"}
MARKED = st.text(alphabet=MARKS, max_size=3)


@cache
def _plain() -> PlainWords:
    return PlainWords(Rules(pin()))


@cache
def _spacy() -> Any:
    import spacy

    return spacy.blank("en").tokenizer


def _accepted(op: str, argument: Any) -> frozenset[str]:
    """Which of the letters and marks one character's pattern accepts."""
    alphabet = LETTERS | frozenset(MARKS)
    if op == "LITERAL":
        return alphabet & {chr(argument)}
    if op == "NOT_LITERAL":
        return alphabet - {chr(argument)}
    if op == "RANGE":
        return frozenset(char for char in alphabet if argument[0] <= ord(char) <= argument[1])
    if op == "CATEGORY":
        return frozenset(char for char in alphabet if re.match(CATEGORIES[str(argument)], char))
    assert op == "IN", op
    items = [(str(name), what) for name, what in argument]
    accepted = frozenset[str]().union(*(_accepted(name, what) for name, what in items if name != "NEGATE"))
    return alphabet - accepted if items[0][0] == "NEGATE" else accepted


def _seen(items: Iterable[Any], where: str = "taken") -> list[tuple[str, frozenset[str]]] | None:
    """What a parsed pattern sees of letters, one entry for each character's pattern: how, and which letters it accepts.

    None where it cannot match in a text of letters and marks. Raises for what is not understood.
    """
    seen: list[tuple[str, frozenset[str]]] = []
    for name, argument in items:
        op = str(name)
        if op == "AT":
            continue
        if op == "BRANCH":
            possible = [part for part in (_seen(branch, where) for branch in argument[1]) if part is not None]
            found = list(itertools.chain.from_iterable(possible)) if possible else None
        elif op == "SUBPATTERN":
            found = _seen(argument[3], where)
        elif op in ("MAX_REPEAT", "MIN_REPEAT"):
            found = _seen(argument[2], "repeated" if int(argument[1]) > 1 else where)
            found = [] if found is None and argument[0] == 0 else found
        elif op in ("ASSERT", "ASSERT_NOT"):
            found = _seen(argument[1], "beside" if argument[1].getwidth() == (1, 1) else "far")
            found = [] if found is None and op == "ASSERT_NOT" else found
        else:
            accepted = _accepted(op, argument)
            found = [(where, accepted & LETTERS)] if accepted else None
        if found is None:
            return None
        seen += found
    return seen


def _sees(pattern: str) -> set[tuple[str, frozenset[str]]]:
    from re import _parser  # type: ignore[attr-defined]  # private: this proof alone reads it

    parsed = _parser.parse(pattern)
    assert not parsed.state.flags & re.IGNORECASE
    return {(how, letters) for how, letters in _seen(parsed) or [] if letters}


@pytest.mark.parametrize("name", ["prefix", "suffix", "infix"])
def test_the_patterns_see_letters_one_at_a_time_and_all_alike(name: str) -> None:
    pattern = getattr(pin(), name)
    if name == "suffix":
        assert _sees(pattern) == {("beside", LETTERS), ("taken", frozenset("s"))}, "`'s` is the one suffix with a letter"
        assert pattern.count("|'s$|") == 1
        pattern = pattern.replace("|'s$|", "|")
    assert _sees(pattern) <= {("beside", LETTERS)}


def test_the_proof_sees_what_would_break_it() -> None:
    assert _sees("[a-m]") == {("taken", frozenset("abcdefghijklm"))}
    assert _sees("(?<=[a-z])x|[0-9]km") == {("beside", LETTERS), ("taken", frozenset("x"))}
    assert _sees("(?<=[a-z]{2})-") == {("repeated", LETTERS)}
    assert _sees("(?![^b])!") == {("beside", LETTERS - {"b"})}
    assert _sees(r"(?:\w)+") == {("repeated", LETTERS)}


def test_no_plain_chunk_is_a_web_address() -> None:
    spec = pin()
    assert spec.token_match is None
    match = re.compile(spec.url_match or "").match
    assert match("tom.com")
    assert match("http://tom.org/x")
    marks = ["", *MARKS, *(a + b for a in MARKS for b in MARKS)]
    for word in ("to", "tom", "a" * 70):
        assert not any(match(lead + word) or match(word + lead) or match(f"{word}'s{lead}") for lead in marks)
        assert not any(match(f"{a}{word}{b}") for a in MARKS for b in MARKS)


def test_a_words_special_cases_are_found_by_the_word() -> None:
    plain = _plain()
    bare = plain._rules._build({})
    for case in plain._rules.spec.exceptions:
        for token in bare(case):  # what spaCy's matcher looks for
            if re.fullmatch("[a-z]{2,}", token.text):
                assert case in plain._cases.get(token.text, []), (case, token.text)
    assert STAND_IN not in plain._cases


def test_the_installed_spacy_has_the_patterns_of_the_proof() -> None:
    assert fingerprint(pin()) in PROVEN, "prove the new patterns by the tests above, then add their fingerprint"


def test_under_other_patterns_no_chunk_is_plain() -> None:
    rules = Rules(pin().model_copy(update={"infix": r"o"}))
    assert PlainWords(rules).split(["tom,", "hello"]) == [None, None]


def _check(chunks: list[str]) -> int:
    pairs = _plain()._rules.pairs
    firsts, seconds = {first for first, _ in pairs}, {second for _, second in pairs}
    found = _plain().split(chunks)
    for chunk, row in zip(chunks, found, strict=True):
        if row is not None:
            tokens = [token.text for token in _spacy()(chunk)]
            assert row.tokens == tokens, chunk
            assert {tokens[0]} & seconds <= row.starts, chunk
            assert {tokens[-1]} & firsts <= row.ends, chunk
    return sum(row is not None for row in found)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(MARKED, st.text(string.ascii_lowercase, max_size=9), st.sampled_from(["", "'s"]), MARKED), max_size=8))
def test_marks_around_any_word(parts: list[tuple[str, str, str, str]]) -> None:
    _check(["".join(part) for part in parts])


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_marks_around_words_of_special_cases(data: st.DataObject) -> None:
    cases = sorted(_plain()._cases)
    words = st.sampled_from(cases)
    _check(data.draw(st.lists(st.tuples(MARKED, words, st.sampled_from(["", "'s", "n't", "'m", "s", "."]), MARKED).map("".join))))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(st.text(max_size=12), st.just("tom,"), st.just("\n"), st.just("")), max_size=8))
def test_any_text_beside_plain_chunks(chunks: list[str]) -> None:
    plain = _check(chunks)
    assert plain >= chunks.count("tom,")


def test_every_special_case_between_marks() -> None:
    chunks = [
        f"{lead}{case}{trail}"
        for case in _plain()._rules.spec.exceptions
        for lead in ("", '"')
        for trail in ("", ".", "'s", ',"')
    ]
    _check([chunk.lower() for chunk in chunks if chunk.split() == [chunk]])


def test_nine_of_ten_chunks_of_the_real_stories_are_plain(real_stories: list[str]) -> None:
    chunks = list(dict.fromkeys(" ".join(real_stories).lower().split()))
    assert _check(chunks) > 0.9 * len(chunks)

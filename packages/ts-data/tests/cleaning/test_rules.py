"""Each cleaning rule alone, by cases.json: [before, after], after null if the rule drops the story; or a text left alone."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import product
from pathlib import Path
from pkgutil import resolve_name
from time import process_time
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ts_data import RULES, Drop, PrepareConfig, clean
from ts_data.schemas import DEFAULT_STEPS

ALL = json.loads((Path(__file__).parent / "cases.json").read_text(encoding="utf-8"))
CASES = {name: [case for case in cases if isinstance(case, list)] for name, cases in ALL.items()}
UNTOUCHED = {name: [case for case in cases if isinstance(case, str)] for name, cases in ALL.items()}


def load(name: str) -> Callable[[str], str | Drop]:
    """A rule with its default parameters."""
    rule = resolve_name(str(RULES[name].target))
    return cast("Callable[[str], str | Drop]", rule() if isinstance(rule, type) else rule)


def test_table_and_cases_name_the_same_rules() -> None:
    assert RULES
    assert set(RULES) == set(ALL)
    assert set(DEFAULT_STEPS) <= set(RULES)


@pytest.mark.parametrize(("name", "before", "after"), [(n, *case) for n, cases in CASES.items() for case in cases])
def test_case(name: str, before: str, after: str | None) -> None:
    assert load(name)(before) == (Drop(name) if after is None else after)


@pytest.mark.parametrize("name", RULES)
def test_cases_show_a_change_or_drop_and_a_text_left_alone(name: str) -> None:
    assert any(before != after for before, after in CASES[name])
    assert len(UNTOUCHED[name]) >= 1


@pytest.mark.parametrize(("name", "text"), [(n, text) for n, texts in UNTOUCHED.items() for text in texts])
def test_a_rule_leaves_other_texts_alone(name: str, text: str) -> None:
    assert load(name)(text) == text


LETTERS = [chr(code) for code in range(0xC0, 0x180) if chr(code).isalpha()]


@pytest.mark.parametrize(
    "frame", ["The letter {} stood alone.", "“{}” and ({}), {}.", "x{}y", "word{}", "{}word", "“{}word”", "{}’s", "«{}»"]
)
def test_no_letter_is_taken_for_mojibake(frame: str) -> None:
    apply = load("mojibake")
    assert [letter for letter in LETTERS if apply(frame.replace("{}", letter)) != frame.replace("{}", letter)] == []


def test_a_replaced_character_drops_its_story_and_hidden_spaces_divide_words() -> None:
    rest = " They ran and ran." * 12
    assert clean(f"The caf\ufffd owner smiled.{rest}").dropped == "non_ascii"
    assert clean(f"Once\u200bupon a time.{rest}").text.startswith("Once upon a time.")
    assert clean(f"They saw that 4*5=20.{rest}").text.startswith("They saw that 4*5=20.")
    assert clean(f"The letter Â stood alone.{rest}").dropped == "non_ascii"


MESS = st.lists(
    st.sampled_from(
        [*" \n\t.-\"',*\\`ab1…—–“”’é\u200b\u00ad\ufb01\u00a0", "â€œ", "â€", "--", " - ", ',"', ". .", "..", "word", "''"]
    ),
    max_size=30,
).map("".join)


@pytest.mark.parametrize("name", RULES)
@settings(deadline=None)
@given(text=MESS)
def test_a_rule_gives_a_text_or_a_drop_and_leaves_a_story_without_its_hint_alone(name: str, text: str) -> None:
    hint = RULES[name].hint
    after = load(name)(text)
    assert isinstance(after, str | Drop)
    if text.isascii() and hint is not None and not re.search(hint, text):
        assert after == text
    if RULES[name].blanks_only:
        assert isinstance(after, str)
        assert "".join(after.split()) == "".join(text.split())


@pytest.mark.parametrize("name", [name for name, rule in RULES.items() if rule.blanks_only])
def test_a_rule_that_changes_blanks_brings_up_no_hint_of_another(name: str) -> None:
    """The cleaner searches the hints once, in the raw text."""
    apply, hints = load(name), {other: re.compile(rule.hint) for other, rule in RULES.items() if rule.hint}
    for marks in product("\"'`*.,-\\<&ab", repeat=3):
        for blank in (" ", "\n", "\t \x1f", " " * 5, "\n" * 5):
            text = blank.join(marks)
            after = str(apply(text))
            assert [other for other, hint in hints.items() if hint.search(after) and not hint.search(text)] == [], text


@pytest.mark.parametrize("name", [name for name in RULES if CASES[name]])
def test_a_rule_takes_time_in_proportion_to_the_text(name: str) -> None:
    texts = [str(before) for before, _ in CASES[name]]
    apply, text = load(name), "".join(texts * (3_000_000 // sum(map(len, texts))))
    start = process_time()
    apply(text)
    assert process_time() - start < 5


@pytest.mark.parametrize("opening", ["<!--", "<script>", "<!--<style>", "<p class='"])
def test_html_that_is_never_closed_takes_time_in_proportion_too(opening: str) -> None:
    text = f"<!-- one --><script>two</script>{opening * 100_000}"
    start = process_time()
    assert load("html")(text) == opening * 100_000
    assert process_time() - start < 5


def test_unknown_and_repeated_names_are_refused_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="Did you mean 'quotes'"):
        PrepareConfig(steps=("quote",))
    with pytest.raises(ValueError, match="is listed twice"):
        PrepareConfig(steps=("stars", "stars"))


@given(st.text("a '\"`’‘“”.,", max_size=30))
@settings(max_examples=300, deadline=None)
def test_quotes_leave_no_two_single_ones_in_a_row(text: str) -> None:
    apply = load("quotes")
    once = apply(text)
    assert isinstance(once, str)
    assert "''" not in once
    assert apply(once) == once

"""Each cleaning step alone, by cases.json: [before, after], after null where the story is dropped for the step's reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ts_data.schemas import DEFAULT_STEPS
from ts_data.steps import ALWAYS, STEPS, Drop, check_names, load

CASES = json.loads((Path(__file__).parent / "cases.json").read_text(encoding="utf-8"))
FILES = {path.stem for path in Path(load("stars").apply.__code__.co_filename).parent.glob("*.py")} - {"__init__"}


def test_table_files_and_cases_name_the_same_steps() -> None:
    assert STEPS
    assert set(STEPS) == FILES == set(CASES)
    assert set(DEFAULT_STEPS) <= set(STEPS)


@pytest.mark.parametrize(("name", "before", "after"), [(n, *case) for n, cases in CASES.items() for case in cases])
def test_case(name: str, before: str, after: str | None) -> None:
    assert load(name).apply(before) == (Drop(name) if after is None else after)


@pytest.mark.parametrize("name", STEPS)
def test_cases_show_a_change_or_drop_and_a_text_left_alone(name: str) -> None:
    assert any(before != after for before, after in CASES[name])
    assert any(before == after for before, after in CASES[name]) or name == "backslashes"


MESS = st.lists(
    st.sampled_from(
        [*" \n\t.-\"',*\\`ab1…—–“”’é\u200b\u00ad\ufb01\u00a0", "â€œ", "â€", "--", " - ", ',"', ". .", "..", "word", "''"]
    ),
    max_size=30,
).map("".join)


@pytest.mark.parametrize("name", sorted(set(STEPS) - {"backslashes"}))
@settings(deadline=None)
@given(text=MESS)
def test_repeating_a_step_changes_nothing_that_it_should_not(name: str, text: str) -> None:
    """What a step gives is a text or a Drop, and an ASCII text without its triggers comes back as it was."""
    step = load(name)
    after = step.apply(text)
    assert isinstance(after, str | Drop)
    if text.isascii() and step.triggers is not ALWAYS and not _triggered(step.triggers, text):
        assert after == text


def _triggered(triggers: tuple[str | tuple[str, ...], ...], text: str) -> bool:
    return any(
        all(text[at + i] in choice for i, choice in enumerate(trigger))
        for trigger in triggers
        for at in range(len(text) - len(trigger) + 1)
    )


def test_unknown_and_repeated_names_are_refused_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="Did you mean 'quotes'"):
        check_names(("quote",))
    with pytest.raises(ValueError, match="stands twice"):
        check_names(("stars", "stars"))

"""The demo model writes required words into its stories."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest

import ts_models


@pytest.fixture(scope="module")
def demo() -> ts_models.LanguageModel:
    return ts_models.load("demo")


def holds(text: str, word: str) -> bool:
    return re.search(rf"(?<!\w)(?:{word})(?!\w)", text, re.IGNORECASE) is not None


def check(stories: Iterable[ts_models.GeneratedStory], words: list[str]) -> None:
    for story in stories:
        assert all(holds(story.text, word) for word in words), story
        assert len(story.ids) <= 60
        assert story.finish == "eos"


def test_fifty_stories_hold_all_words_and_differ(demo: ts_models.LanguageModel) -> None:
    words = ["dragon", "run|ran", "shiny"]
    options = {"method": "sample", "temperature": 0.7, "seed": 1, "max_new_tokens": 60}
    stories = demo.write(["Once upon a time"] * 50, require=words, **options)
    check(stories, words)
    assert len({story.text for story in stories}) == 50


def test_a_story_that_has_the_words_anyway_stays_as_it_is(demo: ts_models.LanguageModel) -> None:
    options = {"method": "sample", "temperature": 0.7, "seed": 1}
    free = demo.write("Once upon a time", **options)[0]
    assert free.finish == "eos"
    word = free.text.split()[30].strip('.,!?"')
    assert demo.write("Once upon a time", require=word, **options)[0].ids == free.ids


def test_inflections_are_allowed_on_demand(demo: ts_models.LanguageModel) -> None:
    options = {"max_new_tokens": 60, "method": "sample", "seed": 2}
    stories = demo.write(["One day"] * 8, require=["dance", "hop"], inflections=True, **options)
    check(stories, ["dances?|danced|dancing", "hops?|hopped|hopping"])
    assert not all(holds(story.text, "dance") and holds(story.text, "hop") for story in stories)
    check(demo.write(["One day"] * 8, require=["dance"], **options), ["dance"])

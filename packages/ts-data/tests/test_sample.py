"""The embedded corpus: variety, features, defects at their rates."""

from __future__ import annotations

import random
import re
from itertools import islice
from pathlib import Path

import pytest

from ts_data import ConfigError, sample
from ts_data.corpus.grammar import FEATURES, PATTERNS, Plan, plan, render
from ts_data.corpus.impurities import DAMAGE, RATES
from ts_data.corpus.sample import write_sample


@pytest.fixture(scope="module")
def many() -> list[str]:
    return list(sample(20_000))


def test_twenty_thousand_stories_have_variety(many: list[str]) -> None:
    assert len(many) == 20_000
    assert len(set(many)) > 19_800
    words = {word for story in many for word in re.findall(r"[a-z]+(?:'[a-z]+)*", story.lower())}
    assert len(words) >= 1_500
    assert min(map(len, many)) >= 180
    assert all(story.isascii() for story in many)
    assert not any(mark in story for story in many for mark in "{}()")


def test_same_seed_same_stories_and_more_continue_the_row(many: list[str]) -> None:
    assert list(sample(50)) == many[:50]
    assert list(sample(50, seed=2)) != many[:50]


def test_sentences_begin_with_capitals_and_articles_fit(many: list[str]) -> None:
    for story in many[:2_000]:
        assert not re.search(r"(?:^|[.!?] )[a-z]", story), story
        assert not re.search(r"\b[Aa] [aeio]", story), story


@pytest.mark.parametrize("feature", FEATURES)
def test_a_story_has_its_words_and_features(feature: str) -> None:
    for number in range(40):
        dice = random.Random(number)
        drawn = plan(dice)
        story = render(Plan(drawn.noun, drawn.verb, drawn.adjective, frozenset([feature])), dice)
        assert drawn.noun in story
        assert drawn.adjective in story
        assert ('"' in story) == (feature == "dialogue")


def test_every_pattern_can_be_filled() -> None:
    assert sum(map(len, PATTERNS.values())) > 80
    seen = " ".join(islice(sample(3_000, seed=9), 3_000))
    assert "{" not in seen


def test_defects_come_at_their_rates() -> None:
    damaged = list(sample(20_000, impurities=True))
    clean = list(sample(20_000))
    assert 0.14 < 1 - len(set(damaged)) / len(damaged) < 0.17
    assert 0.02 < sum("â€" in story for story in damaged) / 20_000 < 0.05
    assert 0 < sum(not story.strip() for story in damaged) <= 12
    assert 0.0005 < sum(any(c in story for c in "éñ中😊½°") for story in damaged) / 20_000 < 0.004
    assert damaged != clean


@pytest.mark.parametrize("kind", DAMAGE)
def test_each_damage_does_something(kind: str) -> None:
    text = 'They ran. "Yes," said Tom, and the first bird didn\'t fly.\n\nIt was a fine and different day. They smiled.' * 3
    assert any(DAMAGE[kind](text, random.Random(i)) != text for i in range(5))
    assert set(DAMAGE) == set(RATES)


def test_file_has_the_published_layout(tmp_path: Path) -> None:
    size = write_sample(tmp_path / "raw.txt", 3)
    content = (tmp_path / "raw.txt").read_text(encoding="utf-8")
    assert content.count("\n<|endoftext|>\n") == 3
    assert size == len(content.encode())


def test_no_stories_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least one"):
        sample(0)

"""Stories aligned in a row are what each aligned alone is, and cost the same bits."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ts_tokenizer import WordTokenizer

WORDS = [
    "Tom",
    "tom",
    "LILY",
    "McDonald",
    '"Look,',
    'Mom!"',
    "don't",
    "8(",
    ":}8",
    "\n\n",
    " ",
    "",
    "\xa0",
    "İ",
    "ΣΑΣ",
    "zebra",
    "—",
]
texts = st.lists(st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join), max_size=5)


@pytest.fixture(scope="module", params=["lower", "keep"])
def learned(request: pytest.FixtureRequest, stories: list[str]) -> WordTokenizer:
    return WordTokenizer.train(stories, vocab_size=100, casing=request.param)


@settings(max_examples=150, deadline=None)
@given(texts)
def test_in_a_row_as_alone(learned: WordTokenizer, texts: list[str]) -> None:
    row = learned.stories(texts)
    assert len(row.lengths) == len(texts)
    assert row.bounds[-1] == len(row.ids)
    for text, (start, end) in zip(texts, itertools.pairwise(row.bounds), strict=True):
        story, found = learned.align(text)
        np.testing.assert_array_equal(row.ids[start:end], story.ids)
        np.testing.assert_array_equal(row.blanks[start:end], story.blanks)
        np.testing.assert_array_equal(row.cases[start:end], story.cases)
        assert [row.surfaces[place] for place in row.where[start:end]] == [text[a:b] for a, b in found]


def test_a_story_costs_the_same_beside_others(learned: WordTokenizer, stories: list[str]) -> None:
    several = [*stories[:4], "", "Zebra McDonald, said TOM!"]
    together = learned.extra_bits(several)
    assert together.shape == (6, 2)
    np.testing.assert_array_equal(together, np.concatenate([learned.extra_bits([text]) for text in several]))
    assert (together[4] == 0).all()
    assert together[5, 0] > together[:4, 0].max(), "two words behind <unk> are to be spelled"
    assert learned.extra_bits([]).shape == (0, 2)

"""ROUGE against rouge-score, with both kernels."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from ts_eval import rouge

NAMES = ["rouge1", "rouge2", "rougeL"]
SCORER = RougeScorer(NAMES, use_stemmer=True)
EDGES = [
    ("", "a cat"),
    ("a cat", ""),
    ("", ""),
    ("one", "one"),
    ("Running runners ran", "run runner's running"),
    ("café ñ", "caf"),
]


def check(candidates, references):
    for candidate, reference, found in zip(candidates, references, rouge(candidates, references), strict=True):
        expected = SCORER.score(reference, candidate)
        for name in NAMES:
            assert tuple(found[name]) == pytest.approx(tuple(expected[name]), abs=1e-9)


def test_equals_rouge_score(stories, kernels):
    pairs = [*EDGES, *zip(stories[:40], stories[40:80], strict=True)]
    check([a for a, _ in pairs], [b for _, b in pairs])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.text(), st.text()), max_size=5))
def test_any_text_equals_rouge_score(plain_kernels, pairs):
    check([a for a, _ in pairs], [b for _, b in pairs])
    with plain_kernels():
        check([a for a, _ in pairs], [b for _, b in pairs])


def test_uneven_lists_are_refused():
    with pytest.raises(ValueError, match="2 candidates, but 1"):
        rouge(["a", "b"], ["a"])


@pytest.mark.real_data
def test_real_pairs_equal_rouge_score(real_stories):
    check(real_stories[:40], real_stories[40:80])

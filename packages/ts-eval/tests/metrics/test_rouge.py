"""ROUGE against rouge-score, with both kernels."""

from __future__ import annotations

import random
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from ts_eval import rouge
from ts_eval.metrics import EndingMetric, Endings, reported

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


def likeliest_other(texts):
    return reported(EndingMetric)["max_other_rouge2"].compute(Endings(texts, texts, None))


def test_the_most_similar_other_ending_is_that_of_all_pairs(monkeypatch):
    monkeypatch.setattr("ts_eval.metrics.rouge.ROWS", 7)
    draw = random.Random(1)
    texts = [" ".join(draw.choices(["a", "cat", "cats", "ran", "running", "to", "é"], k=draw.randint(0, 9))) for _ in range(20)]
    pairs = [[rouge([a], [b])[0]["rouge2"].fmeasure if i != j else 0.0 for j, b in enumerate(texts)] for i, a in enumerate(texts)]
    assert likeliest_other(texts) == [max(row) if text else None for row, text in zip(pairs, texts, strict=True)]
    assert likeliest_other(["a cat ran"]) == [None]
    assert likeliest_other(["a", "", "b"]) == [0.0, None, 0.0]


def test_the_most_similar_other_of_a_thousand_endings_needs_no_gigabytes():
    draw = random.Random(1)
    texts = [" ".join(draw.choices(["a", "cat", "dog", "ran", "to", "the", "park", "sat"], k=60)) for _ in range(700)]
    likeliest_other(texts[:2])
    tracemalloc.start()
    found = likeliest_other(texts)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert min(found) > 0.3
    assert peak < 60e6

"""The learner: which features are kept, what is learned of them, and the same from plain and compiled loops."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from ts_tokenizer import WordTokenizer
from ts_tokenizer.detokenizer import fit, log_linear
from ts_tokenizer.detokenizer.log_linear import number
from ts_tokenizer.reports.check import check


def test_number_keeps_what_stands_twice() -> None:
    columns = np.array([[5, 5, 6, -1], [7, -1, -1, 8], [8, 9, 7, -1]])
    rows = number(columns, alike=(1, 2))
    assert sorted(rows.keys.tolist()) == [5, 7, 8], "7 and 8 stand in two columns that are alike"
    assert sorted(number(columns).keys.tolist()) == [5]
    by_place = {
        int(place): rows.keys[rows.numbers[a:b]].tolist()
        for place, a, b in zip(rows.order, rows.starts, rows.starts[1:], strict=False)
    }
    assert {place: sorted(keys) for place, keys in by_place.items()} == {0: [5, 7, 8], 1: [5], 2: [7], 3: [8]}


def test_learn_and_scores() -> None:
    rng = np.random.default_rng(1)
    columns = np.stack([rng.integers(0, 3, 400), rng.integers(10, 13, 400)])
    labels = columns[0] == 1
    rows = number(columns)
    weights = dict(zip(rows.keys.tolist(), rows.learn(labels, rate=0.5, decay=1e-6, epochs=5).tolist(), strict=True))
    assert weights[1] > 2
    assert max(weights[0], weights[2]) < -2
    assert max(abs(weights[key]) for key in (10, 11, 12)) < 1
    first = np.arange(400) < 200
    half = rows.learn(labels, rate=0.5, decay=1e-6, epochs=5, chosen=first)
    scores = rows.scores(half, ~first)
    assert ((scores > 0) == labels[200:]).all()
    expected = [half[np.isin(rows.keys, columns[:, place])].sum() for place in range(200, 400)]
    np.testing.assert_allclose(scores, expected)
    settled = rows.learn(labels, rate=0.5, decay=0.0, epochs=2, offsets=np.where(labels, 20.0, -20.0))
    assert (settled == 0).all(), "what is sure and right teaches nothing"


def test_the_features_that_matter_are_kept() -> None:
    rng = np.random.default_rng(1)
    columns = np.stack([rng.integers(0, 3, 400), rng.integers(10, 13, 400)])
    labels = columns[0] == 1
    kept, weights = number(columns).learn_strongest(labels, 3, rate=0.5, decay=1e-6, epochs=5)
    assert sorted(kept.keys.tolist()) == [0, 1, 2]
    assert ((kept.scores(weights, np.ones(400, dtype=bool)) > 0) == labels).all()
    same, _ = number(columns).learn_strongest(labels, 6, rate=0.5, decay=1e-6, epochs=5)
    assert len(same.keys) == 6
    known = np.where(labels, 20.0, -20.0)
    none, rest = number(columns).learn_strongest(labels, 3, rate=0.5, decay=0.0, epochs=2, offsets=known)
    assert len(none.keys) == 3
    assert (rest == 0).all(), "what is sure and right teaches nothing"


def test_many_stories_are_learned_from_their_doubtful_tokens(
    tokenizer: WordTokenizer, stories: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    aligned = tokenizer.stories(stories)
    whole = fit.fit(aligned, tokenizer.vocab)
    monkeypatch.setattr(fit, "BASE_STORIES", 20)
    few = fit.fit(aligned, tokenizer.vocab)
    assert few == fit.fit(aligned, tokenizer.vocab)
    assert few != whole
    for spec in (whole, few):
        found = WordTokenizer(tokenizer.spec.model_copy(update={"decoder": spec}))
        assert check(found, stories[:5]).exact == 1.0


def test_plain_and_compiled_loops_learn_the_same(
    tokenizer: WordTokenizer, stories: list[str], plain_loops: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    aligned = tokenizer.stories(stories)
    compiled = fit.fit(aligned, tokenizer.vocab)
    for module in (fit, log_linear):
        monkeypatch.setattr(module, "loops", plain_loops)
    assert fit.fit(aligned, tokenizer.vocab) == compiled
    assert len(compiled.keys) > 1000

"""Near-duplicates against brute force."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import combinations
from time import process_time

import numpy as np
import pytest

from ts_data import clean
from ts_data.dedup.minhash import ReferenceSet, band_keys, candidates, clusters, gram_hashes, greedy
from ts_data.schemas import NearConfig

NEAR = NearConfig(threshold=0.6, ngram=2, bands=32, rows=3)


def grams(text: str, ngram: int) -> frozenset[tuple[str, ...]]:
    """The oracle: the set of word n-grams; a text of fewer words is one gram."""
    words = text.lower().split()
    return frozenset(zip(*(words[i:] for i in range(ngram)), strict=False)) or frozenset([tuple(words)])


def jaccard(a: frozenset[tuple[str, ...]], b: frozenset[tuple[str, ...]]) -> float:
    return len(a & b) / len(a | b)


def picker(texts: list[str]) -> Callable[[np.ndarray], list[str]]:
    return lambda rows: [texts[row] for row in rows.tolist()]


@pytest.fixture(scope="module")
def texts(stories: list[str]) -> list[str]:
    """Stories and versions of them with some words exchanged, from a few to many."""
    dice = random.Random(5)
    base = [clean(story).text for story in stories[:60] if len(story) > 300]
    changed = []
    for text in base:
        words = text.split()
        for _ in range(dice.randrange(1, 30)):
            words[dice.randrange(len(words))] = dice.choice(["cat", "dog", "tree", "moon"])
        changed.append(" ".join(words))
    return base + changed


def test_jaccard_by_hand() -> None:
    a, b = grams("the cat sat on", 2), grams("The cat sat down", 2)
    assert jaccard(a, b) == 2 / 4
    assert grams("one two", 5) == {("one", "two")}
    assert grams("", 5) == {()}


@pytest.mark.parametrize("ngram", [1, 2, 5])
def test_hashes_are_equal_where_the_grams_are(texts: list[str], ngram: int) -> None:
    odd = [
        "",
        " ",
        "one",
        "The CAT\tsat\x1con\n\nthe mat",
        "caf\u00e9 CAF\u00c9 \u2014 \u0130stanbul\u00a0x",
        "cafe",
        "a" * 300_000,
        *texts[:40],
    ]
    hashes, bounds = gram_hashes(odd, ngram)
    known: dict[int, tuple[str, ...]] = {}
    for text, first, end in zip(odd, bounds[:-1], bounds[1:], strict=True):
        words = text.lower().split()
        rows = list(zip(*(words[i:] for i in range(ngram)), strict=False)) or [tuple(words)]
        assert len(rows) == end - first
        for gram, value in zip(rows, hashes[first:end].tolist(), strict=True):
            assert known.setdefault(value, gram) == gram
    assert len(known) == len(set(known.values()))


def test_nearly_all_similar_pairs_become_candidates(texts: list[str]) -> None:
    bands = band_keys(texts, NEAR)
    sets = [grams(text, NEAR.ngram) for text in texts]
    similar = [(i, j) for i, j in combinations(range(len(texts)), 2) if jaccard(sets[i], sets[j]) >= NEAR.threshold]
    found = [pair for pair in similar if (bands[pair[0]] == bands[pair[1]]).any()]
    assert len(similar) > 20
    assert len(found) >= 0.99 * len(similar)


def test_collision_rate_of_one_value_is_the_similarity(texts: list[str]) -> None:
    """MinHash's one property: two texts share a value with the probability of their Jaccard similarity."""
    single = NearConfig(ngram=2, bands=128, rows=1)
    bands = band_keys(texts, single)
    sets = [grams(text, 2) for text in texts]
    half = len(texts) // 2
    errors = [(bands[i] == bands[i + half]).mean() - jaccard(sets[i], sets[i + half]) for i in range(half)]
    assert abs(float(np.mean(errors))) < 0.02
    assert max(map(abs, errors)) < 0.2


def test_greedy_equals_brute_force_over_candidates(texts: list[str]) -> None:
    bands = band_keys(texts, NEAR)
    twins = greedy(np.arange(len(texts)), bands, picker(texts), NEAR)
    sets = [grams(text, NEAR.ngram) for text in texts]
    kept: list[int] = []
    expected = {}
    for row in range(len(texts)):
        found = [(jaccard(sets[row], sets[k]), -k) for k in kept if (bands[row] == bands[k]).any()]
        best = max(found, default=(0.0, 0))
        if best[0] >= NEAR.threshold:
            expected[row] = (-best[1], best[0])
        else:
            kept.append(row)
    assert twins == expected
    assert len(twins) > 20


def test_clusters_are_what_similar_pairs_link(texts: list[str]) -> None:
    near = NEAR.model_copy(update={"threshold": 0.5})
    bands, sets = band_keys(texts, near), [grams(text, near.ngram) for text in texts]
    first = list(range(len(texts)))
    for row, other in combinations(range(len(texts)), 2):
        if (bands[row] == bands[other]).any() and jaccard(sets[row], sets[other]) >= near.threshold:
            one, two = sorted((first[row], first[other]))
            first = [one if found == two else found for found in first]
    found = clusters(np.arange(len(texts)), bands, picker(texts), near)
    assert found == {row: start for row, start in enumerate(first) if row != start}
    assert len(found) > 20


def test_thousands_of_like_stories_are_one_cluster_in_a_short_time() -> None:
    texts = [f"the cat sat on a mat in the warm sun all day {n}" for n in range(10_000)]
    near = NearConfig(ngram=1)
    bands, start = band_keys(texts, near), process_time()
    found = clusters(np.arange(len(texts)), bands, picker(texts), near)
    assert process_time() - start < 6
    assert set(found.values()) == {0}
    assert len(found) > 9_900


def test_a_chain_is_not_swallowed_whole_but_one_cluster() -> None:
    """a~b and b~c, but a and c differ: b goes with a, c stays. No split may have b without both."""
    words = [f"w{i}" for i in range(100)]
    a, b, c = (" ".join(words[start : start + 60]) for start in (0, 10, 20))
    near = NearConfig(threshold=0.7, ngram=1, bands=128, rows=1)
    assert jaccard(grams(a, 1), grams(b, 1)) > 0.7 > jaccard(grams(a, 1), grams(c, 1))
    given = np.arange(3), band_keys([a, b, c], near), picker([a, b, c]), near
    assert set(greedy(*given)) == {1}
    assert clusters(*given) == {1: 0, 2: 0}


def test_texts_around_a_text_do_not_change_its_bands(texts: list[str]) -> None:
    odd = ["", "one", "one two three four", *texts[:5], "x"]
    together = band_keys(odd, NearConfig())
    alone = np.concatenate([band_keys([text], NearConfig()) for text in odd])
    assert (together == alone).all()
    assert band_keys([], NEAR).shape == (0, 32)


def test_candidates_share_a_key() -> None:
    bands = np.array([[1, 2], [3, 4], [1, 9], [5, 4]], np.uint64)
    assert candidates(bands).tolist() == [0, 1, 2, 3]
    assert candidates(bands[:2]).tolist() == []


def test_held_out_stories_are_matched(texts: list[str]) -> None:
    half = len(texts) // 2
    held = ReferenceSet(texts[:half], NEAR)
    sets = [grams(text, NEAR.ngram) for text in texts]
    pairs = {(i, j) for i in range(half) for j in range(half) if jaccard(sets[half + i], sets[j]) >= NEAR.threshold}
    found = {(i, j) for i, j, _ in held.match(texts[half:])}
    assert found <= pairs
    assert len(found) >= 0.99 * len(pairs) > 10

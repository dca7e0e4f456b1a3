"""The oracle of `ts_eval.fast.kernels`: the same functions in plain NumPy and SciPy.

Only the last bits of the float32 cosines may differ; the callers rescore near ties.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

BLOCK = 20_000
"""Stories per block: bounds the memory of what is dense."""


def _blocks(first: int, last: int) -> list[tuple[int, int]]:
    return [(at, min(at + BLOCK, last)) for at in range(first, last, BLOCK)]


def _stories(offsets: Array, low: int, high: int) -> Array:
    """The story (counted from `low`) of each position of the block."""
    return np.repeat(np.arange(high - low), np.diff(offsets[low : high + 1]))


def count_documents(stream: Array, offsets: Array, first: int, last: int, vocabulary: int) -> Array:
    """In how many of the stories each word stands: int64 [vocabulary]."""
    df = np.zeros(vocabulary, np.int64)
    for low, high in _blocks(first, last):
        words = stream[offsets[low] : offsets[high]].astype(np.int64)
        pairs = np.unique(_stories(offsets, low, high) * vocabulary + words)
        df += np.bincount(pairs % vocabulary, minlength=vocabulary)
    return df


def norms(stream: Array, offsets: Array, idf: Array, first: int, last: int) -> Array:
    """Euclidean norm of each story's tf-idf vector: float64 [last - first]."""
    out = np.zeros(last - first, np.float64)
    for low, high in _blocks(first, last):
        words = stream[offsets[low] : offsets[high]].astype(np.int64)
        pairs, count = np.unique(_stories(offsets, low, high) * len(idf) + words, return_counts=True)
        squares = (count * idf[pairs % len(idf)]) ** 2
        out[low - first : high - first] = np.sqrt(np.bincount(pairs // len(idf), squares, minlength=high - low))
    return out


def _cosines(stream: Array, offsets: Array, norm: Array, row: Array, weights: Array, low: int, high: int) -> Array:
    from scipy.sparse import csr_matrix

    rows = row[stream[offsets[low] : offsets[high]]]
    known = rows >= 0
    shape = (high - low, max(1, weights.shape[0]))
    counts = csr_matrix((np.ones(known.sum(), np.float32), (_stories(offsets, low, high)[known], rows[known])), shape=shape)
    dense = counts @ (weights if len(weights) else np.zeros((1, weights.shape[1]), np.float32))
    here = norm[low:high]
    scale = np.where(here > 0, 1 / np.where(here > 0, here, 1), 0).astype(np.float32)
    scaled: Array = dense * scale[:, None]
    return scaled


def score_cosine(stream: Array, offsets: Array, norm: Array, row: Array, weights: Array, first: int, last: int) -> Array:
    """Cosine of every story to one query: float32 [last - first]. `weights` is [rows, 1]."""
    out = np.zeros(last - first, np.float32)
    for low, high in _blocks(first, last):
        out[low - first : high - first] = _cosines(stream, offsets, norm, row, weights, low, high)[:, 0]
    return out


def scan_cosine(
    stream: Array, offsets: Array, norm: Array, row: Array, weights: Array, own: Array, first: int, last: int, keep: int
) -> tuple[Array, Array]:
    """The `keep` best stories per query, best first, the lower index first among equals. See `kernels.scan_cosine`."""
    queries = weights.shape[1]
    score = np.full((queries, keep), -1, np.float32)
    index = np.full((queries, keep), -1, np.int64)
    for low, high in _blocks(first, last):
        dense = _cosines(stream, offsets, norm, row, weights, low, high).T
        mine = (own >= low) & (own < high)
        dense[np.flatnonzero(mine), own[mine] - low] = -1
        best = np.argsort(-dense, axis=1, kind="stable")[:, :keep]
        found = np.take_along_axis(dense, best, axis=1)
        both = np.concatenate([score, found], axis=1)
        places = np.concatenate([index, np.where(found >= 0, best + low, -1)], axis=1)
        order = np.argsort(-both, axis=1, kind="stable")[:, :keep]
        score = np.take_along_axis(both, order, axis=1)
        index = np.take_along_axis(places, order, axis=1)
    return score, index


def scan_rouge2(
    stream: Array,
    start: Array,
    end: Array,
    stem: Array,
    stems: int,
    keys: Array,
    post: Array,
    query: Array,
    count: Array,
    own: Array,
    first: int,
    last: int,
) -> tuple[Array, Array]:
    """Per query the largest clipped overlap of stem bigrams with one story. See `kernels.scan_rouge2`.

    A bigram that a story holds n times makes n columns (bigram, 1) … (bigram, n), so that clipping is a plain product.
    """
    from scipy.sparse import csr_matrix

    queries = len(own)
    best = np.full(queries, -1, np.int64)
    where = np.full(queries, -1, np.int64)
    most = int(count.max()) if len(count) else 0
    copies = np.repeat(np.arange(len(query)), count)
    rank = np.arange(len(copies)) - np.repeat(np.cumsum(count) - count, count)
    bigram = np.repeat(np.arange(len(keys)), np.diff(post))
    shape = (max(1, len(keys) * most), queries)
    wanted = csr_matrix((np.ones(len(copies), np.int32), (bigram[copies] * most + rank, query[copies])), shape=shape)
    for low, high in _blocks(first, last):
        columns, stories = _bigram_columns(stream, start, end, stem, stems, keys, most, low, high)
        held = csr_matrix((np.ones(len(columns), np.int32), (stories, columns)), shape=(high - low, shape[0]))
        dense = (held @ wanted).toarray().T.astype(np.int64)
        mine = (own >= low) & (own < high)
        dense[np.flatnonzero(mine), own[mine] - low] = -1
        place = dense.argmax(axis=1)
        top = dense[np.arange(queries), place]
        better = top > best
        best[better], where[better] = top[better], place[better] + low
    return best, where


def _bigram_columns(
    stream: Array, start: Array, end: Array, stem: Array, stems: int, keys: Array, most: int, low: int, high: int
) -> tuple[Array, Array]:
    lengths = (end - start)[low:high]
    first = np.concatenate([[0], np.cumsum(lengths)])
    story = np.repeat(np.arange(high - low), lengths)
    at = np.arange(first[-1]) - first[story] + start[low:high][story]
    ids = stem[stream[at]].astype(np.int64)
    inside = (story[1:] == story[:-1]) & (ids[1:] >= 0) & (ids[:-1] >= 0) if len(ids) else np.zeros(0, bool)
    key, story = (ids[:-1] * stems + ids[1:])[inside], story[:-1][inside]
    place = np.searchsorted(keys, key)
    known = (place < len(keys)) & (keys[np.minimum(place, len(keys) - 1)] == key) if len(keys) else np.zeros(len(key), bool)
    pairs = np.sort(story[known] * max(1, len(keys)) + place[known])
    fresh = np.concatenate([[True], pairs[1:] != pairs[:-1]]) if len(pairs) else np.zeros(0, bool)
    rank = np.arange(len(pairs)) - np.maximum.accumulate(np.where(fresh, np.arange(len(pairs)), 0))
    pairs, rank = pairs[rank < most], rank[rank < most]
    return pairs % max(1, len(keys)) * most + rank, pairs // max(1, len(keys))


def scan_spans(
    stream: Array,
    offsets: Array,
    number: Array,
    root: Array,
    edge: Array,
    edge_word: Array,
    edge_to: Array,
    link: Array,
    length: Array,
    skip: Array,
    first: int,
    last: int,
) -> tuple[Array, Array, Array, Array, Array]:
    """The longest match per state of a suffix automaton. See `kernels.scan_spans`; all stories of a block step together."""
    states = len(link)
    longest = np.zeros(states, np.int32)
    where = np.full(states, -1, np.int64)
    at_longest = np.zeros(states, np.int64)
    visits = np.zeros(states, np.int64)
    earliest = np.full(states, np.iinfo(np.int64).max)
    words = len(root)
    table = np.repeat(np.arange(states), np.diff(edge)) * max(1, words) + edge_word
    left_out = np.zeros(0, np.int64) if len(skip) == 0 else skip
    for low, high in _blocks(first, last):
        story = np.setdiff1d(np.arange(low, high), left_out)
        v = np.zeros(len(story), np.int64)
        n = np.zeros(len(story), np.int64)
        sizes = offsets[story + 1] - offsets[story]
        for step in range(int(sizes.max()) if len(sizes) else 0):
            on = np.flatnonzero(sizes > step)
            w = number[stream[offsets[story[on]] + step]].astype(np.int64)
            v[on], n[on] = _step(v[on], n[on], w, table, edge_to, root, link, length, words)
            live = on[v[on] > 0]
            state, size = v[live], n[live].astype(np.int32)
            visits += np.bincount(state, minlength=states)
            np.minimum.at(earliest, state, story[live])
            _note(state, size, story[live], longest, where, at_longest)
    return longest, where, at_longest, visits, np.where(visits > 0, earliest, -1)


def _step(
    v: Array, n: Array, w: Array, table: Array, edge_to: Array, root: Array, link: Array, length: Array, words: int
) -> tuple[Array, Array]:
    v, n = v.copy(), n.copy()
    v[w < 0] = n[w < 0] = 0
    todo = np.flatnonzero(w >= 0)
    while len(todo):
        here, word = v[todo], w[todo]
        key = here * words + word
        place = np.searchsorted(table, key)
        known = (place < len(table)) & (table[np.minimum(place, len(table) - 1)] == key)
        to = np.where(here == 0, root[word], np.where(known, edge_to[np.minimum(place, len(table) - 1)], -1))
        found = to >= 0
        v[todo[found]] = to[found]
        n[todo[found]] += 1
        lost = ~found & (here == 0)
        n[todo[lost]] = 0
        todo = todo[~found & ~lost]
        v[todo] = link[v[todo]]
        n[todo] = length[v[todo]]
    return v, n


def _note(state: Array, size: Array, story: Array, longest: Array, where: Array, at_longest: Array) -> None:
    """Enter matches of one step; `where` keeps the lowest story although stories step side by side."""
    before = longest.copy()
    np.maximum.at(longest, state, size)
    fresh = longest > before
    at_longest[fresh] = 0
    where[fresh] = np.iinfo(np.int64).max
    top = size == longest[state]
    np.add.at(at_longest, state[top], 1)
    np.minimum.at(where, state[top], story[top])


def rouge_counts(left: Array, left_at: Array, right: Array, right_at: Array, first: int, last: int) -> Array:
    """Shared unigrams, shared bigrams and the longest common subsequence of pairs: int64 [pairs, 3]."""
    out = np.zeros((last - first, 3), np.int64)
    for i in range(first, last):
        a = left[left_at[i] : left_at[i + 1]].tolist()
        b = right[right_at[i] : right_at[i + 1]].tolist()
        out[i - first] = _shared(a, b), _shared(list(itertools.pairwise(a)), list(itertools.pairwise(b))), _common(a, b)
    return out


def _shared(a: list[Any], b: list[Any]) -> int:
    from collections import Counter

    left, right = Counter(a), Counter(b)
    return sum(min(n, right[x]) for x, n in left.items() if x in right)


def _common(a: list[int], b: list[int]) -> int:
    """Longest common subsequence, bit-parallel over one whole-number row (Hyyrö 2004)."""
    at: dict[int, int] = {}
    for i, x in enumerate(a):
        at[x] = at.get(x, 0) | (1 << i)
    full = (1 << len(a)) - 1
    row = full
    for x in b:
        hit = row & at.get(x, 0)
        row = ((row + hit) | (row - hit)) & full
    return len(a) - row.bit_count()

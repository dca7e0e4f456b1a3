# mypy: disallow-untyped-decorators=False
"""The kernels compiled by Numba (once, then cached on disk). They release the GIL: callers run them in threads.

None has `fastmath` flags, so a kernel gives the same bits whether it was compiled in this process or read from the cache.

Each scans the stories [first, last) of one stream of word ids; story s is stream[start[s]:end[s]].
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ts_tokenizer.fast.jit import compiled_on_call as kernel

Array = NDArray[Any]
helper = njit(nogil=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)
"""For functions that kernels call: compiled into each of them, not cached by themselves."""

GROUP = 4
"""Words of a story whose weights are added up together."""


@kernel
def count_documents(stream: Array, offsets: Array, first: int, last: int, vocabulary: int) -> Array:
    """In how many of the stories each word stands: int64 [vocabulary]."""
    df = np.zeros(vocabulary, np.int64)
    seen = np.full(vocabulary, -1, np.int64)
    for s in range(first, last):
        for p in range(offsets[s], offsets[s + 1]):
            w = stream[p]
            if seen[w] != s:
                seen[w] = s
                df[w] += 1
    return df


@kernel
def norms(stream: Array, offsets: Array, idf: Array, first: int, last: int) -> Array:
    """Euclidean norm of each story's tf-idf vector: float64 [last - first]."""
    out = np.zeros(last - first, np.float64)
    count = np.zeros(idf.shape[0], np.int64)
    for s in range(first, last):
        for p in range(offsets[s], offsets[s + 1]):
            count[stream[p]] += 1
        total = 0.0
        for p in range(offsets[s], offsets[s + 1]):
            w = stream[p]
            if count[w] > 0:
                x = count[w] * idf[w]
                total += x * x
                count[w] = 0
        out[s - first] = np.sqrt(total)
    return out


@kernel
def score_cosine(stream: Array, offsets: Array, norm: Array, row: Array, weights: Array, first: int, last: int) -> Array:
    """Cosine of every story to one query: float32 [last - first]. `weights` is [rows, 1]."""
    out = np.zeros(last - first, np.float32)
    for s in range(first, last):
        total = np.float32(0)
        for p in range(offsets[s], offsets[s + 1]):
            r = row[stream[p]]
            if r >= 0:
                total += weights[r, 0]
        if norm[s] > 0:
            out[s - first] = total / norm[s]
    return out


@kernel
def scan_cosine(
    stream: Array, offsets: Array, norm: Array, row: Array, weights: Array, own: Array, first: int, last: int, keep: int
) -> tuple[Array, Array]:
    """The `keep` best stories per query, best first, the lower index first among equals.

    row int32 [vocabulary]: the word's row in weights float32 [rows, queries], or -1. own int64 [queries]: a story to
    leave out, or -1. Gives scores float32 and indices int64 [queries, keep]; -1 where there are fewer stories.
    """
    queries = weights.shape[1]
    width = (queries + 15) // 16 * 16  # whole vector registers
    table = np.zeros((weights.shape[0] + 1, width), np.float32)  # the last row stands for no word
    table[: weights.shape[0], :queries] = weights
    score = np.full((queries, keep), np.float32(-1))
    index = np.full((queries, keep), np.int64(-1))
    least = np.full(width, np.float32(np.inf))  # what a story must pass, per query
    least[:queries] = -1
    acc = np.zeros(width, np.float32)
    longest = 0
    for s in range(first, last):
        longest = max(longest, offsets[s + 1] - offsets[s])
    rows = np.zeros(longest + GROUP, np.int32)
    for s in range(first, last):
        n = 0
        for p in range(offsets[s], offsets[s + 1]):
            r = row[stream[p]]
            rows[n] = r
            n += r >= 0
        rows[n : n + GROUP] = weights.shape[0]
        acc[:] = 0
        for i in range(0, n, GROUP):
            a, b, c, d = table[rows[i]], table[rows[i + 1]], table[rows[i + 2]], table[rows[i + 3]]
            for q in range(width):
                acc[q] += (a[q] + b[q]) + (c[q] + d[q])
        scale = np.float32(1) / np.float32(norm[s]) if norm[s] > 0 else np.float32(0)
        better = 0
        for q in range(width):
            acc[q] *= scale
            better += acc[q] > least[q]
        if better == 0:
            continue
        for q in range(queries):
            x = acc[q]
            if x > least[q] and own[q] != s:
                k = keep - 1
                while k > 0 and score[q, k - 1] < x:
                    score[q, k] = score[q, k - 1]
                    index[q, k] = index[q, k - 1]
                    k -= 1
                score[q, k] = x
                index[q, k] = s
                least[q] = score[q, keep - 1]
    return score, index


@helper
def _hash(keys: Array) -> tuple[Array, Array]:
    size = 64
    while size < 4 * keys.shape[0]:
        size *= 2
    slots = np.full(size, np.int64(-1))
    place = np.zeros(size, np.int32)
    for i in range(keys.shape[0]):
        h = (keys[i] * np.int64(-7046029254386353131) >> 20) & (size - 1)
        while slots[h] >= 0:
            h = (h + 1) & (size - 1)
        slots[h] = keys[i]
        place[h] = i
    return slots, place


@kernel
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
    """Per query the largest clipped overlap of stem bigrams with one story, and the first story that has it.

    stem int32 [vocabulary]: the stem's number among the queries' stems, or -1. keys int64: the bigrams of the queries as
    a * stems + b, ascending; bigram i stands in query[post[i]:post[i + 1]], count[...] times in each.
    Gives overlap int64 and index int64 [queries]; index -1 where there is no story.
    """
    queries = own.shape[0]
    best = np.full(queries, np.int64(-1))
    where = np.full(queries, np.int64(-1))
    slots, place = _hash(keys)
    mask = slots.shape[0] - 1
    hits = np.zeros(queries, np.int64)
    seen = np.zeros(keys.shape[0], np.int32)
    touched = np.zeros(keys.shape[0] + 1, np.int32)
    for s in range(first, last):
        hits[:] = 0
        n = 0
        a = -1
        for p in range(start[s], end[s]):
            b = stem[stream[p]]
            if a >= 0 and b >= 0:
                key = np.int64(a) * stems + b
                h = (key * np.int64(-7046029254386353131) >> 20) & mask
                while slots[h] >= 0 and slots[h] != key:
                    h = (h + 1) & mask
                if slots[h] == key:
                    i = place[h]
                    if seen[i] == 0:
                        touched[n] = i
                        n += 1
                    seen[i] += 1
                    for j in range(post[i], post[i + 1]):
                        if seen[i] <= count[j]:
                            hits[query[j]] += 1
            a = b
        for j in range(n):
            seen[touched[j]] = 0
        for q in range(queries):
            if hits[q] > best[q] and own[q] != s:
                best[q] = hits[q]
                where[q] = s
    return best, where


@helper
def _nodes(words: int, edge: Array, edge_word: Array, edge_to: Array, link: Array, length: Array) -> tuple[Array, Array, Array]:
    """What a step reads of a state (int32 [states, 4]), what it writes (int64 [states, 8]), and the keys of all edges (int64).

    Each state is one row, so that a step touches one line of cache of either: most of the time is memory's. Read: the only edge's
    word and target (-1 unless there is exactly one), link, length. Written: visits, longest, at_longest, where, earliest.
    """
    states = link.shape[0]
    node = np.full((states, 4), -1, np.int32)
    note = np.zeros((states, 8), np.int64)
    note[:, 3:5] = -1
    keys = np.empty(edge_word.shape[0], np.int64)
    for i in range(states):
        if edge[i + 1] == edge[i] + 1:
            node[i, 0] = edge_word[edge[i]]
            node[i, 1] = edge_to[edge[i]]
        node[i, 2] = link[i]
        node[i, 3] = length[i]
        for e in range(edge[i], edge[i + 1]):
            keys[e] = np.int64(i) * words + edge_word[e]
    return node, note, keys


@kernel
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
    """Run every story through a suffix automaton of the queries and note, per state, the longest match that ended there.

    number int32 [vocabulary]: the word's number among the queries' words, or -1. root int32: where each number leads from
    the first state. State v has the edges edge_word[edge[v]:edge[v + 1]] (ascending) to edge_to. `skip`: stories left out,
    ascending. Gives per state: longest int32, the first story that has it int64, how often it is reached with that
    length int64, how often it is reached at all int64, and by which story first int64.
    """
    words = root.shape[0]
    node, note, keys = _nodes(words, edge, edge_word, edge_to, link, length)
    slots, place = _hash(keys)
    mask = slots.shape[0] - 1
    k = 0
    v: Any = np.int32(0)
    n: Any = np.int32(0)
    for s in range(first, last):
        while k < skip.shape[0] and skip[k] < s:
            k += 1
        if k < skip.shape[0] and skip[k] == s:
            continue
        v = np.int32(0)
        n = np.int32(0)
        for p in range(offsets[s], offsets[s + 1]):
            w = number[stream[p]]
            if w < 0:
                v = np.int32(0)
                n = np.int32(0)
                continue
            while True:
                to = np.int32(-1)
                if v == 0:
                    to = root[w]
                elif node[v, 0] == w:
                    to = node[v, 1]
                elif node[v, 0] < 0:
                    key = np.int64(v) * words + w
                    h = (key * np.int64(-7046029254386353131) >> 20) & mask
                    while slots[h] >= 0 and slots[h] != key:
                        h = (h + 1) & mask
                    if slots[h] == key:
                        to = edge_to[place[h]]
                if to >= 0:
                    v = to
                    n += np.int32(1)
                    break
                if v == 0:
                    n = np.int32(0)
                    break
                v = node[v, 2]
                n = node[v, 3]
            if v > 0:
                if note[v, 0] == 0:
                    note[v, 4] = s
                note[v, 0] += 1
                if n > note[v, 1]:
                    note[v, 1] = n
                    note[v, 2] = 1
                    note[v, 3] = s
                elif n == note[v, 1]:
                    note[v, 2] += 1
    return note[:, 1].astype(np.int32), note[:, 3].copy(), note[:, 2].copy(), note[:, 0].copy(), note[:, 4].copy()


@helper
def _overlap(a: Array, b: Array) -> int:
    """Clipped matches of two ascending arrays."""
    i = 0
    j = 0
    n = 0
    while i < a.shape[0] and j < b.shape[0]:
        if a[i] == b[j]:
            n += 1
            i += 1
            j += 1
        elif a[i] < b[j]:
            i += 1
        else:
            j += 1
    return n


@helper
def _common(a: Array, b: Array, row: Array) -> int:
    """Length of the longest common subsequence, one row of the table at a time."""
    row[: b.shape[0] + 1] = 0
    for i in range(a.shape[0]):
        diagonal = row[0]
        for j in range(b.shape[0]):
            above = row[j + 1]
            if a[i] == b[j]:
                row[j + 1] = diagonal + 1
            elif row[j] > above:
                row[j + 1] = row[j]
            diagonal = above
    return int(row[b.shape[0]])


@kernel
def rouge_counts(left: Array, left_at: Array, right: Array, right_at: Array, first: int, last: int) -> Array:
    """Shared unigrams, shared bigrams (both clipped) and the longest common subsequence of pairs: int64 [pairs, 3].

    left and right are int64 stem ids below 2**31; pair i is left[left_at[i]:left_at[i + 1]] and right likewise.
    """
    out = np.zeros((last - first, 3), np.int64)
    widest = 0
    for i in range(first, last):
        widest = max(widest, right_at[i + 1] - right_at[i])
    row = np.zeros(widest + 1, np.int32)
    for i in range(first, last):
        a = left[left_at[i] : left_at[i + 1]]
        b = right[right_at[i] : right_at[i + 1]]
        out[i - first, 0] = _overlap(np.sort(a), np.sort(b))
        if a.shape[0] > 1 and b.shape[0] > 1:
            out[i - first, 1] = _overlap(np.sort(a[:-1] * 2147483648 + a[1:]), np.sort(b[:-1] * 2147483648 + b[1:]))
        if a.shape[0] > 0 and b.shape[0] > 0:
            out[i - first, 2] = _common(a, b, row)
    return out

# mypy: ignore-errors
# (loops without annotations: Numba infers the types, and `_decoder` alone calls them)
"""The loops in plain Python over arrays: the reference that `compiled` runs through Numba. Callers check shapes and types.

Every sum that decides something is of whole numbers, so both give the same answers to the bit.
"""

from __future__ import annotations

import math

import numpy as np

__all__ = [
    "CASE_FEATURES",
    "SPACE_FEATURES",
    "case_features",
    "decode",
    "features",
    "fill_table",
    "gather_evidence",
    "learn",
    "look_up",
    "quote_states",
    "retell",
    "space_features",
]

SPACE_FEATURES = 14
CASE_FEATURES = 22
LOOK_AHEAD = 3
SPREAD = 40_503
"""Sets neighbours apart in the table: keys of one template are consecutive, and would form runs of thousands of slots."""

QUOTE, APOSTROPHE, BREAK, WORD, CASELESS = 8, 16, 32, 64, 128
"""Bits of a token's `kinds` entry above the three of its class of capitals."""


def quote_states(ids, kinds, states):
    """For each token the quotes that stand open before it: 1 for `"`, 2 for `'`; a line break closes them all."""
    state = 0
    for i in range(len(ids)):
        states[i] = state
        kind = kinds[ids[i]]
        if kind & QUOTE:
            state ^= 1
        elif kind & APOSTROPHE:
            state ^= 2
        elif kind & BREAK:
            state = 0


def space_features(ids, i, state, kinds, none, out):
    """The features of the blank before token i: template, three ids, 53 bits in all."""
    n = len(ids)
    a = ids[i - 2] if i > 1 else none
    b = ids[i - 1] if i > 0 else none
    c = ids[i]
    d = ids[i + 1] if i + 1 < n else none
    double = state & 1
    out[0] = c
    out[1] = (1 << 48) | b
    out[2] = (2 << 48) | (b << 16) | c
    out[3] = (3 << 48) | (a << 32) | (b << 16) | c
    out[4] = ((4 + double) << 48) | (b << 16) | c
    out[5] = (6 << 48) | (b << 32) | (c << 16) | d
    out[6] = ((7 + double) << 48) | c
    out[7] = ((9 + double) << 48) | b
    out[8] = ((11 + state) << 48) | (b << 16) | c
    out[9] = ((15 + state) << 48) | (c << 16) | d
    out[10] = ((19 + double) << 48) | (a << 16) | b
    wide = c if kinds[c] & (QUOTE | APOSTROPHE) else none  # quotes look further: one that is missing upsets the count
    out[11] = ((21 + double) << 48) | (a << 16) | wide
    out[12] = ((23 + double) << 48) | ((ids[i + 2] if i + 2 < n else none) << 16) | wide
    out[13] = ((25 + double) << 48) | ((ids[i - 3] if i > 2 else none) << 16) | wide


def case_features(ids, i, state, kinds, none, out):
    """The features of the case of token i."""
    n = len(ids)
    a = ids[i - 2] if i > 1 else none
    b = ids[i - 1] if i > 0 else none
    c = ids[i]
    d = ids[i + 1] if i + 1 < n else none
    e = ids[i + 2] if i + 2 < n else none
    f = ids[i + 3] if i + 3 < n else none
    z = ids[i - 3] if i > 2 else none
    k = kinds[c] & 7
    q = state & 1
    out[0] = (32 << 48) | c
    out[1] = (33 << 48) | b
    out[2] = (34 << 48) | (b << 16) | c
    out[3] = (35 << 48) | (a << 16) | b
    out[4] = (36 << 48) | (a << 32) | (b << 16) | c
    out[5] = (37 << 48) | (c << 16) | d
    out[6] = (38 << 48) | (b << 32) | (c << 16) | d
    out[7] = ((39 + q) << 48) | (k << 32) | (a << 16) | b
    out[8] = ((41 + q) << 48) | (k << 32) | b
    out[9] = ((43 + q) << 48) | (b << 16) | c
    out[10] = (45 << 48) | (k << 32) | (b << 16) | d
    out[11] = (46 << 48) | (k << 32) | d
    out[12] = (47 << 48) | (c << 32) | (d << 16) | e
    out[13] = (48 << 48) | (z << 32) | (a << 16) | b
    out[14] = (49 << 48) | (k << 32) | (d << 16) | e
    out[15] = (50 << 48) | (k << 32) | (z << 16) | a
    out[16] = (51 << 48) | (k << 16) | ((state & 3) << 8)
    if kinds[b] & QUOTE:  # after a closing quote: does a sentence begin, or does "said Tom" follow?
        out[17] = ((52 + q) << 48) | (a << 32) | (c << 16) | d
        out[18] = ((54 + q) << 48) | (a << 16) | d
        out[19] = ((54 + q) << 48) | (a << 16) | e
        out[20] = ((54 + q) << 48) | (a << 16) | f
        out[21] = ((56 + q) << 48) | (k << 32) | (a << 16) | c
    else:
        out[17] = (58 << 48) | (z << 16) | c
        out[18] = (59 << 48) | (a << 16) | c
        out[19] = (60 << 48) | (c << 16) | e
        out[20] = ((61 + q) << 48) | c
        out[21] = (63 << 48) | (k << 32) | (a << 16) | d


def features(ids, kinds, none, states, space, case):
    """Fill `space` [tokens, SPACE_FEATURES] and `case` [tokens, CASE_FEATURES] for one story."""
    quote_states(ids, kinds, states)
    for i in range(len(ids)):
        space_features(ids, i, states[i], kinds, none, space[i])
        case_features(ids, i, states[i], kinds, none, case[i])


def fill_table(keys, weights, slots, values):
    """Put keys and their rows of weights into an open-addressed table: `slots` of prime size, all -1."""
    size = len(slots)
    for i in range(len(keys)):
        slot = (keys[i] % size) * SPREAD % size
        while slots[slot] >= 0:
            slot += 1
            if slot == size:
                slot = 0
        slots[slot] = keys[i]
        for j in range(weights.shape[1]):
            values[slot, j] = weights[i, j]


def look_up(keys, key):
    """The row of a key in an open-addressed table (its size is prime; -1 marks an empty slot), or -1."""
    size = len(keys)
    slot = (key % size) * SPREAD % size
    while keys[slot] != key:
        if keys[slot] < 0:
            return -1
        slot += 1
        if slot == size:
            slot = 0
    return slot


def decode(ids, truth, kinds, none, unk, keys, weights, evidence, unit, mode, scores):
    """Score one story's tokens: `scores` [tokens, 3] for a blank, a capital, all capitals, in units of 1/`unit` nat.

    `keys` and `weights` [slots, 2] are the table (column 0 blank or capital, column 1 all capitals). `evidence`
    [8, 2, 17] is added to the capital's score: by the word's class, by whether it stands after a word, and by what the
    story says of the same word elsewhere: mode 0 everywhere, by its own scores; mode 1 before it, by its own scores;
    mode 2 before it, by `truth` (1 capital, 0 lower).
    """
    n = len(ids)
    states = np.zeros(n, dtype=np.int64)
    quote_states(ids, kinds, states)
    row = np.zeros(max(CASE_FEATURES, SPACE_FEATURES), dtype=np.int64)
    for i in range(n):
        space_features(ids, i, states[i], kinds, none, row)
        total = 0
        if i > 0:
            for j in range(SPACE_FEATURES):
                slot = look_up(keys, row[j])
                if slot >= 0:
                    total += weights[slot, 0]
        scores[i, 0] = total
        capital = 0
        upper = 0
        if ids[i] != unk and not kinds[ids[i]] & CASELESS:
            case_features(ids, i, states[i], kinds, none, row)
            for j in range(CASE_FEATURES):
                slot = look_up(keys, row[j])
                if slot >= 0:
                    capital += weights[slot, 0]
                    upper += weights[slot, 1]
        scores[i, 1] = capital
        scores[i, 2] = upper
    gather_evidence(ids, truth, kinds, none, unk, evidence, unit, mode, scores)


def gather_evidence(ids, truth, kinds, none, unk, evidence, unit, mode, scores):
    """Add to each capital's score what the other places of the same word in the story say."""
    n = len(ids)
    pool = np.zeros(len(kinds), dtype=np.int64)
    votes = np.zeros(n, dtype=np.int64)
    for i in range(n):
        c = ids[i]
        inside = i > 0 and (kinds[ids[i - 1]] & WORD) != 0
        if c != unk and inside and not kinds[c] & CASELESS:
            if mode == 2:
                votes[i] = 4 * unit if truth[i] else -4 * unit
            else:
                votes[i] = min(max(scores[i, 1], -4 * unit), 4 * unit)
        if mode == 0:
            pool[c] += votes[i]
    for i in range(n):
        c = ids[i]
        if c != unk and not kinds[c] & CASELESS:
            inside = 1 if i > 0 and (kinds[ids[i - 1]] & WORD) != 0 else 0
            others = pool[c] - votes[i] if mode == 0 else pool[c]
            bucket = min(max((others + 17 * unit // 2) // unit, 0), 16)
            scores[i, 1] += evidence[kinds[c] & 7, inside, bucket]
        if mode != 0:
            pool[c] += votes[i]


def retell(ids, told, kinds, unk, evidence, unit, scores, blanks, cases):
    """Decisions from left to right where some are told: `told` [tokens, 2] holds a blank and a case, -1 where nothing is.

    `scores` come without evidence; evidence is the case of the same word before, as it was decided or told.
    """
    pool = np.zeros(len(kinds), dtype=np.int64)
    for i in range(len(ids)):
        c = ids[i]
        blanks[i] = told[i, 0] if told[i, 0] >= 0 else (1 if scores[i, 0] > 0 else 0)
        cases[i] = 0
        if c != unk and not kinds[c] & CASELESS:
            inside = 1 if i > 0 and (kinds[ids[i - 1]] & WORD) != 0 else 0
            bucket = min(max((pool[c] + 17 * unit // 2) // unit, 0), 16)
            capital = scores[i, 1] + evidence[kinds[c] & 7, inside, bucket]
            if told[i, 1] >= 0:
                cases[i] = told[i, 1]
            elif scores[i, 2] > max(capital, 0):
                cases[i] = 2
            elif capital > 0:
                cases[i] = 1
            if inside:
                pool[c] += 4 * unit if cases[i] else -4 * unit


def learn(rows, labels, weights, squares, rate, decay, epochs):
    """Logistic regression by AdaGrad (Duchi et al. 2011), in the order given: `rows` [n, features] of weight numbers, 0 for none."""
    for _ in range(epochs):
        for i in range(len(rows)):
            row = rows[i]
            total = 0.0
            for j in range(len(row)):
                total += weights[row[j]]
            total = min(max(total, -30.0), 30.0)
            gradient = 1.0 / (1.0 + math.exp(-total)) - labels[i]
            if abs(gradient) < 0.001:  # sure and right: nothing to learn here
                continue
            for j in range(len(row)):
                w = row[j]
                if w > 0:
                    g = gradient + decay * weights[w]
                    squares[w] += g * g
                    weights[w] -= rate * g / math.sqrt(squares[w])

# mypy: ignore-errors
# (loops without annotations: Numba infers the types)
"""The loops of the detokenizer: features of a token, their scores, and logistic regression. Callers check shapes and types.

Every sum that decides something is of whole numbers, so compiled and interpreted loops give the same results to the bit. All
loops that call each other are in this one file: Numba's cache compiles a loop again if its own file changes, and ignores
changes in files of loops that it calls.
"""

import math

import numpy as np

from .jit import jit

SPACE_FEATURES = 32
CASE_FEATURES = 31
CASE_ALIKE = (18, 19, 20)
"""The case features that share templates; all others have their own."""
STORY_FEATURES = 13
STORY_TEMPLATE, STORY_TEMPLATES, NEIGHBOUR_TEMPLATE = 96, 11, 129
"""The first template of a word's other occurrences, their number in each mode, and the first of these with a neighbour."""
UNSURE = 6
"""Nats: above this score other occurrences of the word do not change a decision."""
LOOK_AHEAD = 3
SPREAD = (1_640_531_527, 1_779_033_703)
"""Hash factors that separate consecutive keys of one template."""

GRADES = (2, 4, 7, 10, 14, 18, 24, 32)
"""Bin bounds of a score, in quarters of a nat."""

NEVER = 1 << 40
SURE = 0.001

QUOTE, APOSTROPHE, BREAK, WORD, CASELESS = 8, 16, 32, 64, 128
"""Bits of a token's `kinds` entry above the three bits of its capital class."""


@jit
def _space_features(ids, i, state, kinds, none, out):
    """Fill `out` with the features of the blank before token i: template and up to three ids, 53 bits in all."""
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
    wide = c if kinds[c] & (QUOTE | APOSTROPHE) else none  # quotes use more context: a missing one changes the parity
    out[11] = ((21 + double) << 48) | (a << 16) | wide
    out[12] = ((23 + double) << 48) | ((ids[i + 2] if i + 2 < n else none) << 16) | wide
    out[13] = ((25 + double) << 48) | ((ids[i - 3] if i > 2 else none) << 16) | wide


@jit
def _case_features(ids, i, state, kinds, none, out):
    """Fill `out` with the features of the case of token i."""
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
    if kinds[b] & QUOTE:  # after a closing quote: a new sentence, or "said Tom"
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


@jit
def space_context(ids, i, decided, before, kinds, none, out):
    """Features of the blank before token i from earlier decisions and word classes."""
    n = len(ids)
    a = ids[i - 2] if i > 1 else none
    b = ids[i - 1] if i > 0 else none
    c = ids[i]
    d = ids[i + 1] if i + 1 < n else none
    left = (kinds[c] >> 11) & 7
    right = (kinds[b] >> 14) & 7
    out[14] = (64 << 48) | (left << 8) | (right << 4) | decided
    out[15] = (65 << 48) | (left << 16) | b
    out[16] = (66 << 48) | (right << 16) | c
    for j in range(17, SPACE_FEATURES):
        out[j] = -1
    if kinds[b] & (QUOTE | APOSTROPHE):
        t = (decided << 1) | before
        out[17] = (67 << 48) | (t << 16) | b
        out[18] = (68 << 48) | (t << 32) | (b << 16) | c
        out[19] = (69 << 48) | (t << 32) | (b << 16) | a
        out[20] = (70 << 48) | (t << 32) | (b << 16) | (left << 8) | ((kinds[a] >> 14) & 7)
        # `'` is rare and shares features with `"`.
        alike = (((decided >> 1) & 1 if kinds[b] & APOSTROPHE else decided & 1) << 1) | before
        out[26] = (86 << 48) | alike
        out[27] = (87 << 48) | (alike << 8) | (left << 4) | ((kinds[a] >> 14) & 7)
    if kinds[c] & (QUOTE | APOSTROPHE):
        out[21] = (71 << 48) | (decided << 32) | (c << 16) | b
        out[22] = (72 << 48) | (decided << 32) | (c << 16) | d
        out[23] = (73 << 48) | (decided << 32) | (c << 16) | (right << 8) | ((kinds[d] >> 11) & 7)
        near = 0
        for j in range(1, LOOK_AHEAD + 1):
            if near == 0 and i + j < n and ids[i + j] == c:
                near = j
        out[24] = (74 << 48) | (decided << 32) | (c << 16) | (near << 8) | right
        out[25] = (75 << 48) | (b << 32) | (near << 24) | (decided << 16) | c
        alike = (decided >> 1) & 1 if kinds[c] & APOSTROPHE else decided & 1
        out[28] = (88 << 48) | (alike << 32) | b
        out[29] = (89 << 48) | (alike << 32) | (near << 8) | (right << 4) | ((kinds[d] >> 11) & 7)
        out[30] = (92 << 48) | (alike << 32) | (b << 16) | a
        out[31] = (93 << 48) | (alike << 32) | (b << 16) | d


@jit
def _next_decided(decided, kind, before, blank, first):
    """The open quotes after a token, by the blanks on both of its sides."""
    if kind & QUOTE:
        if before == 1 and blank == 0:
            return decided | 1
        if before == 0 and blank == 1:
            return decided & 2
        return (decided | 1) if first else decided ^ 1
    if kind & APOSTROPHE:
        if before == 1 and blank == 0:
            return decided | 2
        if before == 0 and blank == 1:
            return decided & 1
    if kind & BREAK:
        return 0
    return decided


@jit
def _case_context(ids, i, walk, kinds, none, out):
    """Features of the case of token i after a quotation mark: does the sentence continue, or does a new one start?"""
    n = len(ids)
    a = ids[i - 2] if i > 1 else none
    b = ids[i - 1] if i > 0 else none
    c = ids[i]
    k = kinds[c] & 7
    for j in range(22, CASE_FEATURES):
        out[j] = -1
    if kinds[b] & QUOTE:
        inner = walk[2]
        if walk[0] & 1:
            s = min(walk[3], 7)
            out[22] = (76 << 48) | (k << 40) | (s << 32) | (inner << 16) | a
            out[23] = (77 << 48) | (inner << 32) | (a << 16) | c
            out[24] = (78 << 48) | (k << 32) | (inner << 16) | a
        else:
            verb = 0
            at = 0
            end = none
            size = 7
            last = none
            for j in range(LOOK_AHEAD + 1):
                if i + j < n and end == none:
                    t = ids[i + j]
                    if not kinds[t] & WORD:
                        end = t
                        size = j
                        last = ids[i + j - 1]
                    elif (kinds[t] >> 8) & 7 > verb:
                        verb = (kinds[t] >> 8) & 7
                        at = j
            out[22] = (79 << 48) | (at << 32) | (verb << 16) | a
            out[23] = (80 << 48) | (verb << 32) | (a << 16) | c
            out[24] = (81 << 48) | (k << 32) | (verb << 16) | a
            out[25] = (82 << 48) | (end << 32) | (verb << 16) | a
            out[26] = (83 << 48) | (((kinds[c] >> 8) & 7) << 32) | (verb << 16) | a
            out[27] = (84 << 48) | (verb << 32) | (end << 16) | c
            out[28] = (85 << 48) | (verb << 40) | (at << 32) | (a << 16) | c
            out[29] = (90 << 48) | (size << 40) | (last << 16) | a
            out[30] = (91 << 48) | (size << 40) | (last << 16) | c


@jit
def _open_quotes(ids, i, kinds, walk):
    """The open quotes before token i while its own blank is unknown: a quote with a blank before it opens."""
    if i == 0:
        return 0
    kind = kinds[ids[i - 1]]
    if kind & QUOTE:
        return (walk[0] & 2) | walk[1]
    if kind & APOSTROPHE:
        return (walk[0] & 1) | (walk[1] << 1)
    return 0 if kind & BREAK else walk[0]


@jit
def _take_blank(ids, i, blank, kinds, walk):
    """Update `walk` by the blank before token i: open quotes, last blank, last token of the last speech, tokens since."""
    if i > 0:
        was = walk[0]
        walk[0] = _next_decided(was, kinds[ids[i - 1]], walk[1], blank, i == 1)
        if was & 1 and not walk[0] & 1 and i > 1:
            walk[2] = ids[i - 2]
            walk[3] = 0
        walk[1] = blank
    walk[3] += 1


@jit
def features(ids, blanks, bounds, places, kinds, none, space, case):
    """Fill `space` [SPACE_FEATURES, rows] or `case` [CASE_FEATURES, rows] for concatenated stories; the other has no rows.

    `places` [tokens] is each token's row, -1 for none.
    """
    row = np.zeros(max(CASE_FEATURES, SPACE_FEATURES), dtype=np.int64)
    for story in range(len(bounds) - 1):
        first = bounds[story]
        own = ids[first : bounds[story + 1]]
        walk = np.array([0, 1, none, 0])
        for i in range(len(own)):
            place = places[first + i]
            if place >= 0 and space.shape[1]:
                _space_features(own, i, _open_quotes(own, i, kinds, walk), kinds, none, row)
                space_context(own, i, walk[0], walk[1], kinds, none, row)
                for j in range(SPACE_FEATURES):
                    space[j, place] = row[j]
            _take_blank(own, i, blanks[first + i], kinds, walk)
            if place >= 0 and case.shape[1]:
                _case_features(own, i, walk[0], kinds, none, row)
                _case_context(own, i, walk, kinds, none, row)
                for j in range(CASE_FEATURES):
                    case[j, place] = row[j]


@jit
def _mixed(key):
    """The hash of a key: bits from 20 on choose its slot, bits from 13 on are its tag. No product exceeds 63 bits."""
    return (key >> 24) * SPREAD[0] + (key & 0xFFFFFF) * SPREAD[1]


@jit
def fill_table(keys, weights, slots, values):
    """Insert keys and their weights into an open-addressed table; `slots` has a power of two entries, all -1."""
    size = len(slots)
    for i in range(len(keys)):
        slot = (_mixed(keys[i]) >> 20) & (size - 1)
        while slots[slot] >= 0:
            slot = (slot + 1) & (size - 1)
        slots[slot] = keys[i]
        for j in range(weights.shape[1]):
            values[slot, j] = weights[i, j]


@jit
def fill_tags(slots, tags):
    """Fill uint8 `tags` [slots], all 0: a tag is seven bits of the key's hash, and never 0."""
    for i in range(len(slots)):
        if slots[i] >= 0:
            tags[i] = 128 | ((_mixed(slots[i]) >> 13) & 127)


@jit
def _look_up(keys, tags, key):
    """The row of a key in an open-addressed table, or -1.

    Most keys are absent. Their tags tell, which fit the CPU cache, as the keys do not.
    """
    if key < 0:
        return -1
    full = _mixed(key)
    tag = 128 | ((full >> 13) & 127)
    slot = (full >> 20) & (len(keys) - 1)
    while tags[slot]:
        if tags[slot] == tag and keys[slot] == key:
            return slot
        slot = (slot + 1) & (len(keys) - 1)
    return -1


@jit
def score_whole(ids, fixed, bounds, kinds, none, unk, keys, weights, tags, unit, mode, parity, together, witness, scores):
    """Score the tokens of concatenated stories: `scores` [tokens, 3] for a blank, a capital, all capitals, in units of 1/`unit` nat.

    `keys`, `weights` [slots, 2] and `tags` are the table (column 0 blank or capital, column 1 all capitals). `fixed` [tokens, 2]
    holds known blanks and cases, -1 for unknown: a score never uses those of its own token. With `parity` every second
    quotation mark closes one, whatever the blanks. In mode 0 occurrences of a word within `together` of 0 get the mean score of
    those within `witness`.
    """
    row = np.zeros(max(CASE_FEATURES, SPACE_FEATURES, STORY_FEATURES), dtype=np.int64)
    nothing = np.zeros((0, STORY_FEATURES), dtype=np.int64)
    board = np.empty((len(kinds), 7), dtype=np.int64)
    clear(board, np.arange(len(kinds)))
    for story in range(len(bounds) - 1):
        first, last = bounds[story], bounds[story + 1]
        own, known, found = ids[first:last], fixed[first:last], scores[first:last]
        walk = np.array([0, 1, none, 0, 0])
        for i in range(len(own)):
            _score_token(own, i, known, kinds, none, unk, keys, weights, tags, parity, walk, row, found)
        _add_story_scores(own, known, kinds, unk, keys, weights, tags, unit, mode, board, found, nothing)
        clear(board, own)
        if mode == 0 and together > 0:
            _decide_together(own, kinds, unk, together, max(together, witness), board, found)
            if witness > 0:
                _spread_capitals(own, unk, board, found)
            clear(board, own)


@jit
def clear(board, ids):
    """Set the rows of tokens in `board`, int64 [vocab, 7], to what they are before a story: see `_add_vote`."""
    for c in ids:
        for j in range(3):
            board[c, j] = 0
        for j in range(3, 5):
            board[c, j] = -NEVER
            board[c, j + 2] = NEVER


@jit
def score_stories(ids, blanks, bounds, kinds, none, unk, keys, weights, tags, scores):
    """Score concatenated stories by their neighbours and actual blanks; `scores` as in `score_whole`."""
    row = np.zeros(max(CASE_FEATURES, SPACE_FEATURES), dtype=np.int64)
    for story in range(len(bounds) - 1):
        first, last = bounds[story], bounds[story + 1]
        own, fixed = ids[first:last], np.full((last - first, 2), -1, dtype=np.int64)
        fixed[:, 0] = blanks[first:last]
        walk = np.array([0, 1, none, 0, 0])
        for i in range(len(own)):
            _score_token(own, i, fixed, kinds, none, unk, keys, weights, tags, False, walk, row, scores[first:last])


@jit
def _decide_together(ids, kinds, unk, limit, witness, board, scores):
    """Give the unsure occurrences of a word (capital within `limit` of 0, not all capitals) the mean score of those within `witness`."""
    total, count = board[:, 0], board[:, 1]
    for i in range(len(ids)):
        c = ids[i]
        if c != unk and not kinds[c] & CASELESS and abs(scores[i, 1]) < witness and scores[i, 2] <= 0:
            total[c] += scores[i, 1]
            count[c] += 1
    for i in range(len(ids)):
        if count[ids[i]] and abs(scores[i, 1]) < limit and scores[i, 2] <= 0:
            scores[i, 1] = total[ids[i]] // count[ids[i]]


@jit
def _spread_capitals(ids, unk, board, scores):
    """Give a word all capitals wherever they lack less than they gain at its surest place in the story."""
    most = board[:, 2]
    for i in range(len(ids)):
        most[ids[i]] = max(most[ids[i]], scores[i, 2] - max(scores[i, 1], 0))
    for i in range(len(ids)):
        other = max(scores[i, 1], 0)
        if ids[i] != unk and scores[i, 2] <= other < scores[i, 2] + most[ids[i]]:
            scores[i, 2] = other + 1


@jit
def score_next(ids, fixed, kinds, none, unk, keys, weights, tags, unit, mode, parity, first, last, walk, board, scores):
    """`score_whole` in mode 1 or 2 for the tokens from `first` to before `last`, after those before `first` were scored.

    `walk` [5] and `board` hold the state of earlier tokens: initially [0, 1, none, 0, 0], and what `clear` sets.
    """
    row = np.zeros(max(CASE_FEATURES, SPACE_FEATURES, STORY_FEATURES), dtype=np.int64)
    for i in range(first, last):
        _score_token(ids, i, fixed, kinds, none, unk, keys, weights, tags, parity, walk, row, scores)
        kind = kinds[ids[i]]
        if ids[i] != unk and not kind & CASELESS:
            own = scores[i, 1]
            inside = 1 if i > 0 and kinds[ids[i - 1]] & WORD else 0
            c = ids[i]
            voters, seen, most, least = board[c, 1], board[c, 2], board[c, 3], board[c, 5]
            _story_features(c, kind & 7, inside, board[c, 0], voters, seen, most, least, own, unit, mode, row)
            _story_neighbours(ids, i, unk, board[c, 0], own, unit, mode, row)
            for j in range(STORY_FEATURES):
                slot = _look_up(keys, tags, row[j])
                if slot >= 0:
                    scores[i, 1] += weights[slot, 0]
            if mode == 2:
                capital = fixed[i, 1] > 0 if fixed[i, 1] >= 0 else max(scores[i, 1], scores[i, 2]) > 0
                own = 4 * unit if capital else -4 * unit
            _add_vote(ids, i, kinds, unk, own, unit, board)


@jit
def _score_token(ids, i, fixed, kinds, none, unk, keys, weights, tags, parity, walk, row, scores):
    """Score token i by its neighbours and the open quotes, and update `walk` by its blank.

    `walk[4]` holds the open quotes by parity, which `parity` uses: 1 for `"`, 2 for `'`; a line break closes all.
    """
    state = walk[4]
    _space_features(ids, i, state if parity else _open_quotes(ids, i, kinds, walk), kinds, none, row)
    space_context(ids, i, walk[0], walk[1], kinds, none, row)
    total = 0
    if i > 0:
        for j in range(SPACE_FEATURES):
            slot = _look_up(keys, tags, row[j])
            if slot >= 0:
                total += weights[slot, 0]
    scores[i, 0] = total
    _take_blank(ids, i, fixed[i, 0] if fixed[i, 0] >= 0 else (1 if total > 0 else 0), kinds, walk)
    if ids[i] != unk and not kinds[ids[i]] & CASELESS:
        _case_features(ids, i, state if parity else walk[0], kinds, none, row)
        _case_context(ids, i, walk, kinds, none, row)
        for j in range(CASE_FEATURES):
            slot = _look_up(keys, tags, row[j])
            if slot >= 0:
                scores[i, 1] += weights[slot, 0]
                scores[i, 2] += weights[slot, 1]
    if kinds[ids[i]] & QUOTE:
        walk[4] ^= 1
    elif kinds[ids[i]] & APOSTROPHE:
        walk[4] ^= 2
    elif kinds[ids[i]] & BREAK:
        walk[4] = 0


@jit
def _grade(score, unit):
    """The bin of a score: 18 bins, finer near 0."""
    size = abs(score) * 4 // unit
    steps = 0
    for bound in GRADES:
        if size >= bound:
            steps += 1
    return 9 + steps if score > 0 else 8 - steps


@jit
def _add_story_scores(ids, fixed, kinds, unk, keys, weights, tags, unit, mode, board, scores, rows):
    """Add the evidence of the word's other occurrences in the story to each capital's score.

    An occurrence votes if it follows a word, where a capital means a name. Mode 0: all occurrences, by their scores; mode 1:
    earlier ones, by their scores; mode 2: earlier ones, by their known or decided case. Features are written to `rows`
    [tokens, STORY_FEATURES] unless it is empty. `board` is cleared.
    """
    n = len(ids)
    own = scores[:, 1].copy()
    row = np.zeros(STORY_FEATURES, dtype=np.int64)
    if mode == 0:
        for i in range(n):
            _add_vote(ids, i, kinds, unk, own[i], unit, board)
    for i in range(n):
        c = ids[i]
        if c == unk or kinds[c] & CASELESS:
            continue
        inside = 1 if i > 0 and kinds[ids[i - 1]] & WORD else 0
        others, voters, seen, most, least = board[c, 0], board[c, 1], board[c, 2], board[c, 3], board[c, 5]
        if mode == 0:
            seen -= 1
            if inside:
                others -= min(max(own[i], -4 * unit), 4 * unit)
                voters -= 1
                most = board[c, 4] if own[i] == most else most
                least = board[c, 6] if own[i] == least else least
        _story_features(c, kinds[c] & 7, inside, others, voters, seen, most, least, own[i], unit, mode, row)
        _story_neighbours(ids, i, unk, others, own[i], unit, mode, row)
        for j in range(STORY_FEATURES):
            slot = _look_up(keys, tags, row[j])
            if slot >= 0:
                scores[i, 1] += weights[slot, 0]
        if len(rows):
            rows[i] = row
        if mode == 1:
            _add_vote(ids, i, kinds, unk, own[i], unit, board)
        if mode == 2:
            capital = fixed[i, 1] > 0 if fixed[i, 1] >= 0 else max(scores[i, 1], scores[i, 2]) > 0
            _add_vote(ids, i, kinds, unk, 4 * unit if capital else -4 * unit, unit, board)


@jit
def story_rows(ids, cases, bounds, kinds, unk, unit, mode, scores, places, rows):
    """Fill `rows` [STORY_FEATURES, rows] with the story features of concatenated stories, given each token's score.

    `places` [tokens] is each token's row, -1 for none.
    """
    keys, weights, tags = np.full(1, -1, dtype=np.int64), np.zeros((1, 2), dtype=np.int32), np.zeros(1, dtype=np.uint8)
    board = np.empty((len(kinds), 7), dtype=np.int64)
    clear(board, np.arange(len(kinds)))
    for story in range(len(bounds) - 1):
        first, last = bounds[story], bounds[story + 1]
        fixed, three = np.full((last - first, 2), -1, dtype=np.int64), np.zeros((last - first, 3), dtype=np.int64)
        fixed[:, 1] = cases[first:last]
        three[:, 1] = scores[first:last]
        found = np.zeros((last - first, STORY_FEATURES), dtype=np.int64)
        _add_story_scores(ids[first:last], fixed, kinds, unk, keys, weights, tags, unit, mode, board, three, found)
        clear(board, ids[first:last])
        for i in range(last - first):
            if places[first + i] >= 0:
                for j in range(STORY_FEATURES):
                    rows[j, places[first + i]] = found[i, j]


@jit
def _add_vote(ids, i, kinds, unk, score, unit, board):
    """Count occurrence i of its word. The columns of `board`: sum and number of votes, occurrences, the two highest, the two lowest scores."""
    c = ids[i]
    if c == unk or kinds[c] & CASELESS:
        return
    board[c, 2] += 1
    if i > 0 and kinds[ids[i - 1]] & WORD:
        board[c, 0] += min(max(score, -4 * unit), 4 * unit)
        board[c, 1] += 1
        if score > board[c, 3]:
            board[c, 4] = board[c, 3]
            board[c, 3] = score
        elif score > board[c, 4]:
            board[c, 4] = score
        if score < board[c, 5]:
            board[c, 6] = board[c, 5]
            board[c, 5] = score
        elif score < board[c, 6]:
            board[c, 6] = score


@jit
def _story_features(c, k, inside, others, voters, seen, most, least, own, unit, mode, out):
    """The features of a capital from the word's other occurrences, one template each."""
    bucket = _bucket_of(others, unit)
    most = 31 if voters == 0 else (_grade(most, unit) + 1) // 2
    least = 31 if voters == 0 else (_grade(least, unit) + 1) // 2
    own = _grade(own, unit)
    voters = min(voters, 4)
    seen = min(seen, 4)
    kind = (k << 1) | inside
    first = STORY_TEMPLATE + mode * STORY_TEMPLATES
    out[0] = (first << 48) | (kind << 8) | bucket
    out[1] = ((first + 1) << 48) | (kind << 16) | (most << 8) | least
    out[2] = ((first + 2) << 48) | (kind << 16) | (own << 8) | bucket
    out[3] = ((first + 3) << 48) | (kind << 16) | (own << 8) | most
    out[4] = ((first + 4) << 48) | (kind << 16) | (own << 8) | least
    out[5] = ((first + 5) << 48) | (kind << 16) | (voters << 8) | bucket
    out[6] = ((first + 6) << 48) | (own << 16) | (most << 8) | least
    out[7] = ((first + 7) << 48) | (kind << 16) | (own << 8) | seen
    out[8] = ((first + 8) << 48) | (kind << 16) | (most << 8) | seen
    out[9] = ((first + 9) << 48) | (c << 8) | bucket
    out[10] = ((first + 10) << 48) | (c << 16) | (most << 8) | least


@jit
def _story_neighbours(ids, i, unk, others, own, unit, mode, out):
    """The features of an unsure capital from the word's other occurrences and one of its neighbours."""
    out[11] = out[12] = -1
    if abs(own) < UNSURE * unit:
        bucket = (ids[i] << 16) | _bucket_of(others, unit)
        first = NEIGHBOUR_TEMPLATE + 2 * mode
        out[11] = (first << 48) | ((ids[i - 1] if i > 0 else unk + 1) << 32) | bucket
        out[12] = ((first + 1) << 48) | ((ids[i + 1] if i + 1 < len(ids) else unk + 1) << 32) | bucket


@jit
def _bucket_of(others, unit):
    """The sum of the scores of other occurrences, rounded to nats, as one of 17 bins."""
    return min(max((others + 17 * unit // 2) // unit, 0), 16)


@jit
def pack_rows(table, order, starts, numbers):
    """Concatenate the non-negative entries of the rows of `table` in that order; `starts` holds the start of each row."""
    count = 0
    for n in range(len(order)):
        starts[n] = count
        for number in table[order[n]]:
            if number >= 0:
                numbers[count] = number
                count += 1
    starts[len(order)] = count


@jit
def sum_weights(starts, numbers, rows, weights, sums):
    """Add the weights of each of `rows` to `sums`."""
    for i in rows:
        for j in range(starts[i], starts[i + 1]):
            sums[i] += weights[numbers[j]]


@jit
def add_importance(starts, numbers, offsets, weights, least, out):
    """Add to `out` [keys] how much the loss rises, to second order, if a weight becomes 0; each row counts for at least `least`."""
    for i in range(len(starts) - 1):
        total = offsets[i]
        for j in range(starts[i], starts[i + 1]):
            total += weights[numbers[j]]
        p = 1.0 / (1.0 + math.exp(-min(max(total, -30.0), 30.0)))
        for j in range(starts[i], starts[i + 1]):
            out[numbers[j]] += max(p * (1.0 - p), least) * weights[numbers[j]] ** 2


@jit
def learn(starts, numbers, rows, offsets, labels, weights, rate, decay, epochs):
    """Logistic regression by AdaGrad (Duchi et al. 2011) over `rows`, in that order; `weights` [keys, 2] holds squares beside.

    Row i has the features `numbers[starts[i] : starts[i + 1]]` and the constant `offsets[i]` in its logit. A row whose
    gradient is below SURE is skipped in later epochs.
    """
    rows = rows.copy()
    count = len(rows)
    for _ in range(epochs):
        left = 0
        for n in range(count):
            i = rows[n]
            total = offsets[i]
            for j in range(starts[i], starts[i + 1]):
                total += weights[numbers[j], 0]
            total = min(max(total, -30.0), 30.0)
            gradient = 1.0 / (1.0 + math.exp(-total)) - labels[i]
            if abs(gradient) < SURE:
                continue
            rows[left] = i
            left += 1
            for j in range(starts[i], starts[i + 1]):
                w = numbers[j]
                g = gradient + decay * weights[w, 0]
                weights[w, 1] += g * g
                weights[w, 0] -= rate * g / math.sqrt(weights[w, 1])
        count = left

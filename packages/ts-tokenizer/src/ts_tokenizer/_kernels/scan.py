# mypy: ignore-errors
# ruff: noqa: SIM102, SIM110
# (loops without annotations: Numba infers the types, and `_bulk` alone calls them)
"""The compiled scan: UTF-8 stories to chunk numbers, chunk numbers to token ids. Numba only; its twin is `_chunks.ChunkTable`.

A slot of the table is four 64-bit words: the chunk's first sixteen bytes (ASCII letters in lower case), then its length
and number, then where the rest of a longer chunk stands in the arena. Equality is exact, byte by byte. Texts are read
in 8-byte words: `data` is uint64, with at least three words of padding behind the last byte.
"""

from __future__ import annotations

import numba
import numpy as np

__all__ = ["expand", "grow", "insert", "scan", "total"]

U = np.uint64
ONES = U(0x0101010101010101)
HIGH = U(0x8080808080808080)
LOW = U(0x7F7F7F7F7F7F7F7F)
INK = U(0x2121212121212121)
BELOW_A = U(0x3F3F3F3F3F3F3F3F)
BELOW_Z = U(0x2525252525252525)
MIX_1 = U(0x9E3779B97F4A7C15)
MIX_2 = U(0xC2B2AE3D27D4EB4F)


def _jit(function):
    try:
        return numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # nowhere to keep the cache
        return numba.njit(nogil=True)(function)


@_jit
def _word(data, at):
    """The eight bytes from byte `at`, little-endian."""
    i = at >> 3
    shift = U((at & 7) << 3)
    if shift == U(0):
        return data[i]
    return (data[i] >> shift) | (data[i + 1] << (U(64) - shift))


@_jit
def _byte(data, at):
    return (data[at >> 3] >> U((at & 7) << 3)) & U(0xFF)


@_jit
def _lower(word):
    """ASCII capitals to lower case, eight bytes at once; other bytes as they are."""
    seven = word & LOW
    capital = ((seven + BELOW_A) ^ (seven + BELOW_Z)) & ~word & HIGH
    return word | (capital >> U(2))


@_jit
def _is_space(byte):
    return byte == U(32) or (U(9) <= byte <= U(13)) or (U(28) <= byte <= U(31))


@_jit
def _end_of_ink(data, at, end):
    """The first white-space byte from `at` on, or `end`."""
    while at < end:
        word = _word(data, at)
        low = (word - INK) & ~word & HIGH
        if low == U(0):
            at += 8
            continue
        while (low & U(0x80)) == U(0):
            low >>= U(8)
            at += 1
        if at >= end or _is_space(_byte(data, at)):
            break
        at += 1  # a control character that is no white space
    return min(at, end)


@_jit
def _head(data, at, length):
    """The first sixteen bytes of a chunk in lower case, zero-padded, as two words."""
    first = _lower(_word(data, at))
    second = U(0)
    if length < 8:
        first &= (U(1) << U(8 * length)) - U(1)
    elif length > 8:
        second = _lower(_word(data, at + 8))
        if length < 16:
            second &= (U(1) << U(8 * (length - 8))) - U(1)
    return first, second


@_jit
def _hash(data, at, length, first, second):
    h = (first ^ U(length)) * MIX_1
    h ^= h >> U(29)
    h = (h + second) * MIX_2
    for i in range(16, length, 8):
        word = _lower(_word(data, at + i))
        if length - i < 8:
            word &= (U(1) << U(8 * (length - i))) - U(1)
        h = ((h ^ (h >> U(31))) + word) * MIX_1
    return h ^ (h >> U(32))


@_jit
def _same_tail(data, at, length, arena, place):
    for i in range(16, length):
        if _lower(_byte(data, at + i)) != U(arena[place + i - 16]):
            return False
    return True


@_jit
def _find(data, at, length, table, arena):
    """(number of the chunk or -1, slot where it is or belongs)."""
    first, second = _head(data, at, length)
    mask = U(len(table) - 1)
    slot = _hash(data, at, length, first, second) & mask
    while True:
        entry = table[slot, 2]
        if entry == U(0):
            return np.int64(-1), np.int64(slot)
        if table[slot, 0] == first and table[slot, 1] == second and (entry >> U(32)) == U(length):
            if length <= 16 or _same_tail(data, at, length, arena, np.int64(table[slot, 3])):
                return np.int64(entry & U(0xFFFFFFFF)) - 1, np.int64(slot)
        slot = (slot + U(1)) & mask


@_jit
def scan(data, offsets, table, arena, numbers, ends, missed):
    """Chunk numbers of each text: fills `numbers`, `ends` [texts], `missed` [n, 3] (place in numbers, byte, length).

    A chunk that the table lacks gets -1 and a row of `missed`. Returns how many chunks and how many misses there were,
    or (-1, texts done) where `missed` is full. The first probe of a short chunk is written out here: calls that take
    arrays cost more than what they do.
    """
    count = 0
    misses = 0
    mask = U(len(table) - 1)
    for text in range(len(offsets) - 1):
        start, end = offsets[text], offsets[text + 1]
        at = start
        while at < end:
            i = at >> 3
            shift = U((at & 7) << 3)
            low_word, middle, high_word = data[i], data[i + 1], data[i + 2]
            if shift != U(0):
                low_word = (low_word >> shift) | (middle << (U(64) - shift))
                middle = (middle >> shift) | (high_word << (U(64) - shift))
            length = 0
            marks = (low_word - INK) & ~low_word & HIGH
            if marks == U(0):
                length = 8
                marks = (middle - INK) & ~middle & HIGH
            if marks != U(0):  # the lowest mark's byte: the bytes below it are counted by a product
                lowest = marks & (~marks + U(1))
                length += np.int64((((lowest - U(1)) & ONES) * ONES) >> U(56)) - 1
            known = False
            number = np.int64(-1)
            stop = at + length
            if marks != U(0) and length > 0 and (stop >= end or _is_space((data[stop >> 3] >> U((stop & 7) << 3)) & U(0xFF))):
                stop = min(stop, end)
                length = stop - at
                first = _lower(low_word)
                second = U(0)
                if length < 8:
                    first &= (U(1) << U(8 * length)) - U(1)
                elif length > 8:
                    second = _lower(middle) & ((U(1) << U(8 * (length - 8))) - U(1))
                h = (first ^ U(length)) * MIX_1
                h ^= h >> U(29)
                h = (h + second) * MIX_2
                slot = (h ^ (h >> U(32))) & mask
                entry = table[slot, 2]
                known = table[slot, 0] == first and table[slot, 1] == second and (entry >> U(32)) == U(length)
                if known:
                    number = np.int64(entry & U(0xFFFFFFFF)) - 1
            elif _is_space(low_word & U(0xFF)):
                stop = at + 1
                while stop < end and _is_space(_byte(data, stop)):
                    stop += 1
                if at > start and (low_word & U(0xFF)) == U(32):
                    at += 1
                if at == stop:
                    continue
            else:
                stop = _end_of_ink(data, at, end)
            if not known:
                number, _ = _find(data, at, stop - at, table, arena)
            if number < 0:
                if misses == len(missed):
                    return np.int64(-1), np.int64(text)
                missed[misses, 0] = count
                missed[misses, 1] = at
                missed[misses, 2] = stop - at
                misses += 1
            numbers[count] = number
            count += 1
            at = stop
            if at + 1 < end and (data[at >> 3] >> U((at & 7) << 3)) & U(0xFF) == U(32):
                after = at + 1
                if (data[after >> 3] >> U((after & 7) << 3)) & U(0xFF) > U(32):
                    at = after  # the one blank between two chunks; any other white space is looked at again
        ends[text] = count
    return np.int64(count), np.int64(misses)


@_jit
def insert(data, missed, table, arena, used, known, numbers, fresh):
    """Put missed chunks into the table (it has room) and patch `numbers`; `fresh` gets the rows of `missed` that were new.

    `used` is the arena's length so far, `known` the number of chunks. Returns the new pair.
    """
    first_known = known
    for row in range(len(missed)):
        at, length = missed[row, 1], missed[row, 2]
        number, slot = _find(data, at, length, table, arena)
        if number < 0:
            first, second = _head(data, at, length)
            table[slot, 0] = first
            table[slot, 1] = second
            table[slot, 3] = U(used)
            for i in range(16, length):
                arena[used] = np.uint8(_lower(_byte(data, at + i)))
                used += 1
            table[slot, 2] = (U(length) << U(32)) | U(known + 1)
            fresh[known - first_known] = row
            number = known
            known += 1
        numbers[missed[row, 0]] = number
    return used, known


@_jit
def _rehash(table, arena, slot):
    length = np.int64(table[slot, 2] >> U(32))
    h = (table[slot, 0] ^ U(length)) * MIX_1
    h ^= h >> U(29)
    h = (h + table[slot, 1]) * MIX_2
    place = np.int64(table[slot, 3])
    for i in range(16, length, 8):
        word = U(0)
        for j in range(min(8, length - i)):
            word |= U(arena[place + i - 16 + j]) << U(8 * j)
        h = ((h ^ (h >> U(31))) + word) * MIX_1
    return h ^ (h >> U(32))


@_jit
def grow(table, arena, larger):
    """Move all slots into a larger table."""
    mask = U(len(larger) - 1)
    for old in range(len(table)):
        if table[old, 2] != U(0):
            slot = _rehash(table, arena, old) & mask
            while larger[slot, 2] != U(0):
                slot = (slot + U(1)) & mask
            for i in range(4):
                larger[slot, i] = table[old, i]


@_jit
def total(numbers, starts):
    """How many tokens the chunks have."""
    found = 0
    for number in numbers:
        found += starts[number + 1] - starts[number]
    return found


@_jit
def expand(numbers, ends, starts, tokens, left, right, pairs, opening, closing, ids, lengths, flagged):
    """Chunk numbers to token ids: fills `ids`, `lengths` and `flagged` [texts].

    A text is flagged, and gets no ids, where a chunk is wild (left < 0) or two neighbours could take part in a match
    across their blank (`pairs` [right, left]). `opening` and `closing` are put around each story unless below 0.
    """
    out = 0
    first = 0
    for text in range(len(ends)):
        begin = out
        wild = False
        before = np.int64(0)
        if opening >= 0:
            ids[out] = opening
            out += 1
        for i in range(first, ends[text]):
            number = numbers[i]
            after = left[number]
            if after != 0 and (after < 0 or pairs[before, after]):
                wild = True
                break
            before = right[number]
            for j in range(starts[number], starts[number + 1]):
                ids[out] = tokens[j]
                out += 1
        if wild:
            out = begin
        elif closing >= 0:
            ids[out] = closing
            out += 1
        flagged[text] = wild
        lengths[text] = out - begin
        first = ends[text]
    return out

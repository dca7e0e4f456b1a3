# mypy: ignore-errors
# ruff: noqa: SIM102, SIM110
# (loops without annotations: Numba infers the types; only `table` calls them)
"""The compiled scan: UTF-8 stories to chunk numbers, and chunk numbers to token ids. `rules.chunks` does the same in Python.

A slot of the hash table is four 64-bit words: the chunk's first sixteen bytes (ASCII letters in lower case), its length and
number (from 1), and the offset of the remaining bytes in the arena. Keys are compared byte by byte. Texts are read in unaligned
words of eight bytes, so `data` needs at least 24 bytes of padding at its end.

One thread can insert while others scan: a scan ignores numbers above `known`, the count at its start, and each slot is written
once. A slot that is being written has a larger number or another key; both count as a miss and are looked up again later.
"""

import numpy as np

from .jit import jit

U = np.uint64
HIGH = U(0x8080808080808080)
LOW = U(0x7F7F7F7F7F7F7F7F)
ONES = U(0x0101010101010101)
INK = U(0x2121212121212121)
BELOW_A = U(0x3F3F3F3F3F3F3F3F)
BELOW_Z = U(0x2525252525252525)
MIX_1 = U(0x9E3779B97F4A7C15)
MIX_2 = U(0xC2B2AE3D27D4EB4F)
NUMBER = U(0xFFFFFFFF)
FIRST = np.array([(1 << 8 * min(n, 8)) - 1 for n in range(17)], dtype=np.uint64)
"""Mask of a chunk's own bits in its first eight bytes, by its length."""
SECOND = np.array([(1 << 8 * max(n - 8, 0)) - 1 for n in range(17)], dtype=np.uint64)
"""The same for its second eight bytes."""


@jit
def _zero_bytes(marks):
    """The number of zero bytes below the lowest set bit of `marks`, whose bits are all at 0x80; 8 if none is set."""
    marks >>= U(7)
    return np.int64((((marks - U(1)) & ~marks & ONES) * ONES) >> U(56))


@jit
def _byte(data, at):
    """The byte at `at`, which is not negative."""
    return U(data[U(at)])


@jit
def _word(data, at):
    """The eight bytes from `at` on, little-endian. LLVM makes one load of it."""
    i = U(at)
    low = U(data[i]) | U(data[i + U(1)]) << U(8) | U(data[i + U(2)]) << U(16) | U(data[i + U(3)]) << U(24)
    i += U(4)
    return low | U(data[i]) << U(32) | U(data[i + U(1)]) << U(40) | U(data[i + U(2)]) << U(48) | U(data[i + U(3)]) << U(56)


@jit
def _store(ids, at, row):
    """Write the three ids of a row, and one more that the next row overwrites. LLVM makes one store of it."""
    i = U(at)
    ids[i] = np.uint16(row & U(0xFFFF))
    ids[i + U(1)] = np.uint16((row >> U(16)) & U(0xFFFF))
    ids[i + U(2)] = np.uint16((row >> U(32)) & U(0xFFFF))
    ids[i + U(3)] = np.uint16(row >> U(48))


@jit
def _lower(word):
    """ASCII capitals to lower case, eight bytes at once; other bytes as they are."""
    seven = word & LOW
    capital = ((seven + BELOW_A) ^ (seven + BELOW_Z)) & ~word & HIGH
    return word | (capital >> U(2))


@jit
def _is_space(byte):
    return byte == U(32) or (U(9) <= byte <= U(13)) or (U(28) <= byte <= U(31))


@jit
def _end_of_ink(data, at, end):
    """The offset of the first white-space byte from `at` on, or `end`."""
    while at < end:
        word = _word(data, at)
        low = (word - INK) & ~word & HIGH
        if low == U(0):
            at += 8
            continue
        at += _zero_bytes(low)
        if at >= end or _is_space(_byte(data, at)):
            break
        at += 1  # a control character, not white space
    return min(at, end)


@jit
def _hash(data, at, length, first, second):
    h = first + second * MIX_2
    for i in range(16, length, 8):
        word = _lower(_word(data, at + i)) & FIRST[min(length - i, 8)]
        h = ((h ^ (h >> U(31))) + word) * MIX_2
    return (h ^ (h >> U(32))) * MIX_1  # the upper bits select the slot


@jit
def _shift(table):
    shift = U(64)
    size = len(table)
    while size > 1:
        size >>= 1
        shift -= U(1)
    return shift


@jit
def _same_tail(data, at, length, arena, place):
    for i in range(16, length):
        if _lower(_byte(data, at + i)) != U(arena[place + i - 16]):
            return False
    return True


@jit
def _find(data, at, length, table, arena, known):
    """Return (the chunk's number from 1, or 0 if unknown; its slot or the free slot for it)."""
    head = min(length, 16)
    first = _lower(_word(data, at)) & FIRST[head]
    second = _lower(_word(data, at + 8)) & SECOND[head]
    mask = U(len(table) - 1)
    slot = _hash(data, at, length, first, second) >> _shift(table)
    while True:
        entry = table[slot, 2]
        number = entry & NUMBER
        if number == U(0) or number > U(known):
            return np.int64(0), np.int64(slot)
        if table[slot, 0] == first and table[slot, 1] == second and (entry >> U(32)) == U(length):
            if length <= 16 or _same_tail(data, at, length, arena, np.int64(table[slot, 3])):
                return np.int64(number), np.int64(slot)
        slot = (slot + U(1)) & mask


@jit
def scan(data, offsets, table, arena, known, text, at, count, numbers, ends, missed):
    """Chunk numbers (from 0) of the texts from byte `at` of `text` on: fills `numbers`, `ends` [texts] and `missed`.

    An unknown chunk gets -1 and a row of `missed` [n, 3] (index in numbers, byte offset, length). Returns (text, at, count,
    misses): the position to resume from if `missed` is full; `text` is the number of texts at the end.
    """
    misses = 0
    mask = U(len(table) - 1)
    shift = _shift(table)
    limit = U(known)
    while text < len(offsets) - 1:
        start, end = offsets[text], offsets[text + 1]
        at = max(at, start)
        while at < end:
            low = _word(data, at)
            high = _word(data, at + 8)
            marks = (low - INK) & ~low & HIGH  # its lowest bit: the first byte below "!"
            length = _zero_bytes(marks)
            if marks == U(0):
                marks = (high - INK) & ~high & HIGH
                length += _zero_bytes(marks)
            length = min(length, end - at)
            stop = at + length
            number = U(0)
            if 0 < length < 16 and (stop == end or _is_space(_byte(data, stop))):
                first = _lower(low) & FIRST[length]
                second = _lower(high) & SECOND[length]
                h = first + second * MIX_2
                slot = ((h ^ (h >> U(32))) * MIX_1) >> shift
                while True:
                    entry = table[slot, 2]
                    if (table[slot, 0] ^ first) | (table[slot, 1] ^ second) | ((entry >> U(32)) ^ U(length)) == U(0):
                        number = entry & NUMBER
                        break
                    if entry == U(0):
                        break
                    slot = (slot + U(1)) & mask
                if number > limit:
                    number = U(0)
            else:
                if _is_space(low & U(0xFF)):
                    stop = at + 1
                    while stop < end and _is_space(_byte(data, stop)):
                        stop += 1
                    if at > start and (low & U(0xFF)) == U(32):
                        at += 1  # the one blank between two chunks
                    if at == stop:
                        continue
                else:
                    stop = _end_of_ink(data, at, end)
                number = U(_find(data, at, stop - at, table, arena, known)[0])
            numbers[count] = np.int64(number) - 1
            if number == U(0):
                missed[misses, 0] = count
                missed[misses, 1] = at
                missed[misses, 2] = stop - at
                misses += 1
            count += 1
            at = stop
            if at + 1 < end and _byte(data, at) == U(32) and _byte(data, at + 1) > U(32):
                at += 1  # skip the single blank between two chunks; other white space is a chunk
            if misses == len(missed):
                return text, at, count, misses
        ends[text] = count
        text += 1
    return text, at, count, misses


@jit
def insert(data, missed, row, table, arena, used, known, numbers, fresh):
    """Insert missed chunks, from `row` on, into the table and set their `numbers`; `fresh` gets the rows that were new.

    `used` is the arena's current length, `known` the number of chunks; the arena has room. Returns (row, used, known): the row
    to resume from in a larger table if this one is half full; `row` is the number of rows at the end.
    """
    first_known = known
    while row < len(missed):
        at, length = missed[row, 1], missed[row, 2]
        number, slot = _find(data, at, length, table, arena, known)
        if number == 0:
            if 2 * known >= len(table):
                break
            head = min(length, 16)
            table[slot, 0] = _lower(_word(data, at)) & FIRST[head]
            table[slot, 1] = _lower(_word(data, at + 8)) & SECOND[head]
            table[slot, 3] = U(used)
            for i in range(16, length):
                arena[used] = np.uint8(_lower(_byte(data, at + i)))
                used += 1
            fresh[known - first_known] = row
            known += 1
            number = known
            table[slot, 2] = (U(length) << U(32)) | U(number)
        numbers[missed[row, 0]] = number - 1
        row += 1
    return row, used, known


@jit
def _rehash(table, arena, slot):
    length = np.int64(table[slot, 2] >> U(32))
    h = table[slot, 0] + table[slot, 1] * MIX_2
    place = np.int64(table[slot, 3])
    for i in range(16, length, 8):
        word = U(0)
        for j in range(min(8, length - i)):
            word |= U(arena[place + i - 16 + j]) << U(8 * j)
        h = ((h ^ (h >> U(31))) + word) * MIX_2
    return (h ^ (h >> U(32))) * MIX_1


@jit
def grow(table, arena, larger):
    """Copy all slots into a larger table."""
    mask = U(len(larger) - 1)
    shift = _shift(larger)
    for old in range(len(table)):
        if table[old, 2] != U(0):
            slot = _rehash(table, arena, old) >> shift
            while larger[slot, 2] != U(0):
                slot = (slot + U(1)) & mask
            for i in range(4):
                larger[slot, i] = table[old, i]


@jit
def total(numbers, starts):
    """The number of tokens of all chunks."""
    found = 0
    for number in numbers:
        found += starts[number + 1] - starts[number]
    return found


@jit
def flag(numbers, ends, left, right, pairs, flagged):
    """Fill `flagged` [texts]: a chunk has left < 0, or a special case could match across the blank between two chunks.

    `left` and `right` are the classes of the chunks' edges, 0 if no special case can match there; `pairs` is [right, left].
    """
    first = 0
    for text in range(len(ends)):
        wild = False
        before = np.int64(0)
        for i in range(first, ends[text]):
            after = left[numbers[i]]
            if after != 0 and (after < 0 or pairs[before, after]):
                wild = True
                break
            before = right[numbers[i]]
        flagged[text] = wild
        first = ends[text]


@jit
def expand(numbers, ends, rows, starts, tokens, left, right, pairs, opening, closing, ids, lengths, flagged):
    """Chunk numbers to token ids: fills `ids`, `lengths` and `flagged` [texts]; a flagged text gets no ids.

    A row packs three ids of 16 bits, their number (0 if there are more), and whether the left and right classes are not 0, so
    most chunks need one word. `ids` needs room for four ids more than the result has. `opening` and `closing` enclose each
    story unless they are negative.
    """
    out = 0
    first = 0
    for text in range(len(ends)):
        begin = out
        wild = False
        before = U(0)
        if opening >= 0:
            ids[out] = opening
            out += 1
        for i in range(first, ends[text]):
            number = numbers[i]
            row = rows[number]
            if (row >> U(50)) & ((before >> U(51)) | (row >> U(52))) & U(1) != U(0):
                after = left[number]
                if after < 0 or pairs[right[numbers[i - 1]], after]:
                    wild = True
                    break
            before = row
            size = np.int64((row >> U(48)) & U(3))
            if size:
                _store(ids, out, row)
                out += size
            else:
                for j in range(starts[number], starts[number + 1]):
                    ids[out] = np.uint16(tokens[j])
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

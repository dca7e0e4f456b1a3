"""Compact storage of the detokenizer's arrays: base64 of little-endian bytes, and Elias-Fano coding of feature keys.

A key is a template (bits 48 and up) and three fields of 16 bits. The keys of a template are written as the ascending numbers
`(high * sizes[1] + middle) * sizes[2] + low`, each in `bits` low bits and the rest in unary (Elias 1974, Fano 1971): about
`log2(range / count) + 2` bits a key.
"""

import base64
import math

import numpy as np

ALL_CAPITALS = 1 << 56
"""Bit of the keys of all-capitals weights."""
FIELDS = np.array([32, 16, 0])


def pack(array: np.ndarray, kind: str) -> str:
    """An array as base64 of its little-endian bytes."""
    return base64.b64encode(np.ascontiguousarray(array).astype(kind).tobytes()).decode("ascii")


def unpack(text: str, kind: str) -> np.ndarray:
    """Invert `pack`; flat int64."""
    return np.frombuffer(base64.b64decode(text, validate=True), dtype=kind).astype(np.int64)


def pack_keys(keys: np.ndarray) -> tuple[str, str]:
    """(`templates`, `keys`) of `DecoderSpec` for distinct keys in ascending order."""
    templates, parts = [], []
    for own in np.split(keys, np.flatnonzero(np.diff(keys >> 48)) + 1) if len(keys) else []:
        fields = (own[:, None] >> FIELDS) & 0xFFFF
        sizes = fields.max(axis=0) + 1
        numbers = (fields[:, 0] * sizes[1] + fields[:, 1]) * sizes[2] + fields[:, 2]
        bits = _low_bits(sizes, len(own))
        unary = np.zeros((int(numbers[-1]) >> bits) + len(own), dtype=np.uint8)
        unary[(numbers >> bits) + np.arange(len(own))] = 1
        low = (numbers[:, None] >> np.arange(bits)) & 1
        parts.append(np.packbits(np.concatenate([unary, low.reshape(-1).astype(np.uint8)]), bitorder="little"))
        templates.append([int(own[0]) >> 48, len(own), *sizes.tolist(), len(parts[-1])])
    content = np.concatenate(parts) if parts else np.zeros(0, dtype=np.uint8)
    return pack(np.array(templates, dtype=np.int64), "<u4"), pack(content, "<u1")


def unpack_keys(templates: str, content: str) -> np.ndarray:
    """Invert `pack_keys`. Raises ValueError if the bytes are not such keys."""
    table = unpack(templates, "<u4")
    data = np.frombuffer(base64.b64decode(content, validate=True), dtype=np.uint8)
    if len(table) % 6 or table.reshape(-1, 6)[:, 5].sum() != len(data):
        raise ValueError("`templates` and `keys` do not belong together")
    found, start = [np.zeros(0, dtype=np.int64)], 0
    for template, count, *sizes, size in table.reshape(-1, 6).tolist():
        if not count or not all(0 < extent <= 1 << 16 for extent in sizes):
            raise ValueError(f"`templates`: the entry of template {template} is damaged")
        stream = np.unpackbits(data[start : start + size], bitorder="little")
        bits = _low_bits(np.array(sizes), count)
        ones = np.flatnonzero(stream)[:count]
        begin = int(ones[-1]) + 1 if len(ones) else 0
        low = stream[begin : begin + count * bits]
        if len(ones) != count or len(low) != count * bits:
            raise ValueError(f"`keys`: the keys of template {template} are cut")
        numbers = (ones - np.arange(count)) << bits | low.reshape(count, bits).astype(np.int64) @ (1 << np.arange(bits))
        rest, last = np.divmod(numbers, sizes[2])
        first, middle = np.divmod(rest, sizes[1])
        found.append(template << 48 | first << 32 | middle << 16 | last)
        start += size
    return np.concatenate(found)


def _low_bits(sizes: np.ndarray, count: int) -> int:
    return max(0, math.prod(sizes.tolist()) // count).bit_length() - 1 if math.prod(sizes.tolist()) >= count else 0

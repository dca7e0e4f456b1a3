"""Dropout of flat float32 memory, compiled by Numba, for values and gradients: backward repeats the draws from the key.

Draws belong to chunks of CHUNK values, which are split among threads. Takes arrays and checks nothing.

Random bits are a function of (key, row, place), for any order and any number of threads. A row's 64-bit key comes from the finaliser of
splitmix64, a place's 32 bits from both halves of it through the finaliser of murmur3: some ten vector instructions for 16 draws, so that
backward draws again instead of reading a mask.
"""

from typing import Any

import numpy as np

from .jit import kernel

CHUNK = 4096


@kernel(counted=False)
def halves(key: Any, row: Any) -> Any:
    """The two 32-bit halves of a row's key."""
    x = np.uint64(key) + np.uint64(row) * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x = x ^ (x >> np.uint64(31))
    return np.uint32(x), np.uint32(x >> np.uint64(32))


@kernel(counted=False)
def draw(low: Any, high: Any, place: Any) -> Any:
    """32 random bits of a place in a row."""
    x = np.uint32(np.uint32(np.uint32(place) * np.uint32(0x9E3779B9)) + low)
    x = np.uint32(np.uint32(x ^ (x >> np.uint32(16))) * np.uint32(0x85EBCA6B))
    x = np.uint32(x + high)
    x = np.uint32(np.uint32(x ^ (x >> np.uint32(13))) * np.uint32(0xC2B2AE35))
    return np.uint32(x ^ (x >> np.uint32(16)))


@kernel
def drop(x: Any, out: Any, key: int, dropped: int, kept: float, begin: int, end: int) -> None:
    """out = x · kept, or 0 where the 32 bits lie under `dropped`, for the chunks begin … end - 1; out may be x."""
    limit, factor = np.uint32(dropped), np.float32(kept)
    for chunk in range(begin, end):
        first, last = chunk * CHUNK, min(chunk * CHUNK + CHUNK, x.shape[0])
        source, target = x[first:last], out[first:last]
        low, high = halves(key, chunk)
        for i in range(np.uint32(last - first)):  # a flat loop of 32-bit places, which fills vector registers
            target[i] = source[i] * factor if draw(low, high, i) >= limit else np.float32(0)

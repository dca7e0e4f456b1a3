"""Dropout of flat float32 memory, compiled by Numba, for values and gradients: backward repeats the draws from the key.

Draws belong to chunks of CHUNK values, which are split among threads. Takes arrays and checks nothing.
"""

# mypy: disable-error-code="untyped-decorator"
from __future__ import annotations

from typing import Any

import numpy as np

from .jit import kernel
from .random import draw, halves

CHUNK = 4096


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

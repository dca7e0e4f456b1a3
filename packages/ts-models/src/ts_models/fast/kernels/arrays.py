"""The arrays that the kernels read: a Transformer's weights, stacked over its layers. NumPy only.

Letters: L layers, V vocabulary, d d_model, H heads, K heads of keys and values, D head width, P positions.
A table that a network does not have is empty; a bias that it does not have is zero.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

BLOCK = 16
"""Positions that lie together in a cache: as many as AVX-512 adds at once."""
QKV, MIX, OUT, UP, DOWN, HEAD, WHOLE, CLOSED = range(8)
"""Kinds of a phase: products, attention, whole rows; closed: nothing to claim."""
CLAIM_BITS, LAYER_BITS, KIND_BITS = 16, 12, 4
"""The word at TICKET: serial number of a phase, its kind, its layer (of WHOLE: rows of an item), items that helpers have claimed."""
TICKET, POSITION, SERIAL, ROWS, LAST, WAIT, DONE = 0, 16, 17, 32, 33, 36, 48
"""Places in the words that threads share: the ticket, the leader's item, its last serial number, rows of the phase; of the last
phase of whole rows serial number, items and claims; looks at a claimed item, for each kind; from DONE on, who did each item when."""
GROUP = 32
"""Inputs of an int4 matrix that share a scale."""
PACKED = 8
"""int4 weights of a word: of one output, for inputs one after the other, the first in the lowest bits."""
_CLIPPED = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7)
"""Shares of a group's largest weight that int4 may take for its largest number."""
ACTIVATIONS = {"gelu": 0, "gelu-tanh": 1, "relu2": 2, "swiglu": 3}


class Matrix(NamedTuple):
    """Linear layers of like shape: value [L, out, in] float32 or int8, or packed int4; y = scale · (value @ x) + bias.

    The kernels lay it out in another way first: `arrange`.
    """

    value: NDArray[np.float32] | NDArray[np.int8] | NDArray[np.int32]
    """int32: words of int4 weights, [L, out, in / PACKED]"""
    scale: Floats
    """[L, out, groups]: one group, or one for each GROUP inputs; ones where the values are float32."""
    bias: Floats
    """[L, out]"""
    size: int
    """Inputs."""


class Weights(NamedTuple):
    """A whole network, and the switches of its config as numbers."""

    embedding: Floats
    """[V, d]"""
    position_embedding: Floats
    """[P, d] added to the embedding (sinusoidal, learned), or [0, d]."""
    rotary_embedding: Floats
    """[P, D/2, 2] cosine and sine that rotate the embedding in interleaved pairs, or [0, D/2, 2]."""
    rope: Floats
    """[P, D/2, 2] cosine and sine that rotate queries and keys in halves, or [0, D/2, 2]."""
    norms: Floats
    """[L, 2, 2, d]: first and second norm of each block, weight and bias."""
    final_norm: Floats
    """[2, d] weight and bias of the final norm, or [0, d]."""
    qk: Floats
    """[L, 2, 2, D]: norms of queries and keys, weight and bias, or [L, 0, 2, D]."""
    qkv: Matrix
    """out: (H + 2 K) · D"""
    out: Matrix
    up: Matrix
    down: Matrix
    head: Matrix
    """One layer: [1, V, d]"""
    windows: NDArray[np.int64]
    """[L] tokens that a layer looks back, its own included; 0: all."""
    heads: int
    kv_heads: int
    rms: bool
    norm_first: bool
    activation: int
    eps: float
    scale: float


class Cache(NamedTuple):
    """Keys and values of all rows, BLOCK positions to a cell. `where` says in which slot each row finds each block, so that
    rows can part, move and share a beginning: only a block that is not yet full has one row (as in Kwon et al. 2023)."""

    keys: Floats
    """[L, slots, blocks, K, D, BLOCK]"""
    values: Floats
    """[L, slots, blocks, K, BLOCK, D padded to whole BLOCKs]"""
    where: NDArray[np.int32]
    """[rows, blocks] slot of each block of each row."""
    lengths: NDArray[np.int64]
    """[rows] tokens so far; the new token's position."""


class Scratch(NamedTuple):
    """What a token needs between two products, [threads, rows, …]: each thread writes into its own part."""

    x: Floats
    h: Floats
    qkv: Floats
    mixed: Floats
    out: Floats
    up: Floats
    inner: Floats
    logits: Floats
    scores: Floats
    """[threads, heads, positions]"""
    sums: Floats
    """[threads, heads, D padded]"""
    where: NDArray[np.int32]
    """[threads, rows, blocks], as in Cache"""
    places: NDArray[np.int64]
    """[threads, 3, rows]: lengths, slots and tokens"""


def quantise(matrix: Matrix, precision: str) -> Matrix:
    """Round float32 rows to `int8` (127 steps to each side of zero, a scale per row) or `int4` (-8 to 7, a scale for each GROUP inputs)."""
    layers, out, size = matrix.value.shape
    if precision == "int8":
        largest = np.abs(matrix.value).max(axis=2, keepdims=True).astype(np.float32)
        scale = np.where(largest > 0, largest / 127, 1).astype(np.float32)
        return matrix._replace(value=np.rint(matrix.value / scale).astype(np.int8), scale=scale)
    padded: Floats = np.pad(matrix.value, ((0, 0), (0, 0), (0, -size % GROUP))).astype(np.float32)
    code, scale = _nearest(padded.reshape(layers, out, -1, GROUP))
    return matrix._replace(value=_pack(code.reshape(layers, out, -1)), scale=scale)


def _nearest(groups: NDArray[np.float32]) -> tuple[NDArray[np.int8], Floats]:
    """Codes from -8 to 7 of these groups [..., GROUP] and their scales [...]: of several scales, each group's with the least squared error."""
    largest = np.abs(groups).max(axis=-1).astype(np.float32)
    code, scale, least = np.zeros(groups.shape, np.int8), np.ones(largest.shape, np.float32), np.full(largest.shape, np.inf)
    for part in _CLIPPED:
        tried = np.where(largest > 0, largest * np.float32(part / 7), 1).astype(np.float32)
        rounded = np.clip(np.rint(groups / tried[..., None]), -8, 7)
        error = np.square(rounded * tried[..., None] - groups).sum(axis=-1)
        better = error < least
        code[better], scale[better], least[better] = rounded[better].astype(np.int8), tried[better], error[better]
    return code, scale


def _pack(codes: NDArray[np.int8]) -> NDArray[np.int32]:
    """Numbers from -8 to 7 [L, out, in] → words [L, out, in / PACKED]."""
    parts = (codes.reshape(*codes.shape[:2], -1, PACKED) + 8).astype(np.uint32)
    shifts = np.arange(PACKED, dtype=np.uint32) * (32 // PACKED)
    words: NDArray[np.int32] = np.bitwise_or.reduce(parts << shifts, axis=3).view(np.int32)
    return words


def aligned(shape: tuple[int, ...], dtype: Any = np.float32) -> NDArray[Any]:
    """Zeros that begin at a cache line: a vector that crosses one is read at half the speed."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.zeros(size + 64, np.uint8)
    zeros: NDArray[Any] = raw[-raw.ctypes.data % 64 :][:size].view(dtype).reshape(shape)
    return zeros

"""The kernels compiled by Numba. The first call of a process compiles, or reads what an earlier process compiled.

A row's numbers do not depend, to the bit, on the other rows of its batch, nor on the number of threads.
"""

# mypy: disable-error-code="untyped-decorator"
from __future__ import annotations

import os
from typing import Any

import numba
import numpy as np
from numba import prange

from .arrays import BLOCK, Matrix, aligned
from .elementwise import activate, embed, exp, norm, rotate
from .jit import kernel
from .sums import largest, total
from .tile import LANES, VECTORS, add, affine, at

__all__ = ["arrange", "forward"]

if "NUMBA_THREADING_LAYER" not in os.environ:
    # Its threads sleep between loops. OpenMP's spin: on a busy machine each loop then costs a time slice (measured:
    # 24 ms), and they change torch's own number of threads. It is not thread-safe: see the lock in `fast.decode`.
    numba.config.THREADING_LAYER = "workqueue"
numba.get_num_threads()  # starts the threads: code that comes from the cache does not, and crashes without them

_BIG = 96 * 1024
"""Multiplications of a product from which on threads pay for their start."""
_PANEL = LANES * VECTORS
_ROWS = 5
_many, _one = affine(_ROWS, VECTORS), affine(1, VECTORS)
_block = add(1, BLOCK // LANES)


def arrange(matrix: Matrix) -> Matrix:
    """[L, out, in] → panels of outputs [L, panels, in, _PANEL], padded by zeros, so that a tile reads weights in a row."""
    layers, out, size = matrix.value.shape
    panels = -(-out // _PANEL)
    value = aligned((layers, panels, size, _PANEL), matrix.value.dtype)
    scale, bias = aligned((layers, panels * _PANEL)), aligned((layers, panels * _PANEL))
    scale[:, :out], bias[:, :out] = matrix.scale, matrix.bias
    for layer in range(layers):
        padded = np.zeros((panels * _PANEL, size), matrix.value.dtype)
        padded[:out] = matrix.value[layer]
        value[layer] = padded.reshape(panels, _PANEL, size).transpose(0, 2, 1)
    return Matrix(value, scale, bias)


@kernel
def _panels(w: Any, scale: Any, bias: Any, x: Any, y: Any, begin: int, end: int) -> None:
    """y[:, these panels] = scale · (x @ w) + bias; w [panels, in, _PANEL], x [rows, at least in], y [rows, panels · _PANEL]."""
    rows, size = x.shape[0], w.shape[1]
    for panel in range(begin, end):
        source, first = at(w, panel * size * _PANEL), panel * _PANEL
        factor, shift = at(scale, first), at(bias, first)
        for row in range(0, rows, _ROWS):
            here, there = at(x, row * x.shape[1]), at(y, row * y.shape[1] + first)
            if rows - row == 1:
                _one(here, x.shape[1], 1, source, _PANEL, size, there, y.shape[1], factor, shift)
            else:
                _many(here, x.shape[1], min(_ROWS, rows - row), source, _PANEL, size, there, y.shape[1], factor, shift)


@kernel(parallel=True)
def _panels_threads(w: Any, scale: Any, bias: Any, x: Any, y: Any, threads: int) -> None:
    size = w.shape[0]
    for part in prange(threads):
        _panels(w, scale, bias, x, y, size * part // threads, size * (part + 1) // threads)


@kernel
def _linear(matrix: Any, layer: int, x: Any, y: Any, threads: int) -> None:
    w, scale, bias = matrix.value[layer], matrix.scale[layer], matrix.bias[layer]
    if threads > 1 and x.shape[0] * w.size >= _BIG:
        _panels_threads(w, scale, bias, x, y, threads)
    else:
        _panels(w, scale, bias, x, y, 0, w.shape[0])


@kernel
def _norms(rms: bool, eps: float, affine: Any, x: Any, y: Any) -> None:
    for row in range(x.shape[0]):
        norm(rms, eps, affine, x[row], y[row])


@kernel
def _softmax(scores: Any, start: int, end: int) -> Any:
    """Exponentials of these scores, in place, divided by the largest; gives their sum."""
    most = largest(at(scores, start), end - start)
    for place in range(start, end):
        scores[place] = exp(scores[place] - most)
    return total(at(scores, start), end - start)


@kernel
def _enter(
    qk: Any, rope: Any, keys: Any, values: Any, place: int, slot: int, qkv: Any,
    layer: int, heads: int, kv_heads: int, rms: bool, eps: float, scale: float, begin: int, end: int,
) -> None:  # fmt: skip
    """Norm and rotate one row's queries and keys (for these heads of keys), scale its queries, store its keys and values."""
    width, group, block, lane = keys.shape[4], heads // kv_heads, place // BLOCK, place % BLOCK
    for kv in range(begin, end):
        for head in range(kv * group, (kv + 1) * group + 1):
            is_key = head == (kv + 1) * group
            first = (heads + kv if is_key else head) * width
            vector = qkv[first : first + width]
            if qk.shape[0]:
                norm(rms, eps, qk[1 if is_key else 0], vector, vector)
            if rope.shape[0]:
                rotate(rope[place], vector)
            if not is_key:
                for i in range(width):
                    vector[i] *= np.float32(scale)
        key, value = (heads + kv) * width, (heads + kv_heads + kv) * width
        for i in range(width):
            keys[layer, slot, block, kv, i, lane] = qkv[key + i]
            values[layer, slot, block, kv, lane, i] = qkv[value + i]


@kernel
def _mix(
    keys: Any, values: Any, where: Any, start: int, stop: int, qkv: Any, mixed: Any,
    layer: int, group: int, begin: int, end: int, scores: Any, sums: Any,
) -> None:  # fmt: skip
    """One row's queries of these heads of keys over positions start … stop - 1: the mean of the values, weighted by softmax(q · k).

    Blocks are the outer loop, because a block's heads lie side by side: memory is read in a row.
    """
    size, padded, kv_heads = keys.shape[4], values.shape[5], keys.shape[3]
    scores[:], sums[:] = 0, 0
    for block in range(start // BLOCK, (stop - 1) // BLOCK + 1):
        cell = ((layer * keys.shape[1] + where[block]) * keys.shape[2] + block) * kv_heads
        for head in range(begin * group, end * group):
            source = at(keys, (cell + head // group) * size * BLOCK)
            _block(at(qkv, head * size), 0, 1, source, BLOCK, size, at(scores, head * scores.shape[1] + block * BLOCK), 0, 0, 0)
    for head in range(begin * group, end * group):
        factor = np.float32(1) / _softmax(scores[head], start, stop)
        for place in range(start, stop):
            scores[head, place] *= factor
    for block in range(start // BLOCK, (stop - 1) // BLOCK + 1):
        cell = ((layer * keys.shape[1] + where[block]) * keys.shape[2] + block) * kv_heads
        first = max(start, block * BLOCK)
        count = min(stop, block * BLOCK + BLOCK) - first
        for head in range(begin * group, end * group):
            source = ((cell + head // group) * BLOCK + first - block * BLOCK) * padded
            weights, sink = at(scores, head * scores.shape[1] + first), head * padded
            for lane in range(0, padded, BLOCK):
                _block(weights, 0, 1, at(values, source + lane), padded, count, at(sums, sink + lane), 0, 0, 0)
    for head in range(begin * group, end * group):
        for i in range(size):
            mixed[head * size + i] = sums[head, i]


@kernel
def _attend(
    qk: Any, rope: Any, keys: Any, values: Any, where: Any, lengths: Any, slots: Any, qkv: Any, mixed: Any,
    layer: int, heads: int, kv_heads: int, window: int, rms: bool, eps: float, scale: float, begin: int, end: int,
) -> None:  # fmt: skip
    """Store what `qkv` holds and mix what each row sees, for these of the (row, head of keys) pairs, counted row by row."""
    scores = np.empty((heads, where.shape[1] * BLOCK), np.float32)
    sums = np.empty((heads, values.shape[5]), np.float32)
    for row in range(begin // kv_heads, (end - 1) // kv_heads + 1):
        first, last = max(begin - row * kv_heads, 0), min(end - row * kv_heads, kv_heads)
        place = lengths[row]
        start = max(0, place + 1 - window) if window else 0
        _enter(
            qk, rope, keys, values, place, slots[row], qkv[row], layer, heads, kv_heads, rms, eps, scale, first, last
        )  # fmt: skip
        _mix(
            keys, values, where[row], start, place + 1, qkv[row], mixed[row], layer, heads // kv_heads, first, last, scores, sums
        )  # fmt: skip


@kernel(parallel=True)
def _attend_threads(
    qk: Any, rope: Any, keys: Any, values: Any, where: Any, lengths: Any, slots: Any, qkv: Any, mixed: Any,
    layer: int, heads: int, kv_heads: int, window: int, rms: bool, eps: float, scale: float, threads: int,
) -> None:  # fmt: skip
    jobs = slots.shape[0] * kv_heads
    for part in prange(threads):
        _attend(
            qk, rope, keys, values, where, lengths, slots, qkv, mixed, layer, heads, kv_heads, window, rms, eps, scale,
            jobs * part // threads, jobs * (part + 1) // threads,
        )  # fmt: skip


@kernel
def _attention(w: Any, layer: int, cache: Any, slots: Any, qkv: Any, mixed: Any, threads: int) -> None:
    window, jobs = w.windows[layer], slots.shape[0] * w.kv_heads
    if threads > 1 and mixed.shape[1] * (cache.lengths.sum() + slots.shape[0]) >= _BIG:
        _attend_threads(
            w.qk[layer], w.rope, cache.keys, cache.values, cache.where, cache.lengths, slots, qkv, mixed,
            layer, w.heads, w.kv_heads, window, w.rms, w.eps, w.scale, threads,
        )  # fmt: skip
    else:
        _attend(
            w.qk[layer], w.rope, cache.keys, cache.values, cache.where, cache.lengths, slots, qkv, mixed,
            layer, w.heads, w.kv_heads, window, w.rms, w.eps, w.scale, 0, jobs,
        )  # fmt: skip


@kernel
def forward(weights: Any, cache: Any, slots: Any, tokens: Any, logits: Any, threads: int) -> None:
    """Append one token to each row and write its logits [rows, at least V]; threads share out the outputs of each product.

    slots [rows]: where the new keys and values go. `cache.where` and `cache.lengths` are the caller's to keep.
    """
    w = weights
    rows, size = tokens.shape[0], w.embedding.shape[1]
    x, h = np.empty((rows, size), np.float32), np.empty((rows, size), np.float32)
    qkv, up = np.empty((rows, w.qkv.bias.shape[1]), np.float32), np.empty((rows, w.up.bias.shape[1]), np.float32)
    out, down = np.empty((rows, w.out.bias.shape[1]), np.float32), np.empty((rows, w.down.bias.shape[1]), np.float32)
    mixed, inner = np.empty((rows, w.out.value.shape[2]), np.float32), np.empty((rows, w.down.value.shape[2]), np.float32)
    for row in range(rows):
        embed(w, cache.lengths[row], tokens[row], x[row])
    for layer in range(w.norms.shape[0]):
        first, second = w.norms[layer, 0], w.norms[layer, 1]
        if w.norm_first:
            _norms(w.rms, w.eps, first, x, h)
        _linear(w.qkv, layer, h if w.norm_first else x, qkv, threads)
        _attention(w, layer, cache, slots, qkv, mixed, threads)
        _linear(w.out, layer, mixed, out, threads)
        x += out[:, :size]
        if w.norm_first:
            _norms(w.rms, w.eps, second, x, h)
        else:
            _norms(w.rms, w.eps, first, x, x)
        _linear(w.up, layer, h if w.norm_first else x, up, threads)
        for row in range(rows):
            activate(w.activation, up[row], inner[row])
        _linear(w.down, layer, inner, down, threads)
        x += down[:, :size]
        if not w.norm_first:
            _norms(w.rms, w.eps, second, x, x)
    if w.final_norm.shape[0]:
        _norms(w.rms, w.eps, w.final_norm, x, x)
    _linear(w.head, 0, x, logits, threads)

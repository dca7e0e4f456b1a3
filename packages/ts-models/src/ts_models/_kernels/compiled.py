"""The kernels compiled by Numba. The first call of a process compiles, or reads what an earlier process compiled.

Sums are reordered for the vector unit (`reassoc`); a row's sums do not depend on the other rows of its batch.
"""

# mypy: disable-error-code="untyped-decorator"
from __future__ import annotations

import math
import os
from typing import Any

import numba
import numpy as np
from numba import njit, prange

__all__ = ["NAME", "SMALL", "attend", "forward"]

if "NUMBA_THREADING_LAYER" not in os.environ:
    # Its threads sleep between loops. OpenMP's spin: on a busy machine each loop then costs a time slice (measured:
    # 24 ms), and they change torch's own number of threads. It stands one caller at a time: see the lock in `_fast`.
    numba.config.THREADING_LAYER = "workqueue"
numba.get_num_threads()  # starts the threads: code that comes from the cache does not, and crashes without them

NAME = "compiled"
SMALL = 8
"""Most rows for which `forward` is faster than matrix products of the whole batch."""
_BIG = 96 * 1024
"""Weights of a matrix from which on threads pay for their start."""
_FAST = {"reassoc", "contract", "nsz", "arcp"}

_one = {"fastmath": _FAST, "cache": True, "nogil": True}


@njit(**_one)
def _dot(w: Any, x: Any) -> Any:
    total = np.float32(0)
    for i in range(x.shape[0]):
        total += np.float32(w[i]) * x[i]
    return total


@njit(**_one)
def _rows(w: Any, scale: Any, bias: Any, x: Any, y: Any, begin: int, end: int) -> None:
    """y[:, begin:end] = scale · (x @ w.T) + bias for these outputs: each row of weights is read once, for four rows of x at a time."""
    rows, size = x.shape
    fours = rows // 4 * 4
    for o in range(begin, end):
        for b in range(0, fours, 4):
            s, t, u, v = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
            for i in range(size):
                weight = np.float32(w[o, i])
                s += weight * x[b, i]
                t += weight * x[b + 1, i]
                u += weight * x[b + 2, i]
                v += weight * x[b + 3, i]
            y[b, o], y[b + 1, o], y[b + 2, o], y[b + 3, o] = s, t, u, v
        for b in range(fours, rows):
            y[b, o] = _dot(w[o], x[b])
        for b in range(rows):
            y[b, o] = y[b, o] * scale[o] + bias[o]


@njit(parallel=True, **_one)
def _rows_threads(w: Any, scale: Any, bias: Any, x: Any, y: Any, threads: int) -> None:
    size = w.shape[0]
    for part in prange(threads):
        _rows(w, scale, bias, x, y, size * part // threads, size * (part + 1) // threads)


@njit(**_one)
def _linear(w: Any, scale: Any, bias: Any, x: Any, y: Any, threads: int) -> None:
    if threads > 1 and w.shape[0] * w.shape[1] >= _BIG:
        _rows_threads(w, scale, bias, x, y, threads)
    else:
        _rows(w, scale, bias, x, y, 0, w.shape[0])


@njit(**_one)
def _norm(rms: bool, eps: float, affine: Any, x: Any, y: Any) -> None:
    """One vector; y may be x."""
    size = x.shape[0]
    mean = np.float32(0)
    if not rms:
        for i in range(size):
            mean += x[i]
        mean /= np.float32(size)
    power = np.float32(0)
    for i in range(size):
        power += (x[i] - mean) * (x[i] - mean)
    factor = np.float32(1) / np.sqrt(power / np.float32(size) + np.float32(eps))
    for i in range(size):
        y[i] = (x[i] - mean) * factor * affine[0, i] + affine[1, i]


@njit(**_one)
def _norms(rms: bool, eps: float, affine: Any, x: Any, y: Any) -> None:
    for b in range(x.shape[0]):
        _norm(rms, eps, affine, x[b], y[b])


@njit(**_one)
def _embed(weights: Any, lengths: Any, tokens: Any, x: Any) -> None:
    for b in range(tokens.shape[0]):
        place = lengths[b]
        x[b] = weights.embedding[tokens[b]]
        if weights.added.shape[0]:
            x[b] += weights.added[place]
        if weights.turned.shape[0]:
            half = weights.turned.shape[1]
            for pair in range(x.shape[1] // 2):
                cos, sin = weights.turned[place, pair % half, 0], weights.turned[place, pair % half, 1]
                even, odd = x[b, 2 * pair], x[b, 2 * pair + 1]
                x[b, 2 * pair] = even * cos - odd * sin
                x[b, 2 * pair + 1] = odd * cos + even * sin


@njit(**_one)
def _activate(kind: int, x: Any, y: Any) -> None:
    """One vector; y is half as long as x for SwiGLU."""
    size = y.shape[0]
    for i in range(size):
        v = x[i]
        if kind == 0:
            y[i] = np.float32(0.5) * v * (np.float32(1) + math.erf(v * np.float32(0.7071067811865476)))
        elif kind == 1:
            inner = np.float32(0.7978845608028654) * (v + np.float32(0.044715) * v * v * v)
            y[i] = np.float32(0.5) * v * (np.float32(1) + math.tanh(inner))
        elif kind == 2:
            y[i] = v * v if v > 0 else np.float32(0)
        else:
            y[i] = v / (np.float32(1) + math.exp(-v)) * x[size + i]


@njit(**_one)
def _rotate(table: Any, x: Any) -> None:
    half = x.shape[0] // 2
    for i in range(half):
        first, second = x[i], x[half + i]
        x[i] = first * table[i, 0] - second * table[i, 1]
        x[half + i] = second * table[i, 0] + first * table[i, 1]


@njit(**_one)
def _attend_head(
    qk: Any, rope: Any, keys: Any, values: Any, where: Any, place: int, slot: int, qkv: Any, mixed: Any,
    heads: int, kv_heads: int, kv: int, window: int, rms: bool, eps: float, scale: float,
) -> None:  # fmt: skip
    """One row, one head of keys and values with the query heads that share it: qkv [(H + 2 K) D], mixed [H D], where [P]."""
    width = keys.shape[3]
    group = heads // kv_heads
    key = qkv[(heads + kv) * width : (heads + kv + 1) * width]
    if qk.shape[0]:
        _norm(rms, eps, qk[1], key, key)
    if rope.shape[0]:
        _rotate(rope[place], key)
    keys[slot, kv, place] = key
    values[slot, kv, place] = qkv[(heads + kv_heads + kv) * width : (heads + kv_heads + kv + 1) * width]
    start = max(0, place + 1 - window) if window else 0
    scores = np.empty(place + 1, np.float32)
    for head in range(kv * group, (kv + 1) * group):
        query = qkv[head * width : (head + 1) * width]
        if qk.shape[0]:
            _norm(rms, eps, qk[0], query, query)
        if rope.shape[0]:
            _rotate(rope[place], query)
        largest = np.float32(-np.inf)
        for j in range(start, place + 1):
            scores[j] = _dot(keys[where[j], kv, j], query) * np.float32(scale)
            largest = max(largest, scores[j])
        total = np.float32(0)
        result = mixed[head * width : (head + 1) * width]
        result[:] = 0
        for j in range(start, place + 1):
            weight = np.float32(math.exp(scores[j] - largest))
            total += weight
            source = values[where[j], kv, j]
            for i in range(width):
                result[i] += weight * source[i]
        for i in range(width):
            result[i] /= total


@njit(**_one)
def _attend_jobs(
    qk: Any, rope: Any, keys: Any, values: Any, where: Any, lengths: Any, slots: Any, qkv: Any, mixed: Any,
    heads: int, kv_heads: int, window: int, rms: bool, eps: float, scale: float, begin: int, end: int,
) -> None:  # fmt: skip
    for job in range(begin, end):
        row, kv = job // kv_heads, job % kv_heads
        _attend_head(
            qk, rope, keys, values, where[row], lengths[row], slots[row], qkv[row], mixed[row],
            heads, kv_heads, kv, window, rms, eps, scale,
        )  # fmt: skip


@njit(parallel=True, **_one)
def _attend_threads(
    qk: Any, rope: Any, keys: Any, values: Any, where: Any, lengths: Any, slots: Any, qkv: Any, mixed: Any,
    heads: int, kv_heads: int, window: int, rms: bool, eps: float, scale: float, threads: int,
) -> None:  # fmt: skip
    jobs = slots.shape[0] * kv_heads
    for part in prange(threads):
        _attend_jobs(
            qk, rope, keys, values, where, lengths, slots, qkv, mixed,
            heads, kv_heads, window, rms, eps, scale, jobs * part // threads, jobs * (part + 1) // threads,
        )  # fmt: skip


@njit(**_one)
def attend(weights: Any, layer: int, cache: Any, slots: Any, qkv: Any, mixed: Any, threads: int) -> None:
    """Rotate and store what `qkv` [rows, (H + 2 K) D] holds, then mix the values that each row sees into [rows, H D]."""
    w, jobs = weights, slots.shape[0] * weights.kv_heads
    qk, keys, values, window = w.qk[layer], cache.keys[layer], cache.values[layer], w.windows[layer]
    work = mixed.shape[1] * (cache.lengths.sum() + slots.shape[0])
    if threads > 1 and work >= _BIG:
        _attend_threads(
            qk, w.rope, keys, values, cache.where, cache.lengths, slots, qkv, mixed,
            w.heads, w.kv_heads, window, w.rms, w.eps, w.scale, threads,
        )  # fmt: skip
    else:
        _attend_jobs(
            qk, w.rope, keys, values, cache.where, cache.lengths, slots, qkv, mixed,
            w.heads, w.kv_heads, window, w.rms, w.eps, w.scale, 0, jobs,
        )  # fmt: skip


@njit(**_one)
def _matrix(matrix: Any, layer: int, x: Any, threads: int) -> Any:
    y = np.empty((x.shape[0], matrix.value.shape[1]), np.float32)
    _linear(matrix.value[layer], matrix.scale[layer], matrix.bias[layer], x, y, threads)
    return y


@njit(**_one)
def forward(weights: Any, cache: Any, slots: Any, tokens: Any, logits: Any, threads: int) -> None:
    """Append one token to each row and write its logits [rows, V].

    slots [rows]: where the new keys and values go. `cache.where` and `cache.lengths` are the caller's to keep.
    """
    rows, size = tokens.shape[0], weights.embedding.shape[1]
    x, h = np.empty((rows, size), np.float32), np.empty((rows, size), np.float32)
    mixed = np.empty((rows, weights.out.value.shape[2]), np.float32)
    inner = np.empty((rows, weights.down.value.shape[2]), np.float32)
    _embed(weights, cache.lengths, tokens, x)
    for layer in range(weights.norms.shape[0]):
        first, second = weights.norms[layer, 0], weights.norms[layer, 1]
        if weights.norm_first:
            _norms(weights.rms, weights.eps, first, x, h)
        else:
            h[:] = x
        attend(weights, layer, cache, slots, _matrix(weights.qkv, layer, h, threads), mixed, threads)
        x += _matrix(weights.out, layer, mixed, threads)
        if weights.norm_first:
            _norms(weights.rms, weights.eps, second, x, h)
        else:
            _norms(weights.rms, weights.eps, first, x, x)
            h[:] = x
        up = _matrix(weights.up, layer, h, threads)
        for b in range(rows):
            _activate(weights.activation, up[b], inner[b])
        x += _matrix(weights.down, layer, inner, threads)
        if not weights.norm_first:
            _norms(weights.rms, weights.eps, second, x, x)
    if weights.last.shape[0]:
        _norms(weights.rms, weights.eps, weights.last, x, x)
    _linear(weights.head.value[0], weights.head.scale[0], weights.head.bias[0], x, logits, threads)

"""Causal attention for training, forward and backward, compiled by Numba: one head of one row of the batch after another.

Skips what the causal mask hides. Keeps nothing of size [time, time]: backward computes the weights again from
the logarithms of their sums (Dao et al. 2022), and the dropout's draws again from the key: a draw is a function of (key, head
of the batch, query, key's position), for any number of threads. Takes arrays and checks nothing.

Letters: T time, D head width, P time padded to `_STEP`, W width padded to LANES.
"""

from typing import Any

import numpy as np

from .dropout import draw, halves
from .elementwise import exp_of_bounded
from .jit import kernel
from .sums import dot, fma, largest, total
from .tile import LANES, at, strided

_ROWS = 4 if LANES == 8 else 8
"""Queries of a tile of two vectors: AVX2 has 16 registers, AVX-512 and ARM 32."""
_STEP = 32
"""Positions are padded to this, a multiple of two vectors; so many queries share a pass of backward over keys and values."""
_wide, _narrow = strided(_ROWS, 2, False), strided(_ROWS, 1, False)
_wide_add, _narrow_add = strided(_ROWS, 2, True), strided(_ROWS, 1, True)


@kernel
def _exp(x: Any) -> Any:
    """e to the x ≤ 0 as `elementwise.exp`, but a value that is no number stays none."""
    x = np.float32(-87) if x < np.float32(-87) else x  # noqa: FURB136 - `max` may take the bound for what is no number
    return exp_of_bounded(x)


@kernel
def _read(source: Any, first: int, stride: int, factor: float, out: Any, time: int, width: int) -> None:
    """factor · [T, D] of flat memory → the beginning of out [P, W]."""
    scale = np.float32(factor)
    for t in range(time):
        line, target = source[first + t * stride : first + t * stride + width], out[t]
        for d in range(width):
            target[d] = scale * line[d]


@kernel
def _write(x: Any, out: Any, first: int, stride: int, factor: float, time: int, width: int) -> None:
    """factor · the beginning of x [P, W] → [T, D] of flat memory."""
    scale = np.float32(factor)
    for t in range(time):
        line, source = out[first + t * stride : first + t * stride + width], x[t]
        for d in range(width):
            line[d] = scale * source[d]


@kernel
def _turn(x: Any, out: Any) -> None:
    """x [P, W] → out [W, P]."""
    for t in range(0, x.shape[0], LANES):
        for d in range(x.shape[1]):
            target = out[d]
            for lane in range(LANES):
                target[t + lane] = x[t + lane, d]


@kernel
def _scores(x: Any, row: int, turned: Any, out: Any, out_row: int, seen: int) -> None:
    """out [_ROWS rows from out_row, seen] = x [_ROWS rows from row, W] @ turned [W, P]."""
    size, padded = turned.shape
    for c in range(0, seen, 2 * LANES):
        _wide(at(x, row * size), size, 1, at(turned, c), padded, size, at(out, out_row * padded + c), padded)


@kernel
def _mixed(x: Any, row: int, y: Any, seen: int, out: Any, out_row: int) -> None:
    """out [_ROWS rows, W] = x [_ROWS rows from row, seen] @ y [seen, W]."""
    padded, width = x.shape[1], y.shape[1]
    c = 0
    while c + 2 * LANES <= width:
        _wide(at(x, row * padded), padded, 1, at(y, c), width, seen, at(out, out_row * width + c), width)
        c += 2 * LANES
    if c < width:
        _narrow(at(x, row * padded), padded, 1, at(y, c), width, seen, at(out, out_row * width + c), width)


@kernel
def _gather(x: Any, seen: int, y: Any, row: int, out: Any) -> None:
    """out [seen, W] += x [_STEP, seen] transposed @ y [_STEP rows from row, W]."""
    padded, width = x.shape[1], y.shape[1]
    for key in range(0, seen, _ROWS):
        c = 0
        while c + 2 * LANES <= width:
            _wide_add(at(x, key), 1, padded, at(y, row * width + c), width, _STEP, at(out, key * width + c), width)
            c += 2 * LANES
        if c < width:
            _narrow_add(at(x, key), 1, padded, at(y, row * width + c), width, _STEP, at(out, key * width + c), width)


@kernel
def _soft(scores: Any, seen: int) -> Any:
    """Scores of one query → exponentials below the largest, 0 behind them up to a whole 16. Gives the largest, and the sum."""
    whole = -(-seen // 16) * 16
    scores[seen:whole] = -np.inf
    most = largest(at(scores, 0), whole)
    for i in range(seen):
        scores[i] = _exp(scores[i] - most)
    scores[seen:whole] = 0
    return most, total(at(scores, 0), whole)


@kernel
def _drop(weights: Any, seen: int, factor: Any, dropped: Any, low: Any, high: Any) -> None:
    """weights · factor, or zero where the draw lies under `dropped`."""
    for i in range(np.uint32(seen)):
        weights[i] = weights[i] * factor if draw(low, high, i) >= dropped else np.float32(0)


@kernel
def attention_forward(
    q: Any, k: Any, v: Any, out: Any, strides: Any, logs: Any, time: int, width: int, scale: float,
    key: int, dropped: int, kept: float, begin: int, end: int,
) -> None:  # fmt: skip
    """Fill out and logs [B · H, T] for the heads begin … end - 1 of all B · H.

    q, k, v, out are flat float32 memory; strides [4, 4] holds for each (heads, from batch row to batch row, from head to head,
    from token to token). A weight is dropped where its 32 bits lie under `dropped`; the others are multiplied by `kept`.
    """
    padded, room = -(-time // _STEP) * _STEP, -(-width // LANES) * LANES
    queries, keys, values = (
        np.zeros((padded, room), np.float32),
        np.zeros((padded, room), np.float32),
        np.zeros((padded, room), np.float32),
    )
    turned, scores = np.empty((room, padded), np.float32), np.empty((_ROWS, padded), np.float32)
    limit = np.uint32(dropped)
    for head in range(begin, end):
        row, place = divmod(head, strides[0, 0])
        _read(q, row * strides[0, 1] + place * strides[0, 2], strides[0, 3], scale, queries, time, width)
        _read(k, row * strides[1, 1] + place * strides[1, 2], strides[1, 3], 1.0, keys, time, width)
        _read(v, row * strides[2, 1] + place * strides[2, 2], strides[2, 3], 1.0, values, time, width)
        _turn(keys, turned)
        for first in range(0, time, _ROWS):
            seen = -(-(first + _ROWS) // _STEP) * _STEP
            _scores(queries, first, turned, scores, 0, seen)
            for i in range(_ROWS):
                query = first + i
                most, summed = _soft(scores[i], query + 1)
                scores[i, query + 1 : seen] = 0
                if query < time:
                    logs[head, query] = most + np.log(summed)
                factor = np.float32(kept) / summed
                if dropped:
                    _drop(scores[i], query + 1, factor, limit, *halves(key, head * time + query))
                else:
                    for c in range(query + 1):
                        scores[i, c] *= factor
            _mixed(scores, 0, values, first + _ROWS, queries, first)  # the queries are read: their place takes the output
        _write(queries, out, row * strides[3, 1] + place * strides[3, 2], strides[3, 3], 1.0, time, width)


@kernel
def _gradients(weights: Any, pulls: Any, seen: int, log: Any, delta: Any, dropped: Any, kept: Any, low: Any, high: Any) -> None:
    """Scores → weights after dropout, and their gradients → the scores' gradients, of one query."""
    for i in range(np.uint32(seen)):
        weight = _exp(weights[i] - log)
        after = weight * kept if draw(low, high, i) >= dropped else np.float32(0)
        weights[i] = after
        pulls[i] = fma(after, pulls[i], -weight * delta)


@kernel
def attention_backward(
    q: Any, k: Any, v: Any, out: Any, grad: Any, strides: Any, logs: Any, grads: Any, time: int, width: int, scale: float,
    key: int, dropped: int, kept: float, begin: int, end: int,
) -> None:  # fmt: skip
    """Fill grads [3, B, T, H, D] of q, k and v; strides [5, 4] has a fifth line for the output's gradient."""
    padded, room = -(-time // _STEP) * _STEP, -(-width // LANES) * LANES
    queries, keys, values, pulls, outs = (
        np.zeros((padded, room), np.float32), np.zeros((padded, room), np.float32), np.zeros((padded, room), np.float32),
        np.zeros((padded, room), np.float32), np.zeros((padded, room), np.float32),
    )  # fmt: skip
    keys_turned, values_turned = np.empty((room, padded), np.float32), np.empty((room, padded), np.float32)
    weights, steps = np.empty((_STEP, padded), np.float32), np.empty((_STEP, padded), np.float32)
    dq, dk, dv = np.empty((padded, room), np.float32), np.empty((padded, room), np.float32), np.empty((padded, room), np.float32)
    limit, survivors = np.uint32(dropped), np.float32(kept)
    for head in range(begin, end):
        row, place = divmod(head, strides[0, 0])
        _read(q, row * strides[0, 1] + place * strides[0, 2], strides[0, 3], scale, queries, time, width)
        _read(k, row * strides[1, 1] + place * strides[1, 2], strides[1, 3], 1.0, keys, time, width)
        _read(v, row * strides[2, 1] + place * strides[2, 2], strides[2, 3], 1.0, values, time, width)
        _read(out, row * strides[3, 1] + place * strides[3, 2], strides[3, 3], 1.0, outs, time, width)
        _read(grad, row * strides[4, 1] + place * strides[4, 2], strides[4, 3], 1.0, pulls, time, width)
        _turn(keys, keys_turned)
        _turn(values, values_turned)
        dk[:], dv[:] = 0, 0
        for block in range(0, time, _STEP):
            seen = block + _STEP
            for first in range(block, seen, _ROWS):
                _scores(queries, first, keys_turned, weights, first - block, seen)
                _scores(pulls, first, values_turned, steps, first - block, seen)
                for i in range(_ROWS):
                    query = first + i
                    delta = dot(at(pulls, query * room), at(outs, query * room), room)
                    log = logs[head, query] if query < time else np.float32(0)
                    _gradients(
                        weights[query - block], steps[query - block], query + 1, log, delta, limit, survivors,
                        *halves(key, head * time + query),
                    )  # fmt: skip
                    weights[query - block, query + 1 : seen], steps[query - block, query + 1 : seen] = 0, 0
                _mixed(steps, first - block, keys, first + _ROWS, dq, first)
            _gather(weights, seen, pulls, block, dv)
            _gather(steps, seen, queries, block, dk)
        heads = strides[0, 0]
        start = (row * time * heads + place) * width
        whole = logs.size * width
        _write(dq, grads, start, heads * width, scale, time, width)
        _write(dk, grads, whole + start, heads * width, 1.0, time, width)
        _write(dv, grads, 2 * whole + start, heads * width, 1.0, time, width)

"""The kernels in numpy: the same names and answers as `compiled`, and what it is tested against."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .weights import BLOCK, Cache, Matrix, Weights

__all__ = ["NAME", "arrange", "forward"]

NAME = "plain"
Floats = NDArray[np.float32]


def arrange(matrix: Matrix) -> Matrix:
    """numpy takes it as it is."""
    return matrix


def forward(
    weights: Weights, cache: Cache, slots: NDArray[np.int64], tokens: NDArray[np.int64], logits: Floats, threads: int
) -> None:
    """Append one token to each row and write its logits [rows, V].

    slots [rows]: where the new keys and values go. `cache.where` and `cache.lengths` are the caller's to keep. `threads` is for the compiled kernels.
    """
    x = _embed(weights, cache, tokens)
    for layer in range(weights.norms.shape[0]):
        first, second = weights.norms[layer]
        h = _norm(weights, x, first) if weights.norm_first else x
        mixed = _attend(weights, layer, cache, slots, _linear(weights.qkv, layer, h))
        x = x + _linear(weights.out, layer, mixed)
        x = x if weights.norm_first else _norm(weights, x, first)
        h = _norm(weights, x, second) if weights.norm_first else x
        x = x + _linear(weights.down, layer, _activate(weights, _linear(weights.up, layer, h)))
        x = x if weights.norm_first else _norm(weights, x, second)
    if len(weights.last):
        x = _norm(weights, x, weights.last)
    logits[:] = _linear(weights.head, 0, x)


def _attend(weights: Weights, layer: int, cache: Cache, slots: NDArray[np.int64], qkv: Floats) -> Floats:
    """Rotate and store what `qkv` [rows, (H + 2 K) D] holds; give the mixture of the values that each row sees, [rows, H D]."""
    rows, heads, kv_heads, width = len(qkv), weights.heads, weights.kv_heads, cache.keys.shape[4]
    parts = qkv.reshape(rows, heads + 2 * kv_heads, width)
    q, k, v = parts[:, :heads], parts[:, heads : heads + kv_heads], parts[:, heads + kv_heads :]
    if weights.qk.shape[1]:
        q, k = _norm(weights, q, weights.qk[layer, 0]), _norm(weights, k, weights.qk[layer, 1])
    if len(weights.rope):
        q, k = _rotate(q, weights.rope[cache.lengths]), _rotate(k, weights.rope[cache.lengths])
    block, place = np.divmod(cache.lengths, BLOCK)
    cache.keys[layer][slots, block, :, :, place] = k
    cache.values[layer][slots, block, :, place, :width] = v
    mixed = np.empty((rows, heads * width), np.float32)
    for row in range(rows):
        keys, values = _seen(weights, layer, cache, row)
        query = q[row].reshape(kv_heads, heads // kv_heads, width)
        scores = np.einsum("kgd,ksd->kgs", query, keys) * np.float32(weights.scale)
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        scores /= scores.sum(axis=-1, keepdims=True)
        mixed[row] = np.einsum("kgs,ksd->kgd", scores, values).reshape(-1)
    return mixed


def _seen(weights: Weights, layer: int, cache: Cache, row: int) -> tuple[Floats, Floats]:
    """Keys and values [K, positions, D] that a row sees, its newest included."""
    kv_heads, width = cache.keys.shape[3], cache.keys.shape[4]
    end, window = int(cache.lengths[row]) + 1, int(weights.windows[layer])
    blocks = np.arange(-(-end // BLOCK))
    cells = cache.where[row, blocks]
    keys = cache.keys[layer][cells, blocks].transpose(1, 0, 3, 2).reshape(kv_heads, -1, width)
    values = cache.values[layer][cells, blocks].swapaxes(0, 1).reshape(kv_heads, -1, cache.values.shape[5])
    start = max(0, end - window) if window else 0
    return keys[:, start:end], values[:, start:end, :width]


def _embed(weights: Weights, cache: Cache, tokens: NDArray[np.int64]) -> Floats:
    x: Floats = weights.embedding[tokens]
    if len(weights.added):
        x = x + weights.added[cache.lengths]
    if len(weights.turned):
        table = weights.turned[cache.lengths][:, None]
        pairs = x.reshape(len(tokens), weights.heads, -1, 2)
        even, odd, cos, sin = pairs[..., 0], pairs[..., 1], table[..., 0], table[..., 1]
        x = np.stack([even * cos - odd * sin, odd * cos + even * sin], axis=-1).reshape(x.shape)
    return x


def _rotate(x: Floats, table: Floats) -> Floats:
    """x [rows, heads, D], table [rows, D/2, 2]: rotation in halves."""
    half = x.shape[2] // 2
    cos, sin = table[:, None, :, 0], table[:, None, :, 1]
    first, second = x[..., :half], x[..., half:]
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


def _norm(weights: Weights, x: Floats, affine: Floats) -> Floats:
    """Layer norm or RMS norm over the last dimension; affine [2, width]."""
    if not weights.rms:
        x = x - x.mean(axis=-1, keepdims=True)
    power = np.square(x).mean(axis=-1, keepdims=True)
    return (x / np.sqrt(power + np.float32(weights.eps)) * affine[0] + affine[1]).astype(np.float32)  # type: ignore[no-any-return]


def _linear(matrix: Matrix, layer: int, x: Floats) -> Floats:
    product = x @ matrix.value[layer].astype(np.float32, copy=False).T
    return (product * matrix.scale[layer] + matrix.bias[layer]).astype(np.float32, copy=False)  # type: ignore[no-any-return]


def _activate(weights: Weights, x: Floats) -> Floats:
    """GELU (by erf), GELU (by tanh), squared ReLU or SwiGLU."""
    if weights.activation == 0:
        import torch  # numpy has no erf

        return torch.nn.functional.gelu(torch.from_numpy(x)).numpy()
    if weights.activation == 1:
        inner = np.float32(0.7978845608028654) * (x + np.float32(0.044715) * x * x * x)
        y: Floats = np.float32(0.5) * x * (1 + np.tanh(inner))
    elif weights.activation == 2:
        y = np.square(np.maximum(x, 0))
    else:
        gate, value = np.split(x, 2, axis=-1)
        y = gate / (1 + np.exp(-gate)) * value
    return y

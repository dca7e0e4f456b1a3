"""Operations on one vector: embed, norm, rotate, activate; exponentials that vectorise."""

from typing import Any

import numpy as np

from .jit import kernel
from .sums import fma, squares, total
from .tile import at


@kernel(counted=False)
def exp(x: Any) -> Any:
    """e to the x, float32, to 3e-7 of itself; below -87 it is 1e-38, above 88 1e38."""
    return exp_of_bounded(min(max(x, np.float32(-87)), np.float32(88)))


@kernel(counted=False)
def exp_of_bounded(x: Any) -> Any:
    """e to the x from -87 to 88 (Cephes: 2^n · a polynomial)."""
    n = np.floor(fma(x, np.float32(1.44269504), np.float32(0.5)))
    r = fma(-n, np.float32(0.693147182), x)
    p = np.float32(1.9875691500e-4)
    p = fma(p, r, np.float32(1.3981999507e-3))
    p = fma(p, r, np.float32(8.3334519073e-3))
    p = fma(p, r, np.float32(4.1665795894e-2))
    p = fma(p, r, np.float32(1.6666665459e-1))
    p = fma(p, r, np.float32(5.0000001201e-1))
    p = fma(p * r, r, r) + np.float32(1)
    power = np.int32((np.int32(n) + np.int32(127)) << np.int32(23))
    return p * power.view(np.float32)


@kernel(counted=False)
def erf(x: Any) -> Any:
    """The error function, float32, to 4e-7: a rational approximation, as in Eigen and XLA."""
    x = min(max(x, np.float32(-4)), np.float32(4))
    s = x * x
    p = np.float32(-2.72614225801306e-10)
    p = fma(p, s, np.float32(2.77068142495902e-08))
    p = fma(p, s, np.float32(-2.10102402082508e-06))
    p = fma(p, s, np.float32(-5.69250639462346e-05))
    p = fma(p, s, np.float32(-7.34990630326855e-04))
    p = fma(p, s, np.float32(-2.95459980854025e-03))
    p = fma(p, s, np.float32(-1.60960333262415e-02))
    q = np.float32(-1.45660718464996e-05)
    q = fma(q, s, np.float32(-2.13374055278905e-04))
    q = fma(q, s, np.float32(-1.68282697438203e-03))
    q = fma(q, s, np.float32(-7.37332916720468e-03))
    q = fma(q, s, np.float32(-1.42647390514189e-02))
    return x * p / q


@kernel(counted=False)
def norm(rms: bool, eps: float, affine: Any, x: Any, y: Any) -> None:
    """Layer norm or RMS norm with affine [2, size]; y may be x."""
    size = x.shape[0]
    mean = np.float32(0) if rms else total(at(x, 0), size) / np.float32(size)
    power = squares(at(x, 0), mean, size)
    factor = np.float32(1) / np.sqrt(power / np.float32(size) + np.float32(eps))
    for i in range(size):
        y[i] = fma((x[i] - mean) * factor, affine[0, i], affine[1, i])


@kernel(counted=False)
def embed(weights: Any, place: int, token: int, x: Any) -> None:
    """A token's embedding with its position, where the position belongs to the embedding."""
    for i in range(x.shape[0]):
        x[i] = weights.embedding[token, i]
    if weights.position_embedding.shape[0]:
        for i in range(x.shape[0]):
            x[i] += weights.position_embedding[place, i]
    if weights.rotary_embedding.shape[0]:
        half = weights.rotary_embedding.shape[1]
        for pair in range(x.shape[0] // 2):
            cos, sin = weights.rotary_embedding[place, pair % half, 0], weights.rotary_embedding[place, pair % half, 1]
            even, odd = x[2 * pair], x[2 * pair + 1]
            x[2 * pair] = even * cos - odd * sin
            x[2 * pair + 1] = odd * cos + even * sin


@kernel(counted=False)
def rotate(table: Any, x: Any) -> None:
    """Rotate in halves by table [size / 2, 2] of cosines and sines, in place."""
    half = x.shape[0] // 2
    for i in range(half):
        first, second = x[i], x[half + i]
        x[i] = first * table[i, 0] - second * table[i, 1]
        x[half + i] = second * table[i, 0] + first * table[i, 1]


@kernel(counted=False)
def activate(kind: int, x: Any, y: Any) -> None:
    """The function of that number in `weights.ACTIVATIONS`; for SwiGLU x is at least twice as long as y: gate, then value."""
    size = y.shape[0]
    if kind == 0:
        for i in range(size):
            y[i] = np.float32(0.5) * x[i] * (np.float32(1) + erf(x[i] * np.float32(0.7071067811865476)))
    elif kind == 1:
        for i in range(size):
            inner = np.float32(1.5957691216057308) * (x[i] + np.float32(0.044715) * x[i] * x[i] * x[i])
            y[i] = x[i] / (np.float32(1) + exp(-inner))  # (1 + tanh(u)) / 2 = 1 / (1 + exp(-2 u))
    elif kind == 2:
        for i in range(size):
            y[i] = max(x[i], np.float32(0)) * max(x[i], np.float32(0))
    else:
        for i in range(size):
            y[i] = x[i] / (np.float32(1) + exp(-x[i])) * x[size + i]

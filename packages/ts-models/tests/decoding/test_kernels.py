"""The compiled kernels' parts against numpy: tiles of a product, and the exponentials."""

import importlib
import math

import numpy as np
import pytest

numba = pytest.importorskip("numba")


@pytest.fixture(params=[("avx512f", 16), ("avx2", 8), ("neon", 4)], ids=lambda feature: feature[0])
def tile(request, monkeypatch):
    """The module as it is on a machine with these vectors; LLVM splits or joins them for the machine that runs this."""
    from llvmlite import binding

    from ts_models.fast.kernels import tile as tiles

    feature, lanes = request.param
    with monkeypatch.context() as patched:
        patched.setattr(binding, "get_host_cpu_features", lambda: {feature: True})
        module = importlib.reload(tiles)
    assert lanes == module.LANES
    yield module
    importlib.reload(tiles)


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_tiles_equal_the_product(tile, dtype):
    many, one, at = tile.affine(5, tile.VECTORS), tile.add(1, 1), tile.at
    wide, lanes, draw = tile.VECTORS * tile.LANES, tile.LANES, np.random.default_rng(0)

    @numba.njit
    def product(x, count, w, y, scale, bias):
        many(at(x, 0), x.shape[1], count, at(w, 0), wide, w.shape[0], at(y, 0), wide, at(scale, 0), at(bias, 0))

    @numba.njit
    def more(x, w, y):
        one(at(x, 0), 0, 1, at(w, 0), lanes, w.shape[0], at(y, 0), 0, 0, 0)

    x, scale, bias = (draw.normal(size=shape).astype("f") for shape in ((5, 33), wide, wide))
    w = (draw.normal(size=(33, wide)) * 20).astype(dtype)
    for count in range(1, 6):
        y = np.full((5, wide), 7, "f")
        product(x, count, w, y, scale, bias)
        np.testing.assert_allclose(y[:count], (x[:count] @ w) * scale + bias, atol=1e-3, rtol=1e-5)
        assert (y[count:] == 7).all()
    y, narrow = np.full(lanes, 7, "f"), np.ascontiguousarray(w[:, :lanes])
    more(x, narrow, y)
    np.testing.assert_allclose(y, 7 + x[0] @ narrow, atol=1e-3, rtol=1e-5)


def test_exponentials_are_as_exact_as_they_say():
    from ts_models.fast.kernels.elementwise import erf, exp

    for x in np.linspace(-86.9, 87.9, 4001, dtype="f"):
        assert exp(x) == pytest.approx(math.exp(x), rel=3e-7)
    for x in np.linspace(-6, 6, 4001, dtype="f"):
        assert erf(x) == pytest.approx(math.erf(x), abs=4e-7)
    assert 0 < exp(np.float32(-1e9)) < 2e-38
    assert exp(np.float32(0)) == 1

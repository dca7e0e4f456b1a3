"""The compiled kernels' parts against numpy: tiles of a product, and the exponentials."""

import importlib.util
import math

import numpy as np
import pytest

numba = pytest.importorskip("numba")
_HAS_AVX512 = importlib.import_module("llvmlite.binding").get_host_cpu_features().get("avx512f", False)


@pytest.fixture(params=[("avx512f", 16), ("avx2", 8), ("neon", 4)], ids=lambda feature: feature[0])
def tile(request, monkeypatch):
    """A copy of the module as it is on a machine with these vectors; LLVM splits or joins them for the machine that runs this."""
    from llvmlite import binding

    feature, lanes = request.param
    spec = importlib.util.find_spec("ts_models.fast.kernels.tile")
    module = importlib.util.module_from_spec(spec)
    with monkeypatch.context() as patched:
        patched.setattr(binding, "get_host_cpu_features", lambda: {feature: True})
        spec.loader.exec_module(module)
    assert lanes == module.LANES
    return module


def test_a_tile_of_int4_equals_the_product(tile):
    from ts_models.fast.kernels.arrays import Matrix, quantise

    if tile.LANES == 16 and not _HAS_AVX512:
        pytest.skip("a table of sixteen is looked up by AVX-512 alone")
    affine, at, wide, draw = tile.affine(5, tile.VECTORS), tile.at, tile.VECTORS * tile.LANES, np.random.default_rng(0)

    @numba.njit
    def product(x, count, w, y, scale, bias):
        affine(at(x, 0), x.shape[1], count, at(w, 0), wide, x.shape[1], at(y, 0), wide, at(scale, 0), at(bias, 0))

    for size in (3, 8, 32, 33, 70, 96):  # a part of a word, a group, more than a group
        x, bias, rows = (draw.normal(size=shape).astype("f") for shape in ((5, size), wide, (1, wide, size)))
        rounded = quantise(Matrix(rows, np.ones((1, wide, 1), "f"), bias[None], size), "int4")
        codes = (rounded.value[0, :, :, None] >> np.arange(0, 32, 4)).reshape(wide, -1)[:, :size] % 16 - 8
        weights = codes * rounded.scale[0].repeat(32, axis=1)[:, :size]
        assert np.square(weights - rows[0]).mean() < 0.01
        words, scale = np.ascontiguousarray(rounded.value[0].T), np.ascontiguousarray(rounded.scale[0].T)
        for count in (1, 3, 5):
            y = np.full((5, wide), 7, "f")
            product(x, count, words, y, scale, bias)
            np.testing.assert_allclose(y[:count], x[:count] @ weights.T + bias, atol=2e-5, rtol=1e-5)
            assert (y[count:] == 7).all()


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

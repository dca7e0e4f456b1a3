"""The cheap draws: right mean, right rate, right gradients, repeated by the seed."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch
import torch.nn.functional as F

from ts_models.layers.causal_dropout import causal_attention_with_dropout
from ts_models.layers.dropout import Dropout, draw_bits, scale, threshold


@pytest.fixture(params=["plain", pytest.param("compiled", marks=pytest.mark.skipif(not find_spec("numba"), reason="no Numba"))])
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("TS_MODELS_KERNELS", request.param)
    return str(request.param)


@pytest.mark.parametrize("p", [0.08, 0.1007, 0.5])
@pytest.mark.usefixtures("kernels")
def test_rate_mean_and_values(p: float) -> None:
    torch.manual_seed(0)
    out = Dropout(p).train()(torch.ones(400_000))
    dropped = (out == 0).double().mean().item()
    assert abs(dropped - p) < 5 * (p * (1 - p) / 400_000) ** 0.5
    assert out.unique().tolist() == pytest.approx([0.0, 1 / (1 - p)], rel=1e-4)


@pytest.mark.usefixtures("kernels")
def test_neighbouring_draws_are_independent() -> None:
    torch.manual_seed(0)
    kept = (Dropout(0.5).train()(torch.ones(400_000)) > 0).double() - 0.5
    for lag in (1, 2, 3, 4, 5, 8, 16, 4095, 4096, 8192):
        assert abs((kept[lag:] * kept[:-lag]).mean().item() / 0.25) < 5 / 400_000**0.5


def test_bits_are_uniform() -> None:
    torch.manual_seed(0)
    counts = torch.bincount((draw_bits(640_000).long() + 32_768) // 4096, minlength=16).double()
    assert ((counts - 40_000) ** 2 / 40_000).sum() < 40  # chi-squared, 15 degrees of freedom: p < 0.0005 beyond


@pytest.mark.usefixtures("kernels")
def test_seed_repeats_and_evaluation_leaves_alone() -> None:
    layer, x = Dropout(0.3).train(), torch.randn(50)
    torch.manual_seed(5)
    first = layer(x.clone())
    torch.manual_seed(5)
    assert torch.equal(first, layer(x.clone()))
    assert layer.eval()(x) is x


def test_gradient_is_the_same_mask(kernels: str) -> None:
    x = torch.ones(10_000, requires_grad=True)
    out = Dropout(0.25).train()(x * 1)
    assert ("Compiled" in type(out.grad_fn).__name__) == (kernels == "compiled")
    out.sum().backward()
    assert torch.equal(x.grad, out.detach())


@pytest.mark.usefixtures("kernels")
def test_two_calls_draw_apart() -> None:
    first, second = (Dropout(0.5).train()(torch.ones(400_000)) - 1 for _ in range(2))
    assert abs((first * second).double().mean().item()) < 5 / 400_000**0.5


@pytest.mark.usefixtures("kernels")
def test_threads_change_nothing() -> None:
    before, results = torch.get_num_threads(), []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        torch.manual_seed(5)
        results.append(Dropout(0.3).train()(torch.ones(1_000_001)))
    torch.set_num_threads(before)
    assert torch.equal(*results)


@pytest.mark.parametrize("shape", [(3, 2, 150, 8), (2, 4, 64, 16), (1, 1, 5, 4)])
def test_attention_without_dropping_equals_sdpa(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(shape, dtype=torch.float64, requires_grad=True) for _ in range(3))
    ours, theirs = causal_attention_with_dropout(q, k, v, 0), F.scaled_dot_product_attention(q, k, v, is_causal=True)
    assert torch.allclose(ours, theirs, atol=1e-12)
    grad = torch.randn_like(ours)
    for a, b in zip(torch.autograd.grad(ours, (q, k, v), grad), torch.autograd.grad(theirs, (q, k, v), grad), strict=True):
        assert torch.allclose(a, b, atol=1e-12)


def test_attention_gradients_with_dropping() -> None:
    torch.manual_seed(0)
    inputs = [torch.randn(1, 2, 9, 2, dtype=torch.float64, requires_grad=True) for _ in range(3)]

    def run(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(3)
        return causal_attention_with_dropout(q, k, v, 20_000)

    assert torch.autograd.gradcheck(run, inputs)


def test_attention_with_dropping_has_sdpas_mean() -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, 1, 12, 4) for _ in range(3))
    many = [x.expand(4000, -1, -1, -1) for x in (q, k, v)]
    out = causal_attention_with_dropout(*many, threshold(0.3))
    expected = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    error = out.std(0) / 4000**0.5
    assert ((out.mean(0) - expected[0]).abs() <= 5 * error + 1e-6).all()
    assert scale(threshold(0.3)) == pytest.approx(1 / 0.7, rel=1e-4)

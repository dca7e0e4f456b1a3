"""Dropout by the kernel and by PyTorch: right mean, right rate, right gradients, repeated by the seed."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch

from ts_models.layers.dropout import Dropout


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
    assert ("_Dropout" in type(out.grad_fn).__name__) == (kernels == "compiled")
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


@pytest.mark.usefixtures("kernels")
def test_the_input_is_kept() -> None:
    x = torch.ones(10_000)
    assert Dropout(0.5).train()(x).eq(0).any()
    assert x.eq(1).all()

"""The linear layer through oneDNN against F.linear: values, gradients, and where it steps aside."""

import copy

import pytest
import torch
import torch.nn.functional as F

from ts_models.fast import linear as module
from ts_models.fast.linear import has_onednn, linear
from ts_models.layers.linear import Linear

here = pytest.mark.skipif(not has_onednn(), reason="oneDNN with AVX-512 is not at hand")


def both(inputs: int, outputs: int, bias: bool, shape: tuple[int, ...]):
    """(value, gradients) of `linear` and of F.linear in double precision, from the same numbers."""
    torch.manual_seed(1)
    x, weight, offset = torch.randn(*shape, inputs), torch.randn(outputs, inputs), torch.randn(outputs) if bias else None
    upstream = torch.randn(*shape, outputs)
    found = []
    for function, dtype in ((linear, torch.float32), (F.linear, torch.float64)):
        given = [t.detach().to(dtype).requires_grad_() for t in (x, weight, offset) if t is not None]
        value = function(*given)
        value.backward(upstream.to(dtype))
        found.append([value.detach(), *(t.grad for t in given)])
    return zip(*found, strict=True)


@here
@pytest.mark.parametrize(("inputs", "outputs"), [(128, 384), (355, 128), (33, 17)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(4, 100), (1000,)])
def test_it_equals_f_linear(inputs, outputs, bias, shape, monkeypatch):
    calls = []
    assert has_onednn()  # asked once, with a product of its own
    monkeypatch.setattr(module, "product", lambda *a, f=module.product: calls.append(a) or f(*a))
    for ours, exact in both(inputs, outputs, bias, shape):
        assert ours.shape == exact.shape
        assert ours.is_contiguous()
        assert (ours - exact).abs().max() <= 2e-6 * exact.abs().max()
    assert len(calls) == 3  # forward, and the gradients of x and of the weight


@here
@pytest.mark.parametrize(
    "make",
    [
        lambda x: x[:5],
        lambda x: x.double(),
        lambda x: x.to(torch.bfloat16),
        lambda x: x.to("meta"),
    ],
    ids=["few tokens", "float64", "bfloat16", "another device"],
)
def test_elsewhere_it_is_nn_linear(make, monkeypatch):
    monkeypatch.setattr(module, "product", lambda *a: pytest.fail("oneDNN was called"))
    x = make(torch.randn(512, 16))
    layer = Linear(16, 8).to(x.device, x.dtype)
    assert layer(x).shape == (len(x), 8)


@here
def test_autocast_keeps_its_own_format():
    x, layer = torch.randn(512, 16), Linear(16, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16


@here
def test_the_same_call_gives_the_same_bits():
    torch.manual_seed(1)
    x, layer = torch.randn(2048, 128), Linear(128, 384)
    runs = []
    for _ in range(3):
        other = copy.deepcopy(layer)
        other(x.clone()).square().sum().backward()
        runs.append(torch.cat([other.weight.grad.flatten(), other.bias.grad]))
    assert torch.equal(runs[0], runs[1])
    assert torch.equal(runs[0], runs[2])


@here
def test_its_output_may_be_overwritten():
    """As Dropout and the residuals do."""
    layer, x = Linear(16, 16), torch.randn(300, 16)
    layer(x).mul_(2.0).sum().backward()
    assert torch.allclose(layer.bias.grad, torch.full((16,), 600.0))


def test_without_the_operator_it_is_nn_linear(monkeypatch):
    has_onednn.cache_clear()
    monkeypatch.setattr(module, "product", lambda *a: (_ for _ in ()).throw(AttributeError("no such operator")))
    try:
        assert not has_onednn()
        layer, x = Linear(16, 8), torch.randn(512, 16)
        assert torch.equal(layer(x), F.linear(x, layer.weight, layer.bias))
    finally:
        has_onednn.cache_clear()

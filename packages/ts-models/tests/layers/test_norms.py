"""RMSNorm by hand against PyTorch's own in double precision; no mixed formats under autocast."""

import warnings

import pytest
import torch
from torch import nn

from ts_models.layers import norms
from ts_models.layers.norms import RMSNorm


@pytest.mark.parametrize("shape", [(3, 7, 32), (2, 5, 4, 16)])
def test_values_and_gradients_equal_torchs(shape):
    torch.manual_seed(1)
    x, upstream, weight = torch.randn(shape), torch.randn(shape), torch.randn(shape[-1])
    found = []
    for kind, dtype in ((RMSNorm, torch.float32), (nn.RMSNorm, torch.float64)):
        norm = kind(shape[-1], eps=1e-6).to(dtype)
        norm.weight.data.copy_(weight)
        given = x.detach().to(dtype).clone().requires_grad_()
        value = norm(given)
        value.backward(upstream.to(dtype))
        found.append((value.detach(), given.grad, norm.weight.grad))
    for ours, exact in zip(*found, strict=True):
        assert torch.allclose(ours.double(), exact, rtol=1e-5, atol=2e-6)


def test_it_reads_views_with_gaps():
    """As q and k are: slices of one matrix, their gradient with its axes turned."""
    torch.manual_seed(1)
    qkv, upstream = torch.randn(2, 5, 6, 8), torch.randn(2, 2, 5, 8)
    found = []
    for kind in (RMSNorm, nn.RMSNorm):
        given, norm = qkv.clone().requires_grad_(), kind(8, eps=1e-6)
        norm(given[:, :, 2:4]).transpose(1, 2).backward(upstream)
        found.append((given.grad, norm.weight.grad))
    for ours, theirs in zip(*found, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-5, atol=2e-6)


def test_a_row_of_zeros_has_a_gradient():
    given = torch.zeros(3, 8, requires_grad=True)
    RMSNorm(8, eps=1e-6)(given).sum().backward()
    assert torch.isfinite(given.grad).all()


def test_it_is_used_on_the_cpu_and_torchs_own_under_autocast(monkeypatch):
    monkeypatch.setattr(norms, "rms_norm", lambda *a: "ours")
    norm = RMSNorm(8, eps=1e-6)
    assert norm(torch.randn(2, 8)) == "ours"
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert norm(torch.randn(2, 8)).shape == (2, 8)


def test_half_precision_keeps_the_fused_kernel_and_the_value():
    torch.manual_seed(1)
    norm, x = RMSNorm(24, eps=1e-6), torch.randn(5, 24)
    with warnings.catch_warnings(), torch.autocast("cpu", torch.bfloat16):
        warnings.simplefilter("error")  # torch says when formats are mixed
        low = norm(x.bfloat16())
    assert low.dtype == torch.bfloat16
    assert norm.weight.dtype == torch.float32
    torch.testing.assert_close(low.float(), norm(x), rtol=0.02, atol=0.02)

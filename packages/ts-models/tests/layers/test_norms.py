"""RMSNorm against torch's own: the same bits in fp32, no mixed formats under autocast."""

from __future__ import annotations

import warnings

import torch

from ts_models.layers.norms import RMSNorm


def test_equals_torchs_in_fp32() -> None:
    torch.manual_seed(1)
    ours, theirs, x = RMSNorm(24, eps=1e-6), torch.nn.RMSNorm(24, eps=1e-6), torch.randn(5, 24)
    with torch.no_grad():
        ours.weight.normal_()
        theirs.load_state_dict(ours.state_dict())
    assert torch.equal(ours(x), theirs(x))


def test_half_precision_keeps_the_fused_kernel_and_the_value() -> None:
    torch.manual_seed(1)
    norm, x = RMSNorm(24, eps=1e-6), torch.randn(5, 24)
    with warnings.catch_warnings(), torch.autocast("cpu", torch.bfloat16):
        warnings.simplefilter("error")  # torch says when formats are mixed
        low = norm(x.bfloat16())
    assert low.dtype == torch.bfloat16
    assert norm.weight.dtype == torch.float32
    torch.testing.assert_close(low.float(), norm(x), rtol=0.02, atol=0.02)

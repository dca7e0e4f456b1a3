"""The rotation of queries and keys in place against its formula."""

import torch

from ts_models.layers.positions import apply_rope, rope_table


def test_value_and_gradient_equal_the_formula():
    torch.manual_seed(1)
    x, upstream = torch.randn(2, 7, 3, 8), torch.randn(2, 3, 7, 8)
    cos, sin = rope_table(torch.arange(7), 8, 10_000.0)

    def formula(q):
        first, second = q.chunk(2, dim=-1)
        return q * cos + torch.cat([-second, first], dim=-1) * sin

    found = []
    for function in (lambda q: apply_rope(q, cos, sin), formula):
        given = x.clone().requires_grad_()
        value = function(given.transpose(1, 2))
        value.backward(upstream)
        found.append((value.detach(), given.grad))
    for ours, theirs in zip(*found, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)
    assert torch.allclose(apply_rope(x.transpose(1, 2), cos, sin), found[0][0], atol=1e-6)  # without a gradient

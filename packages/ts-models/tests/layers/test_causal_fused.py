"""The compiled attention of training: PyTorch's numbers without dropout, the right draws and gradients with it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import ts_models
from ts_models.fast.attention import attention_fits, fused_causal_attention

pytest.importorskip("numba")


def inputs(batch: int, heads: int, time: int, width: int) -> tuple[Tensor, ...]:
    """Queries, keys and values as a projection leaves them: views of one tensor, and a gradient."""
    both = torch.randn(batch, time, 3 * heads, width).requires_grad_()
    return (*(x.transpose(1, 2) for x in both.split(heads, dim=2)), torch.randn(batch, time, heads, width).transpose(1, 2))


def results(attention: Any, q: Tensor, k: Tensor, v: Tensor, grad: Tensor) -> list[Tensor]:
    out = attention(q, k, v)
    return [out.detach(), *torch.autograd.grad(out, (q, k, v), grad)]


@pytest.mark.parametrize(
    "shape", [(2, 3, 150, 32), (1, 2, 17, 16), (2, 2, 256, 64), (1, 1, 70, 24), (1, 2, 33, 7), (3, 1, 16, 80)]
)
@pytest.mark.parametrize("scale", [None, 0.3])
def test_without_dropping_equals_sdpa(shape: tuple[int, int, int, int], scale: float | None) -> None:
    torch.manual_seed(0)
    q, k, v, grad = inputs(*shape)
    assert attention_fits(q)
    ours = results(lambda q, k, v: fused_causal_attention(q, k, v, 0.0, scale), q, k, v, grad)
    theirs = results(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale), q, k, v, grad)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=2e-5, rtol=1e-5)


def test_large_scores_and_values_that_are_no_numbers() -> None:
    torch.manual_seed(0)
    q, k, v, grad = inputs(1, 2, 40, 16)
    q = q * 300
    ours, theirs = fused_causal_attention(q, k, v), F.scaled_dot_product_attention(q, k, v, is_causal=True)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    broken = q.detach().clone().requires_grad_()
    broken.data[0, 1, 20, 3] = torch.nan
    out = fused_causal_attention(broken, k, v)
    assert out[0, 1, 20].isnan().all()
    assert out[0, 0].isfinite().all()
    assert torch.autograd.grad(out, broken, grad)[0].isnan().any()


def masks(p: float, batch: int = 8, heads: int = 8, time: int = 64) -> Tensor:
    """What survives of weights that are all alike, times their number: [batch, heads, time, time], read through v = 1."""
    q = torch.zeros(batch, heads, time, time, requires_grad=True)
    v = torch.eye(time).expand(batch, heads, -1, -1)
    return fused_causal_attention(q, q, v, p).detach() * torch.arange(1, time + 1)[:, None]


@pytest.mark.parametrize("p", [0.08, 0.1007, 0.5])
def test_rate_and_values(p: float) -> None:
    torch.manual_seed(0)
    out = masks(p)
    assert out.triu(1).eq(0).all()
    seen = out[torch.ones_like(out).tril().bool()]
    assert abs((seen == 0).double().mean().item() - p) < 5 * (p * (1 - p) / seen.numel()) ** 0.5
    torch.testing.assert_close(seen[seen > 0], torch.full((int((seen > 0).sum()),), 1 / (1 - p)))


def test_draws_are_independent_along_keys_queries_heads_rows_and_calls() -> None:
    torch.manual_seed(0)
    first, second = masks(0.5) - 1, masks(0.5) - 1
    pairs = [(first, second), (first[1:], first[:-1]), (first[:, 1:], first[:, :-1])]
    pairs += [(first[..., lag:, :], first[..., :-lag, :]) for lag in (1, 2, 8)]
    pairs += [(first[..., lag:], first[..., :-lag]) for lag in (1, 2, 4, 16)]
    for a, b in pairs:
        both = a.tril(-20) != 0  # a place that both see
        product = (a * b)[both]
        assert abs(product.double().mean().item()) < 5 / product.numel() ** 0.5


def test_gradients_with_dropping() -> None:
    """Against the same mask, read out of the kernel, applied by PyTorch."""
    torch.manual_seed(0)
    q, k, v, grad = inputs(2, 2, 50, 16)
    torch.manual_seed(3)
    ours = results(lambda q, k, v: fused_causal_attention(q, k, v, 0.3), q, k, v, grad)
    torch.manual_seed(3)
    mask = masks(0.3, 2, 2, 50)

    def plain(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        hidden = torch.full((50, 50), -torch.inf).triu(1)
        return (torch.softmax(q @ k.transpose(2, 3) / 4 + hidden, dim=-1) * mask) @ v

    for a, b in zip(ours, results(plain, q, k, v, grad), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_the_seed_repeats_and_threads_change_nothing() -> None:
    torch.manual_seed(0)
    q, k, v, grad = inputs(3, 5, 70, 16)
    before, runs = torch.get_num_threads(), []
    for threads in (1, 2, 4):
        torch.set_num_threads(threads)
        torch.manual_seed(7)
        runs.append(results(lambda q, k, v: fused_causal_attention(q, k, v, 0.2), q, k, v, grad))
    torch.set_num_threads(before)
    for other in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(runs[0], other, strict=True))


@pytest.mark.parametrize("preset", ["talk-1m", "story-1m"])
def test_a_network_trains_alike_with_and_without(preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network = ts_models.build(preset, vocab_size=64, **({"dropout": 0.0} if preset == "talk-1m" else {})).train()
    ids, both = torch.randint(64, (2, 60)), []
    for kernels in ("plain", "compiled"):
        monkeypatch.setenv("TS_MODELS_KERNELS", kernels)
        network.zero_grad()
        logits = network(ids)
        F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten()).backward()
        both.append([x.grad.clone() for x in network.parameters() if x.grad is not None])
    assert len(both[0]) == len(both[1]) > 10
    for a, b in zip(*both, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-3)


def test_only_in_float32_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(1, 1, 20, 8, requires_grad=True)
    assert attention_fits(x)
    assert not attention_fits(x[:, :, :3])
    assert not attention_fits(x.bfloat16())
    monkeypatch.setenv("TS_MODELS_KERNELS", "plain")
    assert not attention_fits(x)


@pytest.mark.parametrize("preset", ["talk-1m", "story-1m"])
def test_scores_are_the_same_with_and_without(preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network, both = ts_models.build(preset, vocab_size=64), []
    stories = [torch.randint(64, (length,)).tolist() for length in (3, 17, 90, 300)]
    for kernels in ("plain", "compiled"):
        monkeypatch.setenv("TS_MODELS_KERNELS", kernels)
        both.append(ts_models.score_ids(network, stories))
    for a, b in zip(*both, strict=True):
        torch.testing.assert_close(torch.from_numpy(a), torch.from_numpy(b), atol=2e-6, rtol=1e-6)


def test_a_tracer_sees_pytorchs_operators() -> None:
    network = ts_models.build("story-1m", vocab_size=64).eval().requires_grad_(False)
    ids = torch.randint(64, (2, 20))
    traced = torch.jit.trace(network, ids, check_trace=False)
    assert not [node for node in traced.inlined_graph.nodes() if node.kind() == "prim::PythonOp" and "Attention" in str(node)]
    other = torch.randint(64, (2, 20))
    torch.testing.assert_close(traced(other), network(other), atol=1e-5, rtol=1e-5)


def test_without_typed_pointers_the_kernels_step_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    from llvmlite import ir

    from ts_models import fast

    class Opaque:
        def as_pointer(self) -> object:
            return object()

    fast._has_numba.cache_clear()
    monkeypatch.setattr(ir, "FloatType", Opaque)
    try:
        assert not fast.available()
        network = ts_models.build("talk-1m", vocab_size=64).train()
        network(torch.randint(64, (2, 20))).sum().backward()
        assert len(network.generate([[1, 2]], method="greedy", max_new_tokens=3, min_new_tokens=3)[0]) == 3
    finally:
        fast._has_numba.cache_clear()

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from ts_train.data.batches import IGNORED
from ts_train.loss import nll_sum
from ts_train.testing import TinyNetwork


@pytest.mark.parametrize("vocab", [7, 300, 20_000])
def test_equals_cross_entropy_and_its_gradient(vocab: int) -> None:
    torch.manual_seed(0)
    logits = torch.randn(3, 41, vocab) * 4
    targets = torch.randint(0, vocab, (3, 41))
    targets[1, 5:] = IGNORED
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    a = nll_sum(ours * 1.0, targets) / 50
    b = F.cross_entropy((theirs * 1.0).flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="sum") / 50
    a.backward()
    b.backward()
    assert float(a) == pytest.approx(float(b), rel=1e-6)
    assert ours.grad is not None
    assert theirs.grad is not None
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-7)
    assert not ours.grad[1, 5:].any()


def test_extreme_logits_stay_finite_and_nan_shows() -> None:
    logits = torch.tensor([[[1e4, -1e4, 0.0]]], requires_grad=True)
    assert float(nll_sum(logits * 1.0, torch.tensor([[1]]))) == pytest.approx(2e4)
    broken = torch.full((1, 1, 3), float("nan"), requires_grad=True)
    assert torch.isnan(nll_sum(broken * 1.0, torch.tensor([[1]])))


def test_without_gradient_and_in_half_precision() -> None:
    logits, targets = torch.randn(2, 5, 11), torch.randint(0, 11, (2, 5))
    exact = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")
    assert float(nll_sum(logits, targets)) == pytest.approx(float(exact), rel=1e-6)
    half = logits.half().requires_grad_()
    assert float(nll_sum(half * 1.0, targets).detach()) == pytest.approx(float(exact), rel=1e-2)


def test_accumulated_micro_batches_equal_the_large_batch() -> None:
    torch.manual_seed(1)
    model = TinyNetwork()
    ids, targets = torch.randint(0, 32, (9, 14)), torch.randint(0, 32, (9, 14))
    for row, length in enumerate([14, 14, 3, 9, 1, 2, 11, 5, 4]):  # unequal, so that a mean of means would be wrong
        targets[row, length:] = IGNORED
    tokens = int((targets != IGNORED).sum())

    def gradients(pieces: list[slice]) -> list[torch.Tensor]:
        model.zero_grad()
        for piece in pieces:
            (nll_sum(model(ids[piece]), targets[piece]) / tokens).backward()
        return [p.grad.clone() for p in model.parameters() if p.grad is not None]

    large = gradients([slice(0, 9)])
    small = gradients([slice(0, 4), slice(4, 8), slice(8, 9)])  # the last window is partial
    for a, b in zip(large, small, strict=True):
        assert float((a - b).abs().max()) < 1e-6


@pytest.mark.parametrize("vocab", [7, 300])
def test_logits_that_view_a_parameter_are_left_as_they_were(vocab: int) -> None:
    """Out of place unless asked: the memory of the logits may be the memory of the weights."""
    torch.manual_seed(0)
    table = torch.nn.Parameter(torch.randn(6, vocab))
    before, targets = table.detach().clone(), torch.randint(0, vocab, (2, 3))
    nll_sum(table.view(2, 3, vocab), targets).backward()
    assert torch.equal(table, before)
    expected = torch.softmax(before, 1) - F.one_hot(targets.flatten(), vocab)
    torch.testing.assert_close(table.grad, expected, rtol=1e-5, atol=1e-6)


def test_in_place_gives_the_same_bits() -> None:
    torch.manual_seed(0)
    weight, x, targets = torch.randn(50, 8), torch.randn(3, 9, 8), torch.randint(0, 50, (3, 9))
    losses, grads = [], []
    for in_place in (False, True):
        w = weight.clone().requires_grad_()
        losses.append(nll_sum(F.linear(x, w), targets, in_place=in_place))
        losses[-1].backward()
        grads.append(w.grad)
    assert torch.equal(losses[0], losses[1])
    assert torch.equal(grads[0], grads[1])


@pytest.mark.parametrize("in_place", [False, True])
def test_a_second_backward_pass_and_a_second_derivative_are_errors(in_place: bool) -> None:
    logits = torch.randn(1, 3, 5, requires_grad=True)
    loss = nll_sum(logits * 1.0, torch.tensor([[0, 1, 2]]), in_place=in_place)
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="second backward pass"):
        loss.backward()
    loss = nll_sum(logits * 1.0, torch.tensor([[0, 1, 2]]), in_place=in_place)
    (first,) = torch.autograd.grad(loss, logits, create_graph=True)
    with pytest.raises(RuntimeError, match=r"does not require grad|twice"):
        first.sum().backward()

"""Processors and filters, against their definitions written out plainly."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ts_models.generation.logits import (
    History,
    ban_repeated_ngrams,
    draw,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    penalise_repetition,
)

ROWS = st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=9), min_size=1, max_size=4)


def history(rows):
    return History(rows, torch.device("cpu"))


@settings(deadline=None, max_examples=40)
@given(ROWS, st.floats(0.5, 3))
def test_penalty(rows, penalty):
    torch.manual_seed(0)
    logits = torch.randn(len(rows), 6)
    expected = logits.clone()
    for row, ids in enumerate(rows):
        for token in set(ids):
            value = expected[row, token]
            expected[row, token] = value / penalty if value > 0 else value * penalty
    penalise_repetition(logits, history(rows), penalty)
    torch.testing.assert_close(logits, expected)


@settings(deadline=None, max_examples=40)
@given(ROWS, st.integers(1, 4))
def test_ngrams(rows, size):
    logits = torch.zeros(len(rows), 6)
    ban_repeated_ngrams(logits, history(rows), size)
    for row, ids in enumerate(rows):
        told = {tuple(ids[i : i + size]) for i in range(len(ids) - size + 1)}
        tail = tuple(ids[len(ids) - size + 1 :]) if size > 1 else ()
        for token in range(6):
            banned = len(ids) >= size and (*tail, token) in told
            assert (logits[row, token] == -torch.inf) == banned, (ids, token)


def test_history_grows_and_moves():
    past = history([[1, 2], [3]])
    past.append(torch.tensor([4, 5]))
    past.select(torch.tensor([1, 1]))
    past.append(torch.tensor([0, 2]))
    assert [[i for i in row if i >= 0] for row in past.ids.tolist()] == [[3, 5, 0], [3, 5, 2]]


def test_history_takes_any_number_of_tokens():
    past = history([[1, 2], [3]])
    for token in range(600):
        past.append(torch.tensor([token, token]))
    assert [[i for i in row if i >= 0] for row in past.ids.tolist()] == [[1, 2, *range(600)], [3, *range(600)]]


def test_filters():
    logits = torch.tensor([[0.5, 0.25, 0.15, 0.1]]).log()
    kept = lambda filtered: (filtered > -torch.inf)[0].tolist()  # noqa: E731
    assert kept(keep_top_k(logits, 2)) == [True, True, False, False]
    assert kept(keep_top_k(logits, 9)) == [True] * 4
    assert kept(keep_top_p(logits, 0.7)) == [True, True, False, False]
    assert kept(keep_top_p(logits, 0.01)) == [True, False, False, False]
    assert kept(keep_min_p(logits, 0.29)) == [True, True, True, False]


@pytest.mark.parametrize("number", [0.0, 0.3, 0.999999999, 1 - 2**-53])
def test_draw_never_takes_the_impossible(number):
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf, 0.0, -torch.inf]])
    token = int(draw(logits, torch.tensor([number], dtype=torch.float64))[0])
    assert token == (1 if number < 0.5 else 3)

"""score_ids: whole stories, in windows with half overlap."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import ts_models
from ts_models.errors import ConfigError

SIZES: dict[str, Any] = {"vocab_size": 20, "d_model": 8, "n_heads": 2, "head_dim": 4, "n_layers": 2, "d_ff": 12}


@torch.no_grad()
def _by_hand(model: ts_models.StoryModel, story: np.ndarray, context: int) -> np.ndarray:
    """Each token's log-probability, one window at a time."""
    scores = np.full(len(story) - 1, np.nan)
    start, scored = 0, 1
    while scored < len(story):
        end = min(start + context, len(story))
        ids = torch.from_numpy(story[start:end])[None]
        logs = torch.log_softmax(model(ids)[0], dim=-1)
        for place in range(scored, end):
            scores[place - 1] = logs[place - 1 - start, story[place]]
        start, scored = start + context // 2, end
    return scores


@pytest.mark.parametrize("batch_tokens", [1, 40, 10_000])
def test_equals_windows_by_hand_for_any_batch(batch_tokens: int) -> None:
    torch.manual_seed(0)
    model = ts_models.build("story-1m", **SIZES, max_seq_len=10, zero_init=False).eval()
    rng = np.random.default_rng(0)
    stories = [rng.integers(0, 20, size) for size in (10, 2, 33, 11, 16, 1, 0, 10)]
    scores = ts_models.score_ids(model, stories, batch_tokens=batch_tokens)
    assert [len(row) for row in scores] == [9, 1, 32, 10, 15, 0, 0, 9]
    for story, row in zip(stories, scores, strict=True):
        if len(story) > 1:
            np.testing.assert_allclose(row, _by_hand(model, story, 10), atol=1e-5)


def test_every_token_has_at_least_half_a_context_before_it() -> None:
    from ts_models.scoring import windows_of

    for length in range(2, 60):
        scored = [(place, place - start) for _, start, first, end in windows_of(0, length, 10) for place in range(first, end)]
        assert [place for place, _ in scored] == list(range(1, length))
        assert all(before >= min(place, 5) for place, before in scored)


def test_uint16_ids_and_training_mode_are_kept() -> None:
    model = ts_models.build("talk-10m", **SIZES, max_seq_len=10).train()
    (a,) = ts_models.score_ids(model, [np.arange(8, dtype=np.uint16)])
    (b,) = ts_models.score_ids(model, [list(range(8))])
    np.testing.assert_array_equal(a, b)
    assert model.training


@pytest.mark.parametrize("context", [1, 0, -3])
def test_a_context_below_two_is_refused(context: int) -> None:
    with pytest.raises(ConfigError, match="at least 2"):
        ts_models.score_ids(ts_models.build("story-1m", **SIZES), [[1, 2, 3]], context=context)

"""Log-probabilities of whole stories, in windows of the context length with half overlap.

Callers compute means and sums.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray

from .architectures import StoryModel
from .console import Progress
from .errors import ConfigError, NonFiniteError

Window = tuple[int, int, int, int]  # story, first token read, first token scored, end


@torch.inference_mode()
def score_ids(
    model: StoryModel,
    stories: Sequence[ArrayLike],
    *,
    context: int | None = None,
    batch_tokens: int = 8192,
    progress: Progress | None = None,
) -> list[NDArray[np.float32]]:
    """Natural log-probability of tokens 1 … n-1 of each story (of n ids), whole, however long.

    A story longer than `context` (default: the model's max_seq_len) is read in windows of `context` tokens that each
    start half a context after the one before; every token is scored once, in the first window that reads it, so all
    but the first window's have at least half a context before them.
    batch_tokens: ids read at once; windows of like length go together. A story of fewer than two ids gives nothing.
    """
    context = context or model.config.max_seq_len
    if context < 2:
        raise ConfigError(f"context is {context}; scoring needs at least 2 tokens")
    arrays = _id_arrays(stories, getattr(getattr(model, "config", None), "vocab_size", None))
    scores = [np.zeros(max(len(array) - 1, 0), dtype=np.float32) for array in arrays]
    windows = sorted((w for i, a in enumerate(arrays) for w in windows_of(i, len(a), context)), key=lambda w: w[3] - w[1])
    training, done = model.training, 0
    model.eval()
    try:
        for group in groups_of(windows, batch_tokens):
            for window, values in zip(group, _score_group(model, arrays, group), strict=True):
                story, start, first, end = window
                values = values[first - start - 1 :][: end - first]
                if np.isnan(values).any():
                    raise NonFiniteError(
                        f"story {story}: the model's log-probabilities are NaN. Its weights are damaged: take an earlier checkpoint."
                    )
                scores[story][first - 1 : end - 1] = values
            done += len(group)
            if progress is not None:
                progress("score", done, len(windows))
    finally:
        model.train(training)
    return scores


def _id_arrays(stories: Sequence[ArrayLike], vocab_size: int | None) -> list[NDArray[np.int64]]:
    """Stories as arrays of ids. Raises TypeError for what are no ids, ConfigError for ids outside of a known vocabulary."""
    if isinstance(stories, str | bytes):
        raise TypeError("stories are text, but score_ids takes ids: [[1, 2, 3], …]. For text use ts_models.load(…).logprobs.")
    arrays = []
    for number, story in enumerate(stories):
        array = np.asarray(story)
        if array.ndim != 1 or (array.dtype.kind not in "iu" and len(array)):
            raise TypeError(
                f"story {number} holds {array.dtype} of shape {list(array.shape)}; a list of ids (whole numbers) is expected."
            )
        if len(array) and vocab_size is not None and not (array.min() >= 0 and array.max() < vocab_size):
            wrong = array.min() if array.min() < 0 else array.max()
            raise ConfigError(f"story {number}: id {wrong} is outside of the vocabulary of {vocab_size}.")
        arrays.append(array.astype(np.int64))
    return arrays


def windows_of(story: int, length: int, context: int) -> Iterator[Window]:
    start, first = 0, 1
    while first < length:
        end = min(start + context, length)
        yield story, start, first, end
        start, first = start + max(context // 2, 1), end


def groups_of(windows: list[Window], batch_tokens: int) -> Iterator[list[Window]]:
    """Windows, shortest first, in batches whose padded size stays under `batch_tokens`."""
    group: list[Window] = []
    for window in windows:
        if group and (len(group) + 1) * (window[3] - window[1]) > batch_tokens:
            yield group
            group = []
        group.append(window)
    if group:
        yield group


def _score_group(model: StoryModel, arrays: list[NDArray[np.int64]], group: list[Window]) -> NDArray[np.float32]:
    """[windows, longest - 1] log-probabilities; beyond a window's end they mean nothing."""
    longest = max(end - start for _, start, _, end in group)
    ids = torch.zeros(len(group), longest, dtype=torch.int64)
    for row, (story, start, _, end) in enumerate(group):
        ids[row, : end - start] = torch.from_numpy(arrays[story][start:end])
    ids = ids.to(model.device)
    logits = model(ids[:, :-1]).float()
    losses = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    return (-losses).view(len(group), longest - 1).cpu().numpy()


def count_ties(questions: Iterable[Sequence[str]], encode: Callable[[str], Sequence[int]]) -> tuple[int, int]:
    """How many pairs of different candidates of one question have equal ids, and how many pairs there are."""
    tied = pairs = 0
    for candidates in questions:
        known = {text: tuple(encode(text)) for text in dict.fromkeys(candidates)}
        for one, other in combinations(known, 2):
            pairs += 1
            tied += known[one] == known[other]
    return tied, pairs

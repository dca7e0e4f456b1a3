"""Log-probabilities of whole stories, in windows of the context length with half overlap.

Callers compute means and sums.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations

import numpy as np
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray

from .architectures import StoryModel
from .checks import check_stories
from .console import Progress
from .errors import ConfigError, NonFiniteError
from .generation.loop import evaluating
from .state import pad_right

Window = tuple[int, int, int, int]  # story, first token read, first token scored, end


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
    context = model.config.max_seq_len if context is None else context
    if context < 2:
        raise ConfigError(f"context is {context}; scoring needs at least 2 tokens")
    arrays = check_stories(stories, getattr(getattr(model, "config", None), "vocab_size", None))
    scores = [np.zeros(max(len(array) - 1, 0), dtype=np.float32) for array in arrays]
    windows = sorted((w for i, a in enumerate(arrays) for w in windows_of(i, len(a), context)), key=lambda w: w[3] - w[1])
    done = 0
    for group in groups_of(windows, batch_tokens):
        with evaluating(model):
            found = _score_group(model, arrays, group)
        for (story, start, first, end), values in zip(group, found, strict=True):
            values = values[first - start - 1 :][: end - first]
            if np.isnan(values).any():
                raise NonFiniteError(
                    f"story {story}: the model's log-probabilities are NaN. Its weights are damaged: take an earlier checkpoint."
                )
            scores[story][first - 1 : end - 1] = values
        done += len(group)
        if progress is not None:
            progress("score", done, len(windows))
    return scores


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
    ids = pad_right([arrays[story][start:end] for story, start, _, end in group])[0].to(model.device)
    logits = model(ids[:, :-1]).float()
    losses = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    return (-losses).view(len(group), -1).cpu().numpy()


def count_ties(questions: Iterable[Sequence[str]], encode: Callable[[str], Sequence[int]]) -> tuple[int, int]:
    """How many pairs of different candidates of one question have equal ids, and how many pairs there are."""
    tied = pairs = 0
    for candidates in questions:
        known = {text: tuple(encode(text)) for text in dict.fromkeys(candidates)}
        for one, other in combinations(known, 2):
            pairs += 1
            tied += known[one] == known[other]
    return tied, pairs

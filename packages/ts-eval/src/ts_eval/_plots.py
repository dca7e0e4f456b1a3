"""Complex templates: the training story with the nearest plot, by sentence embeddings (extra `embeddings`).

All training stories are embedded, once; the embeddings are kept in memory. Exact: no approximate neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._index import Match, StoryIndex
from .errors import UnavailableError

__all__ = ["closest_plots", "embed"]

BATCH = 256


def closest_plots(texts: Sequence[str], stories: Sequence[str], index: StoryIndex) -> list[Match]:
    """Per text the story with the largest cosine of embeddings, the lower index first among equals."""
    wanted = embed(texts)
    best, where = np.full(len(texts), -2.0), np.zeros(len(texts), np.int64)
    for at in range(0, len(index), 10_000):
        block = [stories[i] for i in range(at, min(at + 10_000, len(index)))]
        cosines = wanted @ embed(block).T
        place = cosines.argmax(axis=1)
        top = cosines[np.arange(len(texts)), place]
        better = top > best
        best[better], where[better] = top[better], place[better] + at
    return [Match(int(i), float(s), stories[int(i)]) for i, s in zip(where, best, strict=True)]


def embed(texts: Sequence[str]) -> NDArray[np.float32]:
    """Unit vectors [texts, dimensions] of the packaged all-MiniLM-L6-v2."""
    model = _model()
    rows: list[Any] = []
    for at in range(0, len(texts), BATCH):
        rows += list(model(list(texts[at : at + BATCH])))
    vectors = np.asarray(rows, np.float32)
    normed: NDArray[np.float32] = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return normed


def _model() -> Any:
    try:
        return import_module("all_MiniLM_L6_v2").embed
    except ImportError:
        raise UnavailableError('complex templates need a sentence embedder. pip install "tinystories-eval[embeddings]"') from None

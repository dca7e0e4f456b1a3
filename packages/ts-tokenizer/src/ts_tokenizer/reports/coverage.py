"""`coverage`: the share of a text that vocabularies of different sizes keep."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ts_data.console import Progress

from ..rules.chunks import ChunkTable
from ..rules.pinned import Rules, pin
from ..vocabulary import count_tokens
from .stats import quantiles


@dataclass(frozen=True)
class Coverage:
    """The share of a split's tokens that vocabularies of growing size keep."""

    stories: int
    tokens: int
    distinct: int
    rare_quantiles: tuple[int, int]
    curve: tuple[tuple[int, float], ...]
    """(vocabulary size, share of tokens kept); the size includes the four special tokens."""
    vocab_size: int
    kept: float
    rarest: tuple[str, int] | None
    """The rarest word in the vocabulary, and its count."""
    hidden: tuple[tuple[str, int], ...]
    """The most frequent words outside the vocabulary, and their counts."""


def coverage(stories: Iterable[str], vocab_size: int = 2048, *, top: int = 50, progress: Progress | None = None) -> Coverage:
    """Count all tokens and compute the share kept at each vocabulary size."""
    counts, _, seen = count_tokens(stories, ChunkTable(Rules(pin())), 0, progress)
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    sizes = np.array([count for _, count in ranked], dtype=np.int64)
    total = max(1, int(sizes.sum()))
    shares = np.concatenate([[0.0], np.cumsum(sizes) / total])
    words = min(max(0, vocab_size - 4), len(ranked))
    points = sorted({2**k for k in range(4, 18) if 2**k - 4 <= len(ranked)} | {vocab_size, len(ranked) + 4})
    return Coverage(
        stories=seen,
        tokens=int(sizes.sum()),
        distinct=len(ranked),
        rare_quantiles=quantiles(sizes),
        curve=tuple((size, float(shares[min(max(size - 4, 0), len(ranked))])) for size in points),
        vocab_size=vocab_size,
        kept=float(shares[words]),
        rarest=ranked[words - 1] if words else None,
        hidden=tuple(ranked[words : words + top]),
    )

"""ROUGE-1, ROUGE-2 and ROUGE-L of pairs of texts: rouge-score's numbers (stemmed), computed in one batch."""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import fast
from ..checks import need_texts, same_length
from ..texts import stems
from .base import EndingMetric, Endings, described

ROWS = 256
"""Texts compared with all others at once: bounds the memory."""


class Score(NamedTuple):
    """Shares from 0 to 1; `precision` is of the candidate's n-grams, `recall` of the reference's."""

    precision: float
    recall: float
    fmeasure: float


def rouge(candidates: Sequence[str], references: Sequence[str]) -> list[dict[str, Score]]:
    """Score each candidate against the reference at the same place (Lin 2004; equal to rouge-score with `use_stemmer`).

    An empty text scores 0, as it does there.

    >>> rouge(["the cat sat"], ["the cat ran"])[0]["rougeL"].precision
    0.6666666666666666
    """
    count = fast.load_kernels().rouge_counts
    candidates, references = need_texts(candidates, "candidates"), need_texts(references, "references")
    same_length(candidates, references, ("candidates", "references"))
    number: dict[str, int] = {}
    left, left_at = _ids(candidates, number)
    right, right_at = _ids(references, number)
    parts = fast.in_threads(lambda a, b: count(left, left_at, right, right_at, a, b), len(candidates))
    shared = np.concatenate(parts) if parts else np.zeros((0, 3), np.int64)
    return [
        {"rouge1": _score(one, n, m), "rouge2": _score(two, max(n - 1, 0), max(m - 1, 0)), "rougeL": _score(longest, n, m)}
        for (one, two, longest), n, m in zip(shared.tolist(), np.diff(left_at).tolist(), np.diff(right_at).tolist(), strict=True)
    ]


def _score(shared: int, candidate: int, reference: int) -> Score:
    precision, recall = shared / max(candidate, 1), shared / max(reference, 1)
    f = 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0
    return Score(precision, recall, f)


def _ids(texts: Sequence[str], number: dict[str, int]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Stem ids of all texts in one array, and where each text begins."""
    ids: list[int] = []
    at = [0]
    for text in texts:
        ids.extend(number.setdefault(word, len(number)) for word in stems(text))
        at.append(len(ids))
    return np.array(ids, np.int64), np.array(at, np.int64)


def _to_reference(name: str, field: str, endings: Endings) -> list[float | None]:
    return [getattr(score[name], field) for score in rouge(endings.completions, endings.references)]


def _max_other(endings: Endings) -> list[float | None]:
    """Largest ROUGE-2 F1 of each completion to any other of them."""
    texts = endings.completions
    if len(texts) < 2:
        return [None] * len(texts)
    grams = _bigrams(texts)
    size = np.maximum(np.asarray(grams.sum(axis=1)).ravel(), 1)
    best: list[float] = []
    for at in range(0, len(texts), ROWS):
        shared = (grams[at : at + ROWS] @ grams.T).toarray()
        precision, recall = shared / size[at : at + ROWS, None], shared / size
        f = 2 * precision * recall / np.where(shared > 0, precision + recall, 1)
        np.fill_diagonal(f[:, at:], 0.0)
        best += f.max(axis=1).tolist()
    return [b if text else None for b, text in zip(best, texts, strict=True)]


def _bigrams(texts: Sequence[str]) -> Any:
    """Sparse int64 [texts, bigrams]: 1 for each bigram of stems; its k-th occurrence in a text is one of its own, so products count clipped."""
    from scipy.sparse import csr_matrix

    number: dict[tuple[tuple[str, str], int], int] = {}
    columns, ends = [], [0]
    for text in texts:
        seen: Counter[tuple[str, str]] = Counter()
        for pair in pairwise(stems(text)):
            columns.append(number.setdefault((pair, seen[pair]), len(number)))
            seen[pair] += 1
        ends.append(len(columns))
    return csr_matrix((np.ones(len(columns), np.int64), columns, ends), shape=(len(texts), max(1, len(number))))


REPORTED = {
    **{name: EndingMetric(described(name), partial(_to_reference, name, "fmeasure")) for name in ("rouge1", "rouge2", "rougeL")},
    "rouge2_precision": EndingMetric(
        described("rouge2_precision"), partial(_to_reference, "rouge2", "precision"), section="paper"
    ),
    "max_other_rouge2": EndingMetric(described("max_other_rouge2"), _max_other, section="paper"),
}

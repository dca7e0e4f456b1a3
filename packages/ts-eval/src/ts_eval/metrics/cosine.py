"""TF-IDF cosine of pairs of texts: scikit-learn's `TfidfVectorizer`, fitted on any texts. Small corpora; see StoryIndex."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from ..checks import each_text, need_text, need_texts, same_length, sequence_of_texts
from ..schemas import MetricInfo
from ..texts import runs

__all__ = ["INFO", "Tfidf", "cosine"]

INFO = {
    "cosine": MetricInfo(
        title="TF-IDF cosine",
        better="like real",
        description="Cosine of the completion and the true ending; word weights fitted on the training stories.",
    ),
    "max_cosine": MetricInfo(
        title="Closest training story (cosine)",
        better="like real",
        description="Largest TF-IDF cosine to any training story. Grows with their number: compare with the real row.",
    ),
}


class Tfidf:
    """Word weights with scikit-learn's defaults: smoothed idf, raw counts, length 1."""

    def __init__(self, texts: Iterable[str]) -> None:
        stories, df = 0, Counter[str]()
        for text in each_text(sequence_of_texts(texts, "texts"), "texts"):
            stories += 1
            df.update({word for word in runs(text) if len(word) > 1})
        self.idf = {word: math.log((1 + stories) / (1 + n)) + 1 for word, n in df.items()}

    def vector(self, text: str) -> dict[str, float]:
        """Word → weight; unknown words are dropped."""
        raw = {word: n * self.idf[word] for word, n in Counter(runs(need_text(text, "text"))).items() if word in self.idf}
        norm = math.sqrt(math.fsum(x * x for x in raw.values()))
        return {word: x / norm for word, x in raw.items()}


def cosine(candidates: Sequence[str], references: Sequence[str], fitted: Tfidf) -> list[float]:
    """Cosine of each candidate to the reference at the same place; 0 where one has no known word."""
    candidates, references = need_texts(candidates, "candidates"), need_texts(references, "references")
    same_length(candidates, references, ("candidates", "references"))
    vectors = zip(map(fitted.vector, candidates), map(fitted.vector, references), strict=True)
    return [min(1.0, math.fsum(x * b[word] for word, x in a.items() if word in b)) for a, b in vectors]

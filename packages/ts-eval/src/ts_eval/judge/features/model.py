"""Feature judge: predicts ratings from text features, without a language model.

Ridge regression with the sign of each weight fixed (non-negative least squares on signed features). `bench/eval_feature_judge.py
--write` fits the packaged weights and measures their error on models that were not fitted.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...packaged import packaged_text
from ...schemas import CATEGORIES, FeatureWeights, Scores
from ...texts import words_of
from .describe import describe
from .reference import Reference

CLIP = 4.0
"""Standardised features are clipped to ±4."""
WHOLE = 30
"""Words below which a rating sinks towards 1: the features see no length, and the shortest story of the fit has 62 words."""


@dataclass(frozen=True)
class FeatureJudge:
    """Weights, and the reference that their features need (None for the plain features)."""

    weights: FeatureWeights
    reference: Reference | None = None

    @property
    def identity(self) -> str:
        """Name and hash of weights and reference."""
        content = json.dumps(self.weights.model_dump(mode="json"), sort_keys=True) + f"{WHOLE}"
        content += self.reference.sha256 if self.reference else ""
        return f"{self.weights.features}@{hashlib.sha256(content.encode()).hexdigest()[:12]}"

    def estimate(self, story: str) -> Scores:
        """Estimated ratings, clipped to 1–10; of a fragment of fewer than `WHOLE` words in proportion to them."""
        w = self.weights
        row = np.array([list(describe(story, self.reference).values())])
        numbers = scaled(row, np.array(w.signs), np.array(w.means), np.array(w.spreads))[0]
        values = np.clip(np.array(w.intercepts) + np.array(w.coefficients) @ numbers, 1, 10)
        values = 1 + (values - 1) * min(1.0, len(words_of(story)) / WHOLE)
        return Scores(**{name: round(float(v), 4) for name, v in zip(CATEGORIES, values, strict=True)})

    def mean(self, story: str) -> float:
        """Mean of the estimated ratings."""
        ratings = self.estimate(story).as_list()
        return sum(ratings) / len(ratings)


def packaged(reference: Reference | None) -> FeatureJudge:
    """The packaged weights for features with or without a reference."""
    name = "plain" if reference is None else "reference"
    return FeatureJudge(FeatureWeights.model_validate_json(packaged_text(__package__, f"weights/{name}.json")), reference)


def scaled(rows: NDArray[Any], signs: NDArray[Any], means: NDArray[Any], spreads: NDArray[Any]) -> NDArray[Any]:
    """Standardised, signed and clipped features."""
    clipped: NDArray[Any] = np.clip((rows * signs - means) / spreads, -CLIP, CLIP)
    return clipped

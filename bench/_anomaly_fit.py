"""Fits the detector of foreign passages: words of real stories, weights against the known attacks, thresholds by ten folds."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ts_data.artefact import write_model
from ts_eval.judge.guards.anomaly import FEATURES, Detector, describe_all, tokens
from ts_eval.schemas import AnomalyWeights

FOLDS, SUSPECT, FLAGGED, NEIGHBOUR = 10, 0.10, 0.006, 0.05
"""Shares of real stories above `suspect` and `flagged`, and of real sentences above `neighbour`."""

Rows = list[NDArray[np.float64]]
"""Per story [sentences, features]."""


def document_words(stories: Sequence[str], least: int = 2) -> frozenset[str]:
    """Words that occur in at least `least` of the stories."""
    counts = Counter(word for story in stories for word in set(tokens(story)) if word[0].isalpha())
    return frozenset(word for word, n in counts.items() if n >= least)


def rows(text: str, words: frozenset[str]) -> NDArray[np.float64]:
    """[sentences, features] of a text."""
    return np.array(describe_all(text, words) or [(0.0,) * len(FEATURES)])


def out_of_fold(stories: list[str]) -> Rows:
    """Features of each story by words of the stories of the other folds."""
    words = [document_words([s for i, s in enumerate(stories) if i % FOLDS != k]) for k in range(FOLDS)]
    return [rows(story, words[i % FOLDS]) for i, story in enumerate(stories)]


def fit(real: Rows, attacks: Rows) -> tuple[NDArray[np.float64], float]:
    """Weights and intercept; all attacks together weigh as much as 60 sentences each, shared by an attack's first four."""
    attacks = [a[:4] for a in attacks]
    x = np.concatenate([*real, *attacks])
    n = sum(map(len, real))
    weight = np.concatenate([np.ones(n), *[np.full(len(a), 60 / len(a)) for a in attacks]])
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.3, max_iter=3_000))
    model.fit(x, np.arange(len(x)) >= n, logisticregression__sample_weight=weight)
    weights = model[-1].coef_[0] / model[0].scale_
    return weights, float(model[-1].intercept_[0] - weights @ model[0].mean_)


def scores_out_of_fold(real: Rows, attacks: Rows) -> Rows:
    """Per story [sentences], by weights of the other folds too."""
    result: Rows = [np.empty(0)] * len(real)
    for k in range(FOLDS):
        weights, intercept = fit([r for i, r in enumerate(real) if i % FOLDS != k], attacks)
        for i in range(k, len(real), FOLDS):
            result[i] = real[i] @ weights + intercept
    return result


def fitted(stories: list[str], attacks: list[str]) -> Detector:
    """The detector of all stories, with thresholds from the folds."""
    words = document_words(stories)
    real, known = out_of_fold(stories), [rows(a[:1_500], words) for a in attacks]
    scores = scores_out_of_fold(real, known)
    most = np.array([s.max() for s in scores])
    suspect, flagged = np.quantile(most, 1 - SUSPECT), np.quantile(most, 1 - FLAGGED)
    weights, intercept = fit(real, known)
    return Detector(
        words,
        AnomalyWeights(
            names=FEATURES, weights=tuple(round(float(w), 6) for w in weights), intercept=round(intercept, 6),
            neighbour=round(float(np.quantile(np.concatenate(scores), 1 - NEIGHBOUR)), 4), suspect=round(float(suspect), 4),
            flagged=round(float(flagged), 4), real_stories=len(stories), suspected=float(np.mean(most > suspect)),
            flagged_real=round(float(np.mean(most > flagged)), 6),
        ),
    )  # fmt: skip


def of_other_folds(detector: Detector, stories: list[str], attacks: list[str]) -> list[Detector]:
    """Detectors that have not seen the stories of one fold, with the thresholds of the given one; story i is fold i % FOLDS."""
    real, known = out_of_fold(stories), [rows(a[:1_500], document_words(stories)) for a in attacks]
    result = []
    for k in range(FOLDS):
        words = document_words([s for i, s in enumerate(stories) if i % FOLDS != k])
        weights, intercept = fit([r for i, r in enumerate(real) if i % FOLDS != k], known)
        changed = {"weights": tuple(map(float, weights)), "intercept": intercept}
        result.append(Detector(words, detector.weights.model_copy(update=changed)))
    return result


def write(detector: Detector, folder: Path) -> None:
    """words.txt and foreign.json."""
    assert isinstance(detector.words, frozenset)
    lines = textwrap.wrap(" ".join(sorted(detector.words)), 120, break_long_words=False, break_on_hyphens=False)
    (folder / "words.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    write_model(folder / "foreign.json", detector.weights)

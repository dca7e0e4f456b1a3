"""sweep: searches decoding settings on the same openings by quality and diversity; marks the Pareto front and a winner.

Quality is a judge's mean where one is given; else how near the stories are to real ones in bits per word under a bigram model
of the training words: too few bits is repetition, too many is noise (after Holtzman et al. 2020).
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from ts_models.registry import METHODS

from . import stats
from .checks import Progress, StrPath, need_instance, need_path
from .errors import ConfigError, UnavailableError
from .metrics.length import lengths
from .metrics.repetition import repetition
from .metrics.self_bleu import self_bleu
from .models import ModelAdapter, open_model
from .models.checked import generate
from .ngrams import WordBigrams
from .places import check_output, writing
from .schemas import UNBOUNDED, Bounds, SweepConfig, SweepPoint, SweepReport
from .sections.base import draw, joined
from .splits import check_provenance, open_splits

Judge = Callable[[Sequence[str]], Sequence[float | None]]
Trial = Callable[[dict[str, Any]], SweepPoint | None]
REFERENCE = 50_000
"""Maximum number of training stories that the reference model is fitted on."""


def sweep(
    model: Any,
    splits: StrPath,
    config: SweepConfig | None = None,
    *,
    judge: Judge | None = None,
    judge_name: str = "judge",
    out: StrPath | None = None,
    allow_overlap: bool = False,
    progress: Progress | None = None,
) -> SweepReport:
    """Search the decoding settings of one model; writes sweep.json to `out`.

    `judge(stories)` returns one number per story (higher is better), or None for an unrated story. `allow_overlap`: as in `evaluate`.
    """
    from ts_data import artefact

    config = SweepConfig() if config is None else need_instance(config, SweepConfig, "config")
    if out is not None:
        check_output(need_path(out, "out"), "ts-eval/sweep", [model, splits])
    adapter = open_model(model)
    opened = open_splits(splits)
    real = [opened.test[i] for i in draw(config.seed, len(opened.test), config.stories)]
    findings = check_provenance([adapter], opened, real, allow_overlap=allow_overlap)
    openings = [" ".join(text.split()[:5]) for text in real]
    score = _checked(judge) if judge else _like_real(list(itertools.islice(iter(opened.train), REFERENCE)), real)
    trial = partial(_try, adapter, openings, score, UNBOUNDED if judge else (-math.inf, 0.0), config)
    with writing(out):
        tried = _optuna(trial, config, progress) if config.search == "optuna" else _grid(trial, config, progress)
        if not tried:
            raise ConfigError(
                f"{adapter.name}: no setting could be scored: the model writes nothing, or the judge gave no number."
            )
        real_score = stats.estimate(score(real)).mean
        report = SweepReport(
            model=adapter.name,
            config=config,
            quality=judge_name if judge is not None else "like real",
            points=tuple(_judged(tried, config, _diversity(real))),
            real_quality=real_score,
            real_diversity=_diversity(real),
            provenance=findings.provenance[0],
            notes=tuple(dict.fromkeys(adapter.notes)),
            warnings=findings.warnings,
        )
        if out is not None:
            artefact.write_model(out, report)
    return report


def grid(config: SweepConfig) -> Iterator[dict[str, Any]]:
    """Every setting once; axes that a method ignores are not varied."""
    for method in config.method:
        axes = [[(name, value) for value in getattr(config, name)] for name in _axes(method)]
        for chosen in itertools.product(*axes):
            yield {"method": method, **{name: value for name, value in chosen if value is not None}}


def _axes(method: str) -> list[str]:
    """The axes that a method uses."""
    drawn = ["temperature", "top_k", "top_p"] if METHODS[method].draws else []
    return [*drawn, *(["num_beams"] if METHODS[method].beams else []), "repetition_penalty", "no_repeat_ngram_size"]


def _checked(judge: Judge) -> Judge:
    """Wrap the judge with checks: a number or None per story; NaN and infinity become None."""

    def score(texts: Sequence[str]) -> list[float | None]:
        given = list(judge(texts))
        if len(given) != len(texts):
            raise ConfigError(f"judge gave {len(given)} numbers for {len(texts)} stories; one for each, or None, is expected.")
        if any(isinstance(x, (str, bytes)) for x in given):
            raise TypeError("judge gave a text; a number for each story, or None, is expected.")
        numbers = [None if x is None else float(x) for x in given]
        return [x if x is not None and math.isfinite(x) else None for x in numbers]

    return score


def _try(
    adapter: ModelAdapter, openings: list[str], score: Judge, bounds: Bounds, config: SweepConfig, options: dict[str, Any]
) -> SweepPoint | None:
    """Generate stories with one setting and score them."""
    made = generate(adapter, openings, seed=config.seed, max_new_tokens=config.max_new_tokens, **options)
    if made is None:
        raise ConfigError(f"{adapter.name}: cannot generate, so there is no decoding to sweep.")
    if 2 * sum(not text.strip() for text in made) >= len(made):  # what would be scored are the openings
        return None
    texts = [joined(a, b) for a, b in zip(openings, made, strict=True)]
    quality = stats.estimate(score(texts), seed=config.seed, bounds=bounds)
    if quality.mean is None:
        return None
    repeated = [r for r in map(repetition, texts) if r is not None]
    return SweepPoint(
        options=options,
        quality=quality.mean,
        quality_low=quality.mean if quality.low is None else quality.low,
        quality_high=quality.mean if quality.high is None else quality.high,
        diversity=_diversity(texts),
        repetition=sum(repeated) / len(repeated) if repeated else 0.0,
        words=sum(lengths(texts)) / len(texts),
        on_front=False,
        example=texts[0],
    )


def _grid(trial: Trial, config: SweepConfig, progress: Progress | None) -> list[SweepPoint]:
    settings = list(grid(config))
    points = []
    for done, options in enumerate(settings):
        if progress is not None:
            progress("sweep", done, len(settings))
        points.append(trial(options))
    if progress is not None:
        progress("sweep", len(settings), len(settings))
    return [point for point in points if point is not None]


def _optuna(trial: Trial, config: SweepConfig, progress: Progress | None) -> list[SweepPoint]:
    """Multi-objective search (TPE) between the smallest and the largest value of each axis."""
    try:
        import optuna
    except ImportError:
        raise UnavailableError('search=optuna needs Optuna. pip install "tinystories-eval[search]"') from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    points: dict[str, SweepPoint] = {}

    def objective(asked: Any) -> tuple[float, float]:
        options = _suggest(asked, config)
        point = points.get(repr(options)) or trial(options)
        if progress is not None:
            progress("sweep", asked.number + 1, config.trials)
        if point is None:
            raise optuna.TrialPruned
        points[repr(options)] = point
        return point.quality, point.diversity

    study = optuna.create_study(directions=["maximize", "maximize"], sampler=optuna.samplers.TPESampler(seed=config.seed))
    study.optimize(objective, n_trials=config.trials)
    return list(points.values())


def _suggest(asked: Any, config: SweepConfig) -> dict[str, Any]:
    method = asked.suggest_categorical("method", list(config.method))
    options: dict[str, Any] = {"method": method}
    for name in _axes(method):
        values = getattr(config, name)
        if name == "temperature":
            value: Any = round(asked.suggest_float(name, min(values), max(values)), 2) if len(values) > 1 else values[0]
        else:
            value = asked.suggest_categorical(name, list(values))
        if value is not None:
            options[name] = value
    return options


def _judged(points: Sequence[SweepPoint], config: SweepConfig, real_diversity: float) -> list[SweepPoint]:
    """Mark the front and the winner: the best quality among sufficiently diverse settings, else the most diverse on the front."""
    front = pareto([(p.quality, p.diversity) for p in points])
    enough = [i for i in front if points[i].diversity >= config.min_diversity * real_diversity]
    winner = (
        max(enough, key=lambda i: points[i].quality) if enough else max(front, key=lambda i: points[i].diversity, default=None)
    )
    return [p.model_copy(update={"on_front": i in front, "winner": i == winner}) for i, p in enumerate(points)]


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points that no other point dominates (at least as good in both, better in one; more is better)."""
    return [i for i, (a, b) in enumerate(points) if not any(x >= a and y >= b and (x > a or y > b) for x, y in points)]


def _diversity(texts: Sequence[str]) -> float:
    scores = [s for s in self_bleu(texts) if s is not None]
    return 1 - sum(scores) / len(scores) if scores else 0.0


def _like_real(train: Sequence[str], real: Sequence[str]) -> Judge:
    """Scores a story by minus the distance to real stories in bits per word; None for a story without two words."""
    model = WordBigrams(train)
    known = [b for b in map(model.bits, real) if b is not None]
    target = float(np.median(known)) if known else 0.0
    return lambda texts: [None if b is None else -abs(b - target) for b in map(model.bits, texts)]

"""evaluate: models and splits → EvalReport. It runs the parts and puts their sections together; it measures nothing itself."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import _stats
from ._index import StoryIndex
from .errors import ArtefactError, ConfigError
from .judge._ratings_file import read_ratings
from .metrics import all_info
from .models import Subject, open_model
from .parts import PARTS, Context, Section, load
from .schemas import (
    Comparison,
    Correlation,
    DataInfo,
    Estimate,
    EvalConfig,
    EvalReport,
    LossPoint,
    MetricInfo,
    ModelReport,
    SweepReport,
)

if TYPE_CHECKING:
    from ts_data.console import Progress

__all__ = ["evaluate", "prepare_context"]

PACKAGES = ("ts-data", "ts-models", "tinystories-tokenizer", "tinystories-eval", "torch", "numpy", "numba", "scipy", "nltk")

INFO = {
    "span_words": MetricInfo(
        title="Longest exact span",
        unit="words",
        better="like real",
        description="Longest run of words that some training story holds too; case and punctuation ignored.",
    ),
    "span_share": MetricInfo(
        title="Share of the story in that span", better="like real", description="Words of the longest span per word."
    ),
    "template_words": MetricInfo(
        title="Longest span under renaming",
        unit="words",
        better="like real",
        description="Longest run in common once names and rare words are masked on both sides.",
    ),
    "plot_cosine": MetricInfo(
        title="Closest plot",
        better="like real",
        description="Largest cosine of sentence embeddings to any training story.",
    ),
}


def evaluate(
    models: Any,
    splits: str | os.PathLike[str],
    config: EvalConfig | None = None,
    *,
    out: str | os.PathLike[str] | None = None,
    ratings: str | os.PathLike[str] | None = None,
    sweep: str | os.PathLike[str] | None = None,
    index: str | os.PathLike[str] | None = None,
    command: str = "",
    progress: Progress | None = None,
) -> EvalReport:
    """Evaluate one model or several on a splits/ folder; with `out`, write report.json, report.html and stories.jsonl there.

    `models`: whatever `open_model` takes, or a list of it. `ratings`: a judge's ratings.jsonl, matched by the models' names.
    `sweep`: a sweep.json to show. `index`: where the index of the training stories is kept (default: in `out`, else in memory).
    """
    config = config or EvalConfig()
    if out is not None and Path(out).exists() and not Path(out).is_dir():
        raise ConfigError(f"{out}: is a file; the report needs a folder of its own.")
    if out is not None and (Path(out) / "manifest.json").exists():
        raise ConfigError(f"{out}: holds something else (by its manifest.json); the report needs a folder of its own.")
    if config.embeddings:
        from ._plots import embedder

        embedder()
    rated = None if ratings is None else read_ratings(ratings)
    swept = None if sweep is None else _read_sweep(sweep)
    subjects = _subjects(models)
    place = Path(index) if index is not None else Path(out) / "index" if out is not None else None
    context, data = prepare_context(splits, config, place, progress)
    sections = {subject.name: _run(subject, context) for subject in subjects}
    real = _model_report(Subject("real stories", "real"), _run(Subject("real stories", "real"), context), config)
    reports = [_model_report(subject, sections[subject.name], config) for subject in subjects]
    correlations: tuple[Correlation, ...] = ()
    by_whom: tuple[str, ...] = ()
    if rated is not None:
        from ._ratings import correlate, judges, with_ratings

        reports, real = with_ratings(reports, real, rated, config)
        correlations, by_whom = correlate(reports, config), judges(rated)
    report = EvalReport(
        config=config,
        data=data,
        info=all_info() | INFO,
        models=tuple(reports),
        real=real,
        baselines=tuple(b for parts in sections.values() for section in parts for b in section.baselines),
        comparisons=tuple(_compare(reports, config)),
        correlations=correlations,
        judges=by_whom,
        sweep=swept,
        versions=_versions(),
        command=command,
    )
    if out is not None:
        from .report import write_report

        write_report(report, out)
    return report


def prepare_context(
    splits: str | os.PathLike[str], config: EvalConfig, place: Path | None, progress: Progress | None = None
) -> tuple[Context, DataInfo]:
    """Open the splits and the index of the training stories (kept at `place`, or in memory)."""
    import ts_data

    manifest = ts_data.open_manifest(splits)
    train, test = ts_data.read(splits, "train"), ts_data.read(splits, "test")
    if not len(train) or not len(test):
        raise ConfigError(f"{splits}: train has {len(train)} and test {len(test)} stories; both need at least one.")
    if place is None:
        index = StoryIndex.build(train, progress=progress)
    else:
        index = StoryIndex.cached(place, train, corpus=manifest.fingerprint, progress=progress)
    data = DataInfo(
        fingerprint=manifest.fingerprint,
        train_stories=len(train),
        test_stories=len(test),
        index_sha256=index.sha256,
    )
    return Context(config, train, test, index, progress), data


def _subjects(models: Any) -> list[Subject]:
    several = models if isinstance(models, Sequence) and not isinstance(models, str) else [models]
    if not several:
        raise ConfigError("there is no model to evaluate; name at least one.")
    subjects = [open_model(model) for model in several]
    taken: dict[str, int] = {}
    for subject in subjects:  # two folders of the same name stay apart
        taken[subject.name] = n = taken.get(subject.name, 0) + 1
        if n > 1:
            subject.name = f"{subject.name} ({n})"
    return subjects


def _run(subject: Subject, context: Context) -> list[Section]:
    return [load(name)(subject, context) for name in PARTS if name in context.config.parts]


def _model_report(subject: Subject, sections: Sequence[Section], config: EvalConfig) -> ModelReport:
    values = {name: tuple(column) for section in sections for name, column in section.values.items()}
    metrics: dict[str, Estimate] = {
        name: _stats.estimate(column, seed=config.seed, resamples=config.resamples) for name, column in values.items()
    }
    for section in sections:
        metrics |= section.estimates
    training = subject.training
    curve = () if training is None else tuple(
        LossPoint(step=p.step, tokens=p.tokens, train_loss=p.train_loss, validation_loss=p.validation_loss)
        for p in training.curve
    )  # fmt: skip
    return ModelReport(
        name=subject.name,
        kind=subject.kind,
        location=subject.location,
        parameters=subject.parameters,
        preset=None if training is None else training.preset,
        metrics=metrics,
        values=values,
        stories=tuple(story for section in sections for story in section.stories),
        completions=tuple(c for section in sections for c in section.completions) if subject.kind != "real" else (),
        prompts=tuple(p for section in sections for p in section.prompts),
        neighbours=tuple(n for section in sections for n in section.neighbours),
        curve=curve,
        notes=tuple(dict.fromkeys([*subject.notes, *(note for section in sections for note in section.notes)])),
    )


def _compare(reports: Sequence[ModelReport], config: EvalConfig) -> list[Comparison]:
    made = []
    for a, b in combinations(reports, 2):
        for metric in a.values:
            if metric in b.values and len(a.values[metric]) == len(b.values[metric]) and not _files(a, b):
                found = _stats.compare(
                    metric, a.name, b.name, a.values[metric], b.values[metric], seed=config.seed, resamples=config.resamples
                )
                made += [found] if found else []
    return _stats.holm(made)


def _files(*reports: ModelReport) -> bool:
    """Whether one is a file of stories: those have no prompts in common with anything, so nothing is paired."""
    return any(report.kind == "stories" for report in reports)


def _read_sweep(path: str | os.PathLike[str]) -> SweepReport:
    from ts_data import artefact

    return artefact.read_model(path, SweepReport, package="tinystories-eval", error=ArtefactError)


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "platform": f"{sys.platform} {platform.machine()}"}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found

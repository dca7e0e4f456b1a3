"""evaluate: models and splits → EvalReport. Runs the sections and assembles their results; measures nothing itself."""

import platform
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from itertools import combinations
from pathlib import Path
from typing import Any

from ts_data.artefact import keep_apart, read_model

from . import stats
from .checks import Progress, StrPath, need_instance, need_path
from .errors import ArtefactError, ConfigError
from .index.store import check_place
from .judge.files import read_ratings
from .metrics import all_info
from .models import ModelAdapter, open_model, open_models, several
from .places import check_report_folder, local_paths, writing
from .report.ratings import ESTIMATED, correlate, estimated, judges, with_ratings
from .report.verdict import judge_model
from .schemas import (
    BaselineScore,
    Comparison,
    Correlation,
    DataInfo,
    Estimate,
    EvalConfig,
    EvalReport,
    ModelReport,
    Provenance,
    Rating,
    SweepReport,
)
from .schemas.report import REFERENCE_STORIES
from .sections import SECTIONS, Context, Section, load
from .sections.base import finite
from .sections.perplexity import score_reference
from .splits import Findings, Splits, check_provenance, open_splits

PACKAGES = ("ts-data", "ts-models", "tinystories-tokenizer", "tinystories-eval", "torch", "numpy", "numba", "scipy", "nltk")


def evaluate(
    models: Any,
    splits: StrPath,
    config: EvalConfig | None = None,
    *,
    out: StrPath | None = None,
    ratings: StrPath | None = None,
    sweep: StrPath | None = None,
    index: StrPath | None = None,
    allow_overlap: bool = False,
    names: Sequence[str] | None = None,
    command: str = "",
    progress: Progress | None = None,
) -> EvalReport:
    """Evaluate one model or several on a splits/ folder; with `out`, write report.json, report.html and stories.jsonl there.

    `models`: whatever `open_model` takes, or a list of it. `ratings`: a judge's ratings.jsonl, matched by the models' names.
    `sweep`: a sweep.json to show. `index`: where the index of the training stories is kept (default: in `out`, else in memory).
    `allow_overlap`: evaluate a model also on held-out stories that it was trained on; the report then warns. Without it,
    ConfigError says how many there are. `names`: names of the models, in order; by default those of their folders.
    """
    config = EvalConfig() if config is None else need_instance(config, EvalConfig, "config")
    _check_places(models, splits, out, ratings, sweep, index)
    if config.embeddings:
        from .index.plots import embedder

        embedder()
    rated = None if ratings is None else read_ratings(ratings)
    swept = None if sweep is None else read_model(sweep, SweepReport, package="tinystories-eval", error=ArtefactError)
    adapters = open_models(models, names)
    references = [open_model(spec) for spec in config.references] if "perplexity" in config.parts else []
    opened = open_splits(splits)
    context = Context(config, opened.train, opened.test, progress)
    findings = check_provenance(adapters, opened, context.held_out(), context.prompting(), allow_overlap=allow_overlap)
    with writing(None if out is None else Path(out) / "report.json"):
        place = _index_folder(out, index)
        if place is not None:
            context.open_index(place, opened.fingerprint)
        report = _measure(adapters, references, context, findings, opened, rated, swept, command)
        if out is not None:
            from .report import write_report

            write_report(report, out)
    return report


def _measure(
    adapters: Sequence[ModelAdapter],
    references: Sequence[ModelAdapter],
    context: Context,
    findings: Findings,
    opened: Splits,
    rated: Sequence[Rating] | None,
    swept: SweepReport | None,
    command: str,
) -> EvalReport:
    """Run the sections over every model and over the real stories."""
    config = context.config
    sections = {adapter.name: _run(adapter, context) for adapter in adapters}
    real = _model_report(ModelAdapter("real stories", "real"), _run(ModelAdapter("real stories", "real"), context), config)
    reports = [
        _model_report(adapter, sections[adapter.name], config, provenance)
        for adapter, provenance in zip(adapters, findings.provenance, strict=True)
    ]
    correlations: tuple[Correlation, ...] = ()
    by_whom: tuple[str, ...] = ()
    if rated is not None:
        reports, real = with_ratings(reports, real, rated, config)
        correlations, by_whom = correlate(reports, config), judges(rated)
    else:
        reports, real = [estimated(report, config) for report in reports], estimated(real, config)
        by_whom = (ESTIMATED,) if any(report.ratings for report in reports) else ()
    baselines = [b for parts in sections.values() for section in parts for b in section.baselines]
    baselines += _references(references, adapters, context, opened)
    return EvalReport(
        config=config,
        data=DataInfo(
            fingerprint=opened.fingerprint,
            train_stories=len(opened.train),
            test_stories=len(opened.test),
            test_in_train=findings.test_in_train,
            index_sha256=context.index_sha256,
        ),
        info=all_info(),
        warnings=(*findings.warnings, *(f"decoding sweep: {warning}" for warning in (swept.warnings if swept else ()))),
        verdicts=tuple(
            judge_model(model, real, baselines, [m for m in reports if m is not model], estimated=rated is None)
            for model in reports
        ),
        models=tuple(reports),
        real=real,
        baselines=tuple(baselines),
        comparisons=tuple(_compare(reports, config)),
        correlations=correlations,
        judges=by_whom,
        sweep=swept,
        versions=_versions(),
        command=command,
    )


def _references(
    references: Sequence[ModelAdapter], adapters: Sequence[ModelAdapter], context: Context, opened: Splits
) -> list[BaselineScore]:
    """The scores of the reference models, without those evaluated anyway or trained on held-out stories."""
    found = []
    for reference in references:
        (provenance,) = check_provenance([reference], opened, context.scored[:REFERENCE_STORIES], allow_overlap=True).provenance
        known = provenance is not None and bool(provenance.trained_on)
        if not known and reference.location not in {adapter.location for adapter in adapters}:
            score = score_reference(reference, context)
            found += [score] if score else []
    return found


def _check_places(models: Any, splits: Any, out: Any, ratings: Any, sweep: Any, index: Any) -> None:
    """Check all paths before any work: no output may lie in an input or overwrite foreign files."""
    for value, name in ((splits, "splits"), (out, "out"), (ratings, "ratings"), (sweep, "sweep"), (index, "index")):
        if value is not None or name == "splits":
            need_path(value, name)
    inputs = local_paths(*several(models), splits, ratings, sweep)
    if out is not None:
        check_report_folder(Path(out), inputs)
    place = _index_folder(out, index)
    if place is not None:
        keep_apart(place, inputs, option="--index", error=ConfigError)
        check_place(place)


def _index_folder(out: Any, index: Any) -> Path | None:
    return Path(index) if index is not None else None if out is None else Path(out) / "index"


def _run(adapter: ModelAdapter, context: Context) -> list[Section]:
    return [load(name)(adapter, context) for name in SECTIONS if name in context.config.parts]


def _model_report(
    adapter: ModelAdapter, sections: Sequence[Section], config: EvalConfig, provenance: Provenance | None = None
) -> ModelReport:
    columns = {name: column for section in sections for name, column in section.values.items()}
    values = {name: tuple(map(finite, column)) for name, column in columns.items()}
    lost = {name: sum(x is not None and y is None for x, y in zip(columns[name], values[name], strict=True)) for name in values}
    info = all_info()
    metrics: dict[str, Estimate] = {
        name: stats.estimate(column, seed=config.seed, resamples=config.resamples, bounds=info[name.rpartition(".")[2]].bounds)
        for name, column in values.items()
    }
    for section in sections:
        metrics |= section.estimates
    notes = [*adapter.notes, *(note for section in sections for note in section.notes)]
    notes += [f"{name}: no finite number for {n:,} of {len(values[name]):,} stories" for name, n in lost.items() if n]
    return ModelReport(
        name=adapter.name,
        kind=adapter.kind,
        location=adapter.location,
        parameters=adapter.parameters,
        preset=None if adapter.training is None else adapter.training.preset,
        metrics=metrics,
        values=values,
        stories=tuple(story for section in sections for story in section.stories),
        completions=tuple(c for section in sections for c in section.completions) if adapter.kind != "real" else (),
        prompts=tuple(p for section in sections for p in section.prompts),
        neighbours=tuple(n for section in sections for n in section.neighbours),
        curve=adapter.curve,
        bits_scale=next((s.bits_scale for s in sections if s.bits_scale is not None), None),
        provenance=provenance,
        notes=tuple(dict.fromkeys(notes)),
    )


def _compare(reports: Sequence[ModelReport], config: EvalConfig) -> list[Comparison]:
    made, info = [], all_info()
    models = [report for report in reports if report.kind != "stories"]  # a file of stories shares no prompts with others
    for a, b in combinations(models, 2):
        for metric in a.values:
            if metric in b.values and len(a.values[metric]) == len(b.values[metric]):
                found = stats.compare(
                    metric, a.name, b.name, a.values[metric], b.values[metric],
                    seed=config.seed, resamples=config.resamples, bounds=info[metric.rpartition(".")[2]].bounds,
                )  # fmt: skip
                made += [found] if found else []
    return stats.holm(made)


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "platform": f"{sys.platform} {platform.machine()}"}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found

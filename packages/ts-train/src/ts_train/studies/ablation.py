"""Ablations: named variants of one base, each trained from every seed, compared in a table with intervals and a plot."""

import math
import tomllib
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from ts_models import artefact
from ts_models.console import Progress

from ..callbacks import Warn
from ..data.dataset import TrainingData, open_data
from ..errors import ArtefactError, ConfigError
from ..recipes import study_file
from ..schemas import TrainConfig
from .plots import plot_ablation
from .schemas import AblationConfig, AblationReport, TrialResult, VariantRow
from .trial import begin_study, folder_name, once, run_trial, settings_for


def ablation(name: artefact.StrPath) -> AblationConfig:
    """Read an ablation by path or name. Raises ConfigError with file and field."""
    path = study_file("ablations", name)
    try:
        return AblationConfig.model_validate(tomllib.loads(path.read_bytes().decode("utf-8-sig")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise ConfigError(f"{path}: not valid TOML: {problem}") from None
    except ValidationError as problem:
        raise ConfigError(f"{path}: {artefact.describe_invalid(problem)}") from None


def ablate(
    config: AblationConfig | artefact.StrPath,
    data: Any,
    out: artefact.StrPath,
    *,
    progress: Progress | None = None,
    warn: Warn | None = None,
) -> AblationReport:
    """Train every variant from every seed; compare them in `out`/results.json and `out`/plot.png.

    Called again it runs only missing runs. The seed is the outer loop, so that an unfinished study has complete rounds.

    Args:
        config: the variants, or the path or name of an ablation's TOML.
        data: an encoded/ folder, or what `ts_tokenizer.open_encoded` gives.
        out: the folder of the study.
        progress: called with ("<variant>, seed <n>", step, total).
        warn: as for `train`.

    Raises:
        ConfigError: a variant is invalid; nothing was trained.
        ArtefactError: `out` holds runs of other settings or data.
        Interrupted: the study was stopped; the same call resumes it.
    """
    folder = begin_study("ablate", out, AblationReport)
    spec = config if isinstance(config, AblationConfig) else ablation(config)
    encoded, warn = open_data(data), once(warn)
    cells = []
    with artefact.lock(folder / "results.json", error=ArtefactError):
        for name, settings in _plan(spec):
            title, place = f"{name}, seed {settings.seed}", folder / "cells" / folder_name(name, settings.seed)
            named = None if progress is None else lambda _, done, total=None, title=title: progress(title, done, total)
            cells.append(run_trial(name, settings, encoded, place, progress=named, warn=warn))
        report = _report(spec, encoded, cells)
        plot_ablation(report, folder / "plot.png")
        artefact.write_model(folder / "results.json", report)
    return report


def _plan(spec: AblationConfig) -> list[tuple[str, TrainConfig]]:
    """Every run; all are checked before the first starts."""
    return [
        (name, settings_for(spec.base, changes, where=f"variant {name!r}", seed=seed))
        for seed in spec.seeds
        for name, changes in spec.variants.items()
    ]


def _report(spec: AblationConfig, data: TrainingData, cells: Sequence[TrialResult]) -> AblationReport:
    by_variant = {name: [cell for cell in cells if cell.name == name] for name in spec.variants}
    first = next(iter(by_variant))
    rows = tuple(_row(own, by_variant[spec.against.get(name, first)]) for name, own in by_variant.items())
    return AblationReport(config=spec, data_fingerprint=data.fingerprint, rows=rows, cells=tuple(cells))


def _row(cells: Sequence[TrialResult], others: Sequence[TrialResult]) -> VariantRow:
    """A variant's row. Differences are per seed: the same batches, so most of the noise cancels."""
    reference = {cell.seed: cell.loss for cell in others}
    losses = [cell.loss for cell in cells if cell.loss is not None]
    bits = [cell.bits_per_byte for cell in cells if cell.bits_per_byte is not None]
    pairs = [(cell.loss, reference[cell.seed]) for cell in cells]
    differences = [own - other for own, other in pairs if own is not None and other is not None]
    seconds = sum(cell.seconds for cell in cells)
    return VariantRow(
        name=cells[0].name, against=others[0].name, parameters=cells[0].parameters, runs=len(cells), diverged=len(cells) - len(losses), loss=mean(losses),
        loss_interval=mean_interval(losses, least=0.0), difference=mean(differences), difference_interval=mean_interval(differences),
        bits_per_byte=mean(bits), seconds=seconds / len(cells), flops=sum(cell.flops for cell in cells) / len(cells),
        tokens_per_second=sum(cell.tokens for cell in cells) / seconds if seconds else 0.0,
    )  # fmt: skip


def mean(values: Sequence[float]) -> float | None:
    """None for no values."""
    return math.fsum(values) / len(values) if values else None


def mean_interval(values: Sequence[float], least: float = -math.inf) -> tuple[float, float] | None:
    """95 % interval of the mean by Student's t, from `least` on; None for fewer than two values."""
    from scipy.stats import sem, t

    if len(values) < 2:
        return None
    center, half = math.fsum(values) / len(values), float(t.ppf(0.975, len(values) - 1) * sem(values))
    return max(center - half, least), center + half

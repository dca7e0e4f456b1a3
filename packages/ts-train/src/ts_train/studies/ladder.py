"""A ladder of sizes at fixed budgets, a scaling law fitted to their losses, and its predictions for larger presets."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ts_models import artefact, count_parameters, preset
from ts_models.console import Progress

from ..callbacks import Warn
from ..data.batches import step_size
from ..data.dataset import open_data
from ..errors import ArtefactError, FitError
from ..schemas import BatchConfig, TrainConfig
from . import scaling as _scaling
from .plots import plot_ladder
from .schemas import LadderConfig, LadderReport, Law, Prediction, ScalingFit, TrialResult
from .trial import begin_study, folder_name, once, run_trial, settings_for


def ladder(
    config: LadderConfig, data: Any, out: artefact.StrPath, *, progress: Progress | None = None, warn: Warn | None = None
) -> LadderReport:
    """Train every size at every budget, fit the law of `config.law`, predict the presets of `config.predict`.

    Every budget is a run of its own with a schedule of that length, because the learning rate midway in a longer run is too high.
    Its steps grow with it if `batch` leaves their size open (`step_size`): the best step does.
    Called again it runs only missing runs. N counts all parameters, including embeddings.

    Returns the content of `out`/results.json; if the runs do not determine a fit, `fit` is None and `refusal` gives the reason.

    Raises:
        ConfigError: a size is invalid; nothing was trained.
        ArtefactError: `out` holds runs of other settings or data.
        Interrupted: the study was stopped; the same call resumes it.
    """
    folder = begin_study("ladder", out, LadderReport)
    encoded, warn = open_data(data), once(warn)
    plan = _plan(config)
    targets = [(name, count_parameters(preset(name, vocab_size=encoded.vocab_size))) for name in config.predict]
    cells = []
    with artefact.lock(folder / "results.json", error=ArtefactError):
        for done, (name, settings) in enumerate(plan):
            if progress is not None:
                progress("ladder", done, len(plan))
            cells.append(run_trial(name, settings, encoded, folder / "cells" / folder_name(name, settings.seed), warn=warn))
        if progress is not None:
            progress("ladder", len(plan), len(plan))
        budgets = config.predict_tokens or config.tokens
        fitted: ScalingFit | None = None
        refusal: str | None = None
        predictions: tuple[Prediction, ...] = ()
        try:
            fitted, predictions = fit_law(cells, targets, budgets, law=config.law, draws=config.bootstrap)
        except FitError as problem:
            refusal = str(problem)
        batch = plan[0][1].batch
        report = LadderReport(
            config=config,
            data_fingerprint=encoded.fingerprint,
            cells=tuple(cells),
            fit=fitted,
            refusal=refusal,
            predictions=tuple(p.model_copy(update={"tokens_per_step": _step(batch, p.tokens)}) for p in predictions),
        )
        plot_ladder(report, folder / "plot.png")
        artefact.write_model(folder / "results.json", report)
    return report


def fit_law(
    cells: Sequence[TrialResult],
    targets: Sequence[tuple[str, int]],
    tokens: Sequence[int],
    *,
    law: Law = "additive",
    draws: int = 200,
) -> tuple[ScalingFit, tuple[Prediction, ...]]:
    """Fit the law to the runs that have a loss, and predict each target (name, parameters) at each budget.

    Raises:
        FitError: the runs do not determine a fit.
    """
    points = [(cell.parameters, cell.tokens, cell.loss) for cell in cells if cell.loss is not None]
    n, d, loss = np.array(points, dtype=float).reshape(-1, 3).T
    best = _scaling.fit(n, d, loss, joint=law == "joint")
    again = _scaling.bootstrap(n, d, loss, best, draws=draws)
    residual = _scaling.predict(best[None], n, d)[0] - np.log(loss)
    e, a, b = (float(v) for v in np.exp(best[:3]))
    fitted = ScalingFit(
        e=e, a=a, alpha=float(best[3]), b=b, beta=float(best[4]), gamma=float(np.exp(best[5:].sum())), points=len(loss),
        residual=math.sqrt(float((residual**2).mean())), alpha_interval=_middle(again[:, 3]), beta_interval=_middle(again[:, 4]),
        e_interval=_middle(np.exp(again[:, 0])),
    )  # fmt: skip
    most = float((n * d).max())
    return fitted, tuple(_predict(name, size, budget, best, again, most) for name, size in targets for budget in tokens)


def _predict(name: str, size: int, budget: int, best: Any, again: Any, most: float) -> Prediction:
    n, d = np.array([float(size)]), np.array([float(budget)])
    return Prediction(
        preset=name, parameters=size, tokens=budget, loss=float(np.exp(_scaling.predict(best[None], n, d)[0, 0])),
        interval=_middle(np.exp(_scaling.predict(again, n, d)[:, 0])), beyond=size * budget / most,
    )  # fmt: skip


def _middle(values: Any) -> tuple[float, float]:
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def _plan(config: LadderConfig) -> list[tuple[str, TrainConfig]]:
    """Every run, all checked before the first starts; small ones first."""
    return [
        (
            f"{size}-{budget}-tokens",
            settings_for(config.base, config.sizes[size], where=f"size {size!r}", seed=seed, max_tokens=budget),
        )
        for seed in config.seeds
        for budget in sorted(set(config.tokens))
        for size in config.sizes
    ]


def _step(batch: BatchConfig, tokens: int) -> int | None:
    """Positions per step of a run of so many tokens; None if steps are counted in stories."""
    return None if batch.batch_size is not None else batch.tokens_per_step or step_size(tokens)

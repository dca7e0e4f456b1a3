"""Search over fields of a TrainConfig with Optuna: resumable, pruned, with any number of workers.

The workers share the study's storage; trials/<n>/ holds the training runs. A trial that was interrupted, or whose worker died, is
queued again with its folder, and the next worker resumes from its checkpoint.
"""

import contextlib
import json
import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ts_models import artefact
from ts_models.console import Progress

from ..callbacks import BaseCallback, StopTraining, ValidationMetrics, Warn
from ..data.dataset import TrainingData, open_data
from ..errors import ArtefactError, ConfigError, DiskFullError, Interrupted, UnavailableError
from .plots import plot_importance, plot_pareto
from .schemas import Choices, Range, SearchConfig, SearchReport, Trial
from .trial import begin_study, once, plain_name, run_trial, settings_for

HEARTBEAT = 30  # seconds; a worker without a heartbeat for twice as long counts as dead


def search(
    config: SearchConfig,
    data: Any,
    out: artefact.StrPath,
    *,
    storage: str | None = None,
    study: str = "search",
    progress: Progress | None = None,
    warn: Warn | None = None,
) -> SearchReport:
    """Try settings until the study has `config.trials` of them; `out` gets results.json, pareto.png and importance.png.

    Any number of processes may call this on the same storage and study; on one machine, or on a shared disk, give all the
    same `out`. Called again it continues the study.

    Args:
        config: what all trials share, and the fields to try.
        data: an encoded/ folder, or what `ts_tokenizer.open_encoded` gives.
        out: folder of the runs and the report.
        storage: URL of a database that Optuna takes; SQLite in `out`/study.db when not given.
        study: its name in the storage.
        progress: called with ("trials", done, total).
        warn: as for `train`.

    Raises:
        UnavailableError: Optuna is not installed.
        ConfigError: a bound of the space is invalid; nothing was trained.
        ArtefactError: the study has another space, base or data, `out` holds another kind of study, or the database fails.
        Interrupted: the search was stopped; its trial is queued again, and the same call continues.
    """
    folder = begin_study("search", out, SearchReport)
    optuna = _optuna()
    encoded = open_data(data)
    _check_space(config)
    folder.mkdir(parents=True, exist_ok=True)
    with _database_errors(optuna), warnings.catch_warnings():
        # Optuna marks its heartbeat as experimental; the caller cannot act on that.
        warnings.filterwarnings("ignore", message=".*(heartbeat_interval|fail_stale_trials|constant_liar).*experimental")
        shared = _open_study(optuna, config, encoded, storage or f"sqlite:///{folder.resolve() / 'study.db'}", study)
        worker = _Worker(optuna, shared, config, encoded, folder, warn)
        while worker.left() > 0 or worker.finds_dead():
            taken = config.trials - worker.left()
            if progress is not None:
                progress("trials", taken, config.trials)
            shared.sampler = _sampler(optuna, config, taken)
            shared.optimize(worker.objective, n_trials=1)
        if progress is not None:
            progress("trials", config.trials, config.trials)
        return _settled_report(optuna, shared, config, encoded, folder)


class _Worker:
    """One process of a search: asks for settings, trains, reports."""

    def __init__(
        self, optuna: Any, study: Any, config: SearchConfig, data: TrainingData, folder: Path, warn: Warn | None
    ) -> None:
        self.optuna, self.study, self.config, self.data, self.folder = optuna, study, config, data, folder
        self.warn, self.warn_of_run = warn or (lambda message: None), once(warn)

    def left(self) -> int:
        """Number of trials that are neither finished nor running."""
        self.optuna.storages.fail_stale_trials(self.study)
        states = self.optuna.trial.TrialState
        return self.config.trials - self._count(states.COMPLETE, states.PRUNED, states.RUNNING)

    def finds_dead(self) -> bool:
        """Whether a trial that runs in another process lost its worker: waits until all have ended, or a heartbeat is overdue."""
        patience = 2 * HEARTBEAT + 3  # databases count whole seconds
        running, end = self.optuna.trial.TrialState.RUNNING, time.monotonic() + patience
        if self._count(running):
            self.warn(f"trials run in other processes; waiting up to {patience} s to see whether these are alive")
        while self._count(running) and time.monotonic() < end:
            if self.left() > 0:
                return True
            time.sleep(0.5)
        if still := self._count(running):
            self.warn(f"{still} trials still run in other processes; the report of the last one holds them")
        return False

    def _count(self, *states: Any) -> int:
        return len(self.study.get_trials(deepcopy=False, states=states))

    def objective(self, trial: Any) -> float:
        """Train with the trial's settings: the best validation loss. Raises TrialPruned for pruned, diverged and invalid ones."""
        params = {name: _suggest(trial, name, where) for name, where in self.config.space.items()}
        place = _place(self.study, trial)
        trial.set_user_attr("folder", place)
        try:
            settings = settings_for(self.config.base, space_settings(params), where=f"trial {trial.number}")
        except ConfigError as problem:
            self.warn(f"{problem}; these values do not go together, and the trial counts as pruned")
            raise self.optuna.TrialPruned from None
        pruning = _Pruning(trial)
        try:
            cell = run_trial(
                f"trial {trial.number}",
                settings,
                self.data,
                self.folder / "trials" / place,
                callbacks=[pruning],
                warn=self.warn_of_run,
            )
        except (Interrupted, KeyboardInterrupt, DiskFullError, OSError):
            _queue_again(self.study, trial)
            raise
        for key in (*_MEASURED, "stopped"):
            trial.set_user_attr(key, getattr(cell, key))
        if cell.loss is None or cell.stopped == _PRUNED:
            trial.set_user_attr("diverged", cell.loss is None)
            raise self.optuna.TrialPruned
        return float(cell.loss)


_PRUNED = "pruned by the search"
_MEASURED = ("loss", "parameters", "tokens", "seconds", "flops")
"""Fields of a finished run that a trial keeps as attributes."""


class _Pruning(BaseCallback):
    """Reports each validation to the study and ends the run when the study's pruner says so."""

    def __init__(self, trial: Any) -> None:
        self.trial = trial

    def on_validation(self, metrics: ValidationMetrics) -> None:
        self.trial.report(metrics.point.validation_loss, metrics.point.step)
        if self.trial.should_prune():
            raise StopTraining(_PRUNED)


# --- the space ---------------------------------------------------------------------------------


def space_settings(params: dict[str, Any]) -> dict[str, Any]:
    """Dotted names to tables: {"optimizer.lr": 0.01} → {"optimizer": {"lr": 0.01}}."""
    tables: dict[str, Any] = {}
    for name, value in params.items():
        *path, last = name.split(".")
        reduce(lambda table, part: table.setdefault(part, {}), path, tables)[last] = value
    return tables


def _suggest(trial: Any, name: str, where: Range | Choices) -> Any:
    if isinstance(where, Choices):
        return trial.suggest_categorical(name, list(where.choices))
    if isinstance(where.low, int) and isinstance(where.high, int):
        return trial.suggest_int(name, where.low, where.high, log=where.log, step=int(where.step or 1))
    return trial.suggest_float(name, where.low, where.high, log=where.log, step=where.step)


def _check_space(config: SearchConfig) -> None:
    """Validate each field at its bounds, the others at their first value: a misspelt name costs no training."""
    ends = {
        name: where.choices if isinstance(where, Choices) else (where.low, where.high) for name, where in config.space.items()
    }
    first = {name: values[0] for name, values in ends.items()}
    for name, values in ends.items():
        for value in values:
            where = f"space {name!r} = {value!r}"
            settings_for(config.base, space_settings({**first, name: value}), where=where)


# --- the study ---------------------------------------------------------------------------------


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise UnavailableError('search needs Optuna. pip install "tinystories-train[search]"') from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # a warning holds the traceback of every error, which is raised as well
    return optuna


def _open_study(optuna: Any, config: SearchConfig, data: TrainingData, url: str, name: str) -> Any:
    """Create the study or join it; refuse one with other settings."""
    study = _patiently(
        lambda: optuna.create_study(
            study_name=name, storage=_storage(optuna, url), direction="minimize", load_if_exists=True, pruner=_pruner(optuna, config),
        )
    )  # fmt: skip
    shared = config.model_dump(mode="json", include={"base", "space"})
    asked = json.dumps([shared, data.fingerprint], sort_keys=True)
    begun = study.user_attrs.get("ts-train/search")
    if begun is None:
        study.set_user_attr("ts-train/search", asked)
    elif begun != asked:
        raise ArtefactError(
            f"study {name!r} in {url}: was begun with another base, space or data. Choose another --study or --out, or go on with "
            "the settings that it was begun with."
        )
    return study


def _storage(optuna: Any, url: str) -> Any:
    """The database, with a heartbeat, so that trials of dead workers are queued again."""
    patience = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {}
    called = "heartbeat_stale_trial_callback" if int(optuna.__version__.split(".")[0]) >= 5 else "failed_trial_callback"
    return optuna.storages.RDBStorage(
        url, engine_kwargs=patience, heartbeat_interval=HEARTBEAT, grace_period=2 * HEARTBEAT, **{called: _queue_again}
    )


def _place(study: Any, trial: Any) -> str:
    """Name of the trial's folder; trials of a study of another name than the default bear it."""
    prefix = "" if study.study_name == "search" else f"{plain_name(study.study_name)}-"
    return str(trial.user_attrs.get("folder", f"{prefix}{trial.number:05d}"))


def _queue_again(study: Any, trial: Any) -> None:
    study.enqueue_trial(trial.params, user_attrs={"folder": _place(study, trial)})


def _patiently(make: Callable[[], Any], tries: int = 6) -> Any:
    """Retry: of two workers that create the tables of a new database at once, one fails."""
    from sqlalchemy.exc import ArgumentError, SQLAlchemyError  # comes with Optuna

    for attempt in range(tries):
        try:
            return make()
        except (SQLAlchemyError, ImportError) as problem:
            if attempt == tries - 1 or isinstance(problem, ArgumentError | ImportError):
                reason = str(getattr(problem, "orig", None) or problem).rstrip(".")
                raise ConfigError(
                    f"--storage: the database cannot be used: {reason}. Check the URL (sqlite:///FILE), and that its driver is installed."
                ) from None
            time.sleep(0.2 * 2**attempt)
    raise AssertionError  # the last attempt returned or raised


@contextlib.contextmanager
def _database_errors(optuna: Any) -> Iterator[None]:
    """Raise ArtefactError where the database fails."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError, UnboundLocalError) as problem:
        cause: BaseException | None = problem  # Optuna raises UnboundLocalError where it cannot write how a trial ended
        while cause is not None and not isinstance(cause, SQLAlchemyError):
            cause = cause.__cause__ or cause.__context__
        if cause is None:
            raise
        raise ArtefactError(
            f"the study's database failed ({getattr(cause, 'orig', None) or cause}). Mend it, then call again: finished trials and "
            "checkpoints are kept."
        ) from None


def _sampler(optuna: Any, config: SearchConfig, taken: int) -> Any:
    """The sampler of the next trial. Its seed follows from the trials that the study has, so that a continued study does not
    propose the first ones again."""
    seed = None if config.sampler_seed is None else int(np.random.SeedSequence([config.sampler_seed, taken]).generate_state(1)[0])
    if config.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=max(1, config.startup_trials), constant_liar=True)


def _pruner(optuna: Any, config: SearchConfig) -> Any:
    if config.pruner == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=config.startup_trials)
    return optuna.pruners.HyperbandPruner() if config.pruner == "hyperband" else optuna.pruners.NopPruner()


# --- the report --------------------------------------------------------------------------------


def _settled_report(optuna: Any, study: Any, config: SearchConfig, data: TrainingData, folder: Path) -> SearchReport:
    """Write the report; repeat if another worker finished a trial meanwhile, because its newer report may have been replaced."""
    while True:
        report = _report(optuna, study, config, data)
        _write(report, folder)
        if len(_ended(optuna, study)) == len(report.trials):
            return report


def _ended(optuna: Any, study: Any) -> list[Any]:
    states = optuna.trial.TrialState
    ended: list[Any] = study.get_trials(deepcopy=False, states=(states.COMPLETE, states.PRUNED))
    return ended


def _report(optuna: Any, study: Any, config: SearchConfig, data: TrainingData) -> SearchReport:
    states = optuna.trial.TrialState
    trials = tuple(_trial(t, states) for t in _ended(optuna, study))
    complete = [t for t in trials if t.state == "complete"]
    best = min(complete, key=lambda t: (t.loss, t.number), default=None)
    return SearchReport(
        config=config, data_fingerprint=data.fingerprint, trials=trials, best=None if best is None else best.number,
        pareto={"flops": _front(complete, "flops"), "seconds": _front(complete, "seconds")},
        importance=_importance(optuna, study, complete),
    )  # fmt: skip


def _trial(trial: Any, states: Any) -> Trial:
    known = trial.user_attrs
    state: Literal["complete", "pruned", "diverged"] = "diverged" if known.get("diverged") else "pruned"
    measured = {key: known.get(key) for key in _MEASURED}
    return Trial(
        number=trial.number, state="complete" if trial.state == states.COMPLETE else state, params=trial.params, **measured
    )


def _front(trials: Sequence[Trial], cost: Literal["flops", "seconds"]) -> tuple[int, ...]:
    """Numbers of the Pareto-optimal trials in loss and cost, cheapest first."""
    front, least = [], math.inf
    for trial in sorted(trials, key=lambda t: (getattr(t, cost), t.loss)):
        if trial.loss is not None and trial.loss < least:
            front.append(trial.number)
            least = trial.loss
    return tuple(front)


def _importance(optuna: Any, study: Any, complete: Sequence[Trial]) -> dict[str, float]:
    """Importance per field; empty with too few complete trials."""
    varied = [name for name in study.best_trial.params if len({t.params.get(name) for t in complete}) > 1] if complete else []
    if len(complete) < 4 or not varied:
        return {}
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    found = optuna.importance.get_param_importances(study, evaluator=evaluator, params=varied)
    return {name: float(value) for name, value in found.items() if math.isfinite(value)}


def _write(report: SearchReport, folder: Path) -> None:
    plot_pareto(report, folder / "pareto.png")
    if report.importance:
        plot_importance(report, folder / "importance.png")
    artefact.write_model(folder / "results.json", report)

"""`train` starts a run, `resume` continues one, `create_trainer` builds the parts of one for a loop of your own."""

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ts_models import artefact
from ts_models.console import Progress
from ts_models.io.model_folder import resolve
from ts_models.io.provenance import pack

from .callbacks import BaseCallback, Callback, RunInfo, StepMetrics, Warn
from .checkpoint import CheckpointStore
from .data.dataset import TrainingData, open_data
from .data.provenance import TRAIN_STORIES, inherited_stories, read_stories, write_stories
from .errors import ArtefactError, ConfigError, DataError
from .network import build_model, check_network, choose_context, rebuild_model
from .plan import idle_settings, plan_run
from .recipes import recipe
from .run_folder import (
    Run,
    RunFolder,
    check_not_emptied,
    check_state,
    create_run_dir,
    holds_run,
    load_best,
    read_manifest,
    read_samples,
    summarise,
)
from .runtime.distributed import World, join_world
from .runtime.live_line import LiveLine
from .runtime.precision import Precision, precision_warnings
from .schemas import Environment, TrainConfig, TrainerState
from .sinks import make_sink
from .teachers import load_teachers, same_teachers
from .trainer import Trainer


def train(
    config: TrainConfig | str,
    data: Any,
    out: artefact.StrPath,
    *,
    model: nn.Module | None = None,
    callbacks: Sequence[Callback] = (),
    progress: Progress | bool | None = None,
    warn: Warn | None = None,
) -> Run:
    """Train a model on encoded stories and save the best one in `out`/model.

    Resumes an unfinished run with the same settings in `out`; returns a finished one.

    Args:
        config: the settings, or the name of a recipe ("story-1m").
        data: an encoded/ folder, or what `ts_tokenizer.open_encoded` returns.
        out: the run folder.
        model: any module from ids `[batch, time]` to logits `[batch, time, vocab]`, instead of a preset.
        callbacks: called at every step and validation on rank 0; `StopTraining` ends the run.
        progress: prints loss, speed and time left on stderr, by default in a terminal or notebook only; a function is called
            with ("train", step, total) instead.
        warn: receives warnings: slow settings, settings without effect, damaged checkpoints.

    Raises:
        ConfigError, DataError, ArtefactError: invalid settings, data or files.
        DivergedError, DiskFullError, Interrupted: the run ended early; its last checkpoint is complete.
    """
    _check_arguments(config, out, callbacks, progress, warn)
    path, warn = artefact.resolve_target(out), warn or _ignore
    settings = _settings(config)
    world, device = join_world(settings.device)
    encoded = open_data(data)
    world.run_on_main(lambda: _check_tokenizer(settings, encoded))
    if model is not None:
        _check_model(model, settings, encoded)
    with _locked(path, world):
        if world.run_on_main(lambda: holds_run(path, settings, encoded, model, warn)):
            return _resume(path, encoded, model, callbacks, progress, warn, world, device)
        watchers = _watchers(settings, world, callbacks, progress)
        trainer = _new_trainer(settings, encoded, model, world, device, warn)
        start = [settings.init_from] if model is None and settings.init_from is not None else []
        stories, trainer.manifest = inherited_stories([*start, *settings.teachers], encoded, trainer.manifest)
        if world.is_main_process:
            dropout = max((m.p for m in trainer.model.modules() if isinstance(m, nn.Dropout)), default=0.0)
            for warning in (
                *precision_warnings(trainer.precision, dropout),
                *idle_settings(settings, trainer.manifest, own_model=model is not None),
            ):
                warn(warning)
            if stories is not None:
                write_stories(path, stories)
            artefact.write_model(path / "config.json", trainer.manifest)
        return _run(trainer, path, watchers, keep_start=model is not None or settings.init_from is not None)


def resume(
    out: artefact.StrPath,
    *,
    data: Any = None,
    model: nn.Module | None = None,
    callbacks: Sequence[Callback] = (),
    progress: Progress | bool | None = None,
    warn: Warn | None = None,
) -> Run:
    """Continue a run from its last complete checkpoint; on the same machine the result has the same bits.

    Args:
        out: the run folder.
        data: where the encoded data are now, if they were moved; they must be the same data.
        model: a new module of the same shape, for a run whose model was the caller's own.
        callbacks, progress, warn: as for `train`.

    Raises:
        ArtefactError: there is no run, or none of its checkpoints is complete.
        DataError: the data are not those that the run began with.
    """
    _check_arguments("", out, callbacks, progress, warn)
    path = Path(out)
    manifest = read_manifest(path)
    world, device = join_world(manifest.config.device)
    encoded = open_data(manifest.data if data is None else data)
    if manifest.model is None and model is None:
        raise ConfigError(f"{path}: this run trains a model of the caller's own; pass it again: resume(out, model=…)")
    if model is not None:
        _check_model(model, manifest.config, encoded)
    with _locked(path, world):
        return _resume(path, encoded, model, callbacks, progress, warn or _ignore, world, device)


def create_trainer(config: TrainConfig | str, data: Any, *, model: nn.Module | None = None, warn: Warn | None = None) -> Trainer:
    """Build a trainer for a loop of your own: model, optimizers, batches and plan as in `train`, but no files.

    Args:
        config, data, model: as for `train`.
        warn: receives warnings.

    Raises:
        ConfigError, DataError: invalid settings or data.
    """
    _check_arguments(config, "", (), None, warn)
    settings = _settings(config)
    world, device = join_world(settings.device)
    encoded = open_data(data)
    if model is not None:
        _check_model(model, settings, encoded)
    return _new_trainer(settings, encoded, model, world, device, warn or _ignore)


def _check_tokenizer(settings: TrainConfig, data: TrainingData) -> None:
    """Read the tokenizer if stories are to be sampled, so that a damaged one does not end the run at its first validation."""
    if settings.validation.samples:
        _ = data.tokenizer


def _settings(config: TrainConfig | str) -> TrainConfig:
    settings = config if isinstance(config, TrainConfig) else TrainConfig.model_validate(recipe(config, device="auto"))
    found = (str(Path(folder).resolve()) if resolve(folder) == Path(folder) else folder for folder in settings.teachers)
    return settings.model_copy(update={"teachers": tuple(found)})  # a resume may begin in another folder


def _new_trainer(
    config: TrainConfig, data: TrainingData, model: nn.Module | None, world: World, device: torch.device, warn: Warn
) -> Trainer:
    _set_up_torch(config, config.threads)
    network = build_model(config, data, model).to(device)
    teachers = load_teachers(config, data, device, choose_context(config, getattr(network, "config", None)))
    manifest, batches = plan_run(config, data, network, world, device, teachers)
    return Trainer(network, data, manifest, world=world, device=device, batches=batches, teachers=teachers, warn=warn)


def _resume(
    path: Path, data: TrainingData, model: nn.Module | None, callbacks: Sequence[Callback], progress: Progress | bool | None,
    warn: Warn, world: World, device: torch.device,
) -> Run:  # fmt: skip
    """Continue the run in a folder that this process has locked."""
    manifest = read_manifest(path)
    if data.fingerprint != manifest.data_fingerprint:
        raise DataError(
            f"{data.path or 'data'}: these are not the data that {path} began with (their hashes differ). "
            "Point --data to the same encoded/ folder, or begin a new run."
        )
    watchers = _watchers(manifest.config, world, callbacks, progress)
    before = manifest.environment.world_size
    same = world.size == before
    manifest = manifest.model_copy(update={"peak_flops": manifest.peak_flops * world.size / before})  # of all ranks together
    _set_up_torch(manifest.config, manifest.environment.threads if same else manifest.config.threads)
    if world.is_main_process:  # for example: a run in bf16 moved to a CPU without bf16 units
        for warning in precision_warnings(Precision(manifest.precision, "", device.type), dropout=0.0):
            warn(warning)
    has_checkpoint = bool(CheckpointStore(path / "checkpoints").steps())
    if not has_checkpoint:
        check_not_emptied(path, manifest)
    own = model if model is not None else rebuild_model(manifest) if has_checkpoint else None
    network = build_model(manifest.config, data, own).to(device)
    trainer = Trainer(network, data, manifest, world=world, device=device, warn=warn)
    return _run(trainer, path, watchers, keep_start=model is not None, resumed=True)


def _run(trainer: Trainer, path: Path, watchers: Sequence[Callback], *, keep_start: bool, resumed: bool = False) -> Run:
    """Restore the last checkpoint, train to the end, return the best model.

    keep_start: save the weights of step 0, which cannot be drawn again from the seed.
    """
    world, data, manifest = trainer.world, trainer.data, trainer.manifest
    checkpoints = manifest.config.checkpoint
    store = CheckpointStore(path / "checkpoints", keep=checkpoints.keep, background=checkpoints.background)
    if world.is_main_process:
        store.sweep()
        artefact.recover(path / "model")
    world.barrier()
    for change in _changes(manifest.environment, trainer.environment) if resumed and world.is_main_process else ():
        trainer.warn(f"{change}: the last bits may differ from those of an uninterrupted run")
    stories = read_stories(path, data)
    folder = RunFolder(path, store, stories)
    if store.steps():
        restore(trainer, store, path)
    elif keep_start and world.is_main_process:
        folder.save_checkpoint(trainer, now=True)
    if trainer.state.finished:
        for watcher in watchers:
            if isinstance(watcher, LiveLine):
                watcher.say(f"{path}: this run is complete; its result is read again")
    else:
        if resumed:
            trainer.teachers = same_teachers(path, manifest, data, trainer.device)
        if world.is_main_process:
            trainer.output, trainer.callbacks = folder, watchers
        try:
            with store.disk_full_is_clear():
                trainer.fit(RunInfo(path, manifest, trainer.state.step, trainer.total_steps))
        finally:
            _close(trainer, store)
    summary = summarise(manifest, trainer.state, data.prompt_format, read_samples(path))
    if (path / "model" / TRAIN_STORIES).exists():
        summary = pack(stories, summary)[1] or summary  # with their number and hash
    if world.is_main_process:
        artefact.write_model(path / "model" / "training.json", summary)
    world.barrier()
    load_best(trainer.model, path / "model")
    return Run(path, trainer.model.eval(), manifest, trainer.state, summary)


def restore(trainer: Trainer, store: CheckpointStore, path: Path) -> None:
    """Load the newest complete checkpoint into a new trainer; damaged ones are renamed.

    Raises:
        ArtefactError: none is complete, or it belongs to another run.
        ConfigError: its tensors are not those of this model.
    """
    found: list[tuple[TrainerState, dict[str, torch.Tensor]]] = []

    def newest() -> int:
        state, tensors, problems = store.load(set_aside=True)
        for problem in problems:
            trainer.warn(problem)
        check_state(path, trainer.manifest, state)
        found.append((state, tensors))
        return state.step

    step = trainer.world.run_on_main(newest)
    state, tensors = found[0] if found else store.read(step)
    try:
        trainer.load_state_dict({"state": state, "tensors": tensors})
    except ConfigError as problem:
        raise ConfigError(f"{store.folder}: {problem}") from None


class _ReportProgress(BaseCallback):
    """Calls a progress function at each step."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def on_step(self, metrics: StepMetrics) -> None:
        self.progress("train", metrics.step, metrics.total_steps)


def _close(trainer: Trainer, store: CheckpointStore) -> None:
    """Wait for the checkpoint being written and close what the callbacks opened, also after an error."""
    try:
        store.wait()
    finally:
        if not trainer.state.finished:
            trainer.notify("on_end", trainer.state)


def _check_model(model: nn.Module, config: TrainConfig, data: TrainingData) -> None:
    context = choose_context(config, getattr(model, "config", None))
    check_network(model, data.batches(config, context), vocab_size=data.vocab_size)


def _set_up_torch(config: TrainConfig, threads: int | None) -> None:
    if threads is not None:
        torch.set_num_threads(threads)
    torch.set_float32_matmul_precision("high" if config.tf32 and torch.cuda.is_available() else "highest")


@contextlib.contextmanager
def _locked(path: Path, world: World) -> Iterator[None]:
    """Lock the run folder for all ranks of this run, before anything is written: inside it, as the parent may not be writable."""
    with contextlib.ExitStack() as stack:

        def acquire() -> None:
            if not path.exists():
                stack.callback(_remove_empty, path)
            create_run_dir(path)
            stack.enter_context(artefact.lock(path / "config.json", error=ArtefactError))

        world.run_on_main(acquire)
        yield


def _remove_empty(folder: Path) -> None:
    """A run that is refused leaves no folder."""
    with contextlib.suppress(OSError):
        folder.rmdir()


def _watchers(
    config: TrainConfig, world: World, callbacks: Sequence[Callback], progress: Progress | bool | None
) -> list[Callback]:
    """Sinks, callbacks and progress of the main process; where a sink is missing, all ranks raise."""
    sinks: list[Callback] = []
    world.run_on_main(lambda: sinks.extend(make_sink(name) for name in dict.fromkeys(config.sinks)))
    if progress is None:
        progress = sys.stderr.isatty() or "ipykernel" in sys.modules
    shown: list[Callback] = [_ReportProgress(progress)] if callable(progress) else [LiveLine()] if progress else []
    return [*sinks, *callbacks, *shown]


def _check_arguments(config: Any, out: Any, callbacks: Any, progress: Any, warn: Any) -> None:
    """Raise TypeError where an argument of `train` or `resume` is of another kind."""
    if not isinstance(config, str | TrainConfig):
        hint = "TrainConfig.model_validate(…) makes one of a dictionary" if isinstance(config, Mapping) else "or a recipe's name"
        raise TypeError(f"`config` is a {type(config).__name__}, a TrainConfig was expected ({hint}).")
    if not isinstance(out, str | os.PathLike):
        raise TypeError(f"`out` is a {type(out).__name__}, the path of the run folder was expected.")
    if isinstance(callbacks, str) or not isinstance(callbacks, Iterable):
        raise TypeError(f"`callbacks` is a {type(callbacks).__name__}, a list of callbacks was expected: callbacks=[…].")
    for callback in callbacks:
        if isinstance(callback, type) or not isinstance(callback, Callback):
            name = f"the class {callback.__name__}" if isinstance(callback, type) else f"a {type(callback).__name__}"
            raise TypeError(f"`callbacks` holds {name}, an instance of a BaseCallback was expected.")
    for name, function in (("progress", progress), ("warn", warn)):
        if not (function is None or callable(function) or (name == "progress" and isinstance(function, bool))):
            raise TypeError(f"`{name}` is a {type(function).__name__}, a function was expected.")


def _changes(before: Environment, now: Environment) -> list[str]:
    return [
        f"{name} is {new!r} now and was {old!r}"
        for (name, old), (_, new) in zip(before.model_dump().items(), now.model_dump().items(), strict=True)
        if old != new and not (name == "rotary" and old is None)  # not recorded by earlier versions
    ]


def _ignore(message: str) -> None:
    pass

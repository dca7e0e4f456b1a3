"""Config → parts → run/. `train` begins a run, `resume` goes on with it; search, ladder and ablations stand on both.

What a run decides once stands in `_decide`; how it learns, in `_loop`; this module puts the parts together and takes
them apart.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ts_models import artefact

from . import pace as pacing
from .callbacks import BaseCallback, Callback, RunInfo, StepMetrics
from .checkpoint import CheckpointStore
from .data.dataset import TrainingData, open_data
from .data.provenance import TRAIN_STORIES, inherited_stories, read_stories, with_stories, write_stories
from .ema import WeightAverage
from .errors import ConfigError, DataError
from .loss import nll_sum
from .network import check_network, owns_logits
from .optimizers import build_optimizers
from .plan import build_model, choose_context, decide, environment, idle_settings, make_batches, make_validation, rebuild_model
from .recipes import combine, recipe
from .run_folder import (
    Run,
    begun,
    check_not_emptied,
    check_state,
    claim,
    config_digest,
    load_best,
    named_tensors,
    read_manifest,
    run_lock,
    summarise,
    write_weights,
)
from .runtime.distributed import World, join_world
from .runtime.precision import Precision, precision_warnings
from .schemas import Environment, RunManifest, TrainConfig, TrainerState
from .sinks import make_sink
from .trainer import Trainer, capture, fit
from .validation import sample_stories

if TYPE_CHECKING:
    from ts_models.console import Progress

__all__ = ["resume", "train"]

Warn = Callable[[str], None]


def train(
    config: TrainConfig | str,
    data: Any,
    out: str | os.PathLike[str],
    *,
    model: nn.Module | None = None,
    callbacks: Sequence[Callback] = (),
    progress: Progress | None = None,
    warn: Warn | None = None,
) -> Run:
    """Train a model on encoded stories; the best one ends in `out`/model.

    An unfinished run of the same settings in `out` is gone on with; a finished one is given back.

    Args:
        config: the settings, or the name of a recipe ("story-1m").
        data: an encoded/ folder, or what `ts_tokenizer.open_encoded` gives.
        out: the run folder.
        model: any module from ids `[batch, time]` to logits `[batch, time, vocab]`, instead of a preset.
        callbacks: told of every step and validation on rank 0; `StopTraining` ends the run.
        progress: called with ("train", step, total).
        warn: told what is about to cost more than it needs to, and what a resume found damaged.

    Raises:
        ConfigError, DataError, ArtefactError: settings, data or files that do not hold.
        DivergedError, DiskFullError, Interrupted: the run ended; its last checkpoint is whole.
    """
    _check_arguments(config, out, callbacks, progress, warn)
    path, tell = artefact.resolve_target(out), warn or _silent
    settings = (
        TrainConfig.model_validate(combine(recipe(config, device="auto"), {"preset": config}))
        if isinstance(config, str)
        else config
    )
    world, device = join_world(settings.device)
    encoded = open_data(data)
    world.lead(lambda: _check_tokenizer(settings, encoded))
    if model is not None:
        _check_own(model, settings, encoded)
    with _held(path, world):
        if world.lead(lambda: begun(path, settings, encoded, model, tell)):
            return _resume(path, read_manifest(path), encoded, model, callbacks, progress, tell, world, device)
        sinks = _make_sinks(settings, world)
        _set_up_torch(settings, settings.threads)
        network = build_model(settings, encoded, model).to(device)
        given = model is not None or settings.init_from is not None
        manifest: RunManifest = world.agree(decide(settings, encoded, network, world, device))
        stories, manifest = inherited_stories(settings, encoded, manifest) if model is None else (None, manifest)
        if world.writes:
            for warning in (
                *precision_warnings(Precision(manifest.precision, "", device.type), _dropout(network)),
                *idle_settings(settings, manifest, own_model=model is not None),
            ):
                tell(warning)
            if stories is not None:
                write_stories(path, stories)
            artefact.write_model(path / "config.json", manifest)
        watchers = _watchers(sinks, callbacks, progress)
        return _run(manifest, encoded, network, path, world, device, watchers, tell, own=given)


def resume(
    out: str | os.PathLike[str],
    *,
    data: Any = None,
    model: nn.Module | None = None,
    callbacks: Sequence[Callback] = (),
    progress: Progress | None = None,
    warn: Warn | None = None,
) -> Run:
    """Go on with a run from its last whole checkpoint: on the same machine to the same bits.

    Args:
        out: the run folder.
        data: where the encoded data lie now, if they were moved; they must be the same data.
        model: a fresh module of the same shape, for a run whose model was the caller's own.
        callbacks, progress, warn: as for `train`.

    Raises:
        ArtefactError: there is no run, or none of its checkpoints is whole.
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
        _check_own(model, manifest.config, encoded)
    with _held(path, world):
        return _resume(path, manifest, encoded, model, callbacks, progress, warn or _silent, world, device)


def _resume(
    path: Path, manifest: RunManifest, data: TrainingData, model: nn.Module | None, callbacks: Sequence[Callback],
    progress: Progress | None, warn: Warn, world: World, device: torch.device,
) -> Run:  # fmt: skip
    """Go on with a run whose folder this process holds."""
    if data.fingerprint != manifest.data_fingerprint:
        raise DataError(
            f"{data.path or 'data'}: these are not the data that {path} began with (their hashes differ). "
            "Point --data to the same encoded/ folder, or begin a new run."
        )
    sinks = _make_sinks(manifest.config, world)
    same = world.size == manifest.environment.world_size
    _set_up_torch(manifest.config, manifest.environment.threads if same else manifest.config.threads)
    for warning in precision_warnings(Precision(manifest.precision, "", device.type), dropout=0.0) if world.writes else ():
        warn(warning)  # say, a run in bf16 that moved to a CPU without units for it
    stored = CheckpointStore(path / "checkpoints").steps()
    if not stored:
        check_not_emptied(path, manifest)
    own = model if model is not None else rebuild_model(manifest) if stored else None
    network = build_model(manifest.config, data, own).to(device)
    watchers = _watchers(sinks, callbacks, progress)
    return _run(manifest, data, network, path, world, device, watchers, warn, own=model is not None, resumed=True)


def _run(
    manifest: RunManifest, data: TrainingData, model: nn.Module, path: Path, world: World, device: torch.device,
    watchers: Sequence[Callback], warn: Warn, *, own: bool, resumed: bool = False,
) -> Run:  # fmt: skip
    """Put the parts together, bring them to the last checkpoint, train to the end, give back the best model."""
    config = manifest.config
    store = CheckpointStore(path / "checkpoints", keep=config.checkpoint.keep, background=config.checkpoint.background)
    if world.writes:
        store.sweep()
        artefact.recover(path / "model")
    world.wait()
    t = _trainer(manifest, data, model, world, device, warn)
    for change in _changes(manifest.environment, _environment(t)) if resumed and world.writes else ():
        warn(f"{change}: the last bits may differ from those of an uninterrupted run")
    if store.steps():
        _put_back(t, store, path)
    elif own and world.writes:  # weights that were given cannot be drawn again from the seed
        store.save(_stamped(t, path), _tensors(t), now=True)
    stories = read_stories(path, data)
    if not t.state.finished:
        if config.capture and not world.joined and config.batch.arrangement != "packed":
            t.captured = capture(t)
        if world.writes:
            _connect(t, store, data, path, stories)
            t.callbacks = watchers
        try:
            with store.disk_full_is_clear():
                fit(t, RunInfo(path, manifest, t.state.step, t.total_steps))
        finally:
            _close(t, store)
    summary = summarise(manifest, t.state)
    if (path / "model" / TRAIN_STORIES).exists():
        summary = with_stories(summary, stories)
    if world.writes:
        artefact.write_model(path / "model" / "training.json", summary)
    world.wait()
    load_best(model, path / "model")
    return Run(path, model.eval(), manifest, t.state, summary)


def _trainer(
    manifest: RunManifest, data: TrainingData, model: nn.Module, world: World, device: torch.device, warn: Warn
) -> Trainer:
    config = manifest.config
    precision = Precision(manifest.precision, manifest.precision_reason, device.type)
    return Trainer(
        model=model,
        network=compiled(model, device) if config.compile else model,
        loss=compiled(nll_sum, device) if config.compile and device.type == "cuda" else nll_sum,
        optimizers=build_optimizers(model, config.optimizer, vocab_size=data.vocab_size, precision=precision.name),
        batches=make_batches(config, data, manifest.context),
        validation=make_validation(config, data, manifest.context, manifest.micro_batch_tokens, manifest.validation_stories),
        precision=precision,
        scaler=precision.scaler(),
        world=world,
        device=device,
        manifest=manifest,
        state=TrainerState(
            micro_batch_tokens=manifest.micro_batch_tokens,
            pace=None if manifest.probe is None else pacing.start(manifest.probe, manifest.total_steps),
        ),
        average=WeightAverage(model, config.ema_decay) if config.ema_decay else None,
        warn=warn,
        in_place=owns_logits(model) and not config.compile,
    )


def _check_tokenizer(settings: TrainConfig, data: TrainingData) -> None:
    """Read the tokenizer now where stories are to be sampled: one that is damaged or too new would end the first validation."""
    if settings.validation.samples:
        _ = data.tokenizer


def _connect(t: Trainer, store: CheckpointStore, data: TrainingData, path: Path, stories: Any) -> None:
    """Let the loop write: checkpoints, the best model, sampled stories (rank 0 alone)."""

    def save_checkpoint(t: Trainer, now: bool) -> None:
        store.save(_stamped(t, path), _tensors(t), now=now)

    def save_best(t: Trainer) -> None:
        training = summarise(t.manifest, t.state)
        write_weights(t.model, path / "model", tokenizer=data.tokenizer_file, training=training, train_stories=stories)

    def sample(t: Trainer) -> list[str]:
        count, seed = t.manifest.config.validation.samples, t.manifest.config.seed
        return sample_stories(t.model, data.tokenizer, count=count, seed=seed) if count else []

    t.save_checkpoint, t.save_best, t.sample = save_checkpoint, save_best, sample


# --- the state of a run, to and from a checkpoint ----------------------------------------------


def _tensors(t: Trainer) -> dict[str, torch.Tensor]:
    tensors = {f"model.{name}": tensor for name, tensor in named_tensors(t.model)}
    tensors |= {f"optimizer.{name}": tensor for name, tensor in t.optimizers.tensors().items()}
    if t.average is not None:
        tensors |= {f"average.{name}": tensor for name, tensor in t.average.average.items()}
    return tensors


def _stamped(t: Trainer, path: Path) -> TrainerState:
    """The state with what a resume must compare or restore besides."""
    scaler = {name: float(value) for name, value in t.scaler.state_dict().items()}
    return t.state.model_copy(
        update={
            "scaler": scaler,
            "data_fingerprint": t.manifest.data_fingerprint,
            "run_sha256": config_digest(path),
            "environment": _environment(t),
        }
    )


def _environment(t: Trainer) -> Environment:
    return environment(t.manifest.config, t.world, t.device, t.optimizers.kind)


@torch.no_grad()
def _put_back(t: Trainer, store: CheckpointStore, path: Path) -> None:
    """Bring a fresh trainer to the newest whole checkpoint; damaged ones are set aside.

    Raises:
        ArtefactError: none is whole, or it is of another run.
        ConfigError: its tensors are not those of this model.
    """
    found: list[tuple[TrainerState, dict[str, torch.Tensor]]] = []

    def newest() -> int:
        state, tensors, problems = store.load(set_aside=True)
        for problem in problems:
            t.warn(problem)
        check_state(path, t.manifest, state)
        found.append((state, tensors))
        return state.step

    step = t.world.lead(newest)
    state, tensors = found[0] if found else store.read(step)
    by_room: dict[str, dict[str, torch.Tensor]] = {"model": {}, "optimizer": {}, "average": {}}
    for name, tensor in tensors.items():
        room, _, rest = name.partition(".")
        by_room.setdefault(room, {})[rest] = tensor
    averaged = t.average.average.items() if t.average is not None else ()
    for kept, wanted in ((by_room["model"], named_tensors(t.model)), (by_room["average"], averaged)):
        for name, tensor in wanted:
            if name not in kept or kept[name].shape != tensor.shape:
                raise ConfigError(
                    f"{store.folder}: the checkpoint has no tensor `{name}` of shape {list(tensor.shape)}; pass the same model."
                )
            tensor.copy_(kept[name])
    t.optimizers.load_tensors(by_room["optimizer"])
    if t.scaler.is_enabled():
        held = t.scaler.state_dict()
        t.scaler.load_state_dict({name: type(held[name])(value) for name, value in state.scaler.items()})
    t.state = state


def compiled(function: Any, device: torch.device) -> Any:
    """torch.compile; on a GPU once for all shapes, as batches of many widths come."""
    return torch.compile(function, dynamic=True if device.type == "cuda" else None)


# --- small things ------------------------------------------------------------------------------


class _Told(BaseCallback):
    """Tells a progress function of each step."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def on_step(self, metrics: StepMetrics) -> None:
        self.progress("train", metrics.step, metrics.total_steps)


def _close(t: Trainer, store: CheckpointStore) -> None:
    """Wait for the checkpoint in progress and close what the callbacks opened, also after an error."""
    try:
        store.wait()
    finally:
        if not t.state.finished:
            t.tell("on_end", t.state)


def _check_own(model: nn.Module, config: TrainConfig, data: TrainingData) -> None:
    check_network(model, make_batches(config, data, choose_context(config, model)), vocab_size=data.vocab_size)


def _set_up_torch(config: TrainConfig, threads: int | None) -> None:
    if threads is not None:
        torch.set_num_threads(threads)
    torch.set_float32_matmul_precision("high" if config.tf32 and torch.cuda.is_available() else "highest")


@contextlib.contextmanager
def _held(path: Path, world: World) -> Iterator[None]:
    """Hold the run folder for all ranks of this run; a second run on it is refused before it writes anything."""
    with contextlib.ExitStack() as stack:

        def hold() -> None:
            claim(path)
            stack.enter_context(run_lock(path))

        world.lead(hold)
        yield


def _make_sinks(config: TrainConfig, world: World) -> list[Callback]:
    """The config's sinks, on rank 0; where one is unknown or its package is missing, all ranks raise."""
    sinks: list[Callback] = []
    world.lead(lambda: sinks.extend(make_sink(name) for name in dict.fromkeys(config.sinks)))
    return sinks


def _watchers(sinks: Sequence[Callback], callbacks: Sequence[Callback], progress: Progress | None) -> list[Callback]:
    return [*sinks, *callbacks, *([_Told(progress)] if progress is not None else [])]


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
        if function is not None and not callable(function):
            raise TypeError(f"`{name}` is a {type(function).__name__}, a function was expected.")


def _changes(before: Environment, now: Environment) -> list[str]:
    return [
        f"{name} is {new!r} now and was {old!r}"
        for (name, old), (_, new) in zip(before.model_dump().items(), now.model_dump().items(), strict=True)
        if old != new
    ]


def _dropout(model: nn.Module) -> float:
    return max((m.p for m in model.modules() if isinstance(m, nn.Dropout)), default=0.0)


def _silent(message: str) -> None:
    pass

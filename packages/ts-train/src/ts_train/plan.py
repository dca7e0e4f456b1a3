"""What is decided once, at the start of a run, and written to run/config.json: a resume decides nothing again.

The model, its size and start; the number of steps (also from minutes, by measuring); micro-batch, precision, intervals.
"""

from __future__ import annotations

import copy
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import ValidationError
from torch import nn

from ts_models.artefact import describe_invalid

from . import pace as pacing
from .__about__ import __version__
from .data.batches import Batches, story_difficulty
from .data.dataset import TrainingData
from .errors import ArtefactError, ConfigError, DataError
from .network import owns_logits
from .optimizers import Optimizers, build_optimizers
from .runtime import hardware
from .runtime.distributed import World
from .runtime.precision import Precision, choose_precision
from .schemas import BatchConfig, Environment, RunManifest, SpeedProbe, StepLRConfig, TrainConfig
from .validation import ValidationSet

if TYPE_CHECKING:
    from .trainer import Trainer

__all__ = [
    "build_model",
    "choose_context",
    "decide",
    "environment",
    "idle_settings",
    "make_batches",
    "make_validation",
    "preset_name",
    "rebuild_model",
]


def build_model(config: TrainConfig, data: TrainingData, own: nn.Module | None) -> nn.Module:
    """The caller's own module, or the preset's with weights that follow from the seed, or those of `init_from`."""
    if own is not None:
        return own
    import ts_models

    if config.init_from is not None:
        return _load_start(config, data)
    torch.manual_seed(config.seed)
    fields = {**config.model, "vocab_size": data.vocab_size}
    if config.preset is not None:
        return ts_models.build(config.preset, **fields)
    if "kind" not in fields:
        raise ConfigError("field `preset`: is missing. Name one (story-1m), or give a whole `model` table with its `kind`.")
    try:
        return ts_models.build(_network_config(fields))
    except ValidationError as problem:
        raise ConfigError(f"field `model`: {describe_invalid(problem)}") from None


def _network_config(fields: dict[str, Any]) -> Any:
    from ts_models.schemas import config_class

    kind = fields.get("kind")
    return config_class(kind).model_validate(fields)


def rebuild_model(manifest: RunManifest) -> nn.Module | None:
    """The network of a run whose weights come from a checkpoint; None where the model was the caller's own."""
    import ts_models

    if manifest.model is None:
        return None
    try:
        return ts_models.build(_network_config(manifest.model))
    except ValidationError as problem:
        raise ArtefactError(f"the run's config.json, field `model`: {describe_invalid(problem)}") from None


def preset_name(model: nn.Module, asked: str | None) -> str | None:
    """The preset that a network is, whatever it was asked for by: `asked` where that is it, else the first that fits."""
    from ts_models import StoryModel
    from ts_models.presets import PRESETS

    if not isinstance(model, StoryModel):
        return None
    names = [name for name, known in PRESETS.items() if _same_network(known.config, model.config)]
    return asked if asked in names else next(iter(names), None)


def _same_network(one: Any, other: Any) -> bool:
    """Whether two configs are the same network but for its vocabulary, context, dropout and initial values."""
    vocabulary = {"vocab_size", "eos_id", "bos_id", "unk_id", "pad_id"}
    free = vocabulary | {"max_seq_len", "dropout", "init_std", "zero_init"}
    return bool(one.model_dump(exclude=free) == other.model_dump(exclude=free))


def _load_start(config: TrainConfig, data: TrainingData) -> nn.Module:
    """The network of a model/ folder, refused when it does not speak the data's vocabulary."""
    import ts_models
    from ts_models.artefact import sha256_file

    loaded = ts_models.load(str(config.init_from))
    if loaded.config.vocab_size != data.vocab_size:
        raise DataError(
            f"{config.init_from}: its vocabulary has {loaded.config.vocab_size} entries, the data's {data.vocab_size}. Encode the data with the model's own tokenizer."
        )
    own = Path(str(loaded.path)) / "word_tokenizer.json"
    if own.exists() and data.tokenizer_file is not None and sha256_file(own) != sha256_file(data.tokenizer_file):
        raise DataError(
            f"{config.init_from}: its word_tokenizer.json is not the one that the data were encoded with, so the same id would "
            f"mean another word. Encode again: ts-tokenizer encode splits/ --tokenizer {own} --out encoded/"
        )
    found = preset_name(loaded.model, config.preset)
    if config.preset is not None and found != config.preset:
        raise ConfigError(
            f"field `preset`: is {config.preset}, but {config.init_from} holds {found or 'a network of no preset'} "
            f"({sum(p.numel() for p in loaded.model.parameters()):,} parameters). Leave the preset out, or name the right one."
        )
    if not config.model:
        return loaded.model
    torch.manual_seed(config.seed)
    network = ts_models.build(loaded.config, **config.model)  # say, with another dropout
    try:
        network.load_state_dict(loaded.model.state_dict())
    except RuntimeError as problem:
        raise ConfigError(f"field `model`: changes the shape of the weights of {config.init_from}: {problem}") from None
    return network


def decide(config: TrainConfig, data: TrainingData, model: nn.Module, world: World, device: torch.device) -> RunManifest:
    """All that follows from settings, data, model and machine. Measures the peak, and the speed where minutes are given."""
    context = choose_context(config, model)
    batches = make_batches(config, data, context)
    precision = choose_precision(config.precision, device)
    step_tokens = max(batches.plan(i).cells for i in range(min(64, batches.steps_per_epoch)))
    micro = config.micro_batch_tokens
    if micro == "auto":
        if device.type != "cpu":  # no later step may need a second micro-batch
            step_tokens = max(step_tokens, (config.batch.batch_size or 0) * context, config.batch.max_tokens or 0)
        micro = hardware.automatic_micro_batch(device, vocab_size=data.vocab_size, step_tokens=step_tokens)
    validation = make_validation(config, data, context, micro, config.validation.max_stories)
    per_step = batches.epoch_tokens / batches.steps_per_epoch
    manifest = RunManifest(
        config=config, model=_model_dict(model), data=data.path, data_fingerprint=data.fingerprint,
        splits_fingerprint=data.splits_fingerprint, preset=preset_name(model, config.preset),
        tokenizer_sha256=data.tokenizer_sha256, parameters=sum(p.numel() for p in model.parameters()),
        total_steps=0, steps_per_epoch=batches.steps_per_epoch, cut_stories=batches.cut_stories, context=context,
        micro_batch_tokens=micro, precision=precision.name, precision_reason=precision.reason,
        validation_every=1, checkpoint_every=1,
        environment=environment(config, world, device, _optimizers(config, data, model, precision).kind),
        flops_per_token=hardware.training_flops_per_token(
            model, vocab_size=data.vocab_size, mean_length=batches.epoch_tokens / len(batches.lengths)
        ),
        peak_flops=hardware.best_peak_flops(device, precision.dtype) * world.size,
    )  # fmt: skip
    limits = [_steps_for_tokens(batches, config.max_tokens)] if config.max_tokens else []
    limits += [config.max_steps] if config.max_steps is not None else []
    stories, probe = config.validation.max_stories, None
    if config.max_minutes is not None:
        probe, stories = _measure(manifest, data, model, batches, validation, world, device)
        probe = probe.model_copy(update={"most_steps": min(limits, default=None)})
        limits.append(_steps_for_minutes(config, probe, per_step))
        validation = make_validation(config, data, context, micro, stories)
    total = min(limits) if limits else math.ceil(config.epochs * batches.steps_per_epoch)
    scored = 0 if validation is None else validation.tokens
    every = config.validation.every if validation is not None and config.validation.every else _interval(total, per_step, scored)
    return manifest.model_copy(
        update={
            "total_steps": total,
            "validation_every": every,
            "validation_stories": 0 if validation is None else stories,
            "checkpoint_every": config.checkpoint.every or every,
            "probe": probe,
        }
    )


def make_batches(config: TrainConfig, data: TrainingData, context: int) -> Batches:
    """The training split's batches, with the scores of a curriculum."""
    batch = config.batch
    scores = None
    if batch.curriculum == "difficulty":
        scores = story_difficulty(data.train)
    batches = Batches(
        data.train, context=context, seed=config.seed, pad_id=data.pad_id, batch_size=batch.batch_size,
        max_tokens=batch.max_tokens, arrangement=batch.arrangement, bucket=batch.bucket, pad_to=batch.pad_to, scores=scores,
        score_epochs=batch.curriculum_epochs,
    )  # fmt: skip
    if batch.curriculum == "length":
        batches.scores = batches.lengths.astype(float)
    return batches


def make_validation(
    config: TrainConfig, data: TrainingData, context: int, micro_batch_tokens: int, stories: int | None
) -> ValidationSet | None:
    """The validation split, or its first `stories`; None where the data hold none."""
    if data.validation is None:
        return None
    return ValidationSet.of(
        data.validation, context=context, pad_id=data.pad_id, max_tokens=max(micro_batch_tokens, context),
        max_stories=stories,
    )  # fmt: skip


def _optimizers(config: TrainConfig, data: TrainingData, model: nn.Module, precision: Precision) -> Optimizers:
    return build_optimizers(model, config.optimizer, vocab_size=data.vocab_size, precision=precision.name)


def environment(config: TrainConfig, world: World, device: torch.device, optimizer: str) -> Environment:
    """What may change the last bits: recorded in every checkpoint. `optimizer` is the `kind` of what was built."""
    from ts_models.fast import available

    return Environment(
        threads=torch.get_num_threads(), world_size=world.size, device=device.type, optimizer=optimizer,
        compile=config.compile, torch=str(torch.__version__), cpu_capability=torch.backends.cpu.get_cpu_capability(),
        capture=config.capture, ts_train=__version__, kernels="compiled" if device.type == "cpu" and available() else "torch",
    )  # fmt: skip


def _model_dict(model: nn.Module) -> dict[str, Any] | None:
    """The whole config of a model of the zoo; None for any other module."""
    from ts_models import StoryModel

    return model.config.model_dump(mode="json") if isinstance(model, StoryModel) else None


def choose_context(config: TrainConfig, model: nn.Module) -> int:
    """Positions of a row at most: as asked, else what the model takes, else 256."""
    own = getattr(getattr(model, "config", None), "max_seq_len", None)
    wanted = config.batch.context or own or 256
    if own is not None and wanted > own:
        raise ConfigError(f"field `batch.context`: {wanted} is more than the model's max_seq_len of {own}")
    return int(wanted)


def _steps_for_tokens(batches: Batches, tokens: int) -> int:
    """The fewest steps that see at least `tokens` real tokens."""
    steps, left = divmod(tokens, batches.epoch_tokens)
    steps *= batches.steps_per_epoch
    while left > 0:
        left -= batches.plan(steps).tokens
        steps += 1
    return steps


def _interval(total: int, step_tokens: float, validation_tokens: float) -> int:
    """Steps between validations: up to 20 of them, costing at most a fifth of the run (a forward pass is a third of a step)."""
    affordable = 0.2 * total * step_tokens / (validation_tokens / 3) if validation_tokens else math.inf
    return max(1, math.ceil(total / max(1, min(20, int(min(20, affordable))))))


def _measure(
    manifest: RunManifest, data: TrainingData, model: nn.Module, batches: Batches, validation: ValidationSet | None,
    world: World, device: torch.device,
) -> tuple[SpeedProbe, int | None]:  # fmt: skip
    """(speed, validation stories or None for all), from timing a few steps on a copy of the model.

    Where one validation would take more than a tenth of the budget, part of the split is scored instead, a twentieth of the
    budget each time.
    """
    config, begun = manifest.config, pacing.now()
    assert config.max_minutes is not None
    trial = _trial(manifest, data, copy.deepcopy(model), batches, validation, world, device)
    seconds = max(1e-9, _time_steps(trial, limit=min(5.0, 3 * config.max_minutes)))
    per_token = seconds * batches.steps_per_epoch / batches.epoch_tokens
    scored = 0.0 if validation is None else 1.4 * per_token / 3 * validation.tokens  # a forward pass, long stories twice
    spent = pacing.now() - begun
    budget, stories = pacing.SHARE * 60 * config.max_minutes - spent, config.validation.max_stories
    if validation is not None and stories is None and scored > 0.1 * budget:
        part = max(0.0, 0.05 * budget / scored)
        stories = max(8, int(part * len(validation.batches.lengths)))
        scored *= stories / len(validation.batches.lengths)
    probe = SpeedProbe(seconds=spent, seconds_per_token=per_token, validation_seconds=scored)
    chosen: tuple[SpeedProbe, int | None] = world.agree((probe, stories))
    return chosen


def _steps_for_minutes(config: TrainConfig, probe: SpeedProbe, step_tokens: float) -> int:
    """The first plan: steps that fit beside their validations, whose number depends on the steps."""
    assert config.max_minutes is not None
    pace, total = pacing.start(probe, 1), 10**9
    tokens = probe.validation_seconds / probe.seconds_per_token * 3
    for _ in range(4):
        every = config.validation.every or _interval(total, step_tokens, tokens)
        total = pacing.fitting_steps(
            pace, probe, budget=60 * config.max_minutes, step=0, step_tokens=step_tokens, validation_every=every
        )
    return total


def _time_steps(trial: Trainer, *, limit: float) -> float:
    """Mean seconds of an optimizer step after two to warm up."""
    from .trainer import train_step

    for _ in range(2):
        train_step(trial)
    start, steps = time.perf_counter(), 0
    while steps < 5 or (time.perf_counter() - start < limit and steps < 200):
        train_step(trial)
        steps += 1
        if trial.world.agree(time.perf_counter() - start) > limit and steps >= 5:
            break
    return (time.perf_counter() - start) / steps


def _trial(
    manifest: RunManifest, data: TrainingData, model: nn.Module, batches: Batches, validation: ValidationSet | None,
    world: World, device: torch.device,
) -> Trainer:  # fmt: skip
    from .schemas import TrainerState
    from .trainer import Trainer

    precision = Precision(manifest.precision, "", device.type)
    model.train()
    return Trainer(
        model=model, network=model,
        optimizers=_optimizers(manifest.config, data, model, precision),
        batches=batches, validation=validation, precision=precision, scaler=precision.scaler(), world=world, device=device,
        manifest=manifest.model_copy(update={"total_steps": 10**6}),
        state=TrainerState(micro_batch_tokens=manifest.micro_batch_tokens), in_place=owns_logits(model),
    )  # fmt: skip


# --- settings without effect ---


def idle_settings(config: TrainConfig, manifest: RunManifest, *, own_model: bool) -> list[str]:
    """One line for each setting that differs from its default and has no effect."""
    return [f"{line}." for line in (*_limits(config, manifest), *_parts(config, manifest, own_model))]


def _limits(config: TrainConfig, manifest: RunManifest) -> list[str]:
    found, total, schedule = [], manifest.total_steps, config.schedule
    limits = [name for name in ("max_steps", "max_tokens", "max_minutes") if getattr(config, name) is not None]
    if limits and config.epochs != TrainConfig.model_fields["epochs"].default:
        found.append(f"epochs = {config.epochs:g} does nothing: {limits[0]} is the limit")
    if schedule.warmup_steps >= total > 0:
        found.append(
            f"the warm-up of {schedule.warmup_steps:,} steps is not over within the run of {total:,}: "
            "the learning rate never reaches its peak (--set schedule.warmup_steps=…)"
        )
    if isinstance(schedule, StepLRConfig) and schedule.step_size >= total > 0 and schedule.gamma < 1:
        found.append(
            f"schedule.step_size = {schedule.step_size:,} is not reached in {total:,} steps: the learning rate stays constant"
        )
    if schedule.name == "wsd" and schedule.decay_fraction == 0 and schedule.min_factor:
        found.append("schedule.min_factor does nothing: schedule.decay_fraction is 0, so the rate does not fall")
    return found


def _parts(config: TrainConfig, manifest: RunManifest, own_model: bool) -> list[str]:
    found, batch, validation, optimizer = [], config.batch, config.validation, config.optimizer
    if batch.arrangement != "bucketed" and batch.bucket != BatchConfig.model_fields["bucket"].default:
        found.append(f"batch.bucket does nothing: the arrangement is {batch.arrangement}")
    if batch.curriculum == "none" and batch.curriculum_epochs != BatchConfig.model_fields["curriculum_epochs"].default:
        found.append("batch.curriculum_epochs does nothing: batch.curriculum is none")
    if own_model and config.model:
        found.append(f"the table `model` ({', '.join(sorted(config.model))}) does nothing: the model is the caller's own")
    if own_model and config.init_from is not None:
        found.append("init_from does nothing: the model is the caller's own")
    if optimizer.name == "adamw" and optimizer.decay_all and optimizer.weight_decay == 0:
        found.append("optimizer.decay_all does nothing: optimizer.weight_decay is 0")
    vocabulary = (manifest.model or {}).get("vocab_size")
    if config.model.get("vocab_size", vocabulary) != vocabulary:
        found.append(
            f"model.vocab_size = {config.model['vocab_size']} does nothing: the data's vocabulary has {vocabulary} entries"
        )
    if optimizer.name == "muon" and optimizer.cautious and optimizer.weight_decay == 0:
        found.append("optimizer.cautious does nothing: optimizer.weight_decay is 0")
    if config.capture and (batch.arrangement == "packed" or manifest.environment.world_size > 1):
        why = "packed rows are not recorded" if batch.arrangement == "packed" else "several ranks do not record their steps"
        found.append(f"capture does nothing: {why}")
    if manifest.validation_stories == 0:
        asked = [name for name in ("every", "max_stories", "patience") if getattr(validation, name) is not None]
        found += [f"validation.{name} does nothing: the data hold no validation stories" for name in asked]
    elif validation.patience is not None and validation.patience * manifest.validation_every >= manifest.total_steps > 0:
        found.append(f"validation.patience = {validation.patience} cannot be reached: the run has fewer validations")
    return found

"""Plan a run from settings, data, model and machine. The plan is written to run/config.json; a resume reads it."""

import copy
import math
import time

import torch
from torch import nn

from .data.batches import Batches, step_size
from .data.dataset import TrainingData
from .network import choose_context, model_dict, preset_name
from .optimizers import build_optimizers
from .runtime import pace as pacing
from .runtime.distributed import World
from .runtime.hardware import automatic_micro_batch, best_peak_flops, training_flops_per_token
from .runtime.precision import choose_precision
from .schemas import BatchConfig, RunManifest, SpeedProbe, TrainConfig
from .teachers import Teachers
from .trainer import Trainer, describe_environment, records_steps
from .validation import ValidationSet

CYCLE = 8
"""Number of steps timed in turn if steps compile or record: each shape costs more the first two times."""


def plan_run(
    config: TrainConfig, data: TrainingData, model: nn.Module, world: World, device: torch.device, teachers: Teachers | None
) -> tuple[RunManifest, Batches]:
    """The plan, the same on all ranks, and the training batches. Measures the peak FLOP/s, and with `max_minutes` the speed."""
    context = choose_context(config, getattr(model, "config", None))
    batches = data.batches(config, context)  # provisional if the size of a step is open: it follows from the length of the run
    precision = choose_precision(config.precision, device)
    optimizers = build_optimizers(model, config.optimizer, vocab_size=data.vocab_size, precision=precision.name)
    manifest = RunManifest(
        config=config, model=model_dict(model), data=data.path, data_fingerprint=data.fingerprint,
        splits_fingerprint=data.splits_fingerprint, preset=preset_name(model, config.preset),
        teachers_sha256=() if teachers is None else teachers.sha256,
        tokenizer_sha256=data.tokenizer_sha256, parameters=sum(p.numel() for p in model.parameters()),
        total_steps=10**6, steps_per_epoch=batches.steps_per_epoch, cut_stories=batches.cut_stories, context=context,
        micro_batch_tokens=_micro_batch_tokens(config, data, batches, device),
        precision=precision.name, precision_reason=precision.reason,
        validation_every=1, validation_stories=config.validation.max_stories, checkpoint_every=1,
        environment=describe_environment(config, model, world, device, optimizers.kind),
        flops_per_token=_flops_per_token(model, teachers, batches.epoch_tokens / len(batches.lengths)),
        peak_flops=best_peak_flops(device, precision.dtype) * world.size,
    )  # fmt: skip
    if config.max_minutes is not None:
        probe, stories = _measure(manifest, data, model, batches, world, device, teachers)
        manifest = manifest.model_copy(update={"probe": probe, "validation_stories": stories})
    if config.batch.batch_size is None and config.batch.tokens_per_step is None:
        size = step_size(_run_tokens(config, batches, manifest.probe))
        batches = data.batches(config, context, size)
        manifest = manifest.model_copy(
            update={
                "tokens_per_step": size,
                "steps_per_epoch": batches.steps_per_epoch,
                "micro_batch_tokens": _micro_batch_tokens(config, data, batches, device, size),
            }
        )
    per_step = batches.epoch_tokens / batches.steps_per_epoch
    limits = [_steps_for_tokens(batches, config.max_tokens)] if config.max_tokens else []
    limits += [config.max_steps] if config.max_steps is not None else []
    if manifest.probe is not None:
        probe = manifest.probe.model_copy(update={"most_steps": min(limits, default=None)})
        limits.append(_steps_for_minutes(config, probe, per_step))
        manifest = manifest.model_copy(update={"probe": probe})
    total = min(limits) if limits else math.ceil(config.epochs * batches.steps_per_epoch)
    validation = ValidationSet.planned(data, manifest)
    scored = 0 if validation is None else validation.tokens
    every = config.validation.every if validation is not None and config.validation.every else _interval(total, per_step, scored)
    planned = manifest.model_copy(
        update={
            "total_steps": total,
            "validation_every": every,
            "validation_stories": 0 if validation is None else manifest.validation_stories,
            "checkpoint_every": config.checkpoint.every or every,
        }
    )
    agreed: RunManifest = world.broadcast_object(planned)
    return agreed, batches


def _flops_per_token(model: nn.Module, teachers: Teachers | None, mean_length: float) -> float:
    """Of a training step; each teacher's part is its forward pass, a third of what training it would take."""
    read = [] if teachers is None else teachers.models
    own, *others = (training_flops_per_token(network, mean_length=mean_length) for network in (model, *read))
    return own + sum(others) / 3


def _run_tokens(config: TrainConfig, batches: Batches, probe: SpeedProbe | None) -> float:
    """Real tokens of the run, before its steps are known; `max_steps` counts steps of the provisional batches."""
    limits: list[float] = [config.max_tokens] if config.max_tokens else []
    if config.max_steps is not None:
        limits.append(config.max_steps * batches.epoch_tokens / batches.steps_per_epoch)
    if config.max_minutes is not None and probe is not None:
        limits.append((60 * config.max_minutes - probe.seconds) / probe.seconds_per_token)
    return max(0, min(limits)) if limits else config.epochs * batches.epoch_tokens


def _micro_batch_tokens(
    config: TrainConfig, data: TrainingData, batches: Batches, device: torch.device, tokens_per_step: int = 0
) -> int:
    """Positions per forward pass: as configured, or automatic for the device."""
    if config.micro_batch_tokens != "auto":
        return config.micro_batch_tokens
    step_tokens = max(batches.plan(i).padded_tokens for i in range(min(64, batches.steps_per_epoch)))
    if device.type != "cpu":  # no later step may need a second micro-batch
        largest = config.batch.tokens_per_step or tokens_per_step or (config.batch.batch_size or 0) * batches.context
        step_tokens = max(step_tokens, largest)
    return automatic_micro_batch(device, vocab_size=data.vocab_size, step_tokens=step_tokens)


def _steps_for_tokens(batches: Batches, tokens: int) -> int:
    """The smallest number of steps with at least `tokens` real tokens."""
    steps, left = divmod(tokens, batches.epoch_tokens)
    steps *= batches.steps_per_epoch
    while left > 0:
        left -= batches.plan(steps).tokens
        steps += 1
    return steps


def _interval(total: int, step_tokens: float, validation_tokens: float) -> int:
    """Steps between validations: at most 20 of them, and at most a fifth of the run (a forward pass is a third of a step)."""
    affordable = 0.2 * total * step_tokens / (validation_tokens / 3) if validation_tokens else math.inf
    return max(1, math.ceil(total / max(1, min(20, int(min(20, affordable))))))


def _measure(
    manifest: RunManifest, data: TrainingData, model: nn.Module, batches: Batches, world: World, device: torch.device,
    teachers: Teachers | None,
) -> tuple[SpeedProbe, int | None]:  # fmt: skip
    """(speed, validation stories or None for all), from timing a few steps on a copy of the model.

    A validation that would take more than a tenth of the budget scores only part of the split, in a twentieth of the budget.
    """
    config, start = manifest.config, pacing.now()
    assert config.max_minutes is not None
    trainer = Trainer(copy.deepcopy(model), data, manifest, world=world, device=device, batches=batches, teachers=teachers)
    per_token = _time_steps(trainer, limit=min(5.0, 3 * config.max_minutes))
    validation, stories = trainer.validation, config.validation.max_stories
    scored = 0.0 if validation is None else 1.4 * per_token / 3 * validation.tokens  # a forward pass, long stories twice
    spent = pacing.now() - start
    budget = pacing.SHARE * 60 * config.max_minutes - spent
    if validation is not None and stories is None and scored > 0.1 * budget:
        part = max(0.0, 0.05 * budget / scored)
        stories = max(8, int(part * len(validation.batches.lengths)))
        scored *= stories / len(validation.batches.lengths)
    probe = SpeedProbe(seconds=spent, seconds_per_token=per_token, validation_seconds=scored)
    chosen: tuple[SpeedProbe, int | None] = world.broadcast_object((probe, stories))
    return chosen


def _time_steps(trainer: Trainer, *, limit: float) -> float:
    """Seconds per token after a warm-up, of steps as the run takes them: launched, recorded or compiled.

    If a new batch shape costs extra time, the same few steps are repeated, so that the measured ones are warm.
    """
    config = trainer.config
    settles = config.compile or records_steps(config, trainer.world)
    start, tokens, done, warm_up = 0.0, 0, 0, 3 * CYCLE if settles else 2
    with trainer.recorded():
        while True:
            if settles:
                trainer.update(step=done % CYCLE)
            if done == warm_up:
                start, tokens = time.perf_counter(), trainer.state.tokens
            trainer.train_step()
            done += 1
            if done < warm_up + 5:
                continue
            spent = time.perf_counter() - start
            if trainer.world.broadcast_object(spent > limit or done >= warm_up + 200):
                return max(1e-12, spent / max(1, trainer.state.tokens - tokens))


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


def idle_settings(config: TrainConfig, manifest: RunManifest, *, own_model: bool) -> list[str]:
    """One line for each setting that differs from its default and has no effect."""
    found, batch, validation = [], config.batch, config.validation
    limits = [name for name in ("max_steps", "max_tokens", "max_minutes") if getattr(config, name) is not None]
    if limits and config.epochs != TrainConfig.model_fields["epochs"].default:
        found.append(f"epochs = {config.epochs:g} does nothing: {limits[0]} is the limit")
    found += [*config.schedule.idle(manifest.total_steps), *config.optimizer.idle()]
    if batch.arrangement != "bucketed" and batch.bucket != BatchConfig.model_fields["bucket"].default:
        found.append(f"batch.bucket does nothing: the arrangement is {batch.arrangement}")
    if batch.curriculum == "none" and batch.curriculum_epochs != BatchConfig.model_fields["curriculum_epochs"].default:
        found.append("batch.curriculum_epochs does nothing: batch.curriculum is none")
    if own_model and config.model:
        found.append(f"the table `model` ({', '.join(sorted(config.model))}) does nothing: the model is the caller's own")
    if not config.teachers and config.teacher_weight != TrainConfig.model_fields["teacher_weight"].default:
        found.append("teacher_weight does nothing: there are no teachers")
    if own_model and config.init_from is not None:
        found.append("init_from does nothing: the model is the caller's own")
    vocabulary = (manifest.model or {}).get("vocab_size")
    if config.model.get("vocab_size", vocabulary) != vocabulary:
        found.append(
            f"model.vocab_size = {config.model['vocab_size']} does nothing: the data's vocabulary has {vocabulary} entries"
        )
    if config.capture and (batch.arrangement == "packed" or manifest.environment.world_size > 1):
        why = "packed rows are not recorded" if batch.arrangement == "packed" else "several ranks do not record their steps"
        found.append(f"capture does nothing: {why}")
    if manifest.validation_stories == 0:
        asked = [name for name in ("every", "max_stories", "patience") if getattr(validation, name) is not None]
        found += [f"validation.{name} does nothing: the data hold no validation stories" for name in asked]
    elif validation.patience is not None and validation.patience * manifest.validation_every >= manifest.total_steps > 0:
        found.append(f"validation.patience = {validation.patience} cannot be reached: the run has fewer validations")
    return [f"{line}." for line in found]

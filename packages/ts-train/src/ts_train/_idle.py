"""Settings that do nothing in a run, or not what they seem to: said once, at its start."""

from __future__ import annotations

from .schemas import BatchConfig, RunManifest, StepLRConfig, TrainConfig

__all__ = ["idle_settings"]


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

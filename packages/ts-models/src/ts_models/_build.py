"""Config → network. Importing this module loads torch; `presets` and `schemas` do not."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from .architectures import StoryModel, architecture
from .artefact import describe_invalid
from .errors import ConfigError
from .presets import preset
from .schemas import ModelConfig


def build(preset_or_config: str | ModelConfig, **overrides: Any) -> StoryModel:
    """A new network with random weights: `build("talk-1m", vocab_size=2048)`; ids [batch, time] → logits.

    Draws from torch's global generator: call `torch.manual_seed` first for the same weights.
    Raises ConfigError for an unknown preset or field, MissingExtraError where torchtune is installed and does not import.
    """
    config = _config(preset_or_config, overrides)
    return architecture(config.kind)(config)


def build_for_inference(config: ModelConfig) -> StoryModel:
    """A network whose weights are about to be replaced: never needs torchtune."""
    return architecture(config.kind)(config, torchtune=False)


def _config(given: str | ModelConfig, overrides: dict[str, Any]) -> ModelConfig:
    if isinstance(given, str):
        return preset(given, **overrides)
    if not overrides:
        return given
    special = {"eos_id", "bos_id", "unk_id", "pad_id"} if "vocab_size" in overrides else set()
    try:
        return type(given).model_validate({**given.model_dump(exclude=special), **overrides})
    except ValidationError as problem:
        raise ConfigError(f"model config: {describe_invalid(problem)}") from None

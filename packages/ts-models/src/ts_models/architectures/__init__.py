"""The kinds of network, and `build`: config → network. `registry.ARCHITECTURES` is their table. Importing this package loads torch."""

from typing import Any

from ..presets import preset, replace_fields
from ..registry import ARCHITECTURES, load_entry
from ..schemas import ModelConfig, NetworkConfig
from .base import StoryModel

__all__ = ["StoryModel", "architecture", "build", "build_for_inference"]


def architecture(kind: str) -> type[StoryModel]:
    """The class that builds configs of this kind."""
    return load_entry(ARCHITECTURES[kind])  # type: ignore[no-any-return]


def build(preset_or_config: str | ModelConfig, **overrides: Any) -> StoryModel:
    """A new network with random weights: `build("talk-1m", vocab_size=2048)`; ids [batch, time] → logits.

    Draws from torch's global generator: call `torch.manual_seed` first for the same weights.
    Raises ConfigError for an unknown preset or field, MissingExtraError where torchtune is installed and does not import.
    """
    if isinstance(preset_or_config, str):
        config = preset(preset_or_config, **overrides)
    elif not isinstance(preset_or_config, NetworkConfig):
        raise TypeError(
            f"a preset's name or a model config is expected, not of type {type(preset_or_config).__name__}. "
            "Write ts_models.TransformerConfig(**fields)."
        )
    else:
        config = replace_fields(preset_or_config, overrides, "model config") if overrides else preset_or_config
    return architecture(config.kind)(config)


def build_for_inference(config: ModelConfig) -> StoryModel:
    """A network whose weights are about to be replaced: never needs torchtune."""
    return architecture(config.kind)(config, torchtune=False)

"""The named models: a table of configs, each with its parameter count and where it comes from. No torch.

`talk-*` reproduce the models of the talk to the parameter. Its table prints 5 layers for 15M and 8 for 35M, but those
would be 23.1 and 88.2 million parameters; its own text says "35M (3 layer)", and only 3 layers give the named sizes.
`story-*` are ours at the same sizes, in Qwen3's structure, so that other tools open them.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from .artefact import describe_invalid
from .errors import ConfigError
from .schemas import ModelConfig, RecurrentConfig, TransformerConfig


@dataclass(frozen=True)
class Preset:
    """A named config; `parameters` is what it has at its own vocabulary size."""

    name: str
    config: ModelConfig
    parameters: int
    summary: str


_TALK = {
    "positions": "sinusoidal",
    "norm": "layernorm",
    "norm_first": False,
    "final_norm": False,
    "feed_forward": "gelu",
    "bias": True,
    "tie_embeddings": False,
}
_STORY = {
    "positions": "rope",
    "norm": "rmsnorm",
    "norm_eps": 1e-6,
    "norm_first": True,
    "final_norm": True,
    "qk_norm": True,
    "feed_forward": "swiglu",
    "bias": False,
    "tie_embeddings": True,
    "zero_init": True,
    "init_std": 0.02,
    "dropout": 0.0,
}


def _talk(name: str, parameters: int, **fields: Any) -> Preset:
    return Preset(name, TransformerConfig.model_validate({**_TALK, **fields}), parameters, "the talk's Transformer")


def _story(name: str, parameters: int, **fields: Any) -> Preset:
    return Preset(name, TransformerConfig.model_validate({**_STORY, **fields}), parameters, "ours, Qwen3's structure")


def _recurrent(name: str, parameters: int, **fields: Any) -> Preset:
    return Preset(name, RecurrentConfig.model_validate(fields), parameters, f"the talk's {fields['kind'].upper()}")


# fmt: off
_ALL = (
    _talk("talk-1m", 1_000_105, d_model=128, n_heads=8, n_layers=3, d_ff=355, dropout=0.08, positions="rope-embedding"),
    _talk("talk-5m", 5_009_684, d_model=256, n_heads=8, n_layers=5, d_ff=1028, dropout=0.1, positions="rope-embedding"),
    _talk("talk-5m-laptop", 5_008_871, d_model=384, n_heads=4, n_layers=3, d_ff=717, dropout=0.1007),
    _talk("talk-10m", 10_008_902, d_model=384, n_heads=8, n_layers=5, d_ff=1422, dropout=0.1, norm_first=True),
    _talk("talk-15m", 14_705_152, d_model=512, n_heads=8, n_layers=3, d_ff=3072, dropout=0.1007, norm_first=True),
    _talk("talk-35m", 35_690_496, d_model=1024, n_heads=16, n_layers=3, d_ff=3072, dropout=0.1007),
    _recurrent("talk-5m-rnn", 5_002_444, kind="rnn", d_model=512, d_hidden=590, n_layers=4, dropout=0.1005),
    _recurrent("talk-5m-lstm", 5_042_432, kind="lstm", d_model=384, d_hidden=464, n_layers=2, dropout=0.1005),
    _recurrent("talk-5m-gru", 5_225_276, kind="gru", d_model=384, d_hidden=546, n_layers=2, dropout=0.1005),
    _story("story-1m", 1_004_928, d_model=128, n_heads=4, head_dim=32, n_layers=4, d_ff=312),
    _story("story-5m", 5_013_504, d_model=256, n_heads=4, head_dim=64, n_layers=6, d_ff=632),
    _story("story-10m", 10_007_296, d_model=384, n_heads=6, head_dim=64, n_layers=5, d_ff=1088),
    _story("story-15m", 15_030_720, d_model=448, n_heads=7, head_dim=64, n_layers=6, d_ff=1152),
    _story("story-35m", 35_154_176, d_model=640, n_heads=10, head_dim=64, n_layers=7, d_ff=1664),
)
# fmt: on

PRESETS: dict[str, Preset] = {item.name: item for item in _ALL}


def preset(name: str, **overrides: Any) -> ModelConfig:
    """The config of a named model, with fields replaced: `preset("talk-1m", vocab_size=4096)`.

    Raises ConfigError for an unknown name (with the nearest one) or a field that does not hold.
    """
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"no preset named {name!r}.{hint} There are: {', '.join(PRESETS)}.")
    return replace_fields(PRESETS[name].config, overrides, f"preset {name!r}")


def replace_fields(config: ModelConfig, values: dict[str, Any], source: str) -> ModelConfig:
    """A config with other values of some fields; with another `vocab_size` the special ids move along. ConfigError names a wrong field."""
    special = {"eos_id", "bos_id", "unk_id", "pad_id"} if "vocab_size" in values else set()
    try:
        return type(config).model_validate({**config.model_dump(exclude=special), **values})
    except ValidationError as problem:
        raise ConfigError(f"{source}: {describe_invalid(problem)}") from None

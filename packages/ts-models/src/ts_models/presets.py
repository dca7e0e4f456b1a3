"""The named models of presets.toml: configs, each with its parameter count and where it comes from. No torch.

`talk-*` reproduce the models of the talk to the parameter. Its table prints 5 layers for 15M and 8 for 35M, but those
would be 23.1 and 88.2 million parameters; its own text says "35M (3 layer)", and only 3 layers give the named sizes.
`story-*` are ours at the same sizes, in Qwen3's structure, so that other tools open them.
"""

import difflib
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from .artefact import describe_invalid
from .errors import ConfigError
from .schemas import ModelConfig, config_class


@dataclass(frozen=True)
class Preset:
    """A named config; `parameters` is what it has at its own vocabulary size."""

    name: str
    config: ModelConfig
    parameters: int
    summary: str


def _read_presets() -> dict[str, Preset]:
    """The models of presets.toml by name."""
    content = tomllib.loads(Path(__file__).with_name("presets.toml").read_text(encoding="utf-8"))
    found = {}
    for family in content["family"]:
        for name, fields in family["models"].items():
            fields = family["shared"] | fields
            parameters = fields.pop("parameters")
            config = config_class(fields.get("kind")).model_validate(fields)
            found[name] = Preset(name, config, parameters, family["summary"])
    return found


PRESETS: dict[str, Preset] = _read_presets()


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

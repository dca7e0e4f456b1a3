"""Built-in recipes: a TOML file each, named as the preset or as a variant of it, which `extends` the preset's recipe.

The table `gpu` holds the changes for an NVIDIA GPU (larger steps, scaled learning rates).
"""

import difflib
import os
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..schemas import rename_batch_tokens


def recipe_names() -> list[str]:
    """Names of all recipes, sorted."""
    return sorted(f.name.removesuffix(".toml") for f in files(__package__).iterdir() if f.name.endswith(".toml"))


def recipe(name: str, *, device: str = "cpu") -> dict[str, Any]:
    """The settings of a recipe, in the form for a device.

    Args:
        name: the recipe's: that of its preset, or of a variant ("story-1m-instruct").
        device: auto, cpu, cuda, cuda:1 …, as the field `device` of the settings.

    Raises:
        ConfigError: there is none of that name.
    """
    names = recipe_names()
    if name not in names:
        near = difflib.get_close_matches(str(name), names, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"field `preset`: no recipe is named {name!r}.{hint} There are: {', '.join(names)}.")
    values = tomllib.loads(files(__package__).joinpath(f"{name}.toml").read_text(encoding="utf-8"))
    if (base := values.pop("extends", None)) is not None:
        return combine(recipe(base, device=device), values)
    gpu = values.pop("gpu", {})
    if device == "cpu":
        return values
    from ..runtime.hardware import is_gpu

    return combine(values, gpu) if is_gpu(device) else values


def study_names(kind: str) -> list[str]:
    """Names of the built-in studies of a kind (ablations, ladders, searches), sorted."""
    return sorted(f.name.removesuffix(".toml") for f in files(__package__).joinpath(kind).iterdir())


def study_file(kind: str, name: str | os.PathLike[str]) -> Path:
    """The TOML file of a study: a path, or the name of a built-in one of its kind ("heads").

    Raises:
        ConfigError: there is neither.
    """
    path, names = Path(name), study_names(kind)
    if path.is_file():
        return path
    if str(name) in names:
        return Path(str(files(__package__).joinpath(kind, f"{name}.toml")))
    raise ConfigError(f"{name}: no such file, and none of the {kind} has that name. There are: {', '.join(names)}.")


def over_recipe(name: str, asked: dict[str, Any]) -> dict[str, Any]:
    """`asked` over a recipe, for the device that is asked for. The preset is the recipe's."""
    base = recipe(name, device=asked.get("device", "auto"))
    return {**combine(base, asked), "preset": base["preset"]}


def combine(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`changes` over `base`, table by table. A table of another `name` (or a batch size of another kind) replaces the old."""
    base, changes = _renamed(base), _renamed(changes)
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            other_kind = "name" in value and value["name"] != old.get("name")
            merged[key] = dict(value) if other_kind else combine(old, value)
        else:
            merged[key] = value
    for one, other in (("batch_size", "tokens_per_step"), ("tokens_per_step", "batch_size")):
        if "arrangement" in base and one in changes and other not in changes:
            merged.pop(other, None)
    return merged


def _renamed(values: dict[str, Any]) -> dict[str, Any]:
    """Settings, or their table `batch`, with the current name of `batch.max_tokens`."""
    if "arrangement" in values:
        return rename_batch_tokens(values)
    batch = values.get("batch")
    return {**values, "batch": rename_batch_tokens(batch)} if isinstance(batch, dict) else values

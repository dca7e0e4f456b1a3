"""The content of `ts-models show`: a preset or a saved model, also a third-party one. Reads no weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..presets import PRESETS, preset
from ..sizes import flops_per_token, inference_bytes, parameters_by_part, training_bytes


def describe(name: str) -> dict[str, Any]:
    """Config, parameters by part, sizes, and for a saved model its training record and card."""
    config, training, card = (PRESETS[name].config, None, "") if name in PRESETS else _stored(name)
    return {
        "name": name,
        "config": {field: value for field, value in config.model_dump(mode="json").items() if value not in (None, [])},
        "parts": parameters_by_part(config),
        "flops_per_token": flops_per_token(config),
        "training_bytes": training_bytes(config),
        "inference_bytes": inference_bytes(config),
        "training": None if training is None else training.model_dump(mode="json"),
        "card": card,
    }


def _stored(name: str) -> tuple[Any, Any, str]:
    from ..io.model_folder import is_foreign, read_config, read_training, resolve

    if "/" not in name and name != "demo" and not Path(name).exists():
        preset(name)  # says which names there are
    place = resolve(name)
    if is_foreign(place):
        from ..io.foreign import read_foreign_config

        return read_foreign_config(place), None, ""
    card = place / "README.md"
    return read_config(place), read_training(place), card.read_text(encoding="utf-8") if card.exists() else ""

"""`ts-models show`: one preset or model: its card and its parameters by part."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..console import Json, Quiet, emit, table


def show(
    model: Annotated[
        str, typer.Argument(help="A preset (see `list`), a model folder (ours or another project's), a Hub id, or `demo`.")
    ],
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show a model: its config, how it was trained, and where its parameters are (the talk's "balance").

    Example: ts-models show talk-5m
    """
    shown = describe(model)

    def text() -> str:
        total = sum(shown["parts"].values())
        rows = [[part, f"{number:,}", f"{100 * number / total:.1f} %"] for part, number in shown["parts"].items()]
        rows.append(["all", f"{total:,}", "100.0 %"])
        config = "\n".join(f"  {name} = {value}" for name, value in shown["config"].items())
        blocks = [shown["name"], config, table(rows, ["part", "parameters", "share"])]
        if shown["training"] is not None:
            kept = {
                k: v for k, v in shown["training"].items() if k not in {"curve", "format", "schema_version"} and v is not None
            }
            blocks.append("training\n" + "\n".join(f"  {name} = {value}" for name, value in kept.items()))
        if shown["card"]:
            blocks.append(shown["card"])
        return "\n\n".join(blocks)

    emit(shown, text, as_json=as_json)


def describe(name: str) -> dict[str, Any]:
    """Config, parameters by part, sizes, and for a saved model its training record and card."""
    from ..presets import PRESETS
    from ..sizes import flops_per_token, inference_bytes, parameters_by_part, training_bytes

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
    from ..io.foreign import read_foreign_config
    from ..io.model_folder import is_foreign, read_config, read_training, resolve
    from ..presets import preset

    if "/" not in name and name != "demo" and not Path(name).exists():
        preset(name)  # says which names there are
    place = resolve(name)
    if is_foreign(place):
        return read_foreign_config(place), None, ""
    card = place / "README.md"
    return read_config(place), read_training(place), card.read_text(encoding="utf-8", errors="replace") if card.exists() else ""

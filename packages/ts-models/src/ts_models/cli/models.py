"""Commands on models as a whole: `list`, `show` and `export`."""

import re
from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import typer

from ..console import emit, show_progress, table
from ..registry import FORMATS
from ._shared import Model, alternatives


def list_(batch: Annotated[int, typer.Option(help="Stories per training batch, for the memory of training.")] = 64) -> None:
    """List the presets: parameters, memory for training (AdamW, fp32) and inference (one story), FLOPs per token.

    Example: ts-models list --batch 16
    """
    from ..presets import PRESETS
    from ..sizes import count_parameters, flops_per_token, inference_bytes, training_bytes

    rows: list[dict[str, Any]] = [
        {
            "preset": name,
            "parameters": count_parameters(item.config),
            "layers": getattr(item.config, "n_layers", None),
            "d_model": getattr(item.config, "d_model", None),
            "training_bytes": training_bytes(item.config, batch=batch),
            "inference_bytes": inference_bytes(item.config),
            "flops_per_token": flops_per_token(item.config),
            "summary": item.summary,
        }
        for name, item in PRESETS.items()
    ]
    header = ["preset", "parameters", "train MB", "infer MB", "MFLOPs", "what"]

    def text() -> str:
        cells = [
            [
                row["preset"], f"{row['parameters']:,}", f"{row['training_bytes'] / 1e6:,.0f}",
                f"{row['inference_bytes'] / 1e6:,.1f}", f"{row['flops_per_token'] / 1e6:,.1f}", row["summary"],
            ]
            for row in rows
        ]  # fmt: skip
        note = f"train: a batch of {batch} full contexts in fp32 (estimate).\nMFLOPs: one token's forward pass at full context."
        return f"{table(cells, header)}\n{note}"

    emit({"batch": batch, "presets": rows}, text, written=False)


def show(
    model: Annotated[
        str, typer.Argument(help="A preset (see `list`), a model folder (ours or another project's), a Hub id, or `demo`.")
    ],
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
            elsewhere = {"curve", "format", "schema_version", "samples"}  # the card has the samples
            kept = {k: v for k, v in shown["training"].items() if k not in elsewhere and v is not None}
            blocks.append("training\n" + "\n".join(f"  {name} = {value}" for name, value in kept.items()))
        if shown["card"]:
            blocks.append(re.sub(r"\A---\n.*?\n---\n", "", shown["card"], flags=re.DOTALL))  # without what the Hub reads
        return "\n\n".join(blocks)

    emit(shown, text, written=False)


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


def export(
    model: Model,
    format_: Annotated[str, typer.Option("--format", help=f"{alternatives(FORMATS)}.")],
    out: Annotated[Path, typer.Option(help="Where to write it: a folder; for onnx, gguf and html a file.")],
    text: Annotated[
        Path | None, typer.Option(help="int8, html: stories (<|endoftext|> between them) to measure the cost in loss on.")
    ] = None,
) -> None:
    """Export a model, and check what was written against the original.

    Example: ts-models export demo --format transformers --out exported/
    """
    from ..export import export as export_model

    with show_progress() as progress:
        result = export_model(model, out, format=format_, text=text, progress=progress)
    lines = [f"{name}: {_shown(value)}" for name, value in result.items() if name != "path"]
    following = (FORMATS[format_].then or "").format(out=quote(str(result["path"]))) or None
    emit(result, "\n".join([*lines, f"wrote {result['path']}"]), then=following)


def _shown(value: object) -> str:
    """A measured number with five digits."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(part)}" for name, part in value.items())
    return f"{value:,.5g}" if isinstance(value, float) else str(value)

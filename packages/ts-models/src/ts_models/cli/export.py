"""`ts-models export`: write a model in another tool's format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..console import Json, Quiet, emit, show_progress
from ..registry import FORMATS
from ._shared import Model, alternatives


def export(
    model: Model,
    format_: Annotated[str, typer.Option("--format", help=f"{alternatives(FORMATS)}.")],
    out: Annotated[Path, typer.Option(help="Where to write it: a folder; for onnx, gguf and html a file.")],
    text: Annotated[
        Path | None, typer.Option(help="int8, html: stories (<|endoftext|> between them) to measure the cost in loss on.")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Export a model, and check what was written against the original.

    Example: ts-models export demo --format transformers --out exported/
    """
    from ..export import export as export_model

    with show_progress(quiet=quiet) as progress:
        result = export_model(model, out, format=format_, text=text, progress=progress)
    lines = [f"{name}: {_shown(value)}" for name, value in result.items() if name != "path"]
    emit(result, "\n".join([*lines, f"wrote {result['path']}"]), as_json=as_json, quiet=quiet)


def _shown(value: object) -> str:
    """A measured number with five digits."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(part)}" for name, part in value.items())
    return f"{value:,.5g}" if isinstance(value, float) else str(value)

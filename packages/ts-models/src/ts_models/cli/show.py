"""`ts-models show`: one preset or model: its card and its parameters by part."""

from __future__ import annotations

from typing import Annotated

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
    from ._show import describe

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

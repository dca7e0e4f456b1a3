"""`ts-models look`: a page of what a model does with a text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..console import Json, Quiet, emit, table
from ._shared import Model, warn_unknown


def look(
    model: Model,
    text: Annotated[str, typer.Argument(help="The text to read.")],
    out: Annotated[Path, typer.Option(help="The HTML page to write.")] = Path("look.html"),
    max_new_tokens: Annotated[int, typer.Option(min=0, help="First let the model continue the text by this many tokens.")] = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write an HTML page of what a model does with a text: attention, logit lens, neurons and surprise at each word.

    Example: ts-models look demo "Once upon a time there was a dog." --out look.html
    """
    from ..inspection.page import look as look_at

    found = look_at(model, text, out, max_new_tokens=max_new_tokens)
    if not quiet:
        warn_unknown(found["unknown"])
    bits = [item["bits"] for item in found["surprise"]]
    heads = found["heads"]
    payload = {
        "page": str(out),
        "tokens": len(found["words"]),
        "bits_per_token": sum(bits) / len(bits),
        "surprise": [{"token": word, **item} for word, item in zip(found["words"][1:], found["surprise"], strict=True)],
        "heads": heads,
    }

    def show() -> str:
        shares = ("previous", "first", "same")
        rows = [
            [
                f"{head['layer']}.{head['head']}",
                head["label"],
                f"{head['distance']:.1f}",
                *(f"{head[name]:.2f}" for name in shares),
            ]
            for head in heads
        ]
        summary = table(rows, ["head", "reads", "distance", "previous", "first", "same word"]) + "\n\n" if heads else ""
        return f"{summary}{len(bits)} tokens, {payload['bits_per_token']:.2f} bits each. Open {out} in a browser."

    emit(payload, show, as_json=as_json, quiet=quiet)

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
    max_new_tokens: Annotated[int, typer.Option(min=0, help="Let the model continue the text by so many tokens first.")] = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Look inside a model: attention, logit lens, neurons and surprise over your own words, as one HTML page.

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
        rows = [[f"{h['layer']}.{h['head']}", h["label"], f"{h['distance']:.1f}", f"{h['previous']:.2f}", f"{h['first']:.2f}", f"{h['same']:.2f}"] for h in heads]  # fmt: skip
        summary = table(rows, ["head", "reads", "distance", "previous", "first", "same word"]) + "\n\n" if heads else ""
        return f"{summary}{len(bits)} tokens, {payload['bits_per_token']:.2f} bits each. Open {out} in a browser."

    emit(payload, show, as_json=as_json, quiet=quiet)

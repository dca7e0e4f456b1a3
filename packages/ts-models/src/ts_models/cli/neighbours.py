"""`ts-models neighbours`: the tokens nearest to a word in embedding space."""

from __future__ import annotations

from typing import Annotated

import typer

from ..console import Json, Quiet, emit, table
from ._shared import Model


def neighbours(
    model: Model,
    words: Annotated[list[str], typer.Argument(help="One or more words of the vocabulary.")],
    k: Annotated[int, typer.Option("--k", "-k", "--n", min=1, help="Neighbours per word.")] = 10,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show the nearest tokens to a word by cosine of their embeddings.

    Example: ts-models neighbours demo dog
    """
    from ..io.loading import load

    lm = load(model)
    found = {word: lm.neighbours(word, k=k) for word in words}
    payload = {
        "model": model,
        "neighbours": {word: [{"token": token, "cosine": cosine} for token, cosine in near] for word, near in found.items()},
    }

    def text() -> str:
        blocks = [table([(token, f"{cosine:.3f}") for token, cosine in near], (word, "cosine")) for word, near in found.items()]
        return "\n\n".join(blocks)

    emit(payload, text, as_json=as_json)

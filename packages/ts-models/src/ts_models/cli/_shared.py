"""What several commands share: an argument, a list in a help text, a sentence on stderr."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from ..console import warn

if TYPE_CHECKING:
    from ..language_model import LanguageModel

Model = Annotated[str, typer.Argument(help="A model folder, a Hub id, or `demo`.")]


def alternatives(names: Iterable[str]) -> str:
    """`a, b or c`, for a help text."""
    *first, last = names
    return f"{', '.join(first)} or {last}"


def warn_unasked(lm: "LanguageModel", prompts: Iterable[str] = ("",)) -> None:
    """Say that a model of prompts gets none: without one it begins where its training has no loss."""
    known = None if lm.training is None else lm.training.prompts
    if known is not None and any(known.end not in text for text in prompts):
        warn(
            f"{lm.name}: was trained to write stories behind prompts, and gets none here. Ask it for words or features: ts-models generate … --words dragon,run,shiny"
        )


def warn_unknown(words: Iterable[str]) -> None:
    """Name the words that the vocabulary lacks."""
    if named := ", ".join(map(repr, words)):
        warn(f"the vocabulary lacks {named}; the model reads <unk> there.")

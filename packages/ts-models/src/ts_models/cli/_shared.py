"""What several commands share: an argument, a list in a help text, a sentence on stderr."""

from collections.abc import Iterable
from typing import Annotated

import typer

from ..console import warn

Model = Annotated[str, typer.Argument(help="A model folder, a Hub id, or `demo`.")]


def alternatives(names: Iterable[str]) -> str:
    """`a, b or c`, for a help text."""
    *first, last = names
    return f"{', '.join(first)} or {last}"


def warn_unknown(words: Iterable[str]) -> None:
    """Name the words that the vocabulary lacks."""
    if named := ", ".join(map(repr, words)):
        warn(f"the vocabulary lacks {named}; the model reads <unk> there.")

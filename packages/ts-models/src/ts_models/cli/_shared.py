"""What several commands share: an argument, sentences on stderr, a default."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from ..console import warn
from ..registry import METHODS

Model = Annotated[str, typer.Argument(help="A model folder, a Hub id, or `demo`.")]


def alternatives(names: Iterable[str]) -> str:
    """`a, b or c`, for a help text."""
    *first, last = names
    return f"{', '.join(first)} or {last}"


@contextmanager
def hints(*, show: bool = True) -> Iterator[None]:
    """Print UserWarnings of the block as `warning: …` on stderr, each once; `show=False` where they were printed before."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always", UserWarning)
        yield
    for sentence in dict.fromkeys(str(item.message) for item in found if item.category is UserWarning):
        if show:
            warn(sentence)


def warn_unknown(words: Iterable[str]) -> None:
    """Name the words that the vocabulary lacks."""
    if named := ", ".join(map(repr, words)):
        warn(f"the vocabulary lacks {named}; the model reads <unk> there.")


def enough_beams(method: Any, stories: Any) -> dict[str, int]:
    """`num_beams` for so many stories of a prompt; empty for a method without beams."""
    from ..schemas import GenerationConfig

    if method not in METHODS or not METHODS[method].beams or not isinstance(stories, int):
        return {}
    return {"num_beams": max(GenerationConfig.model_fields["num_beams"].default, stories)}

"""Types and checks of arguments: lists of texts, counts, paths. Each error is one sentence that says what to pass instead."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, Protocol, TypeVar

from .errors import ConfigError

Kind = TypeVar("Kind")
StrPath = str | os.PathLike[str]
"""A path as callers may give it."""


class Progress(Protocol):
    """How long work tells how far it is, as in `ts_data.console`: a stage's name, units done and, where known, units in all."""

    def __call__(self, stage: str, done: int, total: int | None = None) -> None: ...


def need_texts(value: object, name: str) -> Sequence[str]:
    """A list of texts, every entry checked; converts a column (pandas, Polars, NumPy, Arrow) or another iterable to a list."""
    texts = sequence_of_texts(value, name)
    for _ in each_text(texts, name):
        pass
    return texts


def sequence_of_texts(value: object, name: str) -> Sequence[str]:
    """Like `need_texts`, but does not check the entries: for stories on disk, which `each_text` checks as they are read."""
    if isinstance(value, (str, bytes, bytearray, Mapping, Set)) or not isinstance(value, Iterable):
        raise TypeError(f"{name}: a list of texts is expected, not one {type(value).__name__}. Pass [text].")
    if len(getattr(value, "shape", (1,))) != 1:
        raise TypeError(f"{name}: a list of texts is expected, not a table ({type(value).__name__}). Pass one of its columns.")
    listed = next((getattr(value, as_list) for as_list in ("to_pylist", "tolist") if hasattr(value, as_list)), value.__iter__)
    return value if isinstance(value, Sequence) else list(listed())


def need_list(value: object, name: str, entry: str = "name") -> list[Any]:
    """A list; a text is not a list of its characters, a table not one of its columns. `entry`: what is in it, for the message."""
    if isinstance(value, (str, bytes, os.PathLike, Mapping)) or not isinstance(value, Iterable) or getattr(value, "ndim", 1) != 1:
        raise TypeError(f"{name}: a list is expected, not one {type(value).__name__}. Pass [{entry}].")
    return list(value)


def each_text(texts: Iterable[str], name: str) -> Iterator[str]:
    """Yield the texts. Raises TypeError with the row of an entry that is not a str."""
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(
                f"{name}[{row}]: a str is expected, this is {_shown(text)}. Remove the entry, or fill it with a text."
            )
        yield text


def need_text(value: object, name: str) -> str:
    """One text."""
    if not isinstance(value, str):
        raise TypeError(f"{name}: a str is expected, this is {_shown(value)}.")
    return value


def need_count(value: object, name: str, least: int = 1) -> int:
    """A whole number of at least `least`."""
    try:
        number = None if isinstance(value, bool) else value.__index__()  # type: ignore[attr-defined]
    except AttributeError:
        number = None
    if number is None:
        raise TypeError(f"{name}: a whole number is expected, this is {_shown(value)}.")
    if number < least:
        raise ConfigError(f"{name} is {number}; it must be at least {least}.")
    return int(number)


def need_instance(value: object, kind: type[Kind], name: str) -> Kind:
    """An instance of a class of this package, such as a config."""
    if not isinstance(value, kind):
        hint = f" Pass {kind.__name__}(**settings)." if isinstance(value, Mapping) else ""
        raise TypeError(f"{name}: a {kind.__name__} is expected, this is {_shown(value)}.{hint}")
    return value


def need_path(value: Any, name: str) -> Path:
    """A path, given as str or PathLike."""
    if not isinstance(value, (str, os.PathLike)) or isinstance(os.fspath(value), bytes):
        raise TypeError(f"{name}: a path (str or pathlib.Path) is expected, this is {_shown(value)}.")
    return Path(value)


def same_length(first: Sequence[object], second: Sequence[object], names: tuple[str, str]) -> None:
    """Raise ConfigError if two parallel lists differ in length."""
    if len(first) != len(second):
        raise ConfigError(
            f"{len(first)} {names[0]}, but {len(second)} {names[1]}: entry i of one belongs to entry i of the other."
        )


def _shown(value: object) -> str:
    """A value for a message: short values verbatim, others by their type."""
    return repr(value) if value is None or isinstance(value, (bool, int, float)) else f"of type {type(value).__name__}"

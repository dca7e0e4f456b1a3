"""Checks of texts and ids that callers pass. Errors name the row and how to fix it."""

import operator
from collections.abc import Iterable, Iterator, Mapping, Set
from typing import Any

import numpy as np
import pyarrow as pa

from .errors import TextError


def check_text(text: object, name: str = "text") -> str:
    """Return the text if it is a valid Unicode str. Raises TypeError, or TextError for a lone surrogate."""
    if not isinstance(text, str):
        raise TypeError(f"{name}: expected a str, got {_described(text)}. {_text_mend(text)}")
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as problem:
            raise TextError(
                f"{name}: character {problem.start} is a lone surrogate ({text[problem.start]!a}), so the text is not valid Unicode. "
                'Repair it: text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").'
            ) from None
    return text


def check_texts(texts: Iterable[str], name: str = "texts") -> list[str]:
    """The texts as a list, each checked. Raises TypeError for a single str."""
    return list(iter_texts(texts, name))


def iter_texts(texts: Iterable[str], name: str = "texts") -> Iterator[str]:
    """Iterate over the texts and check each. Raises TypeError immediately for a single str."""
    if isinstance(texts, str | bytes | bytearray) or not isinstance(texts, Iterable):
        raise TypeError(f"{name}: expected a list of texts, got {_described(texts)}. Pass [text].")
    if isinstance(texts, Mapping) or len(getattr(texts, "shape", (1,))) != 1:
        raise TypeError(f"{name}: expected a list of texts, got a {type(texts).__name__}. Pass the column that holds the texts.")
    entries = texts.to_pylist() if hasattr(texts, "to_pylist") else texts  # Arrow's entries are no str
    return (check_text(text, f"{name}[{row}]") for row, text in enumerate(entries))


def check_column(column: pa.Array | pa.ChunkedArray, name: str = "texts", first: int = 0) -> pa.Array:
    """An Arrow column of strings as one large_string array. Raises TypeError for another type, TextError for a null."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or kind == pa.string_view()):
        raise TypeError(f"{name}: expected an Arrow column of strings, got {column.type}. Pass the column with the texts.")
    column = column.cast(pa.large_string())
    if column.null_count:
        row = first + column.is_null().index(True).as_py()
        raise TextError(f"{name}[{row}]: is null. Remove the row, or fill it with a text.")
    return column


def check_ids(ids: Iterable[int]) -> list[int]:
    """The ids of one text as a list. Raises TypeError for values that are not integers."""
    if isinstance(ids, str | bytes | bytearray | Mapping | Set) or not isinstance(ids, Iterable):
        mend = "call encode() for the ids of a text" if isinstance(ids, str) else "pass a list of integers"
        raise TypeError(f"ids: expected the ids of one text, got {_described(ids)}; {mend}.")
    values = ids.tolist() if hasattr(ids, "tolist") else list(ids)
    if not isinstance(values, list):
        raise TypeError(f"ids: expected the ids of one text, got a single {values!r}. Pass [{values!r}].")
    if set(map(type, values)) - {int}:
        values = [_whole(value, row) for row, value in enumerate(values)]
    return values


def _whole(value: Any, row: int) -> int:
    if isinstance(value, list | tuple | np.ndarray) or getattr(value, "ndim", None):
        raise TypeError(f"ids[{row}]: expected an integer, got a {type(value).__name__}. Decode one text at a time.")
    plain = value.tolist() if hasattr(value, "tolist") else value
    try:
        if isinstance(plain, bool):
            raise TypeError
        return operator.index(plain)
    except TypeError:
        raise TypeError(f"ids[{row}]: expected an integer, got {_described(value)}.") from None


def _described(value: object) -> str:
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    return f"a value of type {type(value).__name__}"


def _text_mend(value: object) -> str:
    if isinstance(value, bytes | bytearray):
        return 'Decode it: text.decode("utf-8").'
    if isinstance(value, list | tuple):
        return "For many texts call encode_batch."
    if isinstance(value, Mapping):
        return "Pass the value that holds the text."
    return "Remove it, or fill it with a text."

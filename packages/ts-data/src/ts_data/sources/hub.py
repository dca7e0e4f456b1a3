"""Data sets of the Hugging Face Hub, streamed: `hub:owner/name`, `hub:owner/name:split` or `hub:owner/name@revision:split`."""

import functools
import operator
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from ..errors import SourceError, TsDataError, has_no_space
from ..schemas import PrepareConfig
from .blocks import Format, Input, RawSource, column_of, inner_path
from .download import silent

_ROWS = 8_192


class Hub(Format):
    """Converted to Parquet while it is streamed."""

    def stage(self, raw: RawSource, config: PrepareConfig) -> Input:
        """Stream the data set into a Parquet file."""
        target = raw.place(".parquet")
        if not target.exists():
            library = _library(raw.name)
            try:
                with silent("huggingface_hub", "datasets", "fsspec"):
                    raw.as_parquet(_columns(library, raw.name, config))
            except TsDataError:
                raise
            except Exception as problem:  # the library raises its own errors, aiohttp's and the file system's
                if has_no_space(problem):
                    raise
                reason = next(iter(str(problem).splitlines()), type(problem).__name__)
                raise SourceError(f"{raw.name}: cannot be read from the Hub: {reason}") from None
        return Input(raw.name, str(target), str(target), "parquet", raw.role)


def _library(source: str) -> Any:
    """The module `datasets`, imported before `silent` turns off its loggers: the import sets their levels again."""
    try:
        import datasets
        import huggingface_hub.utils  # noqa: F401
    except ImportError:
        raise TsDataError(f'{source}: needs the Hub libraries: pip install "ts-data[hub]"') from None
    return datasets


def _columns(datasets: Any, source: str, config: PrepareConfig) -> Iterator[pa.Array]:
    name, _, split = source.partition(":")[2].partition(":")
    name, _, revision = name.partition("@")
    if not name:
        raise SourceError(f"{source}: names no data set. Write hub:OWNER/NAME.")
    rows = datasets.load_dataset(name, split=split or "train", revision=revision or None, streaming=True)
    first = next(iter(rows), None)
    if first is None:
        raise SourceError(f"{source}: has no rows; there is no story in it.")
    column = column_of(source, list(first), config)
    inner = inner_path(column, config)
    for batch in rows.iter(batch_size=_ROWS):
        yield pa.array([functools.reduce(operator.getitem, inner, value) for value in batch[column]], pa.string())

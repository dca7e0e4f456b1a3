"""Engines that run batches of `encode_splits`: one module each, listed in ENGINES, imported on use."""

import importlib
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol, cast

from ..errors import TsTokenizerError
from ..tokenizer import WordTokenizer
from .batch import BatchResult


class Engine(AbstractContextManager["Engine"], Protocol):
    """A context manager that encodes batches of one splits/ folder; on exit all its threads and processes have ended."""

    def run(self, split: str, cuts: Sequence[tuple[int, int]], stride: int) -> Iterator[BatchResult]:
        """The results of batches [first, end) of a split, in order."""


ENGINES: dict[str, str] = {"local": "ts_tokenizer.engines.local", "ray": "ts_tokenizer.engines.ray"}
"""Name -> module."""


def load(name: str, splits: str | os.PathLike[str], tokenizer: WordTokenizer, work: Path, workers: int) -> Engine:
    """Create the engine of that name; `work` is a folder for files that other machines need."""
    if name not in ENGINES:
        raise TsTokenizerError(f"--engine: {name!r} is unknown. Choose {' or '.join(ENGINES)}.")
    return cast("Engine", importlib.import_module(ENGINES[name]).Engine(splits, tokenizer, work, workers))

"""Encodes on threads of this process; the compiled loops release the GIL."""

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import ts_data

from ..tokenizer import WordTokenizer
from ..vocabulary import in_turn
from .batch import BatchResult, encode_batch_of_texts


class Engine(AbstractContextManager["Engine"]):
    """`workers` threads share one tokenizer."""

    def __init__(self, splits: str | os.PathLike[str], tokenizer: WordTokenizer, work: Path, workers: int) -> None:
        self._splits, self._tokenizer, self._workers = splits, tokenizer, workers

    def __exit__(self, *_: object) -> None: ...

    def run(self, split: str, cuts: Sequence[tuple[int, int]], stride: int) -> Iterator[BatchResult]:
        """Yield the results in order."""
        stories = ts_data.read(self._splits, split)
        batches = ((stories.batch(first, end), first) for first, end in cuts)
        return in_turn(lambda batch: encode_batch_of_texts(self._tokenizer, *batch, stride), batches, self._workers)

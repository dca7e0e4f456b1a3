"""Encodes on threads of this process; the compiled loops release the GIL."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import ts_data

from ..tokenizer import WordTokenizer
from .batch import BatchResult, encode_batch_of_texts

__all__ = ["Engine"]


class Engine:
    """`workers` threads share one tokenizer."""

    def __init__(self, splits: str | os.PathLike[str], tokenizer: WordTokenizer, work: Path, workers: int) -> None:
        self._splits, self._tokenizer, self._workers = splits, tokenizer, workers

    def __enter__(self) -> Engine:
        self._pool = ThreadPoolExecutor(self._workers)
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def run(self, split: str, cuts: Sequence[tuple[int, int]], stride: int) -> Iterator[BatchResult]:
        """Yield the results in order; at most one batch more than there are workers is pending."""
        stories = ts_data.read(self._splits, split)
        pending: deque[Future[BatchResult]] = deque()
        for first, end in cuts:
            batch = stories.batch(first, end)
            pending.append(self._pool.submit(encode_batch_of_texts, self._tokenizer, batch, first, stride))
            if len(pending) > self._workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()

"""Encodes on a Ray cluster (extra `ray`): Ray Data keeps one tokenizer per worker, and runs a lost worker's batch again.

Workers read the splits themselves and send back the ids, so the machines must see the splits and the work folder under
the same paths.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import ts_data
from ts_data.engines.ray import session

from .._batch import BatchResult, Sums, encode_batch_of_texts
from .._encoded import TOKENIZER_FILE
from .._tokenizer import WordTokenizer, load

__all__ = ["Engine"]


class Engine:
    """Ray from the first batch to the end of the context."""

    def __init__(self, splits: str | os.PathLike[str], tokenizer: WordTokenizer, work: Path, workers: int) -> None:
        self._splits, self._workers = Path(splits).absolute(), workers
        self._tokenizer = work.absolute() / TOKENIZER_FILE
        tokenizer.save(self._tokenizer)
        self._session = session(workers)

    def __enter__(self) -> Engine:
        self._ray = self._session.__enter__()
        return self

    def __exit__(self, *problem: Any) -> None:
        self._session.__exit__(*problem)

    def run(self, split: str, cuts: Sequence[tuple[int, int]], stride: int) -> Iterator[BatchResult]:
        """One row of Ray Data per batch, its results in the order of the cuts."""
        if not cuts:
            return
        self._ray.data.DataContext.get_current().execution_options.preserve_order = True
        rows = self._ray.data.from_items([{"first": first, "end": end} for first, end in cuts], override_num_blocks=len(cuts))
        given = (str(self._splits), split, str(self._tokenizer), stride)
        for row in rows.map(_Encoder, fn_constructor_args=given, concurrency=min(self._workers, len(cuts))).iter_rows():
            ids, lengths = np.frombuffer(row["ids"], "<u2"), np.frombuffer(row["lengths"], "<i8")
            yield BatchResult(ids, lengths, Sums(**json.loads(row["sums"])))


class _Encoder:
    """What stays on a worker: the split, opened, and the tokenizer with its table."""

    def __init__(self, splits: str, split: str, tokenizer: str, stride: int) -> None:
        self._stories = ts_data.read(splits, split)
        self._tokenizer = load(tokenizer)
        self._stride = stride

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        texts = self._stories.batch(row["first"], row["end"]).column("text").cast(pa.large_string())
        result = encode_batch_of_texts(self._tokenizer, texts, row["first"], self._stride)
        lengths = result.lengths.astype("<i8", copy=False)
        return {"ids": result.ids.tobytes(), "lengths": lengths.tobytes(), "sums": json.dumps(asdict(result.sums))}

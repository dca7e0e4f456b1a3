"""Encodes on a Ray cluster (extra `ray`). Each worker caches the tokenizer; Ray Data reruns the batches of a lost worker.

Workers read the splits and return the ids, so all machines need the splits and the work folder under the same paths.
"""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

import ts_data
from ts_data.engines.ray import RayEngine

from ..encoded import TOKENIZER_FILE
from ..tokenizer import WordTokenizer, load
from .batch import BatchResult, Sums, encode_batch_of_texts

_COLUMNS = {"ids": "<u2", "lengths": "<i8", "prompts": "<i8", "hashes": "<u8"}


class Engine(RayEngine):
    """Encodes batches."""

    def __init__(self, splits: str | os.PathLike[str], tokenizer: WordTokenizer, work: Path, workers: int) -> None:
        self._splits = Path(splits).absolute()
        self._tokenizer = work.absolute() / TOKENIZER_FILE
        tokenizer.save(self._tokenizer)
        super().__init__(workers)

    def run(self, split: str, cuts: Sequence[tuple[int, int]], stride: int) -> Iterator[BatchResult]:
        """Run one Ray Data row per batch; results keep the order of the cuts."""
        if not cuts:
            return
        self._ray.data.DataContext.get_current().execution_options.preserve_order = True
        given = {"splits": str(self._splits), "split": split, "tokenizer": str(self._tokenizer), "stride": stride}
        rows = [{**given, "first": first, "end": end} for first, end in cuts]
        for row in self._ray.data.from_items(rows, override_num_blocks=len(rows)).map(_encode_cut).iter_rows():
            columns = {name: np.frombuffer(row[name], kind) for name, kind in _COLUMNS.items()}
            yield BatchResult(**columns, sums=Sums(**json.loads(row["sums"])))


def _encode_cut(row: dict[str, Any]) -> dict[str, Any]:
    stories, tokenizer = _opened(row["splits"], row["split"], row["tokenizer"])
    result = encode_batch_of_texts(tokenizer, stories.batch(row["first"], row["end"]), row["first"], row["stride"])
    return {**{name: getattr(result, name).tobytes() for name in _COLUMNS}, "sums": json.dumps(asdict(result.sums))}


@lru_cache(maxsize=4)
def _opened(splits: str, split: str, tokenizer: str) -> tuple[ts_data.Split, WordTokenizer]:
    """The split and the tokenizer, cached by a worker between batches."""
    return ts_data.read(splits, split), load(tokenizer)

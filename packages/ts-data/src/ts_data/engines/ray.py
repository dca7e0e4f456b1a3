"""Runs tasks on a Ray cluster (extra `ray`). Ray Data schedules them, repeats those of a lost worker, and shuffles the hashes.

Joins the cluster of RAY_ADDRESS; without one, starts Ray with `workers` processes on this machine and stops it at the end. Tasks exchange
files through the work folder, so all machines must see it under one path.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa

from ..dedup.exact import first_occurrence
from ..errors import TsDataError
from .worker import decode, encode, outcome_of, raise_failure

if TYPE_CHECKING:
    from . import Task

PARTITION = 2_000_000
"""Hashes that one worker sorts at once (48 MB)."""


@contextlib.contextmanager
def session(workers: int) -> Iterator[Any]:
    """Yield the module `ray`, connected, with Ray Data silent. A Ray that ran before keeps running."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no telemetry unless the user asks for it
    try:
        import ray
        import ray.data
    except ImportError:
        raise TsDataError('--engine ray: needs Ray: pip install "ts-data[ray]"') from None
    shared = ray.is_initialized()
    if not shared:
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
        if address := os.environ.get("RAY_ADDRESS"):
            ray.init(address=address, **quiet)
        else:
            ray.init(num_cpus=workers, include_dashboard=False, **quiet)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False  # the caller shows progress
    try:
        yield ray
    finally:
        if not shared:
            ray.shutdown()


class RayEngine:
    """Holds a `session` while the context is open."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._session = session(workers)

    def __enter__(self) -> Self:
        self._ray = self._session.__enter__()
        return self

    def __exit__(self, *problem: Any) -> None:
        self._session.__exit__(*problem)


class Engine(RayEngine):
    """Runs tasks."""

    def run(self, tasks: Sequence[Task]) -> Iterator[int]:
        """One item of Ray Data per task; Ray repeats a task whose worker died."""
        if not tasks:
            return
        items = [{"number": number, "task": encode(task)} for number, task in enumerate(tasks)]
        done = self._ray.data.from_items(items, override_num_blocks=len(items)).map(_perform)
        for row in done.iter_rows():
            raise_failure(row["outcome"])
            yield row["number"]

    def first_occurrence(self, hashes: np.ndarray) -> np.ndarray:
        """Ray Data shuffles the hashes: equal ones meet on one worker, which sorts its share."""
        if not len(hashes):
            return first_occurrence(hashes)
        self._ray.data.DataContext.get_current().target_max_block_size = None  # a partition stays one block
        pieces = max(1, math.ceil(len(hashes) / PARTITION))
        table = pa.table({"high": hashes[:, 0], "low": hashes[:, 1], "row": np.arange(len(hashes))})
        step = math.ceil(len(hashes) / pieces)
        rows = self._ray.data.from_arrow([table.slice(start, step) for start in range(0, len(hashes), step)])
        shared = rows.repartition(max(pieces, self._workers), keys=["high"])
        firsts = np.empty(len(hashes), np.int64)
        for batch in shared.map_batches(_first_in_partition, batch_size=None, batch_format="pyarrow").iter_batches(
            batch_size=None, batch_format="pyarrow"
        ):
            firsts[batch["row"].to_numpy()] = batch["first"].to_numpy()
        return firsts


def _perform(row: dict[str, Any]) -> dict[str, Any]:
    pa.set_cpu_count(1)  # Ray gives a task one core
    return {"number": row["number"], "outcome": outcome_of(decode(row["task"]))}


def _first_in_partition(partition: pa.Table) -> pa.Table:
    """The lowest row of each hash. A partition holds all rows of its hashes, in any order."""
    partition = partition.sort_by("row")
    rows = partition["row"].to_numpy()
    hashes = np.stack([partition["high"].to_numpy(), partition["low"].to_numpy()], axis=1)
    return pa.table({"row": rows, "first": rows[first_occurrence(hashes)]})

"""Where jobs run: one engine per module, found by name in ENGINES, loaded on use.

An engine looks into no job: it hands each to `_jobs.perform` somewhere and gives back what comes of it. None changes
a byte of the result.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, cast

from ..errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

__all__ = ["ENGINES", "Engine", "load"]


class Engine(Protocol):
    """A context in which work runs; on leaving it everything that it started ends."""

    def __enter__(self) -> Engine: ...

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...

    def run(self, jobs: Sequence[dict[str, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
        """Perform the jobs; yields (number of the job, its result) as they end, in any order."""
        ...

    def first_of(self, hashes: np.ndarray) -> np.ndarray:
        """For each row of `[stories, 2]` uint64 hashes the lowest row with the same hash; see `_dedup.first_of`."""
        ...


ENGINES: dict[str, str] = {"local": "ts_data.engines.local", "ray": "ts_data.engines.ray"}
"""Name -> module."""


def load(name: str, workers: int) -> Engine:
    """The engine of that name with so many workers."""
    if name not in ENGINES:
        raise ConfigError(f"--engine {name!r}: there are: {', '.join(ENGINES)}")
    return cast("Engine", importlib.import_module(ENGINES[name]).Engine(workers))

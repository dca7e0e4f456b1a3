"""Where tasks run: one engine per module, found by name in ENGINES, loaded on use.

An engine knows nothing of a task but how to run it. No engine changes a byte of the result.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from ..errors import ConfigError

if TYPE_CHECKING:
    import numpy as np


class Task(Protocol):
    """A piece of work: a dataclass of what JSON can hold. Its results are files. A task that was killed can run again."""

    @property
    def marker(self) -> Path:
        """The file that the task writes last."""

    @property
    def weight(self) -> int:
        """Its share of the progress."""

    def run(self) -> None:
        """Do the work."""


class Engine(AbstractContextManager["Engine"], Protocol):
    """A context in which tasks run. Leaving it ends every process that it started."""

    def run(self, tasks: Sequence[Task]) -> Iterator[int]:
        """Run the tasks; yields the index of each as it ends, in any order."""

    def first_occurrence(self, hashes: np.ndarray) -> np.ndarray:
        """For each row of `[stories, 2]` uint64 hashes the lowest row with the same hash; see `dedup.exact.first_occurrence`."""


ENGINES: dict[str, str] = {"local": "ts_data.engines.local", "ray": "ts_data.engines.ray"}
"""Name → module."""


def load(name: str, workers: int) -> Engine:
    """The engine of that name with `workers` processes."""
    if name not in ENGINES:
        raise ConfigError(f"--engine {name!r}: unknown; there are: {', '.join(ENGINES)}.")
    return cast("Engine", importlib.import_module(ENGINES[name]).Engine(workers))

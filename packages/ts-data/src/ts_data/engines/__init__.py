"""Where jobs run: one engine per module, found by name in ENGINES, loaded on use.

An engine is `run(jobs, workers) -> Iterator[(number, result)]`, in any order; it looks into no job.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..errors import ConfigError

__all__ = ["ENGINES", "Engine", "load"]

Engine = Callable[[Sequence[dict[str, Any]], int], Iterator[tuple[int, dict[str, Any]]]]

ENGINES: dict[str, str] = {"local": "ts_data.engines.local"}
"""Name -> module."""


def load(name: str) -> Engine:
    """The engine of that name."""
    if name not in ENGINES:
        raise ConfigError(f"--engine {name!r}: there are: {', '.join(ENGINES)}")
    engine: Engine = importlib.import_module(ENGINES[name]).run
    return engine

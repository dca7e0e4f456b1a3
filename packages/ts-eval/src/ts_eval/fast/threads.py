"""Runs a kernel over ranges of stories in threads (the kernels release the GIL). Stateless."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TypeVar

__all__ = ["in_threads", "processors"]

Result = TypeVar("Result")


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_threads(work: Callable[[int, int], Result], count: int, *, parts: int | None = None) -> list[Result]:
    """Call `work(first, last)` on ranges that cover 0 … count; returns the results in order."""
    wanted = max(1, min(parts or processors(), count))
    edges = [count * i // wanted for i in range(wanted + 1)]
    ranges = [(a, b) for a, b in pairwise(edges) if b > a]
    if len(ranges) < 2:
        return [work(a, b) for a, b in ranges]
    with ThreadPoolExecutor(len(ranges)) as pool:
        return list(pool.map(lambda r: work(*r), ranges))

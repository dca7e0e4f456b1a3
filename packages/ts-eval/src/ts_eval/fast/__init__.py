"""The compiled loops over millions of stories, and the threads that run them. Arrays in and out; the callers check."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from types import ModuleType
from typing import TypeVar

Result = TypeVar("Result")


def load_kernels() -> ModuleType:
    """The module of the kernels; its import loads Numba."""
    from . import kernels

    return kernels


def in_threads(work: Callable[[int, int], Result], count: int) -> list[Result]:
    """Call `work(first, last)` on ranges that cover 0 … count, one per processor, in threads; returns the results in order."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parts = max(1, min(processors, count))
    ranges = [(a, b) for a, b in pairwise(count * i // parts for i in range(parts + 1)) if b > a]
    if len(ranges) < 2:
        return [work(a, b) for a, b in ranges]
    with ThreadPoolExecutor(len(ranges)) as pool:
        return list(pool.map(lambda r: work(*r), ranges))

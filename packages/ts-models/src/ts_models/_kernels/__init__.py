"""Kernels of decoding: one token for each row of a batch through a Transformer. Arrays in and out; callers check.
`attention` and `dropout` are kernels of training, which have PyTorch's operators for a plain half.

`compiled` (Numba, the extra `ts-models[fast]`) and `plain` (numpy) hold the same names and give the same answers.
One is chosen here, once: compiled where Numba is installed, unless TS_MODELS_KERNELS is `plain` or `compiled`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from types import ModuleType
from typing import Any

from ..errors import ConfigError, MissingExtraError

__all__ = ["VARIABLE", "choose", "of_training", "split"]

VARIABLE = "TS_MODELS_KERNELS"
_chosen: dict[str, ModuleType] = {}


def choose(name: str | None = None) -> ModuleType:
    """The kernels' module: by name, by the environment variable, or the fastest that is installed."""
    wanted = name or os.environ.get(VARIABLE) or ("compiled" if _has_numba() else "plain")
    if wanted not in {"compiled", "plain"}:
        raise ConfigError(f"{VARIABLE} is {wanted!r}; it may be `compiled` or `plain`.")
    if wanted == "compiled" and not _has_numba():
        raise MissingExtraError('the compiled kernels need Numba. Run: pip install "ts-models[fast]"')
    if wanted not in _chosen:
        _chosen[wanted] = import_module(f".{wanted}", __name__)
    return _chosen[wanted]


def of_training(name: str) -> ModuleType | None:
    """`attention` or `dropout`; None where Numba is not installed or the environment variable says `plain`."""
    if os.environ.get(VARIABLE, "compiled") != "compiled" or not _has_numba():
        return None
    return import_module(f".{name}", __name__)


@cache
def _has_numba() -> bool:
    return find_spec("numba") is not None


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=os.cpu_count(), thread_name_prefix="ts-models")


def _after_fork() -> None:
    """A forked process has none of its parent's threads, but OpenMP waits for them: one thread, as in a DataLoader's workers."""
    _pool.cache_clear()
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def split(kernel: Callable[..., None], jobs: int, threads: int, *arguments: Any) -> None:
    """Call kernel(*arguments, begin, end) with each thread's share of the jobs."""
    bounds = [jobs * part // threads for part in range(threads + 1)]
    others = [_pool().submit(kernel, *arguments, *pair) for pair in pairwise(bounds[1:])]
    kernel(*arguments, *bounds[:2])
    for other in others:
        other.result()

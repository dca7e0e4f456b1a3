"""CPU speed code: kernels compiled by Numba (extra `ts-models[fast]`), products by oneDNN, threads.

`available()` says whether the compiled kernels run here. Every caller has a plain PyTorch path beside them, which is used
without Numba, where TS_MODELS_KERNELS is `plain`, and with an llvmlite that the kernels are not written for.
"""

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

from ..errors import ConfigError, MissingExtraError

VARIABLE = "TS_MODELS_KERNELS"


def available() -> bool:
    """Whether the compiled kernels are used. Raises ConfigError for another value of the variable, MissingExtraError without Numba."""
    wanted = os.environ.get(VARIABLE)
    if wanted not in {None, "", "compiled", "plain"}:
        raise ConfigError(f"{VARIABLE} is {wanted!r}; it may be `compiled` or `plain`.")
    if wanted == "compiled" and not _has_numba():
        raise MissingExtraError('the compiled kernels need Numba. Run: pip install "ts-models[fast]"')
    return wanted != "plain" and _has_numba()


def load_kernels(name: str) -> Any:
    """A module of `fast.kernels`: `attention`, `decode` or `dropout`. Check `available` first."""
    return import_module(f".kernels.{name}", __name__)


@cache
def _has_numba() -> bool:
    """Whether Numba is installed, with an llvmlite that still has typed pointers: `kernels.tile` builds its code with them."""
    if find_spec("numba") is None:
        return False
    from llvmlite import ir

    return hasattr(ir.FloatType(), "as_pointer") and hasattr(ir.FloatType().as_pointer(), "pointee")


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=os.cpu_count(), thread_name_prefix="ts-models")


def _after_fork() -> None:
    """A forked process has none of its parent's threads, but OpenMP waits for them: use one thread, as DataLoader's workers do."""
    _pool.cache_clear()
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def split(kernel: Callable[..., None], jobs: int, threads: int, *arguments: Any) -> None:
    """Call kernel(*arguments, begin, end) in `threads` threads, each with its share of the jobs."""
    bounds = [jobs * part // threads for part in range(threads + 1)]
    if not getattr(kernel, "overloads", True):
        kernel(*arguments, 0, 0)  # compile it in this thread: after Ctrl-C the process would wait for another's compiler
    others = [_pool().submit(kernel, *arguments, *pair) for pair in pairwise(bounds[1:])]
    kernel(*arguments, *bounds[:2])
    for other in others:
        other.result()

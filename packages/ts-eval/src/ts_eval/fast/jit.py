"""Compiles the kernels with Numba and caches them on disk.

A kernel gives the same bits whether it was compiled in this process or read from the cache: none has `fastmath` flags, so LLVM
keeps every rounding, and the helpers are part of their callers' compiled code. A cache that cannot be written or read (a
read-only installation, a full disk, a file cut by a power loss, another process that fills it at the same time) costs time only.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from numba import njit
from numba.core.errors import NumbaError


def helper(function: Callable[..., Any]) -> Any:
    """A function that kernels call; compiled into each of them, not cached on its own."""
    return njit(nogil=True)(function)


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a function at its first call, and cache it on disk if Numba finds a writable folder."""
    try:
        compiled = njit(cache=True, nogil=True)(function)
    except RuntimeError:  # no such folder
        return njit(nogil=True)(function)

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        nonlocal compiled
        try:
            return compiled(*arguments)
        except NumbaError:
            raise
        except Exception:  # kernels raise nothing themselves: the cache is unwritable or damaged
            compiled = njit(nogil=True)(function)
            return compiled(*arguments)

    return call

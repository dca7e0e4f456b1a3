"""How Numba compiles and caches the loops: `jit` in place of `njit`.

A cache that cannot be read or written never ends the work: the loop is then compiled again. Two processes that fill an
empty cache with different signatures of one loop can leave an index that names the other's code, so what is read is
compared with the signature that was asked for. No loop uses fast-math flags: under these, code that was compiled in this
process and code that was read from the cache may round differently.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numba
from numba.core import sigutils

__all__ = ["jit"]

_DAMAGED = (OSError, EOFError, pickle.UnpicklingError, ValueError, TypeError, KeyError, IndexError, AttributeError, ImportError)


def jit(function: Callable[..., Any]) -> Any:
    """Compile a function in nopython mode on first use, without Python's lock."""
    try:
        compiled = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # no place to keep the cache: a read-only installation without a usable home
        return numba.njit(nogil=True)(function)
    own = getattr(compiled, "_cache", None)
    if hasattr(own, "load_overload") and hasattr(own, "save_overload"):  # not public: without them Numba's cache stays as it is
        compiled._cache = _Cache(own)
    return compiled


class _Cache:
    """Numba's cache of one loop, whose troubles never reach a caller."""

    def __init__(self, own: Any) -> None:
        self._own = own

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    def load_overload(self, sig: Any, context: Any) -> Any:
        """What is stored for this signature, or None."""
        try:
            found = self._own.load_overload(sig, context)
            wanted = tuple(sigutils.normalize_signature(sig)[0])
            return found if found is None or tuple(found.signature.args) == wanted else None
        except _DAMAGED:
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Store it where that is possible."""
        try:
            self._own.save_overload(sig, data)
        except (*_DAMAGED, RuntimeError):
            return

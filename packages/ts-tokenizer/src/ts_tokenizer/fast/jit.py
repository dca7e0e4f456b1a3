"""`jit`: how Numba compiles and caches the loops.

A cache that cannot be read or written never raises: the loop is compiled again. Two processes that fill an empty cache with
different signatures of one loop can leave an index that names the other's code, so a loaded signature is compared with the
requested one. No loop uses fast-math flags: with them, code compiled in this process and code read from the cache can round
differently. Without Numba (`fast.available`) a loop is the Python function.
"""

from collections.abc import Callable
from typing import Any

from . import available


def jit(function: Callable[..., Any]) -> Any:
    """The function compiled, or as it is without Numba."""
    return compiled_on_call(function) if available() else function


def compiled_on_call(function: Callable[..., Any]) -> Any:
    """Compile a function in nopython mode on first call; it runs without the GIL.

    One whose name begins with `_` is called by compiled functions only: it gets no wrapper that Python would call.
    """
    import numba

    inner = function.__name__.startswith("_")
    options = {"nogil": True, "no_cpython_wrapper": inner, "no_cfunc_wrapper": inner}
    try:
        compiled = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no writable place for the cache: a read-only installation without a usable home
        return numba.njit(**options)(function)
    own = getattr(compiled, "_cache", None)
    if hasattr(own, "load_overload") and hasattr(own, "save_overload"):  # private API: without it Numba's cache is used as it is
        compiled._cache = _Cache(own)
    return compiled


class _Cache:
    """Numba's cache of one loop; its errors count as a miss."""

    def __init__(self, own: Any) -> None:
        self._own = own

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    def load_overload(self, sig: Any, context: Any) -> Any:
        """The code stored for this signature, or None."""
        from numba.core import sigutils

        try:
            found = self._own.load_overload(sig, context)
            wanted = tuple(sigutils.normalize_signature(sig)[0])
            return found if found is None or tuple(found.signature.args) == wanted else None
        except Exception:  # what damaged bytes raise is not documented
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Store the code if the cache is writable."""
        try:
            self._own.save_overload(sig, data)
        except Exception:  # the code is compiled and runs without the cache
            return

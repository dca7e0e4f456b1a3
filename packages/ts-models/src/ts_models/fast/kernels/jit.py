"""How Numba compiles and caches the kernels: `@kernel` in place of `@njit`. What a kernel gives is the same to the bit, whether it
was compiled in this process or read from the cache.

Cause of a difference, for every package that caches compiled kernels: a helper that is not inlined exists twice. Its own library
holds it as optimised once; each caller's library holds a link-once copy, optimised again together with the caller. In the process
that compiles, the linker takes the first; in a process that reads the cache, only the caller's library is loaded, and it takes the
second. Under `reassoc`, `contract` or `arcp` the two round differently: a first run on a machine ended with other weights than all
later ones. Without these flags LLVM has to keep every rounding, and all copies are equal.

So: no `fastmath` in a cached kernel that computes with floats. Where a sum needs the vector unit, `_sums` writes its order out; where
a product and a sum should be rounded once, `_sums.fma` says so.

Three more differences are closed here. Numba's cache notices a change of a kernel's own file, but not of the helpers' files that were
inlined into it. Two processes that save several signatures at once can leave an index that names the other's code. And a cache
that cannot be read or written must not end the work: the kernel is then compiled again.
"""

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from numba import njit, types
from numba.core import sigutils
from numba.extending import intrinsic

_OPTIONS: dict[str, Any] = {"error_model": "numpy", "nogil": True}


def kernel(function: Callable[..., Any] | None = None, *, counted: bool = True) -> Any:
    """Compile a function in nopython mode. counted=False: it makes no arrays and counts no references to those it is given.

    The caller then holds them while the kernel runs. A forward pass for one row counted some thousand references, half its time.
    One whose name begins with `_` is called by kernels only: it is compiled without the wrapper that Python would call.
    """
    if function is None:
        return lambda wrapped: kernel(wrapped, counted=counted)
    inner = function.__name__.startswith("_")
    options = {**_OPTIONS, "_nrt": counted, "no_cpython_wrapper": inner, "no_cfunc_wrapper": inner}
    try:
        compiled = njit(cache=True, **options)(function)
    except RuntimeError:  # no place for a cache: a read-only installation without a usable home
        return njit(**options)(function)
    own = getattr(compiled, "_cache", None)
    if hasattr(own, "load_overload") and hasattr(own, "save_overload"):  # not public: without them Numba's cache stays as it is
        compiled._cache = _Cache(own)
    return compiled


@intrinsic
def stay_apart(typing: Any) -> Any:
    """Called in a kernel: never inline that kernel. A hot loop keeps its registers, and its callers compile in a fraction of the time."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.function.attributes.add("noinline")
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def join_caller(typing: Any) -> Any:
    """Called in a kernel: always inline that kernel. A call counts references to all its arrays, some 10 ns each."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.function.attributes.add("alwaysinline")
        return context.get_dummy_value()

    return types.void(), generate


class _Cache:
    """Numba's cache of one kernel. Also depends on the other files here, and turns every failure into a recompilation."""

    def __init__(self, own: Any) -> None:
        self._own = own
        file: Any = getattr(own, "_cache_file", None)
        if hasattr(file, "_source_stamp"):
            file._source_stamp = (file._source_stamp, _sources())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    def load_overload(self, sig: Any, context: Any) -> Any:
        """What is stored for this signature, or None."""
        try:
            found = self._own.load_overload(sig, context)
            wanted = tuple(sigutils.normalize_signature(sig)[0])
            return found if found is None or tuple(found.signature.args) == wanted else None
        except Exception:  # a damaged entry may raise anything: compile again
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Store it where that is possible."""
        try:
            self._own.save_overload(sig, data)
        except Exception:  # a cache that cannot be written costs time only
            return


@cache
def _sources() -> str:
    """SHA-256 of all modules in this folder."""
    whole = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        whole.update(path.name.encode() + path.read_bytes())
    return whole.hexdigest()

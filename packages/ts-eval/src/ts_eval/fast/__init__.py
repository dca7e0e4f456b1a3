"""The compiled loops over millions of stories, and the threads that run them. Arrays in and out; the callers check."""

from __future__ import annotations

from importlib.util import find_spec
from types import ModuleType

from ..errors import UnavailableError
from .threads import in_threads

__all__ = ["available", "in_threads", "load_kernels"]


def available() -> bool:
    """Whether Numba, which compiles the kernels, is installed."""
    return find_spec("numba") is not None


def load_kernels() -> ModuleType:
    """The module of the kernels. UnavailableError without Numba."""
    if not available():
        raise UnavailableError("the search over stories needs Numba, a requirement of this package. pip install numba")
    from . import kernels

    return kernels

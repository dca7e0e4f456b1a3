"""The few hot loops, compiled by Numba where it is there, else in plain Python: the same answers from both.

`TS_TOKENIZER_KERNELS=plain` (or `compiled`) forces one.
"""

from __future__ import annotations

import os
from functools import cache
from types import ModuleType

from ..errors import ConfigError

__all__ = ["kernels"]


def kernels(wanted: str | None = None) -> ModuleType:
    """The loops' module: `wanted`, or what the environment forces, or compiled where Numba imports."""
    return _choose(wanted or os.environ.get("TS_TOKENIZER_KERNELS") or "any")


@cache
def _choose(wanted: str) -> ModuleType:
    if wanted not in ("any", "plain", "compiled"):
        raise ConfigError(f"TS_TOKENIZER_KERNELS: {wanted!r} is unknown; choose plain or compiled.")
    from . import plain

    if wanted == "plain":
        return plain
    try:
        from . import compiled
    except ImportError:
        if wanted == "compiled":
            raise ConfigError("TS_TOKENIZER_KERNELS: compiled needs Numba: pip install numba") from None
        return plain
    return compiled.load()

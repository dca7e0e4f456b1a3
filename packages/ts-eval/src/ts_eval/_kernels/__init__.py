"""The few loops over millions of stories: compiled by Numba, or plain NumPy and SciPy with the same answers.

Chosen once: Numba where it imports, unless the variable TS_EVAL_KERNELS says `plain` (or `compiled`, which then
fails where Numba is missing). Arrays in and out; no paths, no objects; the callers check.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from types import ModuleType

from ..errors import ConfigError

__all__ = ["choose", "kernels"]


def choose() -> str:
    """`compiled` or `plain`."""
    forced = os.environ.get("TS_EVAL_KERNELS", "")
    if forced not in {"", "compiled", "plain"}:
        raise ConfigError(f"TS_EVAL_KERNELS is {forced!r}; it may be `compiled` or `plain`")
    return forced or ("compiled" if find_spec("numba") else "plain")


def kernels(name: str | None = None) -> ModuleType:
    """The module with the kernels, by name or as chosen for this process."""
    chosen = choose() if name is None else name
    if chosen not in {"compiled", "plain"}:
        raise ConfigError(f"kernel is {chosen!r}; it may be 'compiled' or 'plain'.")
    if chosen == "compiled":
        from . import compiled

        return compiled
    from . import plain

    return plain

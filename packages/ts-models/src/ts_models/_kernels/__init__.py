"""Kernels of decoding: one token for each row of a batch through a Transformer. Arrays in and out; callers check.

`compiled` (Numba, the extra `ts-models[fast]`) and `plain` (numpy) hold the same names and give the same answers.
One is chosen here, once: compiled where Numba is installed, unless TS_MODELS_KERNELS is `plain` or `compiled`.
"""

from __future__ import annotations

import os
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from ..errors import ConfigError, MissingExtraError

__all__ = ["VARIABLE", "choose"]

VARIABLE = "TS_MODELS_KERNELS"
_chosen: dict[str, ModuleType] = {}


def choose(name: str | None = None) -> ModuleType:
    """The kernels' module: by name, by the environment variable, or the fastest that is installed."""
    wanted = name or os.environ.get(VARIABLE) or ("compiled" if find_spec("numba") else "plain")
    if wanted not in {"compiled", "plain"}:
        raise ConfigError(f"{VARIABLE} is {wanted!r}; it may be `compiled` or `plain`.")
    if wanted == "compiled" and not find_spec("numba"):
        raise MissingExtraError('the compiled kernels need Numba. Run: pip install "ts-models[fast]"')
    if wanted not in _chosen:
        _chosen[wanted] = import_module(f".{wanted}", __name__)
    return _chosen[wanted]

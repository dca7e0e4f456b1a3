"""The loops of `plain` through Numba: its source is loaded a second time and each function compiled on first use.

Machine code is kept in Numba's cache where one can be written, so that only the first run of a machine waits.
"""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

from . import plain
from ._jit import jit

__all__ = ["load"]


def load() -> ModuleType:
    """A copy of `plain` whose functions are compiled."""
    name = f"{__package__}._compiled_loops"
    spec = importlib.util.spec_from_file_location(name, plain.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    for function in plain.__all__:
        value = getattr(module, function)
        if callable(value):
            setattr(module, function, jit(value))
    return module

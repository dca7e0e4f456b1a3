"""Tells transformers about our classes, whichever of the two packages is imported first. Standard library only.

transformers takes seconds to import, so `import ts_models` must not: where it is not loaded yet, a finder waits for its
auto classes and registers ours behind them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

__all__ = ["install"]

_TARGET = "transformers.models.auto.modeling_auto"


def install() -> None:
    """Register now where transformers' auto classes are loaded, else once they are."""
    if _TARGET in sys.modules:
        _register()
    elif not any(isinstance(finder, _Waiting) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Waiting())


class _Waiting(MetaPathFinder):
    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname != _TARGET:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _ThenRegister(spec.loader)
        return spec


class _ThenRegister(Loader):
    """The module's own loader; afterwards our classes are registered."""

    def __init__(self, own: Loader) -> None:
        self.own = own

    def __getattr__(self, name: str) -> Any:
        return getattr(self.own, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.own.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self.own.exec_module(module)
        _register()


def _register() -> None:
    """Importing our classes registers them; where that import is what loads transformers, it goes on by itself."""
    import_module("ts_models.export.hf")

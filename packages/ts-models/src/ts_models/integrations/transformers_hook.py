"""Registers our classes with transformers, in either order of imports. Standard library only.

transformers has no entry-point group for model classes, and importing it takes seconds, so `import ts_models` must not import it.
Where it is not loaded yet, a finder waits for its auto classes and registers ours after them. The finder removes itself.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

_TARGETS = {
    "transformers.models.auto.modeling_auto": "register",
    "transformers.pipelines.text_generation": "register_pipeline",
}
"""A module of transformers, and the function of `integrations.transformers` to call once it is loaded."""


def install() -> None:
    """Register now where transformers' modules are loaded, else once they are."""
    for target, function in _TARGETS.items():
        if target in sys.modules:
            _register(function)
        elif not any(isinstance(finder, _Waiting) and finder.target == target for finder in sys.meta_path):
            sys.meta_path.insert(0, _Waiting(target))


class _Waiting(MetaPathFinder):
    def __init__(self, target: str) -> None:
        self.target = target

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname != self.target:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_then_register(module: ModuleType) -> None:
                execute(module)
                _register(_TARGETS[fullname])

            spec.loader.exec_module = execute_then_register  # type: ignore[method-assign]
        return spec


def _register(function: str) -> None:
    """Import our classes, which registers them. Does nothing while a running import of transformers has not defined the function yet."""
    getattr(import_module("ts_models.integrations.transformers"), function, lambda: None)()

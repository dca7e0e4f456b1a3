"""The parts of an evaluation: (adapter, context) → a Section. One per module; `PARTS` names them in the order of the report.

The real held-out stories pass through the same parts as a adapter of kind `real`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from ..models import ModelAdapter
from .base import Context, Section

__all__ = ["PARTS", "Context", "Section", "load"]

PARTS: dict[str, str] = {
    "perplexity": "perplexity:run",
    "memorisation": "memorisation:run",
    "paper": "paper:run",
    "overfitting": "overfitting:run",
    "texts": "texts:run",
    "prompts": "prompts:run",
    "neighbours": "neighbours:run",
}


def load(name: str) -> Callable[[ModelAdapter, Context], Section]:
    """The function of a part."""
    module, _, function = PARTS[name].partition(":")
    found: Callable[[ModelAdapter, Context], Section] = getattr(import_module(f".{module}", __name__), function)
    return found

"""The sections of a report: (model, context) → `Section`, one module each. `SECTIONS` lists them in the order of the report.

The real held-out stories pass through the same sections, as a model of kind `real`.
"""

from collections.abc import Callable
from pkgutil import resolve_name

from ..models import ModelAdapter
from .base import Context, Section

__all__ = ["SECTIONS", "Context", "Section", "load"]

SECTIONS: dict[str, str] = {
    "perplexity": "perplexity:run",
    "memorisation": "endings:memorisation",
    "paper": "endings:paper",
    "overfitting": "overfitting:run",
    "texts": "texts:run",
    "prompts": "words:prompts",
    "neighbours": "words:neighbours",
}


def load(name: str) -> Callable[[ModelAdapter, Context], Section]:
    """The function of a section."""
    found: Callable[[ModelAdapter, Context], Section] = resolve_name(f"{__name__}.{SECTIONS[name]}")
    return found

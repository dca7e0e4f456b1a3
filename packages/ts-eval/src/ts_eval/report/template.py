"""Loads the Jinja template of a page."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any


@cache
def load_template(folder: str, **filters: Callable[..., Any]) -> Any:
    """`page.html.j2` of a folder of ts_eval. It escapes all text and fails on a name that is not defined."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("ts_eval", folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(filters)
    return environment.get_template("page.html.j2")

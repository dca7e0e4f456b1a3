"""The self-contained HTML pages of `look` and `neurons`. No server, no network."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ..artefact import check_file, write_text
from ..errors import ConfigError
from ..export.to_html import fill, read_parts, script_data
from ..io.loading import load
from ..language_model import LanguageModel
from .analysis import analyse

_STATIC = Path(__file__).parent / "static"


def look(
    model: str | os.PathLike[str] | LanguageModel, text: str, out: str | os.PathLike[str], *, max_new_tokens: int = 0
) -> dict[str, Any]:
    """Write a page on what a model does with a text to `out`, and return its numbers (see `analysis.analyse`).

    The page shows the surprise at each token, the attention of each head, the logit lens, the most active neurons and the embeddings.
    max_new_tokens: let the model continue the text greedily first, and show that as well.
    Raises ConfigError where `out` is a file that is no such page, ContextError for a text longer than the model's context.
    """
    check_page(out, "look")
    lm = model if isinstance(model, LanguageModel) else load(model)
    found = analyse(lm, text, max_new_tokens=max_new_tokens)
    write_page(out, "look", found)
    return found


def check_page(out: str | os.PathLike[str], name: str) -> None:
    """Raise ConfigError where `out` is a file that is no earlier page of this name."""
    check_file(out, "an earlier page", lambda start: _mark(name).encode() in start, error=ConfigError)


def write_page(out: str | os.PathLike[str], name: str, found: dict[str, Any]) -> None:
    """Write the page with its data, style and script inside."""
    parts = {
        "<!--generator-->": _mark(name),
        "/*style*/": read_parts(_STATIC / "page.css"),
        "/*script*/": read_parts(_STATIC / "page.js", _STATIC / f"{name}.js"),
        "/*data*/": script_data(found),
    }
    write_text(out, fill(read_parts(_STATIC / f"{name}.html"), parts))


def _mark(name: str) -> str:
    return f'<meta name="generator" content="ts-models {name}">'

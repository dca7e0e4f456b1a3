"""`look`: one self-contained HTML page of what a model does with a text. No server, no network."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ..artefact import check_file, write_text
from ..errors import ConfigError
from ..language_model import LanguageModel
from .analysis import analyse

_STATIC = Path(__file__).parent / "static"
_MARK = '<meta name="generator" content="ts-models look">'


def look(
    model: str | os.PathLike[str] | LanguageModel, text: str, out: str | os.PathLike[str], *, max_new_tokens: int = 0
) -> dict[str, Any]:
    """Write a page on what a model does with a text to `out`, and give back its numbers (see `analysis.analyse`).

    The page shows the surprise at each token, the attention of each head, the logit lens, the most active neurons and the embeddings.
    max_new_tokens: let the model continue the text greedily first, and show that as well.
    Raises ConfigError where `out` is a file that is no such page, ContextError for a text longer than the model's context.
    """
    from ..io.loading import load

    check_file(out, "an earlier page", lambda start: _MARK.encode() in start, error=ConfigError)
    lm = model if isinstance(model, LanguageModel) else load(model)
    found = analyse(lm, text, max_new_tokens=max_new_tokens)
    write_text(out, _render(found))
    return found


def _render(found: dict[str, Any]) -> str:
    """The page with its data, style and script inside. "<" is escaped in the data, so that no word can end the element."""
    data = json.dumps(found, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    parts = {name: (_STATIC / f"look.{name}").read_text(encoding="utf-8") for name in ("html", "css", "js")}
    page = parts["html"].replace("<!--generator-->", _MARK)
    for mark, part in (("/*style*/", parts["css"]), ("/*script*/", parts["js"]), ("/*data*/", data)):
        before, _, after = page.partition(mark)
        page = before + part + after
    return page

"""What callers give as text: one text or a list of texts, without halves of characters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .errors import ConfigError

__all__ = ["check_text", "text_list"]


def check_text(text: Any, name: str) -> str:
    """The text. Raises TypeError for what is none, ConfigError for a lone surrogate."""
    if not isinstance(text, str):
        raise TypeError(
            f"{name} is {text!r}, a {type(text).__name__}; text is expected. For ids use lm.model.generate([[1, 2, 3]])."
        )
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as problem:
        raise ConfigError(
            f"{name} is not Unicode text: character {problem.start + 1} is {text[problem.start]!r}, half of a surrogate pair or a byte "
            "that is not UTF-8. Decode it with the right encoding first."
        ) from None
    return text


def text_list(texts: Any, name: str) -> list[str]:
    """A list of texts; one text alone is refused, because its letters would be taken for texts."""
    if isinstance(texts, str | bytes) or not isinstance(texts, Iterable):
        raise TypeError(f"{name} is a {type(texts).__name__}; a list of texts is expected.")
    return [check_text(text, f"{name}[{number}]") for number, text in enumerate(texts)]

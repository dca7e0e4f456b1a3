"""Migrations of older word_tokenizer.json versions: pure functions from dict to dict, one per version."""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable
from typing import Any

from .fast.loops import STORY_FEATURES, STORY_TEMPLATE

__all__ = ["TOKENIZER"]


def _from_1(content: dict[str, Any]) -> dict[str, Any]:
    """Convert the evidence table to feature weights; word classes that version 1 lacks are 0."""
    try:
        return {**content, "decoder": _decoder_from_1(dict(content["decoder"]))}
    except (KeyError, TypeError, ValueError, struct.error):
        return content  # damaged: validation reports where


def _decoder_from_1(decoder: dict[str, Any]) -> dict[str, Any]:
    evidence, classes = _bytes(decoder.pop("evidence", "")), _bytes(decoder.get("classes", ""))
    cells = struct.unpack(f"<{len(evidence) // 2}h", evidence)
    told = [(_key(cell), weight) for cell, weight in enumerate(cells) if weight]
    decoder["quotes"] = "parity"
    decoder["classes"] = _text(classes + bytes(3 * len(classes)))
    decoder["keys"] = _text(_bytes(decoder.get("keys", "")) + b"".join(struct.pack("<q", key) for key, _ in told))
    decoder["weights"] = _text(_bytes(decoder.get("weights", "")) + b"".join(struct.pack("<2h", weight, 0) for _, weight in told))
    return decoder


def _key(cell: int) -> int:
    """The key of a cell of the evidence table [3 modes, 8 classes, 2 places, 17 buckets]: each mode's first story template."""
    kind, bucket = divmod(cell, 17)
    mode, kind = divmod(kind, 16)
    return (STORY_TEMPLATE + mode * STORY_FEATURES) << 48 | kind << 8 | bucket


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


TOKENIZER: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _from_1}
"""Version n → n + 1."""

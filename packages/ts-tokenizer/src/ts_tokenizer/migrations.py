"""Migrations of older word_tokenizer.json versions: pure functions from dict to dict, one per version."""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from .detokenizer.storage import ALL_CAPITALS, pack, pack_keys, unpack
from .fast.loops import STORY_TEMPLATE, STORY_TEMPLATES


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


def _from_2(content: dict[str, Any]) -> dict[str, Any]:
    """Pack the keys; weights keep their two bytes, and occurrences of a word are not decided together."""
    try:
        return {**content, "decoder": _decoder_from_2(dict(content["decoder"]))}
    except (KeyError, TypeError, ValueError):
        return content  # damaged: validation reports where


def _decoder_from_2(decoder: dict[str, Any]) -> dict[str, Any]:
    keys, weights = unpack(decoder.get("keys", ""), "<i8"), unpack(decoder.pop("weights", ""), "<i2").reshape(-1, 2)
    if len(keys) != len(weights) or (keys < 0).any():
        raise ValueError("`keys` and `weights` do not belong together")
    both = np.concatenate([keys, keys | ALL_CAPITALS])
    told = weights.T.reshape(-1)
    rising = np.argsort(both)
    rising = rising[told[rising] != 0]
    decoder["templates"], decoder["keys"] = pack_keys(both[rising])
    return {**decoder, "weight_bytes": 2, "weights": pack(told[rising], "<i2")}


def _key(cell: int) -> int:
    """The key of a cell of the evidence table [3 modes, 8 classes, 2 places, 17 buckets]: each mode's first story template."""
    kind, bucket = divmod(cell, 17)
    mode, kind = divmod(kind, 16)
    return (STORY_TEMPLATE + mode * STORY_TEMPLATES) << 48 | kind << 8 | bucket


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


TOKENIZER: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _from_1, 2: _from_2}
"""Version n → n + 1."""

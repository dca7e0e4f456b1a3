"""Migrations of older word_tokenizer.json versions: pure functions from dict to dict, one per version."""

from typing import Any

import numpy as np

from ts_data.artefact import Migration

from .detokenizer.storage import ALL_CAPITALS, pack, pack_keys, unpack
from .fast.loops import STORY_TEMPLATE, STORY_TEMPLATES


def _of_decoder(change: Migration) -> Migration:
    """The migration that changes the field `decoder`. It returns a damaged file as it is: validation reports where."""

    def migrate(content: dict[str, Any]) -> dict[str, Any]:
        try:
            return {**content, "decoder": change(dict(content["decoder"]))}
        except (KeyError, TypeError, ValueError):
            return content

    return migrate


def _from_1(decoder: dict[str, Any]) -> dict[str, Any]:
    """Convert the evidence table to feature weights; word classes that version 1 lacks are 0."""
    evidence, classes = unpack(decoder.pop("evidence", ""), "<i2"), unpack(decoder.get("classes", ""), "<u1")
    told = np.flatnonzero(evidence)
    weights = np.column_stack([evidence[told], np.zeros_like(told)]).reshape(-1)
    decoder["quotes"] = "parity"
    decoder["classes"] = pack(np.concatenate([classes, np.zeros(3 * len(classes))]), "<u1")
    decoder["keys"] = pack(np.concatenate([unpack(decoder.get("keys", ""), "<i8"), _keys(told)]), "<i8")
    decoder["weights"] = pack(np.concatenate([unpack(decoder.get("weights", ""), "<i2"), weights]), "<i2")
    return decoder


def _keys(cells: np.ndarray) -> np.ndarray:
    """The keys of cells of the evidence table [3 modes, 8 classes, 2 places, 17 buckets]: each mode's first story template."""
    kinds, buckets = np.divmod(cells.astype(np.int64), 17)
    modes, kinds = np.divmod(kinds, 16)
    return np.asarray((STORY_TEMPLATE + modes * STORY_TEMPLATES) << 48 | kinds << 8 | buckets)


def _from_2(decoder: dict[str, Any]) -> dict[str, Any]:
    """Pack the keys; weights keep their two bytes, and occurrences of a word are not decided together."""
    keys, weights = unpack(decoder.get("keys", ""), "<i8"), unpack(decoder.pop("weights", ""), "<i2").reshape(-1, 2)
    if len(keys) != len(weights) or (keys < 0).any():
        raise ValueError("`keys` and `weights` do not belong together")
    both = np.concatenate([keys, keys | ALL_CAPITALS])
    told = weights.T.reshape(-1)
    rising = np.argsort(both)
    rising = rising[told[rising] != 0]
    decoder["templates"], decoder["keys"] = pack_keys(both[rising])
    return {**decoder, "weight_bytes": 2, "weights": pack(told[rising], "<i2")}


TOKENIZER: dict[int, Migration] = {1: _of_decoder(_from_1), 2: _of_decoder(_from_2)}
"""Version n → n + 1."""

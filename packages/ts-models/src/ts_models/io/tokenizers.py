"""Finds the tokenizer for a word_tokenizer.json by entry points.

A package registers under the group `ts_models.tokenizers` a callable (path → tokenizer) by the file's `format`.
"""

from __future__ import annotations

import os
from importlib.metadata import entry_points
from pathlib import Path
from typing import cast

from ..artefact import read_json
from ..errors import ArtefactError, TokenizerError
from ..protocols import Tokenizer

GROUP = "ts_models.tokenizers"


def load_tokenizer(path: str | os.PathLike[str]) -> Tokenizer:
    """Read a tokenizer file. Raises TokenizerError where no installed package reads its format."""
    path = Path(path)
    kind = read_json(path, error=ArtefactError).get("format")
    found = [entry for entry in entry_points(group=GROUP) if entry.name == str(kind)]
    if not found:
        raise TokenizerError(
            f'{path}: no installed package reads the tokenizer format {kind!r}. Run: pip install "ts-models[text]" '
            "(ids work without it)."
        )
    if len({entry.value for entry in found}) > 1:
        raise TokenizerError(
            f"{path}: several packages claim the format {kind!r}: {', '.join(e.value for e in found)}. Remove one."
        )
    return cast(Tokenizer, found[0].load()(path))

"""The encoded data of a run: opened, identified by a fingerprint, checked against the model."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ._batches import Stories
from .errors import DataError

__all__ = ["TrainingData", "open_data"]


@dataclass(frozen=True)
class TrainingData:
    path: str
    train: Stories
    validation: Stories
    vocab_size: int
    pad_id: int
    fingerprint: str
    """SHA-256 over the hashes of tokenizer and files: other data, other fingerprint."""
    tokenizer_sha256: str
    tokenizer_file: Path | None
    source: Any

    @property
    def tokenizer(self) -> Any:
        """The folder's own tokenizer; None for data that come without."""
        return getattr(self.source, "tokenizer", None)


def open_data(data: Any) -> TrainingData:
    """Open an encoded/ folder, or take a mapping "train" and "validation" → ids with offsets.

    A mapping that is not from ts_tokenizer needs the attributes `vocab_size` and `pad_id`; its content is hashed.

    Raises:
        DataError: a split is missing, or the mapping lacks an attribute.
    """
    if isinstance(data, str | os.PathLike):
        from ts_tokenizer import open_encoded

        data = open_encoded(data)
    if not isinstance(data, Mapping) or "train" not in data or "validation" not in data:
        raise DataError("the data have no splits `train` and `validation`. Give an encoded/ folder, or such a mapping.")
    manifest = getattr(data, "manifest", None)
    if manifest is None:
        return _foreign(data)
    folder = Path(getattr(data, "path", "."))
    hashes = [
        manifest.tokenizer_sha256,
        *(f"{name}:{s.bin.sha256}:{s.idx.sha256}" for name, s in sorted(manifest.splits.items())),
    ]
    tokenizer_file = folder / "word_tokenizer.json"
    return TrainingData(
        path=str(folder.resolve()), train=data["train"], validation=data["validation"], vocab_size=manifest.vocab_size,
        pad_id=manifest.pad_id, fingerprint=_hash(hashes), tokenizer_sha256=manifest.tokenizer_sha256,
        tokenizer_file=tokenizer_file if tokenizer_file.exists() else None, source=data,
    )  # fmt: skip


def _foreign(data: Any) -> TrainingData:
    missing = [name for name in ("vocab_size", "pad_id") if not hasattr(data, name)]
    if missing:
        raise DataError(f"the data have no {' and no '.join(missing)}; a mapping of your own needs both as attributes.")
    arrays = [np.ascontiguousarray(a) for name in ("train", "validation") for a in (data[name].ids, data[name].offsets)]
    hashes = [hashlib.sha256(a.tobytes()).hexdigest() for a in arrays]
    return TrainingData(
        path="", train=data["train"], validation=data["validation"], vocab_size=int(data.vocab_size), pad_id=int(data.pad_id),
        fingerprint=_hash([str(data.vocab_size), *hashes]), tokenizer_sha256="", tokenizer_file=None, source=data,
    )  # fmt: skip


def _hash(parts: list[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()

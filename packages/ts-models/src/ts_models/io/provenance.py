"""train_stories.npy of a model folder: sorted unique 64-bit hashes of the stories that the model was trained on.

An evaluation compares them with the hashes of its own stories. The package that prepares the data defines how a story is hashed
(`ts_data.story_hashes`); here a hash is a number.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..artefact import StrPath, sha256_bytes
from ..errors import ArtefactError, ConfigError
from ..schemas import TrainingSummary

FILE = "train_stories.npy"
Hashes = NDArray[np.uint64]


def pack(hashes: Any, training: TrainingSummary | None) -> tuple[bytes | None, TrainingSummary | None]:
    """The bytes of the file, and the summary with its count and SHA-256; without hashes the summary names no file."""
    if hashes is None:
        absent = {"train_stories": None, "train_stories_sha256": None}
        return None, None if training is None else training.model_copy(update=absent)
    if training is None:
        raise ConfigError("train_stories needs `training`: training.json holds the count and the SHA-256 of the hashes.")
    array = np.asarray(hashes)
    if array.dtype != np.uint64 or array.ndim != 1:
        raise ConfigError(
            f"train_stories holds {array.dtype} in {array.ndim} dimensions; give one array of uint64 hashes (ts_data.story_hashes)."
        )
    buffer, unique = io.BytesIO(), np.unique(array).astype("<u8")
    np.save(buffer, unique, allow_pickle=False)
    content = buffer.getvalue()
    known = {"train_stories": len(unique), "train_stories_sha256": sha256_bytes(content)}
    return content, training.model_copy(update=known)


def read_train_stories(path_or_hub_id: StrPath) -> Hashes | None:
    """Sorted unique uint64 hashes of the stories a model was trained on; None for a model that does not hold them.

    Raises ArtefactError where the file is missing, or is not the one that training.json names.
    """
    from .model_folder import read_training, resolve

    folder = resolve(path_or_hub_id)
    if not folder.is_dir():
        return None
    training = read_training(folder)
    if training is None or training.train_stories is None:
        return None
    return _read(folder / FILE, training)


def _read(path: Path, training: TrainingSummary) -> Hashes:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ArtefactError(f"{path}: no such file, but training.json names it. Fetch or copy the whole model folder.") from None
    if training.train_stories_sha256 not in (None, sha256_bytes(content)):
        raise ArtefactError(f"{path}: its SHA-256 is not the one in training.json. Fetch or copy the whole model folder.")
    try:
        array = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError, OSError, SyntaxError):
        raise ArtefactError(f"{path}: not a NumPy array of numbers. Fetch or copy the model folder again.") from None
    if array.dtype != np.dtype("<u8") or array.ndim != 1 or len(array) != training.train_stories:
        raise ArtefactError(
            f"{path}: holds {array.dtype} of shape {list(array.shape)}; training.json names {training.train_stories} hashes of uint64."
        )
    if (array[1:] <= array[:-1]).any():
        raise ArtefactError(f"{path}: its hashes are not sorted and unique. Fetch or copy the model folder again.")
    return np.asarray(array, dtype=np.uint64)

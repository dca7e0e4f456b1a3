"""Hashes of the stories that a model was trained on: from the encoded data, and from the model that a run starts from."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ts_models import artefact, read_train_stories
from ts_models.io.model_folder import read_training, resolve

from ..errors import ArtefactError
from ..schemas import RunManifest, TrainConfig
from .dataset import TrainingData

TRAIN_STORIES = "train_stories.npy"
"""For a run that starts from a model: hashes of the training stories of both."""
Hashes = NDArray[np.uint64]
NONE: Hashes = np.empty(0, dtype=np.uint64)


def inherited_stories(config: TrainConfig, data: TrainingData, manifest: RunManifest) -> tuple[Hashes | None, RunManifest]:
    """For a run that starts from a model: the stories of both, and the manifest with the splits that both share.

    (None, the manifest) for any other run. The stories are empty if either list is missing: the training set is then unknown.
    """
    if config.init_from is None:
        return None, manifest
    before, now = read_train_stories(config.init_from), data.train_stories
    training = read_training(resolve(config.init_from))
    splits = None if training is None else training.splits_fingerprint
    if splits != manifest.splits_fingerprint:
        manifest = manifest.model_copy(update={"splits_fingerprint": None})
    return (NONE if before is None or now is None else np.union1d(before, now)), manifest


def write_stories(path: Path, stories: Hashes) -> None:
    """run/train_stories.npy."""
    buffer = io.BytesIO()
    np.save(buffer, stories, allow_pickle=False)
    artefact.write_bytes(path / TRAIN_STORIES, buffer.getvalue())


def read_stories(path: Path, data: TrainingData) -> Hashes | None:
    """The stories of run/train_stories.npy, else those of the data; None if unknown.

    Raises:
        ArtefactError: the file is damaged.
    """
    file = path / TRAIN_STORIES
    if not file.exists():
        return data.train_stories
    try:
        stories: Any = np.load(io.BytesIO(file.read_bytes()), allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError):
        raise ArtefactError(f"{file}: not a NumPy array; it is damaged. Put it back, or begin a new run.") from None
    return stories if len(stories) else None

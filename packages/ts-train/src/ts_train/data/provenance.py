"""Hashes of the stories that a model was trained on: from the encoded data, and from the models that a run starts or learns from."""

import functools
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ts_models import artefact, read_train_stories
from ts_models.io.model_folder import read_training, resolve

from ..errors import ArtefactError
from ..schemas import RunManifest
from .dataset import TrainingData

TRAIN_STORIES = "train_stories.npy"
"""For a run that starts or learns from models: hashes of the training stories of all."""
Hashes = NDArray[np.uint64]
NONE: Hashes = np.empty(0, dtype=np.uint64)


def inherited_stories(models: Sequence[str], data: TrainingData, manifest: RunManifest) -> tuple[Hashes | None, RunManifest]:
    """For a run that starts or learns from models: the stories of all, and the manifest with the splits that all share.

    (None, the manifest) without such models. The stories are empty if a list is missing: the training set is then unknown.
    """
    if not models:
        return None, manifest
    trainings = [read_training(resolve(model)) for model in models]
    if any(t is None or t.splits_fingerprint != manifest.splits_fingerprint for t in trainings):
        manifest = manifest.model_copy(update={"splits_fingerprint": None})
    lists = [data.train_stories, *map(read_train_stories, models)]
    known = [stories for stories in lists if stories is not None]
    return (functools.reduce(np.union1d, known) if len(known) == len(lists) else NONE), manifest


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

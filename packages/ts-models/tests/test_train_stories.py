"""Provenance of a model folder: which splits, and hashes of the stories that it was trained on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import ts_models
from ts_models.errors import ArtefactError, ConfigError
from ts_models.schemas import TrainingSummary

SUMMARY = TrainingSummary(parameters=1, steps=2, tokens=3, seconds=4, splits_fingerprint="ab" * 32)
HASHES = np.array([2**64 - 1, 3, 7, 3], dtype=np.uint64)
SIZES = {"vocab_size": 20, "d_model": 8, "n_heads": 2, "n_layers": 1, "d_ff": 12, "head_dim": 4, "max_seq_len": 16}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = ts_models.build("story-1m", **SIZES)
    return ts_models.save(model, tmp_path / "model", training=SUMMARY, train_stories=HASHES)


def test_the_hashes_are_stored_sorted_and_once(folder: Path) -> None:
    read = ts_models.read_train_stories(folder)
    assert read is not None
    assert read.tolist() == [3, 7, 2**64 - 1]
    assert read.dtype == np.uint64
    training = ts_models.load(folder).training
    assert training is not None
    assert training.train_stories == 3
    assert training.splits_fingerprint == "ab" * 32


@pytest.mark.parametrize("format", ["int8", "transformers"])
def test_an_export_keeps_them(folder: Path, tmp_path: Path, format: str) -> None:
    from ts_models.export import export

    export(folder, tmp_path / "out", format=format)
    assert ts_models.read_train_stories(tmp_path / "out").tolist() == [3, 7, 2**64 - 1]
    assert ts_models.load(tmp_path / "out").training == ts_models.load(folder).training


def test_saving_a_loaded_model_again_keeps_them(folder: Path, tmp_path: Path) -> None:
    lm = ts_models.load(folder)
    again = ts_models.save(lm.model, tmp_path / "again", training=lm.training, train_stories=ts_models.read_train_stories(folder))
    assert (again / "train_stories.npy").read_bytes() == (folder / "train_stories.npy").read_bytes()
    without = ts_models.save(lm.model, tmp_path / "without", training=lm.training)
    assert ts_models.load(without).training.splits_fingerprint == "ab" * 32  # type: ignore[union-attr]
    assert ts_models.read_train_stories(without) is None


def test_a_model_without_provenance_has_none(tmp_path: Path) -> None:
    model = ts_models.build("story-1m", **SIZES)
    assert ts_models.read_train_stories(ts_models.save(model, tmp_path / "m")) is None
    with pytest.raises(ConfigError, match="needs `training`"):
        ts_models.save(model, tmp_path / "n", train_stories=HASHES)
    with pytest.raises(ConfigError, match="int64"):
        ts_models.save(model, tmp_path / "n", training=SUMMARY, train_stories=HASHES.astype(np.int64))


@pytest.mark.parametrize("damage", ["missing", "other", "not-npy", "pickle", "shape", "unsorted", "dtype"])
def test_a_damaged_file_is_one_sentence(folder: Path, damage: str) -> None:
    path = folder / "train_stories.npy"
    arrays = {
        "pickle": np.array([object()] * 3),
        "shape": np.zeros((3, 1), np.uint64),
        "unsorted": np.array([7, 3, 9], np.uint64),
        "dtype": np.array([3, 7, 9], np.int64),
    }
    if damage == "missing":
        path.unlink()
    elif damage in arrays:
        np.save(path, arrays[damage], allow_pickle=True)
    else:
        path.write_bytes(b"no array" if damage == "not-npy" else path.read_bytes()[:-8] + bytes(8))
    if damage != "other":  # the SHA-256 alone notices that one
        record = folder / "training.json"
        record.write_text(json.dumps({**json.loads(record.read_text()), "train_stories_sha256": None}))
    with pytest.raises(ArtefactError, match=r"train_stories\.npy") as found:
        ts_models.read_train_stories(folder)
    assert "\n" not in str(found.value)

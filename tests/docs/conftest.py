"""A folder as the documentation leaves it: splits/, word_tokenizer.json, encoded/, run/model/, raw.txt, all small."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def small_line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One small trip down the line, made once."""
    import ts_data
    import ts_models
    import ts_tokenizer
    import ts_train

    folder = tmp_path_factory.mktemp("small-line")
    stories = list(ts_data.sample(400, seed=3))
    (folder / "raw.txt").write_text("".join(f"{story}\n<|endoftext|>\n" for story in stories), encoding="utf-8")
    shutil.copy(folder / "raw.txt", folder / "my-stories.txt")
    ts_data.prepare(folder / "raw.txt", folder / "splits", ts_data.PrepareConfig(validation=30))
    tokenizer = ts_tokenizer.WordTokenizer.train(ts_data.read(folder / "splits", "train"), vocab_size=512)
    tokenizer.save(folder / "word_tokenizer.json")
    ts_tokenizer.encode_splits(folder / "splits", folder / "word_tokenizer.json", folder / "encoded")
    run = ts_train.train(ts_train.TrainConfig(preset="story-1m", max_steps=3), folder / "encoded", folder / "run")
    assert ts_models.load(run.path / "model").tokenizer is not None
    return folder


@pytest.fixture
def folder(small_line: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it as the current folder, for a page whose code reads artefacts that it does not make itself."""
    place = tmp_path / "docs"
    shutil.copytree(small_line, place)
    monkeypatch.chdir(place)
    return place

"""The demo model's recipe and how its weights are stored."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest
from tools import demo

import ts_models
from ts_train import recipe
from ts_train.recipes import combine
from ts_train.schemas import TrainConfig


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_recipe_holds_on_a_cpu_and_on_a_gpu(device: str) -> None:
    changes = tomllib.loads(demo.RECIPE.read_text(encoding="utf-8"))
    config = TrainConfig.model_validate(combine(recipe(changes["preset"], device=device), changes))
    assert config.optimizer.weight_decay > 0
    assert config.capture == (device == "cuda")
    ts_models.preset(changes["preset"], **changes["model"])


def test_weights_are_stored_as_float16_where_that_fits_and_as_int8_where_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, words, stories = tmp_path / "model", demo.FOLDER / "word_tokenizer.json", np.arange(9, dtype=np.uint64)
    lm = ts_models.load(demo.FOLDER)
    ts_models.save(
        ts_models.build("story-1m", vocab_size=2048), model, tokenizer=words, training=lm.training, train_stories=stories
    )
    assert demo.store(model, tmp_path / "half", words) == "float16"
    monkeypatch.setattr(demo, "LIMIT", 1_500_000)
    assert demo.store(model, tmp_path / "bytes", words).startswith("int8")
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("half", "bytes")]
    assert 1.8 < sizes[0] / sizes[1] < 2
    assert [np.array_equal(ts_models.read_train_stories(tmp_path / name), stories) for name in ("half", "bytes")] == [True, True]
    ids = [5, 6, 7]
    written = [
        ts_models.load(tmp_path / name).model.generate([ids], method="greedy", max_new_tokens=5) for name in ("half", "bytes")
    ]
    assert [len(text[0]) for text in written] == [5, 5]

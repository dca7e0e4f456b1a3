"""Best of n: which stories are kept, by which score, and what is written."""

from __future__ import annotations

import json
import types

import pytest

import ts_eval
import ts_models
from ts_data import TsDataError
from ts_eval.cli import app
from ts_eval.judge import FeatureJudge
from ts_eval.judge.best import write_ranked
from ts_eval.judge.features.model import packaged
from ts_models.generation.text import Story

OPTIONS = {"max_new_tokens": 12, "temperature": 9.0}  # an untrained network repeats its prompt otherwise


@pytest.fixture(scope="module")
def lm(model_folder):
    return ts_models.load(model_folder)


def test_the_best_and_the_worst_of_the_stories_are_kept(lm):
    judge: FeatureJudge = packaged(None)
    rows = ts_eval.best_of(lm, ["One day", "", ""], 5, seed=3, **OPTIONS)
    stories = lm.write(["One day", "", ""], seed=3, method="sample", num_return_sequences=5, **OPTIONS)
    for row, group in zip(rows, (stories[:5], stories[5:10], stories[10:]), strict=True):
        scores = {story.full_text.strip(): sum(judge.estimate(story.full_text).as_list()) / 6 for story in group}
        assert row.score == pytest.approx(max(scores.values())) == pytest.approx(scores[row.story])
        assert row.rejected_score == pytest.approx(min(scores.values())) == pytest.approx(scores[row.rejected])
        assert row.rejected_score < row.mean_score < row.score
    assert rows[1] != rows[2]
    assert rows == ts_eval.best_of(lm, ["One day", "", ""], 5, seed=3, **OPTIONS)


@pytest.mark.parametrize("by", ["features", "likelihood"])
def test_a_story_that_ends_at_once_is_the_worst(by):
    def told(text: str, logprob: float) -> Story:
        return Story("One day", text, [3], "eos", 0.0, [logprob])

    made = [told(" a dog sat, sat, sat and sat", -9.0), told("", -0.1), told(" ", -0.1), told(" a cat ran and", -8.0)]
    lm = types.SimpleNamespace(write=lambda prompts, **_: made)
    (row,) = ts_eval.best_of(lm, ["One day"], 4, by=by)
    assert row.rejected == "One day"
    assert row.story != "One day"


def test_likelihood_ranks_by_the_models_own_mean_log_probability(lm):
    (row,) = ts_eval.best_of(lm, ["One day"], 4, by="likelihood", **OPTIONS)
    stories = lm.write("One day", seed=1, method="sample", num_return_sequences=4, **OPTIONS)
    start = lm.encode_prompt("One day")
    scores = {s.full_text: ts_models.score_ids(lm.model, [start + s.ids])[0][len(start) - 1 :].mean() for s in stories}
    assert row.story == max(scores, key=scores.get)
    assert row.score == pytest.approx(max(scores.values()), abs=1e-5)


def test_a_prompt_that_is_repeated_gets_other_stories_also_in_later_batches(lm, monkeypatch):
    monkeypatch.setattr("ts_eval.judge.best._ROWS", 4)
    done = []
    rows = ts_eval.best_of(lm, ["One day"] * 5, 2, progress=lambda what, now, total: done.append((now, total)), **OPTIONS)
    assert len({row.story for row in rows}) == 5
    assert done == [(2, 5), (4, 5), (5, 5)]


def test_the_file_is_one_of_stories_and_the_command_writes_it(lm, model_folder, tmp_path, capsys):
    rows = ts_eval.best_of(lm, ["One day"] * 2, 3, **OPTIONS)
    write_ranked(tmp_path / "a.jsonl", rows)
    assert [story.text for story in ts_eval.read_stories(tmp_path / "a.jsonl")] == [row.story for row in rows]
    options = ["--stories", "2", "-n", "3", *(f"--set={name}={value}" for name, value in OPTIONS.items())]
    app(
        ["best", str(model_folder), "-p", "One day", *options, "--out", str(tmp_path / "b.jsonl"), "--json"],
        standalone_mode=False,
    )
    shown = json.loads(capsys.readouterr().out)
    assert (tmp_path / "b.jsonl").read_bytes() == (tmp_path / "a.jsonl").read_bytes()
    assert shown["worst"] < shown["mean"] < shown["best"]


def test_a_file_of_somebody_else_is_left_alone_before_the_model_is_loaded(tmp_path):
    (tmp_path / "mine.jsonl").write_text('{"story": "A cat sat."}')
    with pytest.raises(TsDataError, match="is not an earlier file of `ts-eval best`"):
        app(["best", "nowhere", "--out", str(tmp_path / "mine.jsonl")], standalone_mode=False)


def test_what_cannot_be_ranked_is_refused(lm):
    with pytest.raises(ts_eval.ConfigError, match="n is 1"):
        ts_eval.best_of(lm, ["One day"], 1)
    with pytest.raises(ts_eval.ConfigError, match="by is 'length'"):
        ts_eval.best_of(lm, ["One day"], 2, by="length")

"""Held-out is not believed but checked: models evaluated on other splits, on their own, and without a record."""

from __future__ import annotations

import json
import shutil
import sys

import numpy as np
import pytest

import ts_data
import ts_eval
import ts_models
from ts_eval.cli import main
from ts_eval.errors import ConfigError
from ts_eval.report import read_report, render
from ts_eval.schemas import EvalConfig, SweepConfig

SMALL = EvalConfig(stories=12, resamples=100, parts=("perplexity",), decoding={"max_new_tokens": 8})


@pytest.fixture(scope="module")
def trained(tmp_path_factory, splits, model_folder):
    """The tiny model with the record of the splits that it was trained on."""
    import torch

    folder = tmp_path_factory.mktemp("trained") / "trained"
    torch.manual_seed(1)
    fingerprint = ts_data.open_manifest(splits).fingerprint
    summary = ts_models.TrainingSummary(parameters=1, steps=4, tokens=400, seconds=4, curve=[], splits_fingerprint=fingerprint)
    hashes = ts_data.story_hashes(ts_data.read(splits, "train"))
    model = ts_models.load(model_folder).model
    ts_models.save(
        model, folder, tokenizer=model_folder / "word_tokenizer.json", training=summary, train_stories=np.unique(hashes)
    )
    return folder


@pytest.fixture(scope="module")
def redrawn(tmp_path_factory, splits, stories):
    """The same stories, drawn into splits with another seed."""
    folder = tmp_path_factory.mktemp("redrawn")
    (folder / "raw.txt").write_text("\n<|endoftext|>\n".join(stories), encoding="utf-8")
    ts_data.prepare(folder / "raw.txt", folder / "splits", ts_data.PrepareConfig(validation=40, seed=5))
    return folder / "splits"


def trained_on(splits, redrawn, texts=None):
    """Counted in another way: by the texts themselves (both splits went through the same cleaning)."""
    known = set(ts_data.read(splits, "train"))
    return sum(text in known for text in (ts_data.read(redrawn, "test") if texts is None else texts))


def untold(name):
    """Stories of another data set."""
    end = "They ate grass all day, and in the evening they went home and slept in a warm barn. The end."
    return [f"Nobody told the {name} story about {i} green hills and {i * 7} goats before. {end} {end}" for i in range(90)]


@pytest.fixture
def run(capsys, monkeypatch):
    def call(*words):
        monkeypatch.setattr(sys, "argv", ["ts-eval", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            main()
        out, err = capsys.readouterr()
        return stop.value.code or 0, out, err

    return call


def test_the_same_splits_are_silent(trained, splits):
    report = ts_eval.evaluate(trained, splits, SMALL)
    assert report.warnings == ()
    assert report.models[0].notes == ()
    assert report.models[0].provenance.checked == "same splits"
    assert report.data.test_in_train == 0


def test_other_splits_are_refused_with_the_number_and_leave_nothing(run, trained, splits, redrawn, tmp_path):
    expected, held_out = trained_on(splits, redrawn), len(ts_data.read(redrawn, "test"))
    assert 0 < expected < held_out
    code, out, err = run("perplexity", trained, "--data", redrawn, "-q")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"trained was trained on {expected} of the {held_out} held-out stories evaluated" in err
    assert "--allow-overlap" in err
    code, out, _ = run("report", trained, "--data", redrawn, "-q", "--out", tmp_path / "report")
    assert (code, out) == (2, "")
    assert not list(tmp_path.iterdir()), "refused before the index is built"


@pytest.mark.parametrize("part", ["memorisation", "overfitting", "paper"])
def test_every_part_counts_the_stories_that_it_draws(run, trained, splits, redrawn, part):
    code, _, err = run(part, trained, "--data", redrawn, "--stories", 12, "-q")
    assert code == 2
    rng = np.random.default_rng([1, 1])
    test = ts_data.read(redrawn, "test")
    drawn = [test[i] for i in sorted(rng.choice(len(test), 12, replace=False).tolist())]
    assert f"on {trained_on(splits, redrawn, drawn)} of the 12 held-out" in err


def test_with_leave_the_number_stands_in_report_page_and_terminal(run, trained, splits, redrawn, tmp_path):
    words = ("--data", redrawn, "-q", "--allow-overlap", "--set", "resamples=100")
    sentence = f"trained was trained on {trained_on(splits, redrawn)} of the {len(ts_data.read(redrawn, 'test'))} held-out"
    code, out, _ = run("perplexity", trained, *words)
    assert code == 0
    assert out.startswith(f"WARNING: {sentence}")
    code, _, _ = run("report", trained, *words, "--out", tmp_path, "--set", 'parts=["perplexity"]')
    assert code == 0
    report = read_report(tmp_path)
    assert report.models[0].provenance.trained_on == trained_on(splits, redrawn)
    assert report.models[0].provenance.checked == "story hashes"
    assert sentence in report.warnings[0]
    assert f'<p class="banner" role="alert"><b>Warning.</b> {sentence}' in (tmp_path / "report.html").read_text()
    code, out, err = run("perplexity", trained, *words, "--json")
    assert code == 0
    assert sentence in err
    assert sentence in json.loads(out)["warnings"][0]


def test_a_sweep_is_checked_too(run, trained, splits, redrawn, tmp_path):
    few = ("--stories", 8, "--set", "max_new_tokens=4", "--set", "method=['greedy']", "-q", "--out", tmp_path / "sweep.json")
    code, _, err = run("sweep", trained, "--data", redrawn, *few)
    assert code == 2
    assert "of the 8 held-out stories evaluated" in err
    assert not list(tmp_path.iterdir())
    code, out, _ = run("sweep", trained, "--data", redrawn, *few, "--allow-overlap")
    assert code == 0
    assert out.startswith("WARNING: trained was trained on ")
    made = json.loads((tmp_path / "sweep.json").read_text())
    assert made["provenance"]["trained_on"] > 0
    assert made["warnings"]
    assert (
        ts_eval.evaluate(trained, splits, SMALL, sweep=tmp_path / "sweep.json").warnings[0].startswith("decoding sweep: trained")
    )
    silent = ts_eval.sweep(trained, splits, SweepConfig(method=("greedy",), stories=4, max_new_tokens=4))
    assert silent.warnings == silent.notes == ()


def test_a_model_without_a_record_gets_one_note(model_folder, splits):
    report = ts_eval.evaluate(model_folder, splits, SMALL)
    assert report.models[0].provenance.checked == "not possible"
    assert [note for note in report.models[0].notes if "cannot be checked" in note] == list(report.models[0].notes)
    assert not report.warnings


def test_of_several_models_each_is_checked(trained, model_folder, splits, redrawn, tmp_path):
    again = shutil.copytree(trained, tmp_path / "again")
    with pytest.raises(ConfigError) as problem:
        ts_eval.evaluate([model_folder, trained, again], redrawn, SMALL)
    number = f"was trained on {trained_on(splits, redrawn)} of the"
    assert str(problem.value).count(number) == 2
    assert "trained was" in str(problem.value)
    assert "again was" in str(problem.value)
    assert "tiny was" not in str(problem.value)
    report = ts_eval.evaluate([model_folder, trained, again], redrawn, SMALL, allow_overlap=True)
    assert len(report.warnings) == 2
    assert render(report).count('class="banner"') == 2


def test_another_cleaning_of_the_same_story_is_the_same_story(trained, splits, redrawn, tmp_path):
    """Hashes are of letters and digits: quotes, case and blanks of the other splits do not hide a story."""
    test = list(ts_data.read(redrawn, "test"))
    (tmp_path / "test.txt").write_text("\n<|endoftext|>\n".join(t.upper().replace('"', "“") for t in test), encoding="utf-8")
    (tmp_path / "train.txt").write_text("\n<|endoftext|>\n".join(untold("train")))
    config = ts_data.PrepareConfig(validation=10)
    ts_data.prepare(tmp_path / "train.txt", tmp_path / "other", config, test=tmp_path / "test.txt")
    with pytest.raises(ConfigError, match=f"trained on {trained_on(splits, redrawn)} of the {len(test)} held-out"):
        ts_eval.evaluate(trained, tmp_path / "other", SMALL)


def test_other_splits_without_overlap_pass_and_say_what_the_train_split_is(trained, tmp_path):
    for name in ("train", "test"):
        (tmp_path / f"{name}.txt").write_text("\n<|endoftext|>\n".join(untold(name)))
    ts_data.prepare(tmp_path / "train.txt", tmp_path / "other", ts_data.PrepareConfig(validation=10), test=tmp_path / "test.txt")
    report = ts_eval.evaluate(trained, tmp_path / "other", SMALL.model_copy(update={"parts": ("perplexity", "memorisation")}))
    assert not report.warnings
    assert report.models[0].provenance.trained_on == 0
    assert any("it knows 0 of the 12 training stories used as prompts" in note for note in report.models[0].notes)


@pytest.mark.filterwarnings("ignore:.*also (stand )?in train")  # ts-data says so as well
@pytest.mark.parametrize("record", [True, False])
def test_splits_whose_own_test_stands_in_train_are_said(trained, model_folder, splits, stories, tmp_path, record):
    """Fitted on train, the n-gram models know them as well as any network does."""
    (tmp_path / "train.txt").write_text("\n<|endoftext|>\n".join(stories[:200]), encoding="utf-8")
    (tmp_path / "test.txt").write_text("\n<|endoftext|>\n".join(stories[190:230]), encoding="utf-8")
    leaking = tmp_path / "leaking"
    ts_data.prepare(tmp_path / "train.txt", leaking, ts_data.PrepareConfig(validation=10), test=tmp_path / "test.txt")
    expected = trained_on(leaking, leaking)
    assert expected
    if record:  # a model of these very splits: its own list is read instead of the train split
        folder = tmp_path / "model"
        ts_models.save(
            ts_models.load(model_folder).model,
            folder,
            tokenizer=model_folder / "word_tokenizer.json",
            training=ts_models.TrainingSummary(
                parameters=1,
                steps=1,
                tokens=1,
                seconds=1,
                curve=[],
                splits_fingerprint=ts_data.open_manifest(leaking).fingerprint,
            ),
            train_stories=np.unique(ts_data.story_hashes(ts_data.read(leaking, "train"))),
        )
    report = ts_eval.evaluate(folder if record else model_folder, leaking, SMALL)
    assert report.data.test_in_train == expected
    assert f"{expected} of the 40 held-out stories evaluated also stand in the train split" in report.warnings[0]


def test_an_object_and_a_language_model_in_memory_are_checked(trained, splits, redrawn):
    with pytest.raises(ConfigError, match="was trained on"):
        ts_eval.evaluate(ts_models.load(trained), redrawn, SMALL)

    class Own:
        name = "own"
        train_stories = ts_data.story_hashes(ts_data.read(splits, "train"))

        def logprobs(self, texts):
            return [np.full(4, -1.0) for _ in texts]

    with pytest.raises(ConfigError, match="own was trained on"):
        ts_eval.evaluate(Own(), redrawn, SMALL)


def test_a_transformers_export_carries_the_record(trained, redrawn, tmp_path):
    pytest.importorskip("transformers")
    from ts_models.export import export

    export(ts_models.load(trained), tmp_path / "hf", format="transformers")
    with pytest.raises(ConfigError, match="was trained on"):
        ts_eval.evaluate(tmp_path / "hf", redrawn, SMALL)


@pytest.mark.parametrize("hashes", [None, np.empty(0, np.uint64)])
def test_a_record_that_names_no_stories_is_none(model_folder, redrawn, tmp_path, hashes):
    """As of a model that went on from one without a record: nothing is known, so nothing is claimed."""
    summary = ts_models.TrainingSummary(parameters=1, steps=1, tokens=1, seconds=1, curve=[])
    lm = ts_models.load(model_folder)
    ts_models.save(
        lm.model, tmp_path / "m", tokenizer=model_folder / "word_tokenizer.json", training=summary, train_stories=hashes
    )
    model = ts_eval.evaluate(tmp_path / "m", redrawn, SMALL).models[0]
    assert model.provenance.checked == "not possible"
    assert any("cannot be checked" in note for note in model.notes)


def test_a_model_of_two_trainings_is_checked_by_both(model_folder, splits, redrawn, tmp_path):
    """It names no splits; the hashes of both are in its list."""
    both = np.concatenate([ts_data.story_hashes(ts_data.read(folder, "train")) for folder in (splits, redrawn)])
    summary = ts_models.TrainingSummary(parameters=1, steps=1, tokens=1, seconds=1, curve=[])
    lm = ts_models.load(model_folder)
    ts_models.save(
        lm.model, tmp_path / "m", tokenizer=model_folder / "word_tokenizer.json", training=summary, train_stories=np.unique(both)
    )
    for evaluated, other in ((splits, redrawn), (redrawn, splits)):
        number = trained_on(other, evaluated)
        with pytest.raises(ConfigError, match=f"on {number} of the"):
            ts_eval.evaluate(tmp_path / "m", evaluated, SMALL)

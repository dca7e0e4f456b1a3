"""Preference tuning: the loss against one written out, what it teaches, and what it refuses."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

import ts_models
import ts_tokenizer
from ts_models import artefact
from ts_train import ArtefactError, ConfigError, DataError, PreferenceConfig, prefer
from ts_train.cli import app
from ts_train.preference.dpo import _margin, _read_pairs

CATS = ["The cat sat.", "The cat ran and sat.", "A cat ran.", "A big cat sat."]
DOGS = ["The dog sat.", "The dog ran.", "A dog ran and sat and ran.", "A big dog sat."]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("start")
    tokenizer = ts_tokenizer.WordTokenizer.train(CATS + DOGS, vocab_size=40)
    tokenizer.save(folder / "word_tokenizer.json")
    torch.manual_seed(1)
    config = ts_models.TransformerConfig(
        vocab_size=tokenizer.vocab_size, max_seq_len=16, d_model=16, n_heads=2, n_layers=1, d_ff=24, dropout=0.2
    )
    training = ts_models.TrainingSummary(parameters=1, steps=1, tokens=1, seconds=1, best_validation_loss=2.0)
    stories = np.arange(3, dtype=np.uint64)
    tokens = folder / "word_tokenizer.json"
    return ts_models.save(ts_models.build(config), folder / "m", tokenizer=tokens, training=training, train_stories=stories)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    file = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    rows = [{"prompt": "", "story": good, "rejected": bad} for good in CATS for bad in DOGS]
    rows += [{"prompt": "", "story": CATS[0], "rejected": CATS[0]}]  # teaches nothing
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


CONFIG = PreferenceConfig(lr=0.01, epochs=5, batch_size=4, held_out=0.25)


def test_the_margin_is_that_of_each_story_alone_behind_its_prompt(model, tmp_path):
    file = tmp_path / "p.jsonl"
    rows = [("The", CATS[0], DOGS[0]), ("A", CATS[2], DOGS[2]), ("", CATS[1], DOGS[3])]
    file.write_text("\n".join(json.dumps(dict(zip(("prompt", "story", "rejected"), row, strict=True))) for row in rows))
    lm = ts_models.load(model)
    found = _margin(lm.model, _read_pairs(file, lm)).tolist()
    for margin, (prompt, *stories) in zip(found, rows, strict=True):
        first = len(lm.encode_prompt(prompt)) - 1
        good, bad = (lm.logprobs([story])[0][first:].sum() for story in stories)
        assert margin == pytest.approx(good - bad, abs=1e-4)


def test_two_tunings_into_one_folder_are_one_and_a_sentence(model, pairs, tmp_path):
    with artefact.lock(tmp_path / "a"), pytest.raises(ArtefactError, match="is writing here"):
        prefer(model, pairs, tmp_path / "a", CONFIG, progress=lambda *_: pytest.fail("tuned"))


def test_tuning_teaches_the_preference_and_leaves_the_start_alone(model, pairs, tmp_path):
    before = (model / "model.safetensors").read_bytes()
    done = []
    report = prefer(model, pairs, tmp_path / "a", CONFIG, progress=lambda what, now, total: done.append(now))
    assert (report.pairs, report.held_out, report.steps) == (12, 4, 15)
    assert done == list(range(1, 16))
    assert report.accuracy == 1.0
    assert report.loss < 0.6 < math.log(2)
    assert json.loads((tmp_path / "a" / "preference.json").read_text())["loss"] == pytest.approx(report.loss)
    start, tuned = ts_models.load(model), ts_models.load(tmp_path / "a")
    cats, dogs = (
        [float(b.sum() - a.sum()) for a, b in zip(start.logprobs(texts), tuned.logprobs(texts), strict=True)]
        for texts in (CATS, DOGS)
    )
    assert min(cats) > max(dogs)
    assert ts_models.read_train_stories(tmp_path / "a").tolist() == [0, 1, 2]
    assert tuned.training.best_validation_loss is None  # that was of the start
    assert (model / "model.safetensors").read_bytes() == before
    prefer(model, pairs, tmp_path / "b", CONFIG)
    assert (tmp_path / "a" / "model.safetensors").read_bytes() == (tmp_path / "b" / "model.safetensors").read_bytes()


def test_a_larger_beta_stays_nearer_to_the_start(model, pairs, tmp_path):
    start = ts_models.load(model).logprobs(CATS)
    moved = []
    for beta in (0.05, 5.0):
        prefer(model, pairs, tmp_path / str(beta), CONFIG.model_copy(update={"beta": beta}))
        tuned = ts_models.load(tmp_path / str(beta)).logprobs(CATS)
        moved.append(sum(abs(float(b.sum() - a.sum())) for a, b in zip(start, tuned, strict=True)))
    assert moved[1] < moved[0]


@pytest.mark.parametrize(
    "line",
    [
        '{"story": "A cat."}',
        "A cat.",
        '{"story": 1, "rejected": "x", "prompt": ""}',
        "[1]",
        "[" * 100_000,
        '{"story": "\\ud800", "rejected": "x", "prompt": ""}',
    ],
)
def test_a_line_that_is_no_pair_is_named(model, tmp_path, line):
    (tmp_path / "p.jsonl").write_text('{"prompt": "", "story": "A cat.", "rejected": "A dog."}\n\n' + line)
    with pytest.raises(DataError, match=r"p\.jsonl, line 3"):
        prefer(model, tmp_path / "p.jsonl", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_prompt_that_no_story_begins_with_hides_nothing(model, tmp_path):
    """The first tokens of both were left out of the loss, however different: of a long prompt, all of them."""
    file = tmp_path / "p.jsonl"
    rows = [{"prompt": "A big cat ran and sat. The dog sat.", "story": good, "rejected": bad} for good in CATS for bad in DOGS]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    lm = ts_models.load(model)
    whole = [lm.logprobs([row["story"]])[0].sum() - lm.logprobs([row["rejected"]])[0].sum() for row in rows]
    assert _margin(lm.model, _read_pairs(file, lm)).tolist() == pytest.approx(whole, abs=1e-4)


def test_the_largest_share_held_out_leaves_a_pair_to_learn_from(model, pairs, tmp_path):
    report = prefer(model, pairs, tmp_path / "new", CONFIG.model_copy(update={"held_out": 0.99}))
    assert (report.pairs, report.held_out) == (1, 15)


def test_what_cannot_be_tuned_is_refused(model, pairs, tmp_path):
    (tmp_path / "p.jsonl").write_text('{"prompt": "", "story": "A cat.", "rejected": "A dog."}\n')
    with pytest.raises(DataError, match="holds 1 pairs"):
        prefer(model, tmp_path / "p.jsonl", tmp_path / "new")
    ts_models.save(ts_models.load(model).model, tmp_path / "bare")
    with pytest.raises(ConfigError, match=r"has no word_tokenizer\.json"):
        prefer(tmp_path / "bare", pairs, tmp_path / "new")
    with pytest.raises(ts_models.ArtefactError, match="is an input as well"):
        prefer(model, pairs, model)


def test_the_command(model, pairs, tmp_path, capsys):
    command = [
        "prefer",
        str(model),
        str(pairs),
        "--out",
        str(tmp_path / "new"),
        "--set",
        "lr=0.01",
        "--set",
        "epochs=2",
        "--quiet",
    ]
    app(command, standalone_mode=False)
    shown = capsys.readouterr().out
    assert "of 2 held-out pairs" in shown
    assert str(tmp_path / "new") in shown
    assert json.loads((tmp_path / "new" / "preference.json").read_text())["config"]["epochs"] == 2

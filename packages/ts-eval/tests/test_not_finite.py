"""Models that diverged: NaN among the weights, or logits that are no numbers. One sentence, exit 2, and never a number."""

from __future__ import annotations

import json
import math
import re
import shutil
import sys
import types

import numpy as np
import pytest

import ts_eval
import ts_models
from ts_eval.cli import main
from ts_eval.errors import TsEvalError
from ts_eval.metrics import METRICS, StoryMetric
from ts_eval.report import read_report, render
from ts_eval.schemas import PART_NAMES, Estimate, EvalConfig, MetricInfo

SMALL = EvalConfig(stories=4, perplexity_stories=4, resamples=100, decoding={"max_new_tokens": 4})


HUGE = 3e38
WORDS = r"finite|NaN|infinity"


def spoil(source, folder, value):
    """A copy of a model folder with a weight that is no number, or with weights so large that the logits are none."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(source, folder)
    tensors = load_file(folder / "model.safetensors")
    if math.isfinite(value):
        tensors["norm.weight"][:] = value
    else:
        tensors["embedding.weight"][5, 5] = value
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture
def run(capsys, monkeypatch):
    def call(*words):
        monkeypatch.setattr(sys, "argv", ["ts-eval", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            main()
        out, err = capsys.readouterr()
        return stop.value.code or 0, out, err

    return call


@pytest.mark.parametrize("value", [math.nan, math.inf, HUGE], ids=["NaN", "infinity", "logits overflow"])
@pytest.mark.parametrize("command", ["report", "perplexity", "memorisation", "overfitting", "paper", "sweep"])
def test_every_command_refuses_it(run, model_folder, splits, tmp_path, value, command):
    model = spoil(model_folder, tmp_path / "spoilt", value)
    settings = {
        "report": ("--out", tmp_path / "report", "--stories", 4),
        "sweep": ("--out", tmp_path / "sweep.json", "--stories", 4, "--set", "method=['greedy', 'sample']"),
    }.get(command, ("--stories", 4))
    code, out, err = run(command, model, "--data", splits, "-q", *settings)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert re.search(WORDS, err), err
    assert {p.parent.name for p in tmp_path.rglob("*.json*")} <= {"spoilt", "index"}


@pytest.mark.parametrize("part", PART_NAMES)
@pytest.mark.parametrize("value", [math.nan, HUGE], ids=["NaN", "logits overflow"])
def test_every_part_refuses_it(model_folder, splits, tmp_path, part, value):
    model = spoil(model_folder, tmp_path / "spoilt", value)
    if part == "neighbours" and value == HUGE:
        pytest.skip("the weights are numbers, and nothing is computed from logits")
    with pytest.raises((TsEvalError, ts_models.errors.TsModelsError), match=WORDS):
        ts_eval.evaluate(model, splits, SMALL.model_copy(update={"parts": (part,)}))


@pytest.mark.parametrize("part", ["perplexity", "memorisation", "prompts", "neighbours"])
@pytest.mark.parametrize("value", [math.nan, HUGE], ids=["NaN", "logits overflow"])
def test_a_transformers_model_too(model_folder, splits, tmp_path, part, value):
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        vocab_size=256,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=64,
    )
    network = transformers.LlamaForCausalLM(config)
    weight = network.lm_head.weight.data
    weight[:] = value * weight.sign() if math.isfinite(value) else value
    network.save_pretrained(tmp_path / "hf")
    letters(tmp_path / "hf")
    if part == "neighbours" and value == HUGE:
        pytest.skip("the weights are numbers, and nothing is computed from logits")
    with pytest.raises(TsEvalError, match=WORDS):
        ts_eval.evaluate(tmp_path / "hf", splits, SMALL.model_copy(update={"parts": (part,)}))


def letters(folder):
    """A tokenizer of characters."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {"[UNK]": 0, "[EOS]": 1, **{chr(i): i - 30 for i in range(32, 127)}}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", eos_token="[EOS]", bos_token="[EOS]")
    fast.save_pretrained(folder)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        (lambda texts: [np.array([-1.0, np.nan]) for _ in texts], "gives nan as a log-probability"),
        (lambda texts: [np.array([-1.0, -np.inf]) for _ in texts], "gives -inf as a log-probability"),
        (lambda texts: [np.full(4, -1e308) for _ in texts], r"gives -1e\+308 as a log-probability"),
        (lambda texts: [np.array([2.0, 1.0]) for _ in texts], "at most 0"),
        (lambda texts: [np.array([[-1.0]]) for _ in texts], "2 dimensions"),
        (lambda texts: [["a"] for _ in texts], "one array of numbers per text"),
        (lambda texts: [None for _ in texts], "one array of numbers|dimensions"),
        (lambda texts: [np.array([-1.0])], "1 arrays for"),
        (lambda texts: [np.array([-1.0]), *[np.empty(0) for _ in texts[1:]]], "an empty array for text 1"),
    ],
)
def test_an_object_whose_log_probabilities_are_none(splits, given, match):
    model = types.SimpleNamespace(name="own", logprobs=given)
    with pytest.raises(TsEvalError, match=match):
        ts_eval.evaluate(model, splits, SMALL.model_copy(update={"parts": ("perplexity",)}))


@pytest.mark.parametrize(
    ("given", "match"),
    [
        (lambda prompts, **_: "one text", "generate gave one str"),
        (lambda prompts, **_: None, "generate gave one NoneType"),
        (lambda prompts, **_: [None for _ in prompts], "NoneType instead of a str for prompt 0"),
        (lambda prompts, **_: [[1, 2] for _ in prompts], "list instead of a str"),
        (lambda prompts, **_: ["a"], "1 texts for"),
    ],
)
def test_an_object_that_generates_no_texts(splits, given, match):
    model = types.SimpleNamespace(name="own", generate=given)
    for part in ("memorisation", "prompts", "overfitting"):
        with pytest.raises(TsEvalError, match=match):
            ts_eval.evaluate(model, splits, SMALL.model_copy(update={"parts": (part,)}))
    with pytest.raises(TsEvalError, match=match):
        ts_eval.sweep(model, splits, ts_eval.SweepConfig(method=("greedy",), stories=4))


def test_half_characters_of_a_model_and_of_a_file_cost_no_report(splits, tmp_path):
    """A lone surrogate cannot be written to any file: U+FFFD stands in, and a note."""
    model = types.SimpleNamespace(
        name="own", generate=lambda prompts, **_: [f"He saw a \ud83d and ran {i}." for i, _ in enumerate(prompts)]
    )
    (tmp_path / "told.jsonl").write_text('{"story": "Tom saw a \\ud83d dog and ran."}\n' * 3)
    report = ts_eval.evaluate([model, tmp_path / "told.jsonl"], splits, SMALL, out=tmp_path / "report")
    assert read_report(tmp_path / "report") == report
    for told in report.models:
        assert any("lone surrogates" in note for note in told.notes)
        assert all("\ufffd" in story.text for story in told.stories)


# --- report.json -------------------------------------------------------------------------------


def parsed(file):
    def refuse(name):
        raise AssertionError(f"{file}: {name} is not JSON")

    return json.loads(file.read_text(encoding="utf-8"), parse_constant=refuse)


def test_a_loss_whose_exp_is_no_number_leaves_perplexity_empty_with_the_reason(model_folder, splits, tmp_path):
    model = types.SimpleNamespace(name="own", logprobs=lambda texts: [np.full(9, -800.0) for _ in texts])
    settings = SMALL.model_copy(update={"parts": ("perplexity",), "references": (str(spoil(model_folder, tmp_path / "m", 1e6)),)})
    report = ts_eval.evaluate(model, splits, settings, out=tmp_path / "report")
    (baseline,) = report.baselines
    assert baseline.loss > 1000
    assert baseline.perplexity == pytest.approx(sys.float_info.max)
    metrics = parsed(tmp_path / "report" / "report.json")["models"][0]["metrics"]
    assert metrics["perplexity.test.loss"]["mean"] == 800
    assert metrics["perplexity.test.perplexity"]["mean"] is None
    assert any("perplexity is exp(800)" in note for note in report.models[0].notes)
    assert "exp(800)" in render(report)


def test_a_metric_of_ones_own_that_gives_nan_is_empty_with_the_reason(splits, tmp_path, monkeypatch):
    functions = {
        "odd": lambda stories: [math.nan, math.inf, *[1.0] * (len(stories.texts) - 2)],
        "odder": lambda stories: math.nan,
    }
    table = {
        name: StoryMetric(MetricInfo(title=name, better="lower", description="For a test."), function)
        for name, function in functions.items()
    }
    monkeypatch.setitem(sys.modules, "ts_eval.metrics.odd", types.SimpleNamespace(REPORTED=table))
    monkeypatch.setitem(METRICS, "odd", "odd:REPORTED")
    model = types.SimpleNamespace(name="own", generate=lambda prompts, **_: [f"ran {i} miles." for i, _ in enumerate(prompts)])
    report = ts_eval.evaluate(model, splits, SMALL.model_copy(update={"parts": ("texts",)}), out=tmp_path)
    found = parsed(tmp_path / "report.json")["models"][0]
    assert found["values"]["texts.test.odd"][:2] == [None, None]
    assert (found["metrics"]["texts.test.odd"]["mean"], found["metrics"]["texts.test.odd"]["unscored"]) == (1.0, 2)
    assert found["metrics"]["texts.test.odder"]["mean"] is None
    assert any("no finite number for 2 of 4 stories" in note for note in report.models[0].notes)
    assert any("texts.test.odder is nan" in note for note in report.models[0].notes)


@pytest.mark.parametrize(("train", "validation"), [(math.nan, math.inf), (1e308, -1e308)])
def test_a_training_curve_that_went_to_nan_has_gaps(model_folder, splits, tmp_path, train, validation):
    lm = ts_models.load(model_folder)
    points = [{"step": i, "tokens": i, "seconds": i, "train_loss": train, "validation_loss": validation} for i in (1, 2)]
    training = lm.training.model_copy(update={"curve": tuple(type(lm.training.curve[0]).model_construct(**p) for p in points)})
    lm.training = training
    ts_eval.evaluate(lm, splits, SMALL.model_copy(update={"parts": ("neighbours",)}), out=tmp_path)
    assert parsed(tmp_path / "report.json")["models"][0]["curve"][0]["train_loss"] is None


def test_no_schema_holds_nan():
    for wrong in (math.nan, math.inf, -math.inf):
        with pytest.raises(ValueError, match="finite"):
            Estimate(mean=wrong, n=1)
        with pytest.raises(ValueError, match="finite"):
            EvalConfig(decoding={"temperature": wrong})

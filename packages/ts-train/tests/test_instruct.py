"""From prompts to a model that knows how it was asked, and weights that change their vocabulary."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import ts_data
import ts_models
import ts_tokenizer
from ts_train import TrainConfig, train
from ts_train.cli import app
from ts_train.errors import DataError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """plain/ and prompts/, each encoded with a vocabulary of its own, and a model of the plain stories."""
    path = tmp_path_factory.mktemp("instruct")
    (path / "raw.txt").write_text("\n<|endoftext|>\n".join(ts_data.sample(80, seed=1)), encoding="utf-8")
    ts_data.prepare(path / "raw.txt", path / "splits", workers=1)
    ts_data.instruct(path / "splits", path / "asked")
    for splits, size in (("splits", 200), ("asked", 230)):
        tokenizer = ts_tokenizer.WordTokenizer.train(ts_data.read(path / splits, "train"), vocab_size=size)
        ts_tokenizer.encode_splits(path / splits, tokenizer, path / f"{splits}-encoded", workers=1)
    train(settings(max_steps=2), path / "splits-encoded", path / "plain")
    return path


def settings(**changes: Any) -> TrainConfig:
    model = {"kind": "transformer", "d_model": 16, "n_heads": 2, "n_layers": 1, "d_ff": 16, "max_seq_len": 128}
    fields = {"model": model, "threads": 1, "precision": "fp32", "sinks": (), "validation": {"samples": 0}, **changes}
    return TrainConfig.model_validate(fields)


def test_a_model_of_prompts_can_be_asked_as_they_ask(folder: Path) -> None:
    start = str(folder / "plain" / "model")
    run = train(settings(init_from=start, model={"max_seq_len": 200}, max_steps=0), folder / "asked-encoded", folder / "run")
    before, after = ts_models.load(start), ts_models.load(run.path / "model")
    assert (after.config.vocab_size, after.config.max_seq_len, after.config.eos_id) == (230, 200, 226)
    words = {word: after.vocabulary().index(word) for word in ("the", "was", "<eos>", "<unk>")}
    for word, place in words.items():
        old = before.model.embedding.weight[before.vocabulary().index(word)]
        assert torch.equal(after.model.embedding.weight[place], old)
    assert "features" not in before.vocabulary()
    assert after.ask(["dog", "run"], ["dialogue"]) == "Words: dog, run. Features: dialogue. Story:"
    asked = next(row for row in ts_data.instructions(folder / "asked", "train") if row.parts == ("words",))
    assert after.ask(asked.words) == asked.prompt
    with pytest.raises(ts_models.ConfigError, match=r"model: was trained on stories without prompts.*ts-data instruct"):
        before.ask(["dog"])
    plain = after.generate("Once upon", words=["dog"], method="greedy", max_new_tokens=5)
    assert plain.startswith("Once upon")
    assert "Words" not in plain


@pytest.mark.parametrize("asked", [True, False])
def test_a_run_shows_stories_that_answer_prompts(folder: Path, asked: bool) -> None:
    """After `<bos>` stands a prompt, which has no loss: what a model writes there says nothing about it."""
    from ts_train.data.dataset import open_data
    from ts_train.validation import sample_stories

    data = open_data(folder / ("asked-encoded" if asked else "splits-encoded"))
    model = ts_models.build("story-1m", vocab_size=data.vocab_size, d_model=32, n_heads=1, n_layers=1, d_ff=32)
    generate, calls = model.generate, []

    def recorded(prompts: Any, **options: Any) -> Any:
        calls.append((prompts, generate(prompts, **options)))
        return calls[-1][1]

    model.generate = recorded  # type: ignore[method-assign]
    samples = sample_stories(model, data, count=2, seed=1, max_new_tokens=20)
    ((prompts, told),) = calls
    assert samples == [data.tokenizer.decode(ids) for ids in told]  # from their first word on
    validation = data.source["validation"]
    lengths = [int(n) for n in validation.prompts[:2]] if asked else [1, 1]
    assert prompts == [validation[story][:length].tolist() for story, length in enumerate(lengths)]
    assert (min(lengths) > 3) == asked


def test_a_vocabulary_without_words_is_not_translated(folder: Path) -> None:
    from ts_train.testing import fake_encoded

    with pytest.raises(DataError, match="vocabulary has 200 entries, the data's 40"):
        train(settings(init_from=str(folder / "plain" / "model"), model={}), fake_encoded(vocab_size=40), folder / "other")


def test_the_first_use_of_what_a_prompt_asks_for_weighs_more(folder: Path) -> None:
    from ts_train.loss import IGNORED, first_uses, nll_sum

    ids = torch.tensor([[1, 7, 5, 2, 5, 7, 3, 5], [1, 6, 2, 2, 4, 0, 0, 0]])  # prompts 1 7 5 and 1 6; 0 pads
    targets = torch.tensor([[IGNORED, IGNORED, 2, 5, 7, 3, 5, 7], [IGNORED, 2, 2, 4, 6, IGNORED, IGNORED, IGNORED]])
    uses = first_uses(ids, targets, 9)
    assert uses.nonzero().tolist() == [[0, 3], [0, 4], [1, 4]]
    logits = torch.randn(2, 8, 9, generator=torch.Generator().manual_seed(1), requires_grad=True)
    weights = 1 + 2 * uses
    loss = nll_sum(logits, targets, weights=weights)
    (grad,) = torch.autograd.grad(loss, logits)
    each = -logits.log_softmax(-1).gather(2, targets.clamp_min(0)[..., None])[..., 0] * (targets != IGNORED)
    expected = each.sum() + 2 * (each[0, 3] + each[0, 4] + each[1, 4])
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(grad, torch.autograd.grad(expected, logits)[0])
    runs = [
        train(settings(max_steps=1, asked_weight=w, sinks=("jsonl",)), folder / "asked-encoded", folder / f"weight{w}")
        for w in (1.0, 3.0)
    ]
    plain, weighted = (json.loads((run.path / "metrics.jsonl").read_text().splitlines()[0])["loss"] for run in runs)
    assert plain * 1.02 < weighted < plain * 2
    with pytest.raises(ValueError, match="rows of one story each"):
        settings(asked_weight=2.0, batch={"arrangement": "packed"})


def test_the_recipe_by_its_name(folder: Path) -> None:
    from ts_models.console import run

    small = ["model.d_model=32", "model.n_layers=1", "model.d_ff=16", "model.n_heads=1", "validation.samples=0", "threads=1"]
    options = [part for option in small for part in ("--set", option)]
    out = folder / "recipe"
    arguments = ["run", "--preset", "story-1m-instruct", "--data", str(folder / "asked-encoded"), "--out", str(out)]
    with pytest.raises(SystemExit) as stop:
        run(app, [*arguments, *options, "--max-steps", "1", "-q"])
    assert stop.value.code == 0
    content = json.loads((out / "config.json").read_text(encoding="utf-8"))
    assert (content["config"]["preset"], content["context"]) == ("story-1m", 512)
    training = ts_models.load(out / "model").training
    assert training is not None
    assert training.prompts is not None

"""What stories give of what prompts ask for: hand counts, a model that writes the real stories, a tiny one, the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ts_data
import ts_eval
import ts_models
import ts_tokenizer
from ts_data import artefact
from ts_eval.asking import words_used
from ts_eval.cli import main
from ts_eval.errors import ConfigError
from ts_eval.schemas import InstructReport

OPTIONS: dict[str, Any] = {"stories": 8, "required": 8, "max_new_tokens": 40}


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """splits/, prompts/ and a tiny model of them."""
    folder = tmp_path_factory.mktemp("asked")
    (folder / "raw.txt").write_text("\n<|endoftext|>\n".join(ts_data.sample(200, seed=1)), encoding="utf-8")
    ts_data.prepare(folder / "raw.txt", folder / "splits", ts_data.PrepareConfig(validation=10, test=60), workers=1)
    ts_data.instruct(folder / "splits", folder / "prompts", ts_data.InstructConfig(held_out=0.3))
    tokenizer = ts_tokenizer.WordTokenizer.train(ts_data.read(folder / "prompts", "train"), vocab_size=2000)
    tokenizer.save(folder / "word_tokenizer.json")
    config = ts_models.TransformerConfig(
        vocab_size=tokenizer.vocab_size, max_seq_len=256, d_model=16, n_heads=2, n_layers=1, d_ff=16
    )
    torch.manual_seed(1)
    prompts = {"parts": {"words": "Words: {}.", "features": "Features: {}."}, "features": ["dialogue", "moral"], "end": "Story:"}
    curve: dict[str, Any] = {"parameters": 1, "steps": 1, "tokens": 1, "seconds": 1.0, "curve": []}
    for name, extra in (("asks", {"prompts": prompts}), ("plain", {})):
        training = ts_models.TrainingSummary.model_validate(curve | extra)
        ts_models.save(ts_models.build(config), folder / name, tokenizer=folder / "word_tokenizer.json", training=training)
    return folder


def test_words_counted_by_hand() -> None:
    def row(*words: str) -> ts_data.Instruction:
        return ts_data.Instruction("", "", ("words",), words, (), True)

    stories = ["The dogs ran to a Big house.", "A running fox, not a foxglove.", "The runner sat."]
    found = words_used(stories, [row("dog", "run", "big"), row("run", "fox"), row("run")])
    assert found.exact.mean == pytest.approx((1 / 3 + 1 / 2 + 0) / 3)
    assert found.inflected.mean == pytest.approx((1 + 1 + 0) / 3)
    assert found.every.mean == pytest.approx(2 / 3)
    assert (found.every.n, found.every.low, found.every.high) == (3, 0.2077, 0.9385), "Wilson's interval of 2 in 3"


def test_a_model_that_writes_the_real_stories(asked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {row.prompt: row.story for row in ts_data.instructions(asked / "prompts", "test")}
    told = {row.words: row.story for row in ts_data.instructions(asked / "prompts", "test") if row.words}

    def generate(self: Any, prompts: Any, *, return_full_text: bool = True, **options: Any) -> Any:
        if "require" in options:
            return [told[options["words"]]]
        by_words = {self.ask(words): story for words, story in told.items()}
        return [by_words.get(prompt, rows.get(prompt, "He cried.")) for prompt in prompts]

    monkeypatch.setattr(ts_models.LanguageModel, "generate", generate)
    report = ts_eval.instruct(asked / "asks", asked / "prompts", **OPTIONS)
    model, real = report.models
    assert model.asks
    assert model.words["held-out"] == real.words["held-out"]
    assert model.words["other"] == real.words["other"]
    assert model.words["held-out"].inflected.mean == model.words["required"].every.mean == 1.0
    assert real.words["held-out"].exact.mean is not None
    assert real.words["held-out"].exact.mean < 1.0, "stories inflect"
    assert model.rating["free"] == real.rating["free"]
    assert model.unasked == real.unasked
    assert [share.mean for share in model.shown.values()] == [0.0, 0.0], "no story has dialogue or a moral"
    assert real.bits_per_byte == {}


def test_bits_per_byte_behind_the_prompt(asked: Path) -> None:
    report = ts_eval.instruct([asked / "asks", asked / "plain"], asked / "prompts", **OPTIONS)
    assert not any("behind prompts" in note for model in report.models for note in model.notes)
    small = ts_eval.EvalConfig(stories=2, perplexity_stories=2, parts=("perplexity",))
    asks, plain = ts_eval.evaluate([asked / "asks", asked / "plain"], asked / "splits", small).models
    assert "was trained to write stories behind prompts, and gets none here; `ts-eval instruct` asks it" in asks.notes
    assert not any("behind prompts" in note for note in plain.notes)
    lm = ts_models.load(asked / "asks")
    rows = list(ts_data.instructions(asked / "prompts", "test"))
    rows = rows[:: len(rows) // 8][:8]
    bits = {"prompt": 0.0, "alone": 0.0}
    for row in rows:
        extra = float(lm.text_tokenizer().extra_bits([row.story]).sum())  # type: ignore[attr-defined]
        for name, before in (("prompt", lm.encode_prompt(row.prompt)), ("alone", lm.encode_prompt(""))):
            ids = torch.tensor([[*before, *lm.encode_story(row.story)[1:]]])
            with torch.inference_mode():
                logs = lm.model(ids)[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])[len(before) - 1 :]
            bits[name] += extra - float(logs.sum()) / np.log(2)
    size = sum(len(row.story.encode()) for row in rows)
    asked_for, not_asked, _ = report.models
    assert {name: value.mean for name, value in asked_for.bits_per_byte.items()} == pytest.approx(
        {name: value / size for name, value in bits.items()}, rel=1e-5
    )
    assert list(not_asked.bits_per_byte) == ["alone"]
    assert (not_asked.asks, not_asked.shown) == (False, {})
    assert not_asked.words["required"].every.mean == asked_for.words["required"].every.mean == 1.0


def test_the_command(asked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "asked.json"
    line = [
        "instruct",
        str(asked / "asks"),
        "--data",
        str(asked / "prompts"),
        "--stories",
        "4",
        "--required",
        "0",
        "--out",
        str(out),
    ]
    monkeypatch.setattr("sys.argv", ["ts-eval", *line, "--set", "max_new_tokens=20", "--json", "-q"])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 0
    printed = InstructReport.model_validate(json.loads(capsys.readouterr().out))
    assert printed == InstructReport.model_validate_json(out.read_bytes())
    assert list(printed.models[0].words) == ["held-out", "other"]
    monkeypatch.setattr("sys.argv", ["ts-eval", *line, "--set", "max_new_tokens=20", "--name", "mine"])
    with pytest.raises(SystemExit):
        main()
    text = capsys.readouterr().out
    assert "held-out words: any form" in text
    assert "mine" in text.splitlines()[0]
    assert text.endswith(f"wrote {out}\nNext: ts-models play {asked / 'asks'}\n")


def test_what_cannot_be_measured(asked: Path, tmp_path: Path) -> None:
    ts_data.instruct(asked / "splits", tmp_path / "all", ts_data.InstructConfig(held_out=0))
    with pytest.raises(ConfigError, match="asks for no held-out combination"):
        ts_eval.instruct(asked / "asks", tmp_path / "all")
    hashes = np.unique(ts_data.story_hashes(ts_data.read(asked / "splits", "test")))
    lm = ts_models.load(asked / "asks")
    files = {"tokenizer": asked / "word_tokenizer.json", "training": lm.training, "train_stories": hashes}
    ts_models.save(lm.model, tmp_path / "knows", **files)
    (tmp_path / "told.txt").write_text("Once there was a cat.", encoding="utf-8")
    with pytest.raises(ConfigError, match="told: only models of ts-models can be asked for words"):
        ts_eval.instruct(tmp_path / "told.txt", asked / "prompts")
    with pytest.raises(ConfigError, match="was trained on 60 of the 60 held-out stories"):
        ts_eval.instruct(tmp_path / "knows", asked / "prompts")
    with artefact.lock(tmp_path / "a.json"), pytest.raises(ConfigError, match="is writing here"):
        ts_eval.instruct(asked / "asks", asked / "prompts", out=tmp_path / "a.json")

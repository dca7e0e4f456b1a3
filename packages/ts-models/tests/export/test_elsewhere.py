"""An exported folder or file, used as its card says, tells the story that `lm.generate` tells, alone and in batches."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ts_models
from ts_models.export import export

PROMPTS = ["Once upon a time", "One day, a little girl named Lily went to the park and", 'Tom said, "Hi', "“Hello!”  said "]
SMALL: dict[str, Any] = {"d_model": 16, "n_heads": 2, "head_dim": 8, "n_layers": 2, "d_ff": 24, "max_seq_len": 48}
RECURRENT: dict[str, Any] = {"d_model": 8, "d_hidden": 12}
ZOO = {
    "story-1m": SMALL,
    "talk-1m": SMALL,
    "talk-10m": SMALL,
    "talk-5m-rnn": RECURRENT,
    "talk-5m-lstm": RECURRENT,
    "talk-5m-gru": RECURRENT,
}

pytest.importorskip("ts_tokenizer", reason="needs the extra text")
pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def demo() -> ts_models.LanguageModel:
    return ts_models.load("demo")


@pytest.fixture(scope="module")
def exported(demo: ts_models.LanguageModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("transformers", reason="needs the extra transformers")
    out = tmp_path_factory.mktemp("demo") / "exported"
    export(demo, out, format="transformers")
    return out


def _small(name: str, demo: ts_models.LanguageModel, folder: Path) -> ts_models.LanguageModel:
    torch.manual_seed(3)
    model = ts_models.build(name, vocab_size=demo.config.vocab_size, **ZOO[name]).eval()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    assert demo.path is not None
    return ts_models.load(ts_models.save(model, folder, tokenizer=demo.path / "word_tokenizer.json"))


# --- transformers --------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_pipeline_tells_the_same_stories(demo: ts_models.LanguageModel, exported: Path) -> None:
    from transformers import pipeline

    write = pipeline("text-generation", model=str(exported))
    ours = demo.generate(PROMPTS, method="greedy")
    assert [write(prompt, do_sample=False)[0]["generated_text"] for prompt in PROMPTS] == ours
    assert [found[0]["generated_text"] for found in write(PROMPTS, batch_size=3, do_sample=False)] == ours
    assert len({write(PROMPTS[0], max_new_tokens=30)[0]["generated_text"] for _ in range(4)}) > 1  # it samples, as generate does
    new = write(PROMPTS[0], return_full_text=False, do_sample=False)[0]["generated_text"]
    assert new == demo.generate(PROMPTS[0], method="greedy", return_full_text=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(ZOO))
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_batch_equals_its_rows_and_ours(demo: ts_models.LanguageModel, tmp_path: Path, name: str, side: str) -> None:
    transformers = pytest.importorskip("transformers", reason="needs the extra transformers")
    lm = _small(name, demo, tmp_path / "model")
    export(lm, tmp_path / "out", format="transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(tmp_path / "out"))
    model = transformers.AutoModelForCausalLM.from_pretrained(str(tmp_path / "out")).eval()
    assert tokenizer.padding_side == "left"
    batch = tokenizer(PROMPTS, return_tensors="pt", padding=True, padding_side=side)
    alone = [tokenizer(prompt, return_tensors="pt") for prompt in PROMPTS]
    assert [row["input_ids"][0].tolist() for row in alone] == [lm.encode_prompt(prompt) for prompt in PROMPTS]
    with torch.no_grad():
        whole = model(**batch).logits
        for number, row in enumerate(alone):
            real = batch["attention_mask"][number].bool()
            torch.testing.assert_close(whole[number][real], lm.model(row["input_ids"])[0], atol=1e-4, rtol=1e-4)
    if side == "right" and name == "story-1m":
        return  # transformers' own Qwen3 pads on the left
    end = model.config.eos_token_id
    ours = [
        [i for i in ids if i != end]
        for ids in lm.model.generate([lm.encode_prompt(p) for p in PROMPTS], method="greedy", max_new_tokens=10)
    ]
    for rows, expected in ((batch, ours), *((row, [ids]) for row, ids in zip(alone, ours, strict=True))):
        written = model.generate(**rows, do_sample=False, max_new_tokens=10)[:, rows["input_ids"].shape[1] :].tolist()
        new = [[i for i in ids if i not in (end, model.config.pad_token_id)] for ids in written]
        assert new == expected


def test_the_loss_is_ours(demo: ts_models.LanguageModel, exported: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    story = "Once upon a time there was a dog. The dog was happy."
    ids = AutoTokenizer.from_pretrained(str(exported))(story, return_tensors="pt")["input_ids"]
    loss = AutoModelForCausalLM.from_pretrained(str(exported))(input_ids=ids, labels=ids).loss
    assert loss.item() == pytest.approx(-float(demo.logprobs([story])[0][:-1].mean()), abs=1e-4)


def test_a_tokenizer_that_is_saved_again_is_the_same(exported: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(exported))
    tokenizer.save_pretrained(str(tmp_path))
    again = AutoTokenizer.from_pretrained(str(tmp_path))
    text = "Once upon a time, Lily went to the park. She said that it was a bird."
    assert type(again) is type(tokenizer)
    assert again(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert again.decode(again(text)["input_ids"], skip_special_tokens=True) == text


def test_the_folder_is_fit_to_push(exported: Path) -> None:
    card = (exported / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlibrary_name: transformers\npipeline_tag: text-generation\n")
    assert 'pipeline("text-generation", model=".")' in card
    assert "validation loss" in card
    generation = json.loads((exported / "generation_config.json").read_text())
    assert generation["max_length"] == 256
    defaults = ts_models.GenerationConfig()
    assert defaults.method == "sample"
    assert generation["do_sample"] is True
    assert (generation["temperature"], generation["top_k"]) == (defaults.temperature, defaults.top_k)
    names = {path.name for path in exported.iterdir()}
    assert {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "word_tokenizer.json",
        "README.md",
    } <= names
    assert not [name for name in names if name.endswith(".py")]


@pytest.mark.slow
def test_without_our_package_the_tokenizer_begins_with_bos_and_joins_words(demo: ts_models.LanguageModel, exported: Path) -> None:
    code = f"""
import sys
sys.modules["ts_models"] = None
from transformers import AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained({str(exported)!r})
ids = tokenizer("Once upon a time, Lily didn't go; she's (not) here!")["input_ids"]
print(type(tokenizer).__name__, ids[0], tokenizer.padding_side)
print(tokenizer.decode(ids, skip_special_tokens=True))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    first, text = done.stdout.strip().splitlines()
    assert first.split()[1:] == [str(demo.config.bos_id), "left"]
    assert "TsModels" not in first
    assert text.lower().startswith("once upon a time, lily")
    assert "timethere" not in text
    assert " ," not in text
    assert " !" not in text


# --- files that take ids -------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", ["story-1m", "talk-10m", "talk-5m-lstm"])
def test_onnx_used_as_printed_tells_the_same_story(demo: ts_models.LanguageModel, tmp_path: Path, name: str) -> None:
    pytest.importorskip("onnx", reason="needs the extra onnx")
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    lm = demo if name == "story-1m" else _small(name, demo, tmp_path / "model")
    result = export(lm, tmp_path / "m.onnx", format="onnx")
    assert f"begin with <bos> (id {lm.config.bos_id})" in result["use"]
    assert f"end at <eos> (id {lm.config.eos_id})" in result["use"]
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"))
    memory = {
        item.name: np.zeros([size if isinstance(size, int) else int(size == "batch") for size in item.shape], np.float32)
        for item in session.get_inputs()[1:]
    }
    ids = lm.encode_prompt(PROMPTS[0])
    feed, new = np.array([ids]), []
    while len(new) < 20:
        logits, *after = session.run(None, {"ids": feed, **memory})
        memory = dict(zip(memory, after, strict=True))
        chances = logits[0, -1]
        chances[list(lm.config.banned_ids)] = -np.inf
        new.append(int(chances.argmax()))
        if new[-1] == lm.config.eos_id:
            break
        feed = np.array([[new[-1]]])
    assert lm.tokenizer is not None
    assert new == lm.write(PROMPTS[0], method="greedy", max_new_tokens=20)[0].ids
    assert lm.tokenizer.decode([*ids, *new]) == lm.generate(PROMPTS[0], method="greedy", max_new_tokens=20)


def test_gguf_begins_with_bos(demo: ts_models.LanguageModel, tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf", reason="needs the extra gguf")
    result = export(demo, tmp_path / "m.gguf", format="gguf")
    fields = gguf.GGUFReader(str(tmp_path / "m.gguf")).fields
    assert bool(fields["tokenizer.ggml.add_bos_token"].contents())
    assert not bool(fields["tokenizer.ggml.add_eos_token"].contents())
    assert fields["tokenizer.ggml.bos_token_id"].contents() == demo.config.bos_id
    assert fields["tokenizer.ggml.eos_token_id"].contents() == demo.config.eos_id
    assert f"begin with <bos> (id {demo.config.bos_id})" in result["use"]

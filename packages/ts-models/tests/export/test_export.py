"""Ours elsewhere: each format is written, opened by its own tool and compared."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import ts_models
from ts_models import LanguageModel
from ts_models.errors import ConfigError
from ts_models.export import FORMATS, export

SMALL: dict[str, Any] = {
    "vocab_size": 60,
    "d_model": 16,
    "n_heads": 2,
    "head_dim": 8,
    "n_layers": 2,
    "d_ff": 24,
    "max_seq_len": 48,
}
RECURRENT: dict[str, Any] = {"vocab_size": 60, "d_model": 8, "d_hidden": 12}


class Words:
    """A word tokenizer whose words are letters and digits."""

    vocab = (*"abcdefghijklmnopqrstuvwxyz", "once", "upon", "didn", "do", "n't", "'s", ",", ".", "!", *map(str, range(21)))
    vocab = (*vocab, "<eos>", "<bos>", "<unk>", "<pad>")
    vocab_size, eos_id, bos_id, unk_id, pad_id = 60, 56, 57, 58, 59

    def encode(self, text: str, *, add_special_tokens: bool = False) -> list[int]:
        return [self.vocab.index(word) if word in self.vocab else self.unk_id for word in text.split()]

    def decode(self, ids: list[int], *, skip_special_tokens: bool = True) -> str:
        return " ".join(self.vocab[i] for i in ids)


def _lm(name: str, **fields: Any) -> LanguageModel:
    torch.manual_seed(0)
    model = ts_models.build(name, **fields).eval()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    return LanguageModel(model, Words())  # type: ignore[arg-type]


def test_formats_are_their_modules() -> None:
    from ts_models.registry import load_entry

    assert set(FORMATS) >= {"transformers", "onnx", "int8", "gguf", "html"}
    for format in FORMATS.values():
        assert callable(load_entry(format.write))


def test_unknown_format_names_those_that_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"There are: {', '.join(FORMATS)}"):
        export(_lm("story-1m", **SMALL), tmp_path / "x", format="tflite")


# --- transformers --------------------------------------------------------------------------------


@torch.no_grad()
def test_a_story_model_opens_as_qwen3(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="needs the extra transformers")
    lm = _lm("story-1m", **SMALL)
    result = export(lm, tmp_path / "out", format="transformers")
    assert result["architecture"] == "Qwen3ForCausalLM"
    assert result["largest_difference"] < 1e-4
    model = transformers.AutoModelForCausalLM.from_pretrained(str(tmp_path / "out"))
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(tmp_path / "out"))
    assert type(model).__name__ == "Qwen3ForCausalLM"
    ids = torch.tensor([lm.encode_prompt("once upon a")])
    written = model.generate(ids, do_sample=False, max_new_tokens=12)[0, ids.shape[1] :].tolist()
    ours = lm.model.generate(ids, method="greedy", max_new_tokens=12)[0]
    assert [i for i in written if i != lm.config.eos_id] == ours
    words = tokenizer.convert_ids_to_tokens(tokenizer("Once upon, A b's didn't x9")["input_ids"])
    assert words == ["<bos>", "once", "upon", ",", "a", "b", "'s", "<unk>", "n't", "<unk>"]
    assert tokenizer.eos_token_id == 56
    again = ts_models.load(tmp_path / "out")
    assert (again.model(ids) - lm.model(ids)).abs().max() < 1e-6
    assert again.config == lm.config.model_copy(update={"init_std": None, "zero_init": False, "n_kv_heads": 2})
    assert again.config.banned_ids == (57, 58, 59)


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "fields"), [("talk-10m", SMALL), ("talk-5m-gru", RECURRENT), ("talk-5m-lstm", RECURRENT), ("talk-5m-rnn", RECURRENT)]
)
def test_talk_models_open_as_our_own_classes(tmp_path: Path, name: str, fields: dict[str, Any]) -> None:
    transformers = pytest.importorskip("transformers", reason="needs the extra transformers")
    lm = _lm(name, **fields)
    result = export(lm, tmp_path / "out", format="transformers")
    assert result["architecture"] == "TsModelForCausalLM"
    assert result["largest_difference"] < 1e-4
    assert not list((tmp_path / "out").glob("*.py"))
    model = transformers.AutoModelForCausalLM.from_pretrained(str(tmp_path / "out"))
    ids = torch.tensor([[57, 1, 2, 3]])
    written = model.generate(ids, do_sample=False, max_new_tokens=10)[0, 4:].tolist()
    assert [i for i in written if i != 56] == lm.model.generate(ids, method="greedy", max_new_tokens=10)[0]
    loss = model(input_ids=ids, labels=ids).loss
    assert loss == pytest.approx(-float(ts_models.score_ids(lm.model, ids.tolist())[0].mean()), abs=1e-5)
    assert torch.equal(ts_models.load(tmp_path / "out").model(ids), lm.model(ids))


def test_registered_also_when_transformers_is_imported_first(tmp_path: Path) -> None:
    """In this process ts_models was first."""
    pytest.importorskip("transformers", reason="needs the extra transformers")
    export(_lm("talk-10m", **SMALL), tmp_path / "out", format="transformers")
    code = f"import transformers, ts_models\nprint(type(transformers.AutoModelForCausalLM.from_pretrained({str(tmp_path / 'out')!r})).__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "TsModelForCausalLM"


# --- ONNX, int8, GGUF ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("story-1m", SMALL),
        ("story-1m", {**SMALL, "n_heads": 4, "n_kv_heads": 2, "local_window": 20, "local_layers": (1,)}),
        ("talk-10m", {**SMALL, "local_window": 20, "local_layers": (0, 1)}),
        ("talk-10m", SMALL),
        ("talk-5m-gru", RECURRENT),
        ("talk-5m-lstm", RECURRENT),
        ("talk-5m-rnn", RECURRENT),
    ],
)
def test_onnx_with_its_memory_equals_ours(tmp_path: Path, name: str, fields: dict[str, Any]) -> None:
    pytest.importorskip("onnx", reason="needs the extra onnx")
    pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    out = tmp_path / ("model.onnx" if sys.platform != "linux" else os.fsdecode(b"mod\xe9l.onnx"))
    result = export(_lm(name, **fields), out, format="onnx")
    assert result["largest_difference"] < 1e-4
    assert out.stat().st_size == result["bytes"]
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.slow
@torch.no_grad()
def test_int8_tells_what_it_costs(tmp_path: Path) -> None:
    lm = _lm("talk-10m", **SMALL)
    lm.path = ts_models.save(lm.model, tmp_path / "model")
    text = tmp_path / "stories.txt"
    text.write_text("once upon a b c<|endoftext|>\na b .<|endoftext|>", encoding="utf-8")
    result = export(lm, tmp_path / "small", format="int8", text=text)
    assert result["measured_on"] == "2 stories given"
    assert result["bytes"] < 0.5 * (tmp_path / "model" / "model.safetensors").stat().st_size
    assert 0 < abs(result["loss_cost"]) < 0.05
    assert result["loss_after"] - result["loss_before"] == result["loss_cost"]
    assert set(result["tokens_per_second"]) == {"float32", "int8"}
    small = ts_models.load(tmp_path / "small")
    ids = torch.tensor([[57, 1, 2, 3]])
    assert 0 < (small.model(ids) - lm.model(ids)).abs().max() < 0.2


@pytest.mark.parametrize("context", [1, 2, 3, 8, 9])
@pytest.mark.parametrize("name", ["story-1m", "talk-1m"])  # rotary positions, learned ones
def test_a_short_context_is_exported_too(name: str, context: int, tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="needs the extra onnx")
    lm = _lm(name, **SMALL | {"max_seq_len": context})
    assert export(lm, tmp_path / "m.onnx", format="onnx")["largest_difference"] < 1e-4


@pytest.mark.slow
def test_int8_of_a_short_context_says_what_cannot_be_measured(tmp_path: Path) -> None:
    results = [export(_lm("story-1m", **SMALL | {"max_seq_len": n}), tmp_path / f"{n}", format="int8") for n in (1, 2, 3)]
    assert [result["measured_on"].partition(":")[0] for result in results] == ["nothing", *["16 stories of its own writing"] * 2]
    assert [result.get("speed") for result in results] == ["not measured: the context is too short"] * 2 + [None]
    assert all((tmp_path / f"{n}" / "model.safetensors").is_file() for n in (1, 2, 3))


def test_gguf_holds_every_tensor_and_the_vocabulary(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf", reason="needs the extra gguf")
    lm = _lm("story-1m", **SMALL)
    result = export(lm, tmp_path / "model.gguf", format="gguf")
    assert result["tensors"] == 2 + 2 * 11
    reader = gguf.GGUFReader(str(tmp_path / "model.gguf"))
    assert reader.get_field("general.architecture").contents() == "qwen3"
    assert reader.get_field("qwen3.attention.key_length").contents() == 8
    assert reader.get_field("tokenizer.ggml.tokens").contents() == list(Words.vocab)
    assert reader.get_field("tokenizer.ggml.eos_token_id").contents() == 56


def test_gguf_refuses_what_it_cannot_hold(tmp_path: Path) -> None:
    pytest.importorskip("gguf", reason="needs the extra gguf")
    with pytest.raises(ConfigError, match="story-"):
        export(_lm("talk-10m", **SMALL), tmp_path / "model.gguf", format="gguf")
    assert not list(tmp_path.iterdir())


@pytest.mark.integration
@torch.no_grad()
def test_llama_cpp_writes_the_same_hundred_tokens(tmp_path: Path) -> None:
    llama_cpp = pytest.importorskip("llama_cpp", reason="needs llama-cpp-python")
    pytest.importorskip("gguf", reason="needs the extra gguf")
    lm = _lm("story-1m", **{**SMALL, "max_seq_len": 256, "d_model": 64, "head_dim": 32})
    export(lm, tmp_path / "model.gguf", format="gguf")
    theirs = llama_cpp.Llama(str(tmp_path / "model.gguf"), n_ctx=256, logits_all=True, verbose=False)
    ids = [57, 1, 2, 3]
    for _ in range(100):
        theirs.reset()
        theirs.eval(ids)
        ours = int(lm.model(torch.tensor([ids]))[0, -1].argmax())
        assert int(theirs.scores[len(ids) - 1].argmax()) == ours
        ids.append(ours)

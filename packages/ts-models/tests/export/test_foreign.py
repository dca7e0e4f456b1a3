"""Models of others: tiny files of the real formats, logits equal to the reference implementation."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ts_models
from ts_models.cli.models import describe
from ts_models.errors import ArtefactError, WeightsError
from ts_models.export import export
from ts_models.io.foreign import HEADER
from ts_models.io.tokenizers import Llama2cTokenizer

NEO: dict[str, Any] = {
    "vocab_size": 40, "hidden_size": 16, "num_layers": 4, "num_heads": 2, "max_position_embeddings": 32, "window_size": 5,
    "attention_types": [[["global", "local"], 2]], "bos_token_id": 39, "eos_token_id": 39,
}  # fmt: skip
LLAMA: dict[str, Any] = {
    "vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 32, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip


def _save(folder: Path, kind: str, values: dict[str, Any]) -> Any:
    transformers = pytest.importorskip("transformers", reason="needs the extra transformers")
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**values, initializer_range=0.3)
    model = getattr(transformers, f"{kind}ForCausalLM")(config).eval()
    model.save_pretrained(str(folder))
    return model


@torch.no_grad()
@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("GPTNeo", NEO),
        ("GPTNeo", {**NEO, "tie_word_embeddings": False}),
        ("Llama", LLAMA),
        ("Llama", {**LLAMA, "tie_word_embeddings": True, "rope_theta": 50_000.0}),
        ("Qwen3", {**LLAMA, "head_dim": 6}),
        ("Qwen3", {**LLAMA, "use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1}),
        (
            "Qwen3",
            {**LLAMA, "use_sliding_window": True, "sliding_window": 5, "layer_types": ["sliding_attention", "full_attention"]},
        ),
    ],
)
def test_logits_equal_transformers(tmp_path: Path, kind: str, values: dict[str, Any]) -> None:
    theirs = _save(tmp_path / "model", kind, values)
    lm = ts_models.load(tmp_path / "model")
    ids = torch.randint(0, 40, (2, 20))
    assert (lm.model(ids) - theirs(input_ids=ids).logits).abs().max() < 1e-4
    state = lm.model.init_state(2, 20)
    pieces = [lm.model(ids[:, :9], state=state), lm.model(ids[:, 9:10], state=state), lm.model(ids[:, 10:], state=state)]
    assert (torch.cat(pieces, 1) - lm.model(ids)).abs().max() < 1e-5
    assert lm.config.eos_id == values["eos_token_id"]
    assert lm.config.banned_ids == (() if kind == "GPTNeo" else (1,))
    found = theirs.generate(ids[:1, :4], max_new_tokens=8, do_sample=False, suppress_tokens=list(lm.config.banned_ids) or None)
    assert _story(lm.model.generate(ids[:1, :4], method="greedy", max_new_tokens=8)[0], lm.config.eos_id) == _story(
        found[0, 4:].tolist(), lm.config.eos_id
    )


@pytest.mark.parametrize(
    ("kind", "values"), [("GPTNeo", NEO), ("Llama", {**LLAMA, "num_key_value_heads": 4, "rms_norm_eps": 1e-5})]
)
def test_show_counts_what_load_opens(tmp_path: Path, kind: str, values: dict[str, Any]) -> None:
    theirs = _save(tmp_path / "model", kind, values)
    places = [tmp_path / "model"]
    if kind == "Llama":
        _checkpoint(theirs, tmp_path / "stories.bin")
        places.append(tmp_path / "stories.bin")
    for place in places:
        shown = describe(str(place))
        assert sum(shown["parts"].values()) == sum(p.numel() for p in theirs.parameters())
        assert shown["config"]["n_layers"] == theirs.config.num_hidden_layers
        assert shown["training"] is None


def test_weights_in_several_files_are_one_model(tmp_path: Path) -> None:
    theirs = _save(tmp_path / "model", "Llama", LLAMA)
    theirs.save_pretrained(str(tmp_path / "sharded"), max_shard_size="5KB")
    assert len(list((tmp_path / "sharded").glob("*.safetensors"))) > 1
    ids = torch.randint(0, 40, (1, 9))
    assert torch.equal(ts_models.load(tmp_path / "sharded").model(ids), ts_models.load(tmp_path / "model").model(ids))


@pytest.mark.parametrize("shard", ["50GB", "5KB"])
def test_weights_of_another_save_in_the_folder_are_left_out(tmp_path: Path, shard: str) -> None:
    theirs = _save(tmp_path / "model", "Llama", LLAMA)
    ids = torch.randint(0, 40, (1, 9))
    theirs.save_pretrained(str(tmp_path / "mixed"), max_shard_size=shard)
    with torch.no_grad():
        wanted = theirs(input_ids=ids).logits
        for parameter in theirs.parameters():
            parameter.zero_()
    theirs.save_pretrained(str(tmp_path / "zero"))
    (tmp_path / "zero" / "model.safetensors").rename(tmp_path / "mixed" / "model.z-old.safetensors")
    assert (ts_models.load(tmp_path / "mixed").model(ids) - wanted).abs().max() < 1e-4


def _story(ids: list[int], eos: int) -> list[int]:
    return ids[: ids.index(eos)] if eos in ids else ids


def test_other_architectures_and_pickles_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bloom"}))
    with pytest.raises(ArtefactError, match="'bloom'; those that can be read are ours, gpt_neo, llama, qwen3"):
        ts_models.load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", **LLAMA}))
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(ArtefactError, match="never opened"):
        ts_models.load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(ArtefactError, match="field `vocab_size` is missing"):
        ts_models.load(tmp_path)
    for scaling in ({"rope_type": "yarn"}, {"type": "linear", "factor": 4.0}):  # `type` until transformers 4.43
        (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", **LLAMA, "rope_scaling": scaling}))
        with pytest.raises(ArtefactError, match=r"config\.json: .* not supported"):
            ts_models.load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", **LLAMA, "vocab_size": "many"}))
    with pytest.raises(ArtefactError, match=r"config\.json: field `vocab_size`"):
        describe(str(tmp_path))


# --- llama2.c ------------------------------------------------------------------------------------


def _pairs(weight: torch.Tensor, width: int) -> torch.Tensor:
    """transformers' half-split rows → llama2.c's neighbouring pairs."""
    rows, columns = weight.shape
    return weight.view(rows // width, 2, width // 2, columns).transpose(1, 2).reshape(rows, columns)


def _checkpoint(model: Any, path: Path) -> None:
    """What llama2.c's export.py writes as version 0."""
    c, state = model.config, model.state_dict()
    width = c.hidden_size // c.num_attention_heads

    def each(name: str, *, turn: bool = False) -> bytes:
        tensors = [state[f"model.layers.{i}.{name}.weight"] for i in range(c.num_hidden_layers)]
        return b"".join((_pairs(t, width) if turn else t).numpy().astype("<f4").tobytes() for t in tensors)

    sign = 1 if c.tie_word_embeddings else -1
    sizes = (c.hidden_size, c.intermediate_size, c.num_hidden_layers, c.num_attention_heads, c.num_key_value_heads)
    parts = [HEADER.pack(*sizes, sign * c.vocab_size, c.max_position_embeddings)]
    parts += [state["model.embed_tokens.weight"].numpy().tobytes(), each("input_layernorm")]
    parts += [each("self_attn.q_proj", turn=True), each("self_attn.k_proj", turn=True)]
    parts += [each("self_attn.v_proj"), each("self_attn.o_proj"), each("post_attention_layernorm")]
    parts += [each("mlp.gate_proj"), each("mlp.down_proj"), each("mlp.up_proj"), state["model.norm.weight"].numpy().tobytes()]
    parts.append(np.zeros(2 * c.max_position_embeddings * width // 2, "<f4").tobytes())
    if sign < 0:
        parts.append(state["lm_head.weight"].numpy().tobytes())
    path.write_bytes(b"".join(parts))


@torch.no_grad()
@pytest.mark.parametrize("tied", [True, False])
def test_llama2c_equals_transformers(tmp_path: Path, tied: bool) -> None:
    theirs = _save(tmp_path / "model", "Llama", {**LLAMA, "tie_word_embeddings": tied, "rms_norm_eps": 1e-5})
    _checkpoint(theirs, tmp_path / "stories.bin")
    lm = ts_models.load(tmp_path / "stories.bin")
    ids = torch.randint(0, 40, (2, 20))
    assert (lm.model(ids) - theirs(input_ids=ids).logits).abs().max() < 1e-4
    assert (lm.config.bos_id, lm.config.eos_id, lm.config.unk_id) == (1, 1, 0)
    assert lm.config.banned_ids == (0,), "what parts the stories can end one"


def test_a_llama2c_file_with_a_rest_is_refused(tmp_path: Path) -> None:
    """A vocabulary size with the wrong sign says that the output layer is the embedding: it must not be passed over."""
    theirs = _save(tmp_path / "model", "Llama", {**LLAMA, "tie_word_embeddings": False})
    path = tmp_path / "stories.bin"
    _checkpoint(theirs, path)
    raw = path.read_bytes()
    path.write_bytes(HEADER.pack(*(abs(size) for size in HEADER.unpack_from(raw))) + raw[HEADER.size :])
    with pytest.raises(WeightsError, match=rf"has {len(raw)} bytes, its header promises {len(raw) - 4 * 40 * 16}\."):
        ts_models.load(path)


def test_damaged_llama2c_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "stories.bin"
    path.write_bytes(b"abc")
    with pytest.raises(ArtefactError, match="too short"):
        ts_models.load(path)
    path.write_bytes(HEADER.pack(16, 24, 2, 4, 2, 40, 32) + bytes(100))
    with pytest.raises(WeightsError, match="its header promises at least"):
        ts_models.load(path)
    for sizes in (
        (16, 24, 2, 5, 2, 40, 32),
        (12, 24, 2, 4, 2, 40, 32),
        (16, 24, 2, 4, 2, 1, 32),
    ):  # 4 ∤ 16 · 5, odd heads, no <s>
        path.write_bytes(HEADER.pack(*sizes) + bytes(100))
        for read in (ts_models.load, describe):
            with pytest.raises(ArtefactError, match="not a llama2"):
                read(str(path))
    path.write_bytes(b"24ka" + bytes(300))
    with pytest.raises(ArtefactError, match="version 1 or 2"):
        ts_models.load(path)


def _tokenizer(path: Path) -> int:
    pieces = ["<unk>", "\n<s>\n", "\n</s>\n", *[f"<0x{b:02X}>" for b in range(256)], " ", "a", "b", " a", "ab", " ab", "é"]
    scores = [0.0] * 263 + [-1.0, -2.0, -0.5, 0.0]
    rows = (struct.pack("<fi", s, len(p.encode())) + p.encode() for p, s in zip(pieces, scores, strict=False))
    path.write_bytes(struct.pack("<i", 8) + b"".join(rows))
    return len(pieces)


def test_llama2c_tokenizer_merges_by_score(tmp_path: Path) -> None:
    size = _tokenizer(tmp_path / "tokenizer.bin")
    tokenizer = Llama2cTokenizer(tmp_path / "tokenizer.bin", size)
    names = list(tokenizer.vocab)
    assert [names[i] for i in tokenizer.encode("ab")] == [" ab"]  # " a" first (-1), then " ab" (-0.5); not "ab" (-2)
    assert [names[i] for i in tokenizer.encode("bab", add_special_tokens=True)] == ["\n<s>\n", " ", "b", "ab", "\n<s>\n"]
    for text in ("ab", "é ü 字", ""):
        assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=True)) == text
    decoder = tokenizer.stream_decoder()
    pieces = [decoder.push(i) for i in tokenizer.encode("ab 字 a")]
    assert "".join(pieces) + decoder.finish() == "ab 字 a"
    with pytest.raises(ArtefactError, match="belongs to another model"):
        Llama2cTokenizer(tmp_path / "tokenizer.bin", size + 1)
    content = (tmp_path / "tokenizer.bin").read_bytes()
    (tmp_path / "tokenizer.bin").write_bytes(content.replace(b"<0x41>", b"<0xZZ>"))
    assert Llama2cTokenizer(tmp_path / "tokenizer.bin", size).decode([0x41 + 3, 0x42 + 3]) == "<0xZZ>B"


def test_llama2c_with_its_tokenizer_writes_text(tmp_path: Path) -> None:
    size = _tokenizer(tmp_path / "tokenizer.bin")
    theirs = _save(tmp_path / "model", "Llama", {**LLAMA, "vocab_size": size, "tie_word_embeddings": True})
    _checkpoint(theirs, tmp_path / "stories.bin")
    lm = ts_models.load(tmp_path / "stories.bin")
    text = lm.generate("ab a", method="greedy", max_new_tokens=5, min_new_tokens=3)
    assert isinstance(text, str)
    assert text.startswith("ab a")


# --- to other formats, and back ------------------------------------------------------------------


@pytest.mark.parametrize("format", ["int8", "transformers"])
def test_an_export_keeps_the_tokenizer_of_parts_of_words(tmp_path: Path, format: str) -> None:
    """A word-level tokenizer of the same vocabulary would read other ids."""
    transformers = pytest.importorskip("transformers", reason="needs the extra transformers")
    tokenizers = pytest.importorskip("tokenizers")
    byte_level = tokenizers.Tokenizer(tokenizers.models.BPE())
    byte_level.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    byte_level.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    byte_level.train_from_iterator(["a cat sat"] * 9, tokenizers.trainers.BpeTrainer(vocab_size=262, initial_alphabet=alphabet))
    size = byte_level.get_vocab_size()
    _save(tmp_path / "model", "Llama", {**LLAMA, "vocab_size": size, "eos_token_id": None})
    transformers.PreTrainedTokenizerFast(tokenizer_object=byte_level).save_pretrained(str(tmp_path / "model"))
    lm = ts_models.load(tmp_path / "model")
    export(lm, tmp_path / "out", format=format)
    again = ts_models.load(tmp_path / "out")
    ids = byte_level.encode("A cat, sat!").ids
    assert list(lm.text_tokenizer().encode("A cat, sat!")) == list(again.text_tokenizer().encode("A cat, sat!")) == ids
    assert lm.encode_story("A cat, sat!") == [1, *ids]  # no end of story is known
    assert len(lm.logprobs(["A cat, sat!"])[0]) == len(ids)


@pytest.mark.parametrize("format", ["int8", "transformers"])
def test_an_export_keeps_the_tokenizer_of_llama2c(tmp_path: Path, format: str) -> None:
    size = _tokenizer(tmp_path / "tokenizer.bin")
    _checkpoint(_save(tmp_path / "model", "Llama", {**LLAMA, "vocab_size": size}), tmp_path / "stories.bin")
    export(tmp_path / "stories.bin", tmp_path / "out", format=format)
    again = ts_models.load(tmp_path / "out")
    assert again.text_tokenizer().encode("ab é") == Llama2cTokenizer(tmp_path / "tokenizer.bin", size).encode("ab é")
    assert not (tmp_path / "out" / "tokenizer.json").exists()

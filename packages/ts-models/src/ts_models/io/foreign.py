"""Third-party checkpoints → networks of ts_models: Hugging Face folders (GPT-Neo, Llama, Qwen3) and llama2.c files.

Config and weights are converted, so cache, beams and scoring work on them. transformers is needed only for their
tokenizers.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor

from ..architectures import StoryModel
from ..artefact import describe_invalid, read_json
from ..errors import ArtefactError, WeightsError
from ..schemas import ModelConfig, TransformerConfig
from .model_folder import WEIGHTS, build_for, load_weights, parse_config, read_tensors

LLAMA = {
    "embedding": ("model.embed_tokens",),
    "norm": ("model.norm",),
    "head": ("lm_head",),
    "blocks.{}.attention.qkv": tuple(f"model.layers.{{}}.self_attn.{name}_proj" for name in "qkv"),
    "blocks.{}.attention.out": ("model.layers.{}.self_attn.o_proj",),
    "blocks.{}.attention.q_norm": ("model.layers.{}.self_attn.q_norm",),
    "blocks.{}.attention.k_norm": ("model.layers.{}.self_attn.k_norm",),
    "blocks.{}.norm1": ("model.layers.{}.input_layernorm",),
    "blocks.{}.norm2": ("model.layers.{}.post_attention_layernorm",),
    "blocks.{}.feed_forward.up": ("model.layers.{}.mlp.gate_proj", "model.layers.{}.mlp.up_proj"),
    "blocks.{}.feed_forward.down": ("model.layers.{}.mlp.down_proj",),
}
"""Layers of Llama and Qwen3, ours → theirs; several are the rows of one of ours, in that order."""
_GPT_NEO = {
    "embedding": ("transformer.wte",),
    "positions": ("transformer.wpe",),
    "norm": ("transformer.ln_f",),
    "head": ("lm_head",),
    "blocks.{}.attention.qkv": tuple(f"transformer.h.{{}}.attn.attention.{name}_proj" for name in "qkv"),
    "blocks.{}.attention.out": ("transformer.h.{}.attn.attention.out_proj",),
    "blocks.{}.norm1": ("transformer.h.{}.ln_1",),
    "blocks.{}.norm2": ("transformer.h.{}.ln_2",),
    "blocks.{}.feed_forward.up": ("transformer.h.{}.mlp.c_fc",),
    "blocks.{}.feed_forward.down": ("transformer.h.{}.mlp.c_proj",),
}
OURS = "ts_models"
"""`model_type` of our own classes: names and config are ours."""
_MOST_LAYERS = 1024
_IGNORED = ("attn.attention.bias", "attn.attention.masked_bias", "rotary_emb.inv_freq")


# --- Hugging Face folders ------------------------------------------------------------------------


def load_huggingface(folder: Path) -> StoryModel:
    """A folder with config.json and safetensors of GPT-Neo, Llama or Qwen3."""
    content = read_json(folder / "config.json")
    config = _config_of(content, folder)
    stored = _all_tensors(folder)
    network = build_for(config, sum(tensor.nbytes for tensor in stored.values()), str(folder))
    if content.get("model_type") == OURS:
        tensors = {name.removeprefix("network."): tensor for name, tensor in stored.items()}
    else:
        assert isinstance(config, TransformerConfig)
        tensors = _translate(stored, config, _GPT_NEO if content["model_type"] == "gpt_neo" else LLAMA)
    load_weights(network, tensors, source=str(folder))
    return network.eval()


def read_foreign_config(path: Path) -> ModelConfig:
    """The config alone, in our words: of a Hugging Face folder, or of a llama2.c checkpoint."""
    if path.is_file():
        with path.open("rb") as file:
            return _llama2c_config(file.read(HEADER.size), path)
    return _config_of(read_json(path / "config.json"), path)


def _config_of(content: dict[str, Any], folder: Path) -> ModelConfig:
    path = folder / "config.json"
    if content.get("model_type") == OURS:
        own = content.get("ts_models")
        return parse_config(own if isinstance(own, dict) else {}, f"{path}, `ts_models`")
    kinds = {"gpt_neo": _gpt_neo, "llama": _llama, "qwen3": _llama}
    kind = content.get("model_type")
    if not isinstance(kind, str) or kind not in kinds:
        raise ArtefactError(f"{folder}: holds a model of type {kind!r}; those that can be read are ours, {', '.join(kinds)}.")
    try:
        values = kinds[kind](content)
        special = {f"{name}_id": _one(content.get(f"{name}_token_id")) for name in ("eos", "bos", "unk", "pad")}
        return TransformerConfig.model_validate({**values, **special})
    except KeyError as problem:
        raise ArtefactError(f"{path}: field `{problem.args[0]}` is missing") from None
    except ValidationError as problem:
        raise ArtefactError(f"{path}: {describe_invalid(problem)}") from None
    except (TypeError, AttributeError, ZeroDivisionError, ValueError) as problem:
        raise ArtefactError(f"{path}: a field holds what no {kind} model has ({problem})") from None
    except ArtefactError as problem:
        raise ArtefactError(f"{path}: {problem}") from None


def _one(value: Any) -> int:
    number = value[0] if isinstance(value, list) and value else value
    return number if isinstance(number, int) else -1


def _gpt_neo(c: dict[str, Any]) -> dict[str, Any]:
    named = sum(len(kinds) * times for kinds, times in c["attention_types"])
    if named != c["num_layers"] or named > _MOST_LAYERS:
        raise ArtefactError(f"attention_types names {named} layers; num_layers is {c['num_layers']} (at most {_MOST_LAYERS})")
    layers = [kind for kinds, times in c["attention_types"] for _ in range(times) for kind in kinds]
    local = tuple(i for i, kind in enumerate(layers) if kind == "local")
    return {
        "vocab_size": c["vocab_size"],
        "max_seq_len": c["max_position_embeddings"],
        "d_model": c["hidden_size"],
        "n_heads": c["num_heads"],
        "n_layers": c["num_layers"],
        "d_ff": c.get("intermediate_size") or 4 * c["hidden_size"],
        "positions": "learned",
        "norm": "layernorm",
        "norm_eps": c.get("layer_norm_epsilon", 1e-5),
        "feed_forward": _activation(c.get("activation_function", "gelu_new")),
        "bias": True,
        "qkv_bias": False,
        "head_bias": False,
        "tie_embeddings": c.get("tie_word_embeddings", True),
        "attention_scale": 1.0,  # GPT-Neo does not divide by √head_dim
        "local_window": c.get("window_size", 256) if local else None,
        "local_layers": local,
    }


def _llama(c: dict[str, Any]) -> dict[str, Any]:
    rope = c.get("rope_parameters") or {}
    scaling = c.get("rope_scaling") or {}
    if {turn.get("rope_type", turn.get("type", "default")) for turn in (rope, scaling)} != {"default"}:  # `type`: before 2024
        raise ArtefactError(f"rotary scaling {rope or scaling} is not supported: only the default rotation is")
    if c.get("attention_bias") or c.get("mlp_bias") or c.get("hidden_act", "silu") != "silu":
        raise ArtefactError("biases and other activations than silu are not supported in Llama and Qwen3 models")
    return {
        "vocab_size": c["vocab_size"],
        "max_seq_len": c["max_position_embeddings"],
        "d_model": c["hidden_size"],
        "n_heads": c["num_attention_heads"],
        "n_kv_heads": c.get("num_key_value_heads") or c["num_attention_heads"],
        "head_dim": c.get("head_dim") or (128 if c["model_type"] == "qwen3" else c["hidden_size"] // c["num_attention_heads"]),
        "n_layers": c["num_hidden_layers"],
        "d_ff": c["intermediate_size"],
        "positions": "rope",
        "rope_theta": rope.get("rope_theta") or c.get("rope_theta", 10_000.0),
        "norm": "rmsnorm",
        "norm_eps": c.get("rms_norm_eps", 1e-6),
        "feed_forward": "swiglu",
        "qk_norm": c["model_type"] == "qwen3",
        "tie_embeddings": c.get("tie_word_embeddings", False),
        **_sliding(c),
    }


def _sliding(c: dict[str, Any]) -> dict[str, Any]:
    """The layers of a Qwen3 that look back over a window; the other kinds have none."""
    window = c.get("sliding_window", 4096) if c["model_type"] == "qwen3" and c.get("use_sliding_window") else None
    if window is None:
        return {}
    kinds = c.get("layer_types")
    later = range(c.get("max_window_layers", 28), min(c["num_hidden_layers"], _MOST_LAYERS))
    layers = [number for number, kind in enumerate(kinds) if kind == "sliding_attention"] if kinds else later
    return {"local_window": window if layers else None, "local_layers": tuple(layers)}


def _activation(name: str) -> str:
    known = {"gelu_new": "gelu-tanh", "gelu_pytorch_tanh": "gelu-tanh", "gelu": "gelu"}
    if name not in known:
        raise ArtefactError(f"activation {name!r} is not supported; those that are: {', '.join(known)}")
    return known[name]


def _all_tensors(folder: Path) -> dict[str, Tensor]:
    """The tensors of model.safetensors, or of the files that its index names: others may be of an earlier save, or adapters."""
    files, whole, index = sorted(folder.glob("*.safetensors")), folder / WEIGHTS, folder / f"{WEIGHTS}.index.json"
    if whole.is_file():
        files = [whole]
    elif index.is_file() and isinstance(named := read_json(index).get("weight_map"), dict):
        files = sorted({folder / Path(str(name)).name for name in named.values()})
    if not files:
        raise ArtefactError(
            f"{folder}: holds no safetensors file. Pickled weights (pytorch_model.bin) are never opened; where you trust them, "
            "transformers writes the other kind: AutoModelForCausalLM.from_pretrained(…).save_pretrained(FOLDER)."
        )
    return {name: tensor.float() for file in files for name, tensor in read_tensors(file).items()}


def each_layer(names: Mapping[str, Sequence[str]], layers: int) -> Iterator[tuple[str, list[str]]]:
    """The pairs of such a table for a network of so many layers."""
    for ours, theirs in names.items():
        for layer in range(layers if "{}" in ours else 1):
            yield ours.format(layer), [name.format(layer) for name in theirs]


def _translate(stored: Mapping[str, Tensor], config: TransformerConfig, names: Mapping[str, Sequence[str]]) -> dict[str, Tensor]:
    """Their tensors by our names; queries, keys and values, gate and up are joined. Unknown ones keep their names."""
    rest = {_without_stem(name): tensor for name, tensor in stored.items() if not name.endswith(_IGNORED)}
    ours: dict[str, Tensor] = {}
    for own, theirs in each_layer(names, config.n_layers):
        for kind in ("weight", "bias"):
            parts = [rest.pop(f"{_without_stem(name)}.{kind}", None) for name in theirs]
            found = [part for part in parts if part is not None]
            if len(found) == len(theirs) and not (own == "head" and config.tie_embeddings):
                ours[f"{own}.{kind}"] = torch.cat(found) if len(found) > 1 else found[0]
    return ours | rest


def _without_stem(name: str) -> str:
    """A name without the stem that only a network with an output layer has."""
    return name.removeprefix("transformer.").removeprefix("model.")


# --- llama2.c ------------------------------------------------------------------------------------

HEADER = struct.Struct("<7i")
"""dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size (negative: untied), seq_len: the first 28 bytes."""


def load_llama2c(path: Path) -> StoryModel:
    """A llama2.c checkpoint of version 0: the header, then float32 weights part by part (its `legacy_export`).

    Its rotation turns neighbouring pairs; the rows of queries and keys are reordered for ours, which splits in halves.
    """
    raw = path.read_bytes()
    config = _llama2c_config(raw, path)
    tensors = _llama2c_tensors(raw, config, path)
    network = build_for(config, len(raw), str(path))
    load_weights(network, tensors, source=str(path))
    return network.eval()


def _llama2c_config(raw: bytes, path: Path) -> TransformerConfig:
    """What the first bytes of a checkpoint say."""
    if len(raw) < HEADER.size:
        raise ArtefactError(f"{path}: too short for a llama2.c checkpoint ({len(raw)} bytes)")
    d, ff, layers, heads, kv, vocab, length = HEADER.unpack_from(raw)
    if raw[:4] == b"24ka":
        raise ArtefactError(
            f"{path}: a llama2.c checkpoint of version 1 or 2; only version 0 (the published stories*.bin) can be read"
        )
    tied, vocab = vocab > 0, abs(vocab)
    if min(d, ff, layers, heads, kv, vocab, length) < 1 or d % heads or heads % kv or d > 1 << 16 or layers > _MOST_LAYERS:
        raise ArtefactError(f"{path}: not a llama2.c checkpoint (its header reads {HEADER.unpack_from(raw)})")
    try:
        return TransformerConfig(
            vocab_size=vocab, max_seq_len=length, d_model=d, n_heads=heads, n_kv_heads=kv, n_layers=layers, d_ff=ff,
            positions="rope", norm="rmsnorm", norm_eps=1e-5, feed_forward="swiglu", tie_embeddings=tied,
            bos_id=1, eos_id=1, unk_id=0, pad_id=-1,  # <s> alone parts the stories; </s> was never trained
        )  # fmt: skip
    except ValidationError as problem:
        raise ArtefactError(f"{path}: not a llama2.c checkpoint ({describe_invalid(problem)})") from None


def _llama2c_tensors(raw: bytes, c: TransformerConfig, path: Path) -> dict[str, Tensor]:
    place = HEADER.size

    def take(*shape: int) -> Tensor:
        nonlocal place
        size = 4 * int(np.prod(shape))
        if place + size > len(raw):
            raise WeightsError(f"{path}: ends at byte {len(raw)}, its header promises at least {place + size}. Fetch it again.")
        values = np.frombuffer(raw, dtype="<f4", count=size // 4, offset=place).reshape(shape)
        place += size
        return torch.from_numpy(values.copy())

    n, d, kv = c.n_layers, c.d_model, c.kv_heads * c.head_size
    embedding, norm1 = take(c.vocab_size, d), take(n, d)
    wq, wk, wv, wo = take(n, d, d), take(n, kv, d), take(n, kv, d), take(n, d, d)
    norm2, gate, down, up = take(n, d), take(n, c.d_ff, d), take(n, d, c.d_ff), take(n, c.d_ff, d)
    ours = {"embedding.weight": embedding, "norm.weight": take(d)}
    take(2, c.max_seq_len, c.head_size // 2)  # tables of cosines and sines, no longer used
    if not c.tie_embeddings:
        ours["head.weight"] = take(c.vocab_size, d)
    if place < len(raw):
        raise WeightsError(f"{path}: has {len(raw)} bytes, its header promises {place}. It is damaged: fetch it again.")
    for i in range(n):
        block = f"blocks.{i}."
        ours |= {
            block + "attention.qkv.weight": torch.cat([_halves(wq[i], c.head_size), _halves(wk[i], c.head_size), wv[i]]),
            block + "attention.out.weight": wo[i],
            block + "feed_forward.up.weight": torch.cat([gate[i], up[i]]),
            block + "feed_forward.down.weight": down[i],
            block + "norm1.weight": norm1[i],
            block + "norm2.weight": norm2[i],
        }
    return ours


def _halves(weight: Tensor, width: int) -> Tensor:
    """Rows in neighbouring pairs → first the even, then the odd ones of each head."""
    rows, columns = weight.shape
    return weight.view(rows // width, width // 2, 2, columns).transpose(1, 2).reshape(rows, columns)

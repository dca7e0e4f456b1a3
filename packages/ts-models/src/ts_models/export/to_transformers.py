"""Export to transformers' format. `story-*` become Qwen3; other networks use the classes of `integrations.transformers`.

Qwen3 folders need nothing of ours; the others open wherever ts_models is imported, and run no code from the folder.
"""

import json
from pathlib import Path
from typing import Any, TypeGuard

import torch
from torch import Tensor

from ..artefact import resolve_target, write_folder
from ..console import Progress
from ..errors import ConfigError, MissingExtraError
from ..io.card import transformers_card
from ..io.foreign import LLAMA, each_layer
from ..io.model_folder import (
    CARD,
    EXPORTED,
    FOREIGN,
    KIND,
    OWNED,
    TOKENIZER,
    TRAIN_STORIES,
    TRAINING,
    WEIGHTS,
    clean_names,
    copy_files,
    write_tensors,
)
from ..io.tokenizers import HuggingFaceTokenizer, Llama2cTokenizer
from ..language_model import LanguageModel
from ..layers.positions import silence
from ..schemas import GenerationConfig, ModelConfig, TransformerConfig


def export_transformers(
    lm: LanguageModel, out: Path, *, stories: list[str] | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Write the folder, then compare its logits with the original's where transformers is installed."""
    config = lm.config
    with write_folder(out, *KIND, owned=OWNED) as folder:
        if is_qwen3(config):
            content, tensors = qwen3_config(config), qwen3_tensors(config, lm.model.state_dict())
        else:
            content, tensors = own_config(config), own_tensors(lm.model.state_dict())
        content = {**content, "format": EXPORTED, "unk_token_id": config.unk_id}
        (folder / "config.json").write_bytes((json.dumps(content, indent=2) + "\n").encode())
        write_tensors(folder / WEIGHTS, tensors)
        longest = {"max_length": config.max_seq_len} if config.max_seq_len <= _NEW else {"max_new_tokens": _NEW}
        defaults = GenerationConfig()
        generation = {
            **_token_ids(config), "suppress_tokens": list(config.banned_ids),
            "do_sample": True, "temperature": defaults.temperature, "top_k": defaults.top_k, **longest,
        }  # fmt: skip
        (folder / "generation_config.json").write_bytes((json.dumps(generation, indent=2) + "\n").encode())
        if isinstance(lm.tokenizer, None | HuggingFaceTokenizer | Llama2cTokenizer):  # of parts of words: as it is
            copy_files(lm.path, folder, (TOKENIZER, *FOREIGN))
        else:
            _write_tokenizer(lm, folder)
        (folder / CARD).write_bytes(
            transformers_card(lm, resolve_target(out).name, qwen=is_qwen3(config)).encode(errors="backslashreplace")
        )
        copy_files(lm.path, folder, (TRAINING, TRAIN_STORIES))
    return {"architecture": content["architectures"][0], **_compare(lm, out)}


def is_qwen3(config: ModelConfig) -> TypeGuard[TransformerConfig]:
    """Whether a network is exactly Qwen3's structure."""
    return isinstance(config, TransformerConfig) and all(getattr(config, name) == value for name, value in _QWEN3.items())


def qwen3_config(config: TransformerConfig) -> dict[str, Any]:
    """config.json of Qwen3ForCausalLM."""
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "vocab_size": config.vocab_size,
        "hidden_size": config.d_model,
        "intermediate_size": config.d_ff,
        "num_hidden_layers": getattr(config, "n_layers", 1),  # a kind of network need not have layers
        "num_attention_heads": config.n_heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_size,
        "hidden_act": "silu",
        "max_position_embeddings": config.max_seq_len,
        "rms_norm_eps": config.norm_eps,
        "rope_theta": config.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
        "tie_word_embeddings": config.tie_embeddings,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "use_sliding_window": False,
        **dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id")),
        **_token_ids(config),
        "torch_dtype": "float32",
    }


def qwen3_tensors(config: TransformerConfig, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our names → Qwen3's; the fused matrices are cut apart."""
    heads = [count * config.head_size for count in (config.n_heads, config.kv_heads, config.kv_heads)]
    rows = {"qkv": heads, "up": [config.d_ff, config.d_ff]}
    tensors: dict[str, Tensor] = {}
    for ours, theirs in each_layer(LLAMA, config.n_layers):
        whole = state.get(f"{ours}.weight")
        if whole is not None:  # tied embeddings have no output layer
            parts = torch.split(whole, rows.get(ours.rpartition(".")[2], len(whole)))
            tensors |= {f"{name}.weight": part for name, part in zip(theirs, parts, strict=True)}
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}


def own_config(config: ModelConfig) -> dict[str, Any]:
    """config.json for the classes of `integrations.transformers`: holds the network's config under `ts_models`."""
    return {
        "architectures": ["TsModelForCausalLM"],
        "model_type": "ts_models",
        "vocab_size": config.vocab_size,
        "num_hidden_layers": getattr(config, "n_layers", 1),  # a kind of network need not have layers
        "use_cache": False,
        "tie_word_embeddings": False,
        "ts_models": config.model_dump(mode="json"),
        **_token_ids(config),
    }


def _token_ids(config: ModelConfig) -> dict[str, int]:
    """The special ids by transformers' names."""
    return {f"{name}_token_id": number for name, number in config.special_ids.items() if name != "unk"}


def own_tensors(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our names under `network.`."""
    return {f"network.{name}": tensor.detach().cpu().clone().contiguous() for name, tensor in clean_names(state).items()}


def _write_tokenizer(lm: LanguageModel, folder: Path) -> None:
    """tokenizer.json of a word-level tokenizer with our vocabulary, and our own file beside it.

    Where ts_models is imported, transformers reads our own file (`classes.TsModelsTokenizer`), which is exact. Elsewhere it reads
    tokenizer.json: that one lower-cases where the vocabulary does, cuts words at blanks, punctuation and English contractions,
    which is spaCy's rule nearly everywhere, puts `<bos>` first, and joins words by blanks but for punctuation and contractions.
    """
    exact = lm.path is not None and (lm.path / TOKENIZER).exists()
    vocabulary = lm.vocabulary()
    ids = {token: number for number, token in enumerate(vocabulary)}
    config = lm.config
    lower = not any(token.lower() != token for token in vocabulary)
    special = {name: vocabulary[number] for name, number in config.special_ids.items()}
    split = {"type": "Split", "pattern": {"Regex": _WORDS}, "behavior": "Isolated", "invert": False}
    content = {
        "version": "1.0",
        "added_tokens": [
            {"id": ids[token], "content": token, **dict.fromkeys(_MATCHING, False), "special": True}
            for token in sorted(special.values(), key=ids.__getitem__)
        ],
        "normalizer": {"type": "Lowercase"} if lower else None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, split]},
        "post_processor": _begin(vocabulary[config.bos_id], config.bos_id) if config.bos_id >= 0 else None,
        "decoder": _GLUE,
        "model": {"type": "WordLevel", "vocab": ids, "unk_token": vocabulary[config.unk_id]},
    }
    (folder / "tokenizer.json").write_bytes((json.dumps(content, ensure_ascii=False) + "\n").encode())
    settings = {
        "tokenizer_class": "TsModelsTokenizer" if exact else "PreTrainedTokenizerFast",
        "model_max_length": config.max_seq_len,
        "padding_side": "left",
        "clean_up_tokenization_spaces": False,
        **{f"{name}_token": token for name, token in special.items()},
    }
    (folder / "tokenizer_config.json").write_bytes((json.dumps(settings, indent=2, ensure_ascii=False) + "\n").encode())
    copy_files(lm.path, folder, (TOKENIZER,))


def _begin(token: str, number: int) -> dict[str, Any]:
    """`<bos>` before a text."""
    first, second = ({"Sequence": {"id": part, "type_id": 0}} for part in "AB")
    bos = {"SpecialToken": {"id": token, "type_id": 0}}
    return {
        "type": "TemplateProcessing",
        "single": [bos, first],
        "pair": [bos, first, second],
        "special_tokens": {token: {"id": token, "ids": [number], "tokens": [token]}},
    }


_QWEN3 = {
    "positions": "rope", "norm": "rmsnorm", "norm_first": True, "final_norm": True, "qk_norm": True, "feed_forward": "swiglu",
    "bias": False, "has_qkv_bias": False, "has_head_bias": False, "attention_scale": None, "local_layers": (),
}  # fmt: skip
"""What Qwen3 fixes of a TransformerConfig."""
_MATCHING = ("single_word", "lstrip", "rstrip", "normalized")
"""How the tokenizers library may find a special token in a text; none is wanted."""
_NEW: int = GenerationConfig.model_fields["max_new_tokens"].default
"""New tokens of a story: transformers' own default is 20."""
_GLUE = {
    "type": "Sequence",
    "decoders": [
        {"type": "WordPiece", "prefix": "##", "cleanup": True},
        {"type": "Replace", "pattern": {"Regex": r"^ (?=[;:)\]…]|'(?:ll|d)$|\.\.\.$)"}, "content": ""},
    ],
}
"""Words with blanks between them, but for punctuation and contractions."""
_WORDS = r"""(?i:n't(?![a-z])|'(?:s|re|ve|ll|d|m)(?![a-z]))|[a-z]+(?=n't(?![a-z]))|\w+|\.\.\.|[^\w\s]"""


def _compare(lm: LanguageModel, out: Path) -> dict[str, Any]:
    """The largest difference of logits on random ids, or why they were not compared."""
    try:
        with silence():
            import transformers

            from ..integrations import transformers as classes  # noqa: F401 - registers our classes
    except ImportError:
        return {"checked": "no: transformers is not installed"}
    transformers.utils.logging.disable_progress_bar()

    with silence():
        theirs = transformers.AutoModelForCausalLM.from_pretrained(str(out)).eval()
    ids = sample_ids(lm.config)
    with torch.inference_mode():
        difference = (theirs(input_ids=ids).logits - lm.model(ids)).abs().max().item()
    if difference > 1e-3:
        raise ConfigError(f"{out}: transformers gives other logits (by {difference:.2g}); do not use this export")
    return {"checked": f"transformers {transformers.__version__}", "largest_difference": difference}


def sample_ids(config: ModelConfig, rows: int = 2) -> Tensor:
    """The same random ids every time, [rows, up to 64]."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, config.vocab_size, (rows, min(64, config.max_seq_len)), generator=generator)


def need(package: str, extra: str) -> None:
    """Raise MissingExtraError where a package is not installed."""
    from importlib.util import find_spec

    if find_spec(package) is None:
        raise MissingExtraError(f'this needs {package}, which is not installed. Run: pip install "ts-models[{extra}]"')


def how_to_feed(config: ModelConfig) -> str:
    """How to use an exported file that takes ids: which special ids to add, to stop at and to avoid, in one sentence."""
    begin = f"begin with <bos> (id {config.bos_id})" if config.bos_id >= 0 else "begin with the prompt's ids"
    end = f", end at <eos> (id {config.eos_id})" if config.eos_id >= 0 else ""
    banned = f", never choose ids {', '.join(map(str, config.banned_ids))}" if config.banned_ids else ""
    return (
        f"it takes ids: {begin}{banned}{end}; text to ids and back by ts_models.load(MODEL): lm.encode_prompt(text), "
        "lm.tokenizer.decode(ids)"
    )

"""A GGUF file of a story model (architecture `qwen3`), for llama.cpp and what is built on it. Needs the extra `gguf`.

llama.cpp runs it from token ids. The vocabulary is stored word by word so that ids show as words, but llama.cpp has no
word-level tokenizer with spaCy's rules: text must be turned into ids by ts_tokenizer, and ids back into text.
"""

from pathlib import Path
from typing import Any

from ..artefact import write_file
from ..console import Progress
from ..errors import ConfigError
from ..language_model import LanguageModel
from ..schemas import TransformerConfig
from .to_transformers import how_to_feed, is_qwen3, need, qwen3_tensors


def export_gguf(
    lm: LanguageModel, out: Path, *, stories: list[str] | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Write the file in float32, then read it back and compare every tensor."""
    need("gguf", "gguf")
    import gguf

    config = lm.config
    if not is_qwen3(config):
        raise ConfigError(
            "GGUF holds networks in Qwen3's structure only: the story-* presets. Use --format transformers or onnx."
        )
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN3, config.n_layers)
    theirs = qwen3_tensors(config, lm.model.state_dict())
    tensors = {names.get_name(name, (".weight",)): tensor.numpy() for name, tensor in theirs.items()}
    with write_file(out) as aside:
        writer = gguf.GGUFWriter(str(aside), "qwen3")
        _describe(writer, lm, config)
        for name, array in tensors.items():
            writer.add_tensor(name, array)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    stored = {item.name: item.data for item in gguf.GGUFReader(str(out)).tensors}
    equal = all((stored[name].reshape(array.shape) == array).all() for name, array in tensors.items())
    if not equal or len(stored) != len(tensors):
        raise ConfigError(f"{out}: what was written does not read back equal")
    return {
        "bytes": out.stat().st_size,
        "tensors": len(tensors),
        "checked": "every tensor reads back equal",
        "use": how_to_feed(config),
    }


def _describe(writer: Any, lm: LanguageModel, config: TransformerConfig) -> None:
    """The header: sizes, and the vocabulary with its special ids."""
    import gguf

    writer.add_name(lm.name)
    writer.add_context_length(config.max_seq_len)
    writer.add_embedding_length(config.d_model)
    writer.add_block_count(config.n_layers)
    writer.add_feed_forward_length(config.d_ff)
    writer.add_head_count(config.n_heads)
    writer.add_head_count_kv(config.kv_heads)
    writer.add_key_length(config.head_size)
    writer.add_value_length(config.head_size)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_layer_norm_rms_eps(config.norm_eps)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    words = lm.vocabulary() if lm.tokenizer is not None else [f"<{number}>" for number in range(config.vocab_size)]
    special = config.special_ids
    kinds = [gguf.TokenType.CONTROL if number in special.values() else gguf.TokenType.NORMAL for number in range(len(words))]
    writer.add_tokenizer_model("llama")
    writer.add_token_list([word.encode("utf-8") for word in words])
    writer.add_token_scores([0.0] * len(words))
    writer.add_token_types(kinds)
    for name, number in special.items():
        getattr(writer, f"add_{name}_token_id")(number)
    writer.add_add_bos_token("bos" in special)
    writer.add_add_eos_token(False)

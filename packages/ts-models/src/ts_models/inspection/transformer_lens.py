"""A network of ours in TransformerLens, for its tools: a bridge around the same network as transformers' Qwen3."""

from typing import Any

from ..errors import ConfigError, MissingExtraError
from ..export.to_transformers import is_qwen3, qwen3_config, qwen3_tensors
from ..language_model import LanguageModel


def to_transformer_lens(lm: LanguageModel) -> Any:
    """A `TransformerBridge` with copies of the weights and equal logits; it takes ids.

    For `story-*` networks, which are Qwen3's structure: TransformerLens has no adapter for the others. Raises ConfigError for these.
    """
    config = lm.config
    if not is_qwen3(config):
        raise ConfigError(
            "TransformerLens takes networks of Qwen3's structure (`story-*`) from us; trace this one with ts_models.trace."
        )
    try:
        from transformer_lens.model_bridge.sources import build_bridge_from_module
        from transformers import Qwen3Config, Qwen3ForCausalLM
    except ImportError:
        raise MissingExtraError(
            "this needs TransformerLens 4 and transformers. Run: pip install 'transformer-lens>=4' transformers"
        ) from None
    theirs = Qwen3Config(**qwen3_config(config))
    network = Qwen3ForCausalLM(theirs)
    network.load_state_dict(qwen3_tensors(config, lm.model.state_dict()), strict=False)  # a tied output layer has no tensor
    return build_bridge_from_module(network.to(lm.model.device, lm.model.dtype).eval(), "Qwen3ForCausalLM", hf_config=theirs)

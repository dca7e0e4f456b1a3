"""Our networks as classes of transformers, so that AutoModelForCausalLM opens them without code from a folder.

Importing this module imports transformers. `import ts_models` arranges that it is imported with transformers' auto
classes, whichever of the two comes first (see `_hook`).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

from .._build import build_for_inference
from .._store import parse_config
from ..layers.positions import RotaryEmbedding, Sinusoidal

__all__ = ["TsModelForCausalLM", "TsModelsConfig", "register"]


class TsModelsConfig(PretrainedConfig):  # type: ignore[misc]
    """The network's own config stands whole under `ts_models`."""

    model_type = "ts_models"

    def __init__(self, ts_models: dict[str, Any] | None = None, **options: Any) -> None:
        self.ts_models = ts_models or {}
        for name in ("bos_token_id", "eos_token_id", "pad_token_id", "vocab_size", "num_hidden_layers"):
            setattr(self, name, options.get(name))
        super().__init__(**options)


class TsModelForCausalLM(PreTrainedModel, GenerationMixin):  # type: ignore[misc]
    """Any of our networks. Without a cache of transformers' kind: `ts_models.load` writes faster."""

    config_class = TsModelsConfig
    base_model_prefix = "network"
    _supports_sdpa = True

    def __init__(self, config: TsModelsConfig) -> None:
        super().__init__(config)
        self.network = build_for_inference(parse_config(config.ts_models, "config.json, `ts_models`"))
        self.post_init()

    def _init_weights(self, module: torch.nn.Module) -> None:
        """Refill the tables that are computed, not stored: transformers builds networks without memory first."""
        if isinstance(module, Sinusoidal | RotaryEmbedding):
            module.fill()

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, labels: Tensor | None = None, **_: Any
    ) -> CausalLMOutput:
        """input_ids [batch, time], padded on the right if at all → logits."""
        if attention_mask is not None and bool((attention_mask[:, 0] == 0).any()):
            raise ValueError("these networks take padding on the right only: set tokenizer.padding_side = 'right'")
        logits = self.network(input_ids)
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten(), ignore_index=-100)
        return CausalLMOutput(loss=loss, logits=logits)

    def prepare_inputs_for_generation(self, input_ids: Tensor, attention_mask: Tensor | None = None, **_: Any) -> dict[str, Any]:
        """The whole text at every step."""
        return {"input_ids": input_ids, "attention_mask": attention_mask}


def register() -> None:
    """Make AutoConfig and AutoModelForCausalLM know the two classes. May be called again."""
    AutoConfig.register(TsModelsConfig.model_type, TsModelsConfig, exist_ok=True)
    AutoModelForCausalLM.register(TsModelsConfig, TsModelForCausalLM, exist_ok=True)


register()

"""Networks of ts_models as classes of transformers, so that AutoModelForCausalLM opens them without remote code.

Importing this module imports transformers. `import ts_models` arranges that it is imported with transformers' auto
classes, whichever of the two comes first (see `transformers_hook`).
"""

import functools
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationMixin,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizer,
)  # fmt: skip
from transformers.modeling_outputs import CausalLMOutput

from ..architectures import build_for_inference
from ..generation.text import continuation, vocabulary_of
from ..io.model_folder import TOKENIZER, parse_config
from ..io.tokenizers import load_tokenizer
from ..layers.positions import RotaryEmbedding, Sinusoidal


class TsModelsConfig(PretrainedConfig):  # type: ignore[misc]
    """Holds the network's config under `ts_models`."""

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
        """input_ids [batch, time], padded on either side where attention_mask is 0 → logits [batch, time, vocab].

        At a padded place the logits are those after the last token before it, so that a row writes the same alone and in a batch.
        """
        if attention_mask is None or bool((attention_mask != 0).all()):
            logits = self.network(input_ids)
        else:
            logits = self._padded(input_ids, attention_mask != 0)
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten(), ignore_index=-100)
        return CausalLMOutput(loss=loss, logits=logits)

    def _padded(self, input_ids: Tensor, real: Tensor) -> Tensor:
        """The real tokens of each row are moved to its beginning, where the network takes them, and the logits back."""
        order = (~real).to(torch.int8).argsort(dim=1, stable=True)
        longest = max(int(real.sum(dim=1).max()), 1)
        logits = self.network(input_ids.gather(1, order)[:, :longest])
        places = (real.cumsum(dim=1) - 1).clamp(min=0)
        return logits.gather(1, places[:, :, None].expand(-1, -1, logits.shape[2]))  # type: ignore[no-any-return]

    def prepare_inputs_for_generation(self, input_ids: Tensor, attention_mask: Tensor | None = None, **_: Any) -> dict[str, Any]:
        """The whole text at every step."""
        return {"input_ids": input_ids, "attention_mask": attention_mask}


class TsModelsTokenizer(PreTrainedTokenizer):  # type: ignore[misc]
    """The tokenizer of a word_tokenizer.json: ids and text exactly as `ts_models.load` has them, `<bos>` first."""

    vocab_files_names: ClassVar[dict[str, str]] = {"vocab_file": TOKENIZER}
    model_input_names: ClassVar[list[str]] = ["input_ids", "attention_mask"]

    def __init__(self, vocab_file: str, **options: Any) -> None:
        self._path, self._own = Path(vocab_file), load_tokenizer(vocab_file)
        self._tokens = vocabulary_of(self._own)
        self._ids = {token: number for number, token in enumerate(self._tokens)}
        self._before: list[int] = []
        for name in ("bos", "eos", "unk", "pad"):
            number = getattr(self._own, f"{name}_id")
            if number >= 0:
                options.setdefault(f"{name}_token", self._tokens[number])
        super().__init__(**options)

    @property
    def vocab_size(self) -> int:
        """Tokens."""
        return len(self._tokens)

    def get_vocab(self) -> dict[str, int]:
        """Token → id."""
        return dict(self._ids)

    def tokenize(self, text: str, **_: Any) -> list[str]:
        """Tokens of a text as the model reads them, `<unk>` for words that it does not know."""
        encode = getattr(self._own, "encode_prompt", self._own.encode)
        return [self._tokens[number] for number in encode(text)]

    def _convert_token_to_id(self, token: str) -> int:
        return self._ids.get(token, self._own.unk_id)

    def _convert_id_to_token(self, index: int) -> str:
        return self._tokens[index]

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """Text with its blanks and capitals."""
        return str(self._own.decode([self._convert_token_to_id(token) for token in tokens], skip_special_tokens=False))

    def _decode(self, token_ids: int | list[int], skip_special_tokens: bool = False, **_: Any) -> str:
        ids = [token_ids] if isinstance(token_ids, int) else [int(number) for number in token_ids]
        if self._before:
            return continuation(self._own, self._before, ids)
        return str(self._own.decode(ids, skip_special_tokens=skip_special_tokens))

    @contextmanager
    def behind(self, ids: Sequence[int]) -> Iterator[None]:
        """Within the block ids are decoded as what follows these, so that blanks, quotes and capitals fit."""
        self._before = [int(number) for number in ids if number != self._own.pad_id]
        try:
            yield
        finally:
            self._before = []

    def build_inputs_with_special_tokens(self, token_ids_0: list[int], token_ids_1: list[int] | None = None) -> list[int]:
        """`<bos>` and the text."""
        bos = [self._own.bos_id] if self._own.bos_id >= 0 else []
        return [*bos, *token_ids_0, *(token_ids_1 or [])]

    def save_vocabulary(self, save_directory: str, filename_prefix: str | None = None) -> tuple[str]:
        """Copy the word_tokenizer.json."""
        target = Path(save_directory) / (f"{filename_prefix}-{TOKENIZER}" if filename_prefix else TOKENIZER)
        if not target.exists() or not target.samefile(self._path):
            shutil.copyfile(self._path, target)
        return (str(target),)


def register_pipeline() -> None:
    """Let `pipeline("text-generation")` decode a story behind its prompt, where the tokenizer is ours. May be called again.

    The pipeline decodes the new ids alone, which is wrong for a tokenizer whose text depends on what stands before.
    """
    from transformers.pipelines.text_generation import TextGenerationPipeline

    own = TextGenerationPipeline.postprocess
    if getattr(own, "_knows_ts_models", False):
        return

    @functools.wraps(own)
    def postprocess(self: Any, model_outputs: Any, *arguments: Any, **options: Any) -> Any:
        ids, prompt = model_outputs.get("input_ids"), model_outputs.get("prompt_text")
        if not isinstance(self.tokenizer, TsModelsTokenizer) or ids is None:
            return own(self, model_outputs, *arguments, **options)
        kept = {**model_outputs, "prompt_text": prompt.rstrip() if isinstance(prompt, str) else prompt}
        with self.tokenizer.behind(ids[0].tolist()):
            return own(self, kept, *arguments, **options)

    postprocess._knows_ts_models = True  # type: ignore[attr-defined]
    TextGenerationPipeline.postprocess = postprocess


def register() -> None:
    """Make the auto classes of transformers know ours. May be called again."""
    AutoTokenizer.register(TsModelsConfig, slow_tokenizer_class=TsModelsTokenizer, exist_ok=True)
    AutoConfig.register(TsModelsConfig.model_type, TsModelsConfig, exist_ok=True)
    AutoModelForCausalLM.register(TsModelsConfig, TsModelForCausalLM, exist_ok=True)


register()

"""The model card (README.md of a model folder): sizes, training, how to use it. Text only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..schemas import ModelConfig, TrainingSummary, TransformerConfig
from ..sizes import count_parameters, flops_per_token, parameters_by_part

if TYPE_CHECKING:
    from ..language_model import LanguageModel


def model_card(config: ModelConfig, training: TrainingSummary | None, name: str) -> str:
    """Markdown with the Hub's front matter."""
    parts = "\n".join(f"| {part} | {number:,} |" for part, number in parameters_by_part(config).items())
    return f"""---
library_name: ts-models
pipeline_tag: text-generation
language: en
tags: [tinystories, {config.kind}]
---
# {name}

A small story language model ({_structure(config)}).

| part | parameters |
|---|---|
{parts}
| all | {count_parameters(config):,} |

Vocabulary {config.vocab_size:,}, context {config.max_seq_len} tokens, {flops_per_token(config) / 1e6:.1f} MFLOPs per token.
{_training(training)}
## Use

```python
import ts_models

lm = ts_models.load("{name}")  # this folder's path, or its Hub id
print(lm.generate("Once upon a time"))
```

Text needs `pip install "ts-models[text]"`. It writes children's stories and knows nothing else.
"""


def transformers_card(lm: LanguageModel, name: str, *, qwen: bool) -> str:
    """The card of a folder in transformers' format."""
    config = lm.config
    note = (
        'With `import ts_models` (`pip install "ts-models[text]"`) words, blanks and capitals are exactly the original\'s. Without it the '
        "weights open as Qwen3 all the same, and `tokenizer.json` cuts and joins words nearly so, in the vocabulary's own case."
        if qwen
        else '`import ts_models` (`pip install "ts-models[text]"`) registers the classes; no code of this folder is run.'
    )
    return f"""---
library_name: transformers
pipeline_tag: text-generation
language: en
tags: [tinystories, {config.kind}]
---
# {name}

A small story language model ({_structure(config)}), {count_parameters(config):,} parameters, vocabulary {config.vocab_size:,},
context {config.max_seq_len} tokens. Exported from a ts-models folder.
{_training(lm.training)}
## Use

```python
import ts_models  # before or after transformers
from transformers import pipeline

write = pipeline("text-generation", model="{name}")  # this folder's path, or its Hub id
print(write("Once upon a time")[0]["generated_text"])
```

{note}
A story begins with `<bos>`, which the tokenizer adds, and ends with `<eos>`; pad on the left. It writes children's stories and
knows nothing else.
"""


def _structure(config: ModelConfig) -> str:
    if isinstance(config, TransformerConfig):
        return (
            f"Transformer, {config.n_layers} layers, width {config.d_model}, {config.n_heads} heads, positions {config.positions}"
        )
    sizes = config.model_dump(include={"n_layers", "d_hidden"})
    return f"{config.kind.upper()}, {sizes['n_layers']} layers of {sizes['d_hidden']}" if len(sizes) == 2 else config.kind


def _training(training: TrainingSummary | None) -> str:
    if training is None:
        return ""
    lines = [f"- {training.steps:,} steps, {training.tokens:,} tokens, {training.seconds / 60:.1f} minutes"]
    if training.preset:
        lines.append(f"- preset {training.preset}")
    if training.best_validation_loss is not None:
        lines.append(f"- validation loss {training.best_validation_loss:.4f} nats per token")
    if training.validation_bits_per_byte is not None:
        lines.append(f"- validation bits per byte {training.validation_bits_per_byte:.4f}")
    for label, value in (("optimizer", training.optimizer), ("precision", training.precision), ("seed", training.seed)):
        if value is not None:
            lines.append(f"- {label} {value}")
    return "\n## Training\n\n" + "\n".join(lines) + "\n"

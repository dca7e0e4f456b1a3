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
{_results(training, name)}---
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

lm = ts_models.load(".")  # the path of this folder, or its Hub id
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

write = pipeline("text-generation", model=".")  # the path of this folder, or its Hub id
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


def _results(training: TrainingSummary | None, name: str) -> str:
    """The model index of the Hub, which lists evaluations."""
    if training is None or training.best_validation_loss is None:
        return ""
    found = {"loss": training.best_validation_loss, "bits_per_byte": training.validation_bits_per_byte}
    metrics = "\n".join(f"    - {{type: {kind}, value: {value:.4f}}}" for kind, value in found.items() if value is not None)
    return f"""model-index:
- name: {name}
  results:
  - task: {{type: text-generation}}
    dataset: {{name: the validation split of its stories, type: text}}
    metrics:
{metrics}
"""


def _training(training: TrainingSummary | None) -> str:
    """Training, data with the licence, evaluation and stories, as far as they are known."""
    if training is None:
        return ""
    made = [f"{training.steps:,} steps, {training.tokens:,} tokens, {training.seconds / 60:.1f} minutes"]
    named: dict[str, object] = {"preset": training.preset, "optimizer": training.optimizer, "precision": training.precision}
    named |= {"seed": training.seed, "hardware": training.hardware}
    made += [f"{label} {value}" for label, value in named.items() if value is not None]
    stories = "" if training.train_stories is None else f"{training.train_stories:,} different stories. "
    splits = f"Fingerprint of the splits: `{training.splits_fingerprint}`. " if training.splits_fingerprint else ""
    parts = [f"## Training\n\n{_list(made)}"]
    share = "before you share them, add `license:` and `datasets:` to the lines at the top."
    parts += [f"## Data and licence\n\n{stories}{splits}The licence of the weights follows from that of the stories: {share}"]
    scores = [("validation loss", training.best_validation_loss, "nats per token")]
    scores += [("validation bits per byte", training.validation_bits_per_byte, "")]
    measured = [f"{label} {value:.4f} {unit}".rstrip() for label, value, unit in scores if value is not None]
    if measured:
        parts.append(f"## Evaluation\n\n{_list(measured)}\n\n`ts-eval report` measures copying, diversity and quality.")
    if training.samples:
        parts.append("## Stories it wrote\n\n" + "\n\n".join(f"> {' '.join(story.split())}" for story in training.samples))
    return "\n" + "\n\n".join(parts) + "\n"


def _list(lines: list[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)

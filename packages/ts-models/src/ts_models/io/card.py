"""The model card (README.md of a model folder): sizes, training, how to use it. Its text is in card.md and transformers_card.md."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..schemas import ModelConfig, TrainingSummary, TransformerConfig
from ..sizes import count_parameters, flops_per_token, parameters_by_part

if TYPE_CHECKING:
    from ..language_model import LanguageModel


def model_card(config: ModelConfig, training: TrainingSummary | None, name: str) -> str:
    """Markdown with the Hub's front matter."""
    parts = "\n".join(f"| {part} | {number:,} |" for part, number in parameters_by_part(config).items())
    found = {"name": name, "results": _results(training, name), "parts": parts, "mega_flops": flops_per_token(config) / 1e6}
    return _filled("card.md", config, training, **found)


def transformers_card(lm: LanguageModel, name: str, *, qwen: bool) -> str:
    """The card of a folder in transformers' format."""
    note = (
        'With `import ts_models` (`pip install "ts-models[text]"`) words, blanks and capitals are exactly the original\'s. Without it the '
        "weights open as Qwen3 all the same, and `tokenizer.json` cuts and joins words nearly so, in the vocabulary's own case."
        if qwen
        else '`import ts_models` (`pip install "ts-models[text]"`) registers the classes; no code of this folder is run.'
    )
    return _filled("transformers_card.md", lm.config, lm.training, name=name, note=note)


def _filled(template: str, config: ModelConfig, training: TrainingSummary | None, **values: object) -> str:
    """A template of this folder with its fields in place."""
    known = {"structure": _structure(config), "parameters": count_parameters(config), "training": _training(training)}
    return Path(__file__).with_name(template).read_text(encoding="utf-8").format(config=config, **known, **values)


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

"""Validates what a model returns before anything is computed from it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ArtefactError, ConfigError
from ..schemas.report import LARGEST
from .adapter import ModelAdapter, Scored

REPLACED = "lone surrogates in its texts were replaced by U+FFFD"
ROUNDING = 1e-3
"""Log-probabilities above zero by at most this are rounding errors."""


def need_finite_weights(name: str, network: Any) -> None:
    """Raise ArtefactError for a network with NaN or infinity in its parameters; names the first such tensor."""
    import torch

    for key, tensor in network.state_dict().items():
        if isinstance(tensor, torch.Tensor) and tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise ArtefactError(
                f"{name}: its weights hold NaN or infinity (in {key}), so nothing can be measured. "
                "Take an earlier checkpoint, or train it again with a lower learning rate."
            )


def generate(adapter: ModelAdapter, prompts: Sequence[str], **options: Any) -> list[str] | None:
    """The model's completions: one str per prompt, encodable as UTF-8. None if it cannot generate."""
    written: Any = adapter.generate(prompts, **options)
    if written is None:
        return None
    if isinstance(written, (str, bytes)) or len(written) != len(prompts):
        given = "one text" if isinstance(written, (str, bytes)) else f"{len(written)} texts"
        raise ConfigError(
            f"{adapter.name}: generate gave {given} for {len(prompts)} prompts; a list with one text each is expected."
        )
    for row, text in enumerate(written):
        if not isinstance(text, str):
            raise ConfigError(f"{adapter.name}: generate gave {type(text).__name__} instead of a str for prompt {row}.")
    return without_surrogates(adapter, written)


def without_surrogates(adapter: ModelAdapter, texts: Sequence[str]) -> list[str]:
    """Replace each lone surrogate, which no file can hold, by U+FFFD, and add a note to the model."""
    clean = [text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for text in texts]
    if clean != list(texts) and REPLACED not in adapter.notes:
        adapter.notes.append(REPLACED)
    return clean


def score(adapter: ModelAdapter, texts: Sequence[str]) -> Scored | None:
    """The model's log-probabilities of whole stories: one array of finite numbers per text. None if it cannot score."""
    scored = adapter.score(texts)
    if scored is None:
        return None
    if len(scored.logprobs) != len(texts):
        raise ConfigError(f"{adapter.name}: logprobs gave {len(scored.logprobs)} arrays for {len(texts)} texts.")
    for row, story in enumerate(scored.logprobs):
        values = np.asarray(story)
        if values.ndim != 1:
            raise ConfigError(
                f"{adapter.name}: logprobs gave an array of {values.ndim} dimensions for text {row}; one is expected."
            )
        if not len(values) and len(texts[row].split()) > 1:  # else a story that is not scored would cost no bits
            raise ConfigError(f"{adapter.name}: logprobs gave an empty array for text {row}; one number per token is expected.")
        if not (np.abs(values) < LARGEST).all():
            raise ConfigError(
                f"{adapter.name}: gives {values[~(np.abs(values) < LARGEST)][0]} as a log-probability (story {row} of a batch, token "
                f"{int((~(np.abs(values) < LARGEST)).argmax())}), so its loss is not a number. Its weights or logits are not finite."
            )
        if len(values) and values.max() > ROUNDING:
            raise ConfigError(
                f"{adapter.name}: gives {values.max():.4g} as a log-probability; natural logarithms, at most 0, are expected."
            )
    if scored.bits is not None and not np.isfinite(scored.bits).all():
        raise ConfigError(f"{adapter.name}: its tokenizer gives a number of bits that is not finite.")
    return scored

"""Prompts of ids: checked and cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from ..errors import ConfigError

__all__ = ["check_prompts", "cut_prompt"]


def check_prompts(prompts: Any, vocab_size: int) -> list[list[int]]:
    """Prompts as lists of ids. Raises TypeError for what are no ids, ConfigError for ids outside of the vocabulary."""
    if isinstance(prompts, str | bytes):
        raise TypeError("the prompts are text, but a network takes ids: [[1, 2, 3], …]. For text use ts_models.load(…).generate.")
    if isinstance(prompts, Tensor | np.ndarray):
        prompts = prompts.tolist()
    if not isinstance(prompts, Sequence):
        raise TypeError(f"the prompts are a {type(prompts).__name__}; give a list of lists of ids, or a tensor [prompts, time].")
    return [_check_prompt(number, prompt, vocab_size) for number, prompt in enumerate(prompts)]


def _check_prompt(number: int, prompt: Any, vocab_size: int) -> list[int]:
    if isinstance(prompt, Tensor | np.ndarray):
        prompt = prompt.tolist()
    if isinstance(prompt, str | bytes):
        raise TypeError(f"prompt {number} is text, but a network takes ids. For text use ts_models.load(…).generate.")
    if not isinstance(prompt, Sequence):
        raise TypeError(f"prompt {number} is {prompt!r}, not a list of ids; one prompt is given as [[1, 2, 3]].")
    for token in prompt:
        if isinstance(token, bool | np.bool_) or not isinstance(token, int | np.integer):
            raise TypeError(f"prompt {number} holds {token!r}, a {type(token).__name__}; ids are whole numbers.")
        if not 0 <= token < vocab_size:
            raise ConfigError(f"prompt {number}: id {token} is outside of the vocabulary of {vocab_size}.")
    return [int(token) for token in prompt]


def cut_prompt(prompt: list[int], *, context: int, wanted: int, bos_id: int) -> list[int]:
    """The end of a prompt that leaves room for `wanted` new ids, or for half the context where more is wanted; bos stays first."""
    most = max(context - min(wanted, context // 2), 1)
    if len(prompt) <= most:
        return prompt
    if prompt[0] == bos_id and most > 1:
        return [bos_id, *prompt[-(most - 1) :]]
    return prompt[-most:]

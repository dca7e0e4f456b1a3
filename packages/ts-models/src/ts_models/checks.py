"""Checks of the texts and ids that callers give: TypeError for what is neither, ConfigError for a value that cannot be used."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from .errors import ConfigError


def check_text(text: Any, name: str) -> str:
    """The text. Raises TypeError for what is none, ConfigError for a lone surrogate."""
    if not isinstance(text, str):
        raise TypeError(f"{name}: text is expected, not {text!r}. For ids use lm.model.generate([[1, 2, 3]]).")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as problem:
        raise ConfigError(
            f"{name} is not Unicode text: character {problem.start + 1} is {text[problem.start]!r}, half of a surrogate pair or a byte "
            "that is not UTF-8. Decode it with the right encoding first."
        ) from None
    return text


def text_list(texts: Any, name: str) -> list[str]:
    """A list of texts; one text alone is refused, because its letters would be taken for texts, and a table, of which the names would."""
    if isinstance(texts, str | bytes | Mapping) or not isinstance(texts, Iterable) or hasattr(texts, "columns"):
        raise TypeError(f"{name} is a {type(texts).__name__}; a list of texts is expected, such as a column of a table.")
    entries = texts.to_pylist() if hasattr(texts, "to_pylist") else texts  # Arrow's entries are no str
    return [check_text(text, f"{name}[{number}]") for number, text in enumerate(entries)]


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


def check_stories(stories: Sequence[ArrayLike], vocab_size: int | None) -> list[NDArray[np.int64]]:
    """Stories as arrays of ids. Raises TypeError for what are no ids, ConfigError for ids outside of a known vocabulary."""
    if isinstance(stories, str | bytes):
        raise TypeError("stories are text, but score_ids takes ids: [[1, 2, 3], …]. For text use ts_models.load(…).logprobs.")
    arrays = []
    for number, story in enumerate(stories):
        array = np.asarray(story)
        if array.ndim != 1 or (array.dtype.kind not in "iu" and len(array)):
            raise TypeError(
                f"story {number} holds {array.dtype} of shape {list(array.shape)}; a list of ids (whole numbers) is expected."
            )
        if len(array) and vocab_size is not None and not (array.min() >= 0 and array.max() < vocab_size):
            wrong = array.min() if array.min() < 0 else array.max()
            raise ConfigError(f"story {number}: id {wrong} is outside of the vocabulary of {vocab_size}.")
        arrays.append(array.astype(np.int64))
    return arrays

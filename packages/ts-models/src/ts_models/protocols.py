"""Protocols for third-party tokenizers, generators and scorers.

Typing only: nothing here is inherited from, any object with these names will do.
"""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


class StreamDecoder(Protocol):
    """Turns ids into text as they come."""

    def push(self, id: int) -> str:
        """The text that became certain with this id (may be empty)."""

    def finish(self) -> str:
        """What was held back."""


@runtime_checkable
class Tokenizer(Protocol):
    """Text to ids and back. Registered under the entry-point group `ts_models.tokenizers` by the `format` of its file:
    a callable that takes the path of that file and returns the tokenizer.

    Optional: `clean_prompt(text) -> str` and `encode_prompt(text) -> list[int]`, which repair what a person typed as the
    corpus was repaired; `tokens(text)` and `vocab`, from which unknown words are named.
    """

    @property
    def vocab_size(self) -> int: ...
    @property
    def eos_id(self) -> int: ...
    @property
    def bos_id(self) -> int: ...
    @property
    def unk_id(self) -> int: ...
    @property
    def pad_id(self) -> int: ...

    def encode(self, text: str, *, add_special_tokens: bool = False) -> list[int]:
        """Ids of a text; with special tokens `<bos> … <eos>` around it."""

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        """Text of ids."""

    def stream_decoder(self) -> StreamDecoder:
        """A decoder for ids that come one by one."""


@runtime_checkable
class Generator(Protocol):
    """Writes stories: one completion (without its prompt) for each prompt."""

    def generate(self, prompts: Sequence[str], **options: Any) -> list[str]: ...


@runtime_checkable
class Logprobs(Protocol):
    """Scores texts: natural log-probabilities of the tokens of each, the first one left out."""

    def logprobs(self, texts: Sequence[str]) -> list[NDArray[np.float32]]: ...

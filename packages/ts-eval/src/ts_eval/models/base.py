"""Subject: what the parts ask of a model. Abilities that a model lacks are None, and the report says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ts_models import TrainingSummary

__all__ = ["Scored", "Subject", "TrainedOn"]


@dataclass(frozen=True)
class TrainedOn:
    """What a model records of its training stories; None where it does not.

    `splits` is the fingerprint of the splits/ folder, `stories` the sorted unique hashes (`ts_data.story_hashes`) of the
    training stories.
    """

    splits: str | None = None
    stories: NDArray[np.uint64] | None = None


@dataclass(frozen=True)
class Scored:
    """Log-probabilities of whole stories, one array per story, and the bits that they do not pay.

    `bits` is float64 [stories, 2]: to spell what `<unk>` hides, to restore case and blanks; None where the model's
    tokenizer loses text and nothing pays for it. `ids` are the tokens themselves where n-gram baselines can be fitted.
    """

    logprobs: list[NDArray[Any]]
    bits: NDArray[np.float64] | None
    ids: list[NDArray[Any]] | None = None
    note: str = ""


class Encoder(Protocol):
    """Stories to ids `<bos> … <eos>`, for the n-gram baselines."""

    vocab_size: int

    def encode_batch(self, texts: Sequence[str], *, add_special_tokens: bool = False) -> list[Any]: ...


@dataclass
class Subject:
    """A model under evaluation. Subclasses fill in what they can do."""

    name: str
    kind: str
    location: str = ""
    parameters: int | None = None
    training: TrainingSummary | None = None
    encoder: Encoder | None = None
    stories: list[str] | None = None
    """Finished stories, where this is a file of them."""
    trained_on: TrainedOn = TrainedOn()
    notes: list[str] = field(default_factory=list)

    def generate(self, prompts: Sequence[str], **options: Any) -> list[str] | None:
        """One completion (without its prompt) per prompt; `options` carry transformers' names. None: it cannot."""
        return None

    def score(self, texts: Sequence[str]) -> Scored | None:
        """Score whole stories; None: it cannot."""
        return None

    def neighbours(self, word: str, k: int = 8) -> list[tuple[str, float]] | None:
        """Tokens nearest in embedding space; None: it cannot, or the word is unknown."""
        return None

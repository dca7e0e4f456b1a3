"""ModelAdapter: the interface between a model and the sections of a report. A method returns None for what the model cannot do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..schemas import LossPoint

if TYPE_CHECKING:
    from ts_models import TrainingSummary


@dataclass(frozen=True)
class TrainedOn:
    """A model's record of its training stories; None without one.

    `splits` is the fingerprint of the splits/ folder, `stories` the sorted unique hashes (`ts_data.story_hashes`) of the training stories.
    """

    splits: str | None = None
    stories: NDArray[np.uint64] | None = None


@dataclass(frozen=True)
class Scored:
    """Log-probabilities of whole stories, one array per story, and the bits that the log-probabilities leave out.

    `bits` is float64 [stories, 2]: bits to spell what `<unk>` hides, and bits to restore case and blanks; None if the tokenizer loses
    more than that. `ids` are the token ids, if n-gram baselines can be fitted on them.
    """

    logprobs: list[NDArray[Any]]
    bits: NDArray[np.float64] | None
    ids: list[NDArray[Any]] | None = None
    note: str = ""


class Encoder(Protocol):
    """Encodes stories to ids `<bos> … <eos>`, for the n-gram baselines."""

    vocab_size: int

    def encode_batch(self, texts: Sequence[str], *, add_special_tokens: bool = False) -> list[Any]: ...


@dataclass
class ModelAdapter:
    """A model under evaluation. Subclasses override what the model can do."""

    name: str
    kind: str
    location: str = ""
    parameters: int | None = None
    training: TrainingSummary | None = None
    encoder: Encoder | None = None
    whole_words: bool = False
    """Writes words of a fixed vocabulary, so it cannot misspell any."""
    curve: tuple[LossPoint, ...] = ()
    """Its training curve."""
    stories: list[str] | None = None
    """Finished stories, if this is a file of stories instead of a model."""
    trained_on: TrainedOn = TrainedOn()
    notes: list[str] = field(default_factory=list)

    def generate(self, prompts: Sequence[str], **options: Any) -> list[str] | None:
        """One completion (without its prompt) per prompt; `options` use transformers' names. None if it cannot generate."""
        return None

    def score(self, texts: Sequence[str]) -> Scored | None:
        """Score whole stories. None if it gives no log-probabilities."""
        return None

    def neighbours(self, word: str, k: int = 8) -> list[tuple[str, float]] | None:
        """Tokens nearest in embedding space with their cosines. None without embeddings, or for an unknown word."""
        return None

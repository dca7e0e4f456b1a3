"""Base class of networks: ids → logits, a state to continue from, generation from ids."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..errors import ConfigError, ContextError
from ..generation import generate
from ..schemas import ModelConfig, NetworkConfig


class StoryModel(nn.Module):
    """A small causal language model. Subclasses define `hidden`, `logits` and `init_state`."""

    config: ModelConfig
    config_class: ClassVar[type[NetworkConfig]]
    """Validates the configs of its kinds."""
    points: ClassVar[str | None] = None
    """"package.module:class" of its named tensors (`inspection.tracing.Points`); None: the outputs of its modules."""

    def __init__(self, config: ModelConfig, *, torchtune: bool = True) -> None:
        """torchtune: train `rope-embedding` through torchtune's module; False uses `RotaryEmbedding`, equal to 1e-6."""
        super().__init__()
        self.config = config

    def forward(self, ids: Tensor, *, state: Any = None, segments: Tensor | None = None, lengths: Tensor | None = None) -> Tensor:
        """ids [batch, time] int64 → logits [batch, time, vocab_size].

        Everything is causal, so right padding needs no mask: only its own logits are meaningless.
        state: continue from it and append these tokens to it (see `init_state`).
        segments [batch, time]: packed documents, numbered in rows; a token sees its own document only, and positions
            start again in each. Not together with `state`.
        lengths [batch]: with `state`, how many of the `time` tokens of each row are real; the rest is padding.
        """
        return self.logits(self.hidden(ids, state=state, segments=segments, lengths=lengths))

    def hidden(self, ids: Tensor, *, state: Any = None, segments: Tensor | None = None, lengths: Tensor | None = None) -> Tensor:
        """What the output layer reads, [batch, time, width]; the arguments are those of `forward`."""
        raise NotImplementedError

    def logits(self, x: Tensor) -> Tensor:
        """The output layer: [..., width] → [..., vocab_size]."""
        raise NotImplementedError

    def init_state(self, batch: int, max_length: int) -> Any:
        """An empty state for `batch` rows of up to `max_length` tokens, on the model's device."""
        raise NotImplementedError

    def generate(self, ids: Sequence[Sequence[int]] | Tensor, **options: Any) -> list[list[int]]:
        """Continue prompts of ids; `options` are the fields of GenerationConfig. Returns the new ids of each story."""
        return generate(self, ids, **options)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The weights' number format."""
        return next(self.parameters()).dtype


def check_exclusive(state: Any, segments: Tensor | None) -> None:
    """Raise ContextError where both are given."""
    if state is not None and segments is not None:
        raise ContextError("segments (packed documents) and state (a text that continues) exclude each other")


def embed(table: nn.Embedding, ids: Tensor) -> Tensor:
    """ids [batch, time] → vectors [batch, time, width]. Raises TypeError or ConfigError for what are no ids of the table.

    On a GPU an id outside of the vocabulary ends in CUDA's own assertion: a check would wait for the device at every call.
    """
    if torch.compiler.is_compiling():
        return table(ids)  # type: ignore[no-any-return]
    if not isinstance(ids, Tensor):
        raise TypeError(
            f"ids are a {type(ids).__name__}; a tensor [batch, time] of int64 is expected (model.generate takes lists)."
        )
    if ids.dtype not in (torch.int64, torch.int32):
        raise TypeError(f"ids are {ids.dtype}; whole numbers (torch.int64) are expected.")
    if ids.dim() != 2:
        raise TypeError(f"ids have shape {list(ids.shape)}; [batch, time] is expected. Write ids[None] for one row.")
    try:
        return table(ids)  # type: ignore[no-any-return]
    except IndexError:
        outside = ids[(ids < 0) | (ids >= table.num_embeddings)]
        raise ConfigError(f"id {int(outside[0])} is outside of the vocabulary of {table.num_embeddings}.") from None

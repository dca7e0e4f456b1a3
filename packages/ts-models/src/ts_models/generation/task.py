"""One generation call: its prompts, limits, end conditions and what it records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import ConfigError, ContextError
from ..schemas import GenerationConfig
from .logits import Processors
from .results import Finish

__all__ = ["StopCheck", "Task"]

StopCheck = Callable[[int, Sequence[int]], bool]
"""Called with a prompt's index and the new ids of one of its sequences; returns whether the sequence ends."""


@dataclass(frozen=True)
class Task:
    """The prompts and the rules of one call."""

    prompts: list[list[int]]
    config: GenerationConfig
    context: int | None
    """Most tokens, prompt included, that the network takes; None: no limit (recurrent networks)."""
    banned: tuple[int, ...]
    """Ids never written (bos, unk, pad)."""
    ends: frozenset[int]
    """Ids that end a sequence (eos, stop_ids)."""
    eos_id: int
    device: torch.device
    logprobs: bool = False
    alternatives: int = 0
    stop: StopCheck | None = None

    def __post_init__(self) -> None:
        for number, prompt in enumerate(self.prompts):
            if not prompt:
                raise ConfigError(f"prompt {number} is empty: it needs at least one id, such as bos_id.")
            if self.context is not None and len(prompt) >= self.context:
                raise ContextError(
                    f"prompt {number} has {len(prompt)} tokens, but the model's context (max_seq_len) is {self.context}: "
                    "nothing can follow it. Shorten the prompt, or set truncate_prompt=True."
                )

    @property
    def limits(self) -> list[int]:
        """Most new tokens of each prompt: max_new_tokens, or what the context leaves."""
        most = self.config.max_new_tokens
        return [most if self.context is None else min(most, self.context - len(prompt)) for prompt in self.prompts]

    @property
    def room(self) -> int:
        """Most tokens that any row will hold, prompt included."""
        return max(len(prompt) + limit for prompt, limit in zip(self.prompts, self.limits, strict=True))

    @property
    def watched(self) -> bool:
        """Whether log-probabilities of the model itself are recorded."""
        return self.logprobs or self.alternatives > 0

    def processors(self, prompts: Sequence[Sequence[int]]) -> Processors:
        """The rules of this configuration for the given rows."""
        return Processors(self.config, prompts, self.room, banned=self.banned, ends=sorted(self.ends), device=self.device)

    def finish(self, ids: Sequence[int], limit: int, prompt: int) -> Finish | None:
        """The reason why a sequence with these new ids ends, or None if it continues."""
        if ids[-1] in self.ends:
            return "eos" if ids[-1] == self.eos_id else "stop"
        if self.stop is not None and self.stop(prompt, ids):
            return "stop"
        if len(ids) >= limit:
            return "length" if limit == self.config.max_new_tokens else "context"
        return None

    def check_choice(self, empty: bool, step: int) -> None:
        """Raise ConfigError where the rules leave no token to choose from."""
        if empty:
            raise ConfigError(
                f"generation: no token may be written at step {step + 1}: min_new_tokens, no_repeat_ngram_size and the special ids "
                "ban the whole vocabulary. Loosen one of them."
            )

    def watch(self, logits: Tensor, tokens: Tensor) -> tuple[list[float], list[list[tuple[int, float]]]]:
        """Log-probabilities of the chosen tokens and of the likeliest ones, where requested."""
        if not self.watched:
            return [], []
        scores = logits.log_softmax(dim=-1)
        chosen: list[float] = scores.gather(1, tokens[:, None])[:, 0].tolist()
        if not self.alternatives:
            return chosen, []
        best = scores.topk(min(self.alternatives, scores.shape[1]), dim=-1)
        pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        return chosen, [list(zip(ids, values, strict=True)) for ids, values in pairs]

"""Rules that change logits before a method chooses: what is banned, and what has been said already.

Each takes logits `[rows, vocab]` and changes them in place. Nothing here is random.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..errors import NonFiniteError
from ..schemas import GenerationConfig

__all__ = ["History", "Processors", "ban_repeated_ngrams", "penalise_repetition"]


class History:
    """The tokens of each row so far, prompt included: ids `[rows, room]`, -1 where nothing stands yet."""

    def __init__(self, prompts: Sequence[Sequence[int]], room: int, device: torch.device) -> None:
        self.lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
        self.ids = torch.full((len(prompts), room), -1, dtype=torch.long, device=device)
        for row, prompt in enumerate(prompts):
            self.ids[row, : len(prompt)] = torch.as_tensor(list(prompt), dtype=torch.long)

    def select(self, rows: Tensor) -> None:
        """Keep the given rows, in that order."""
        self.ids, self.lengths = self.ids[rows], self.lengths[rows]

    def append(self, tokens: Tensor) -> None:
        """Add one token to every row."""
        self.ids.scatter_(1, self.lengths[:, None], tokens[:, None])
        self.lengths = self.lengths + 1


def penalise_repetition(logits: Tensor, history: History, penalty: float) -> None:
    """Divide positive and multiply negative logits of every token that stands in the row (Keskar et al. 2019, CTRL)."""
    stand = history.ids.clamp(min=0)
    values = logits.gather(1, stand)
    values = torch.where(values > 0, values / penalty, values * penalty)
    seen = torch.where(history.ids >= 0, values, logits.gather(1, stand))
    # Empty places point at token 0: write them first, so that a real token 0 has the last word.
    plain = logits.clone()
    logits.scatter_(1, stand.masked_fill(history.ids < 0, 0), seen)
    zero = (history.ids == 0).any(1)
    first = plain[:, 0]
    logits[:, 0] = torch.where(zero, torch.where(first > 0, first / penalty, first * penalty), first)


def ban_repeated_ngrams(logits: Tensor, history: History, size: int) -> None:
    """Ban every token that would make `size` tokens in a row stand twice in the row (Paulus et al. 2017)."""
    ids, lengths = history.ids, history.lengths
    starts = ids.shape[1] - size + 1
    if starts < 1:
        return
    match = torch.ones(ids.shape[0], starts, dtype=torch.bool, device=ids.device)
    for offset in range(size - 1):
        place = (lengths - size + 1 + offset).clamp(min=0)
        tail = ids.gather(1, place[:, None])
        match &= ids[:, offset : offset + starts] == tail
    following = ids[:, size - 1 : size - 1 + starts]
    match &= (following >= 0) & (lengths >= size)[:, None]
    banned = torch.zeros_like(logits, dtype=torch.int32)
    banned.scatter_add_(1, following.clamp(min=0), match.to(torch.int32))
    logits.masked_fill_(banned != 0, -torch.inf)


class Processors:
    """The rules that a configuration asks for, applied in transformers' order."""

    def __init__(
        self,
        config: GenerationConfig,
        prompts: Sequence[Sequence[int]],
        room: int,
        *,
        banned: Sequence[int],
        ends: Sequence[int],
        device: torch.device,
    ) -> None:
        self.config = config
        wanted = config.repetition_penalty != 1 or config.no_repeat_ngram_size > 0
        self.history = History(prompts, room, device) if wanted else None
        self.banned = torch.tensor(list(banned), dtype=torch.long, device=device)
        self.empty = False
        """Whether the last call left some row without a token to choose."""
        self.early = torch.tensor(sorted({*banned, *ends}), dtype=torch.long, device=device)

    def select(self, rows: Tensor) -> None:
        """Keep the given rows, in that order."""
        if self.history is not None:
            self.history.select(rows)

    def append(self, tokens: Tensor) -> None:
        """Tell what each row has grown by."""
        if self.history is not None:
            self.history.append(tokens)

    def __call__(self, logits: Tensor, step: int) -> Tensor:
        """Change `logits` `[rows, vocab]` in place; `step` counts new tokens written so far."""
        if self.history is not None:
            if self.config.repetition_penalty != 1:
                penalise_repetition(logits, self.history, self.config.repetition_penalty)
            if self.config.no_repeat_ngram_size:
                ban_repeated_ngrams(logits, self.history, self.config.no_repeat_ngram_size)
        banned = self.early if step < self.config.min_new_tokens else self.banned
        if len(banned):
            logits.index_fill_(1, banned, -torch.inf)
        self.empty = self._check(logits, step)
        return logits

    def _check(self, logits: Tensor, step: int) -> bool:
        """Whether all tokens of some row are banned. Raises NonFiniteError for logits that are no numbers: every method chooses here."""
        here = logits.device.type == "cpu" and logits.dtype == torch.float32  # numpy's takes a tenth of the time
        largest = logits.numpy().max(axis=1) if here else logits.amax(dim=1).float().cpu().numpy()
        if np.isfinite(largest).all():
            return False
        if not np.isneginf(largest[~np.isfinite(largest)]).all():
            raise NonFiniteError(
                f"generation: the logits are not finite numbers at step {step + 1}: the model's weights are damaged, or a penalty is too "
                "extreme. Take an earlier checkpoint, or train again at a lower learning rate."
            )
        return True

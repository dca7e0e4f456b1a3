"""Exact speculation: a small network guesses the next tokens of one sequence, the large one reads all guesses in one call.

The loop chooses every token from the large network's own logits, so each method, rule and seed gives the same ids, to the bit, as
without guesses (Leviathan et al. 2023 keep the distribution only). A guess that the loop does not choose costs time, no more.
"""

import time
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from .decode import FastStepper
from .team import Pace

_OPTIONS = (0, 4)
"""Numbers of guesses that are compared. Four and the token before them fill one tile of a product: a call reads the weights once."""
_paces: WeakKeyDictionary[Any, Pace] = WeakKeyDictionary()
"""Per guessing network: how many guesses pay."""


class SpeculativeStepper:
    """A FastStepper's logits, for one sequence at a time several tokens to a call. Batches step as without guesses."""

    def __init__(self, network: Any, draft: Any, *, precision: str = "float32") -> None:
        self.large = FastStepper(network, precision=precision, ahead=max(_OPTIONS) + 1)
        self.small = FastStepper(draft, ahead=max(_OPTIONS) + 1)
        self.small.threads = 1  # the helpers wait for the large network
        self.banned = list(draft.config.banned_ids)
        self.pace = _paces.setdefault(draft, Pace(_OPTIONS))

    def start(self, prompts: Sequence[Sequence[int]], room: int, *, per_prompt: int) -> Tensor:
        self.alone = len(prompts) * per_prompt == 1
        self.ids, self.guesses, self.read, self.held = list(prompts[0]), list[int](), 0, 0
        self.room = min(room, self.small.network.config.max_seq_len) if self.alone else 0
        self.known = torch.empty(0)
        self.last: tuple[int, float, int] | None = None
        if len(self.ids) < self.room:
            self.small.start(prompts, self.room, per_prompt=1)
            self.read = len(self.ids)
        return self.large.start(prompts, room, per_prompt=per_prompt)

    def step(self, tokens: Tensor, rows: Tensor | None) -> Tensor:
        if not self.alone:
            return self.large.step(tokens, rows)
        token = int(tokens[0])
        self.ids.append(token)
        if self.guesses and self.guesses.pop(0) == token:
            self.known, self.read = self.known[1:], min(self.read + 1, self.held)
        else:
            self._read_ahead(token)
        return self.known[:1]

    def _read_ahead(self, token: int) -> None:
        """Guess what follows `token`, and compute the logits after it and after each guess."""
        if self.last is not None:
            option, seconds, before = self.last
            self.pace.record(option, seconds, len(self.ids) - before)
        option, begin = self.pace.choose(), time.perf_counter()
        self.guesses = self._guess(min(option, self.room - len(self.ids)))
        self.known = self.large.append([token, *self.guesses], len(self.ids) - 1)
        self.last = option, time.perf_counter() - begin, len(self.ids)

    def _guess(self, count: int) -> list[int]:
        """The small network's likeliest next tokens, `count` of them."""
        whole, self.held = list(self.ids), self.read
        while len(whole) < len(self.ids) + count:
            while self.held < len(whole):
                new = whole[self.held : self.held + self.small.ahead]
                logits = self.small.append(new, self.held)[-1]
                self.held += len(new)
            logits[self.banned] = -torch.inf
            whole.append(int(logits.argmax()))
        self.read = min(len(self.ids), self.held)
        return whole[len(self.ids) :]

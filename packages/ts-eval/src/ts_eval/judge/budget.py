"""What a run costs: an estimate before the first call, a token ledger with a budget while it runs. It makes no calls."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable
from dataclasses import astuple, dataclass

from ..schemas import JudgeConfig

__all__ = ["Estimate", "Ledger", "estimate", "together", "tokens_in", "tokens_of"]

_CHARACTERS_PER_TOKEN = 3.6
"""Low on purpose (simple English has about 4.3 in common tokenizers): an estimate should not fall short."""


def tokens_of(messages: list[dict[str, str]]) -> int:
    """An upper guess at the tokens of a request, with a few per message for the chat template."""
    return int(sum(len(m["content"]) for m in messages) / _CHARACTERS_PER_TOKEN) + 8 * len(messages)


def tokens_in(text: str) -> int:
    """An upper guess at the tokens of a text."""
    return math.ceil(len(text) / _CHARACTERS_PER_TOKEN)


@dataclass(frozen=True)
class Estimate:
    """What is still to be paid, retries left out."""

    calls: int
    cached: int
    prompt_tokens: int
    completion_tokens: int
    cost: float

    def sentence(self) -> str:
        """For people, before the first call."""
        money = f", about {self.cost:,.2f} at the prices given" if self.cost else ""
        stored = f"; {self.cached:,} answers are in the store already" if self.cached else ""
        return (
            f"{self.calls:,} calls to make, at most about {self.prompt_tokens:,} prompt and "
            f"{self.completion_tokens:,} completion tokens{money}{stored}"
        )


def estimate(config: JudgeConfig, sizes: list[int], cached: int) -> Estimate:
    """`sizes` are the prompt tokens of the calls still to be made."""
    prompt, completion = sum(sizes), config.max_tokens * len(sizes)
    return Estimate(len(sizes), cached, prompt, completion, cost(config, prompt, completion))


def cost(config: JudgeConfig, prompt_tokens: int, completion_tokens: int) -> float:
    """Money for so many tokens at the prices of the settings."""
    return (prompt_tokens * config.price_in + completion_tokens * config.price_out) / 1e6


def together(estimates: Iterable[Estimate]) -> Estimate:
    """Several runs as one."""
    return Estimate(*(sum(column) for column in zip(*map(astuple, estimates), strict=True)))


class Ledger:
    """Tokens spent and reserved. A call starts only if it fits under the budget with everything in flight."""

    def __init__(self, budget: int | None, spent: int = 0) -> None:
        self.budget, self.spent = budget, spent
        self._reserved = 0
        self._lock = threading.Lock()

    def reserve(self, tokens: int) -> bool:
        """Set tokens aside for a call; False when the budget does not bear it."""
        with self._lock:
            if self.budget is not None and self.spent + self._reserved + tokens > self.budget:
                return False
            self._reserved += tokens
            return True

    def settle(self, reserved: int, used: int) -> None:
        """A call has ended: what was reserved is free again, what was used is spent."""
        with self._lock:
            self._reserved -= reserved
            self.spent += used

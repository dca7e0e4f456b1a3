"""Cost of a run: an estimate before the first call, and the token budget while it runs."""

import math
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import astuple, dataclass, replace

from ..schemas import JudgeConfig
from ..stats import Z_LEVEL, Z_POWER

SD_WITHIN = 0.8
"""Standard deviation of the mean over categories between stories of one model: 0.5 to 0.9 in GPT-4o's ratings of seven models."""
FEWEST_PAIRS = 4
"""Pairs of which a side must win all to differ from one half: the first number above z²."""
_CHARACTERS_PER_TOKEN = 3.6
"""Simple English has about 4.3 in common tokenizers; a lower value keeps estimates above the true count."""


def tokens_of(messages: list[dict[str, str]]) -> int:
    """Upper estimate of a request's tokens, with a few per message for the chat template."""
    return int(sum(len(m["content"]) for m in messages) / _CHARACTERS_PER_TOKEN) + 8 * len(messages)


def tokens_in(text: str) -> int:
    """Upper estimate of a text's tokens."""
    return math.ceil(len(text) / _CHARACTERS_PER_TOKEN)


@dataclass(frozen=True)
class Estimate:
    """Calls still to be made and their cost, without retries."""

    calls: int
    cached: int
    prompt_tokens: int
    completion_tokens: int
    cost: float
    resolves: float | None = None
    """Smallest difference of two sources' mean ratings that the stories resolve, in points; see `resolvable`."""
    win_rate: float | None = None
    """Of a comparison: smallest win rate above one half that the pairs tell from it; None where they tell none."""
    pairs: int | None = None
    """Of a comparison."""

    def sentence(self) -> str:
        """One sentence for the terminal."""
        price = f", about {money(self.cost)} at the prices given" if self.cost else ""
        stored = (
            f"; {self.cached:,} {'answer is' if self.cached == 1 else 'answers are'} in the store already" if self.cached else ""
        )
        fine = (
            "" if self.resolves is None else f"; differences of about {self.resolves:.2f} points between sources can be resolved"
        )
        if self.pairs is not None:
            fine = f"; {_told_apart(self.win_rate)}"
        tokens = f", at most about {self.prompt_tokens:,} prompt and {self.completion_tokens:,} completion tokens"
        return f"{count_calls(self.calls)} to make{tokens if self.completion_tokens else ''}{price}{stored}{fine}"


def count_calls(number: int) -> str:
    """`1 call`, `2 calls`."""
    return f"{number:,} call{'' if number == 1 else 's'}"


def money(amount: float) -> str:
    """An amount with two decimals; below 1, with two digits."""
    return f"{amount:,.2f}" if amount >= 1 else f"{amount:.2g}"


def estimate(config: JudgeConfig, sizes: list[int], cached: int) -> Estimate:
    """`sizes`: prompt tokens of each call still to be made. `cached`: answers in the store."""
    prompt, completion = sum(sizes), config.max_tokens * len(sizes)
    return Estimate(len(sizes), cached, prompt, completion, cost(config, prompt, completion))


def cost(config: JudgeConfig, prompt_tokens: int, completion_tokens: int) -> float:
    """Price of the tokens, in the currency of `price_in` and `price_out`."""
    return (prompt_tokens * config.price_in + completion_tokens * config.price_out) / 1e6


def together(estimates: Iterable[Estimate]) -> Estimate:
    """The sum of several runs' estimates."""
    return Estimate(*(sum(column) for column in zip(*(astuple(e)[:5] for e in estimates), strict=True)))


def resolvable(stories: Iterable[tuple[str | None, bool]]) -> float | None:
    """The difference of two means that as many stories as the smallest source has can resolve: 5 % level, 80 % power.

    `stories`: (source, whether it is rated) of each; without a second source, half of the stories against the other half. From the standard
    deviation of the mean rating within a model, so before any call. None for fewer than two stories.
    """
    counts = Counter(source for source, rated in stories if rated)
    n = min(counts.values()) if len(counts) > 1 else counts.total() // 2
    return (Z_LEVEL + Z_POWER) * SD_WITHIN * (2 / n) ** 0.5 if n else None


def told_apart(expected: Estimate, pairs: int) -> Estimate:
    """The estimate of a comparison of `pairs` pairs: 5 % level, 80 % power, no ties (which only narrow the intervals).

    The win rate solves √pairs (rate - ½) = z_level ½ + z_power √(rate (1 - rate)).
    """
    spread = Z_POWER * max(0.0, pairs + Z_POWER**2 - Z_LEVEL**2) ** 0.5
    least = 0.5 + 0.5 * (Z_LEVEL * pairs**0.5 + spread) / (pairs + Z_POWER**2)
    return replace(expected, resolves=None, win_rate=least if pairs >= FEWEST_PAIRS else None, pairs=pairs)


def _told_apart(least: float | None) -> str:
    """What pairs tell apart whose smallest win rate above one half is `least`."""
    if least is None:
        return f"so few pairs tell nothing apart, not even if one side wins them all; at least {FEWEST_PAIRS} are needed"
    if least >= 0.995:
        return "so few pairs tell a win rate from 50% only if one side wins them all"
    return f"win rates of {least:.0%} and more, or {1 - least:.0%} and less, can be told from 50%"


class Budget:
    """Tokens spent and reserved. A call starts only if it fits below the limit together with all calls in flight."""

    def __init__(self, limit: int | None, spent: int = 0) -> None:
        self.limit, self.spent = limit, spent
        self._reserved = 0
        self._lock = threading.Lock()

    def reserve(self, tokens: int) -> bool:
        """Reserve tokens for a call; False where the limit does not allow it."""
        with self._lock:
            if self.limit is not None and self.spent + self._reserved + tokens > self.limit:
                return False
            self._reserved += tokens
            return True

    def settle(self, reserved: int, used: int) -> None:
        """Release a call's reservation and count the tokens used."""
        with self._lock:
            self._reserved -= reserved
            self.spent += used

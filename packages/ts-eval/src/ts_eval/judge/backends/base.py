"""Interface of the back ends: requests in, replies or failures out, and the scores in a reply.

A back end counts, stores and retries nothing.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from .parse import read_reply

if TYPE_CHECKING:
    from ...schemas import Category, Endpoint, JudgeConfig, Scores

_MAX_CHARACTERS = 200_000
"""A longer reply is a fault. Six ratings need 100, long reasoning 50,000."""
_MAX_TOKENS = 10**7
"""A larger token count of one call is invalid."""
_LONE = re.compile("[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]")


@dataclass(frozen=True)
class Request:
    """One call: chat messages, and the story alone for back ends without a prompt."""

    messages: list[dict[str, str]]
    story: str
    key: str
    """Sent as `Idempotency-Key`: a server that supports it does not charge a repeated call."""
    seed: int
    schema: dict[str, object] | None = None


@dataclass(frozen=True)
class Token:
    """A token of a reply with its log-probability and those of the other candidates."""

    text: str
    logprob: float
    others: dict[str, float]


@dataclass(frozen=True)
class Reply:
    """A reply. Construction makes every field valid, whatever a server, a page or an old store contains."""

    text: str
    prompt_tokens: int | None = None
    """The server's count; None where it sends none."""
    completion_tokens: int | None = None
    fingerprint: str | None = None
    tokens: list[Token] | None = field(default=None)
    fault: str | None = None
    """Why the reply is not whole (cut, refused, wrong shape). Such a reply never becomes a rating."""
    refused: bool = False
    """The judge refuses to answer; the call is not repeated."""
    estimated: bool = False
    """The token counts are estimates."""

    def __post_init__(self) -> None:
        text: Any = self.text
        fault = self.fault
        if not isinstance(text, str):  # from a store's column or a page's property
            text, fault = "", fault or "the text of the reply is not a string"
        if len(text) > _MAX_CHARACTERS:
            text, fault = text[:200], fault or f"it has {len(text):,} characters"
        fingerprint = self.fingerprint[:200] if isinstance(self.fingerprint, str) else None
        self._set("text", without_surrogates(text))
        self._set("fault", None if fault is None else without_surrogates(str(fault))[:300])
        self._set("fingerprint", None if fingerprint is None else without_surrogates(fingerprint))
        self._set("prompt_tokens", _count(self.prompt_tokens))
        self._set("completion_tokens", _count(self.completion_tokens))
        self._set("refused", bool(self.refused))
        self._set("estimated", bool(self.estimated))

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    @property
    def total(self) -> int:
        """Prompt and completion tokens; 0 where neither is known."""
        return (self.prompt_tokens or 0) + (self.completion_tokens or 0)


def _count(value: Any) -> int | None:
    """A token count; None for anything else (negative, fractional, text, too large)."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(value, float) and not (math.isfinite(value) and value.is_integer()):
        return None
    return int(value) if 0 <= value <= _MAX_TOKENS else None


def without_surrogates(text: str) -> str:
    """The text with surrogate pairs joined and each lone surrogate replaced by U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def ends_closed(text: str) -> bool:
    """Whether no digit follows the last brace, so that no number can be cut."""
    return not any(c.isdigit() for c in text[text.rfind("}") + 1 :])


def lone_surrogate(text: str) -> int | None:
    """Index of the first lone surrogate, or None."""
    found = _LONE.search(text)
    return None if found is None else found.start()


class BackendError(Exception):
    """Base of the failures that `ask` may raise."""


class TryAgainError(BackendError):
    """A temporary failure (5xx, time-out, no connection).

    `after` is the pause in seconds that the server asks for; `reached` is False where no server answered.
    """

    def __init__(self, message: str, after: float | None = None, *, reached: bool = True) -> None:
        super().__init__(message)
        self.after, self.reached = after, reached


class BusyError(TryAgainError):
    """The server takes no call now (429, 503). The endpoint rests; this does not count as a failure."""


class RefusedError(BackendError):
    """The server rejects this story (too long for its context, filtered)."""


class EndpointError(BackendError):
    """No call to this endpoint can succeed (wrong key, unknown model, no log-probabilities)."""


class Backend:
    """Base class. One instance per endpoint, used from several threads. A subclass defines `ask`."""

    needs_endpoint: ClassVar[bool] = False
    """Whether the settings must name a server."""
    prices_tokens: ClassVar[bool] = True
    """Whether calls use tokens, so that estimates, budget and price apply."""
    mode: str = "sampled"
    """`sampled`, `expected` or `estimated`: the kind of its ratings."""
    identity: str
    """What else replies depend on (a page, fitted weights); part of the key in the store, final after `check`."""
    label: str
    """The judge's name in ratings and summaries."""
    notes: list[str]
    """Sentences for the run's summary."""
    calibration_note: str | None = None
    """A sentence for every calibration report."""

    def __init__(self, config: JudgeConfig, endpoint: Endpoint) -> None:
        self.config, self.endpoint = config, endpoint
        self.identity = self.label = config.backend
        self.notes = []

    def check(self) -> None:
        """Check packages, keys and files before the first call, without paying; raise ConfigError."""

    def ask(self, request: Request) -> Reply:
        """One reply. Raises a `BackendError`."""
        raise NotImplementedError

    def read(self, reply: Reply) -> tuple[Scores, dict[Category, float] | None]:
        """The scores of a reply and, in mode `expected`, the lost probability mass. Raises UnparsedError."""
        return read_reply(reply, self.mode, self.config.max_lost_mass)

    def close(self) -> None:
        """Release connections and browsers."""

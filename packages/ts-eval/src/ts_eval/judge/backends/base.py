"""What a judge back end is: requests in, replies or failures out. It counts, stores and retries nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Protocol

__all__ = [
    "Backend",
    "BackendError",
    "BusyError",
    "EndpointError",
    "RefusedError",
    "Reply",
    "Request",
    "Token",
    "TryAgainError",
    "lone_surrogate",
    "without_surrogates",
]

_LONGEST = 200_000
"""Characters of a reply that are looked at; six ratings need 100, a long chain of thought 50,000."""
_MOST_TOKENS = 10**7
"""Tokens of one call; a larger count is none."""


@dataclass(frozen=True)
class Request:
    """One call: the messages for a chat, and the bare story for a back end that needs no prompt."""

    messages: list[dict[str, str]]
    story: str
    key: str
    """Sent as `Idempotency-Key`: a server that honours it answers a repeated call without charging again."""
    seed: int
    schema: dict[str, object] | None = None


@dataclass(frozen=True)
class Token:
    """A token of a reply: its text, its log-probability and those of the other candidates in its place."""

    text: str
    logprob: float
    others: dict[str, float]


@dataclass(frozen=True)
class Reply:
    """What came back. Construction makes every field valid, whatever a server, a page or an old store put into it."""

    text: str
    prompt_tokens: int | None = None
    """As the server counts them; None where it does not say."""
    completion_tokens: int | None = None
    fingerprint: str | None = None
    tokens: list[Token] | None = field(default=None)
    fault: str | None = None
    """Why this is no whole reply (cut, refused, of the wrong shape). A reply with a fault never becomes a rating."""
    refused: bool = False
    """The judge will not answer: asking again costs the same and brings the same."""
    estimated: bool = False
    """The token counts are estimates."""

    def __post_init__(self) -> None:
        text: Any = self.text
        fault = self.fault
        if not isinstance(text, str):  # a store's column, or a page's property
            text, fault = "", fault or "the text of the reply is no string"
        if len(text) > _LONGEST:
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
    """A token count, None for anything that is none (negative, fractional, text, absurd)."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(value, float) and not (math.isfinite(value) and value.is_integer()):
        return None
    return int(value) if 0 <= value <= _MOST_TOKENS else None


def without_surrogates(text: str) -> str:
    """The text with surrogate pairs joined and each lone surrogate as U+FFFD, so that it can be encoded."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def lone_surrogate(text: str) -> int | None:
    """Index of the first surrogate without its partner; None where there is none."""
    if text.isascii():
        return None
    for i, c in enumerate(text):
        if "\ud800" <= c <= "\udbff" and not "\udc00" <= text[i + 1 : i + 2] <= "\udfff":
            return i
        if "\udc00" <= c <= "\udfff" and not (i and "\ud800" <= text[i - 1] <= "\udbff"):
            return i
    return None


class BackendError(Exception):
    """Base of what a back end may raise; nothing else may come out of `ask`."""


class TryAgainError(BackendError):
    """A passing trouble (5xx, time-out, no connection); `after` is the pause in seconds that the server asks for.

    `reached` is False where no server answered at all.
    """

    def __init__(self, message: str, after: float | None = None, *, reached: bool = True) -> None:
        super().__init__(message)
        self.after, self.reached = after, reached


class BusyError(TryAgainError):
    """The server works but takes no call now (429, 503): the endpoint rests, and nothing has failed."""


class RefusedError(BackendError):
    """This story will not be answered (too long for the context, filtered), others may be."""


class EndpointError(BackendError):
    """No call to this endpoint can succeed (wrong key, unknown model, no log-probabilities)."""


class Backend(Protocol):
    """Made once per endpoint, used from several threads. `notes`, if there is one, goes into the run's summary."""

    mode: str
    """`sampled`, `expected` or `estimated`: what its replies are."""
    identity: str
    """What else its replies depend on (a page, a fitted model), for the key in the store; final after `check`."""

    def check(self) -> None:
        """Prove before the first call that packages, keys and files are there; raise ConfigError. It pays for nothing."""

    def ask(self, request: Request) -> Reply:
        """One reply, or a `BackendError`."""

    def close(self) -> None:
        """Let go of connections and browsers."""

"""What a judge back end is: requests in, replies or failures out. It counts, stores and retries nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

__all__ = ["Backend", "BackendError", "EndpointError", "RefusedError", "Reply", "Request", "Token", "TryAgainError"]


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
    """What came back, as it came."""

    text: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    fingerprint: str | None = None
    tokens: list[Token] | None = field(default=None)


class BackendError(Exception):
    """Base of what a back end may raise; nothing else may come out of `ask`."""


class TryAgainError(BackendError):
    """A passing trouble (429, 5xx, time-out, no connection); `after` is the pause in seconds that the server asks for."""

    def __init__(self, message: str, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


class RefusedError(BackendError):
    """This story will not be answered (too long for the context, filtered), others may be."""


class EndpointError(BackendError):
    """No call to this endpoint can succeed (wrong key, unknown model, no log-probabilities)."""


class Backend(Protocol):
    """Made once per endpoint, used from several threads."""

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

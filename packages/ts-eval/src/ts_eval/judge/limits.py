"""How fast an endpoint may be asked: requests and tokens per minute, and the rest that a server orders."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

__all__ = ["Limits"]


class Limits:
    """Calls evenly spaced under both rates; `None` is no limit. Used by all threads of one endpoint."""

    def __init__(self, requests_per_minute: float | None, tokens_per_minute: float | None) -> None:
        self._requests, self._tokens = requests_per_minute, tokens_per_minute
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self, tokens: int, stopped: Callable[[], bool]) -> None:
        """Return when a call of so many tokens may start, or when `stopped` says so."""
        with self._lock:
            start = max(self._next, time.monotonic())
            self._next = start + self._spacing(tokens)
        while (left := start - time.monotonic()) > 0 and not stopped():
            time.sleep(min(left, 0.2))

    def rest(self, seconds: float) -> None:
        """No call before so many seconds have passed."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)

    def _spacing(self, tokens: int) -> float:
        by_requests = 60 / self._requests if self._requests else 0.0
        by_tokens = 60 * tokens / self._tokens if self._tokens else 0.0
        return max(by_requests, by_tokens)

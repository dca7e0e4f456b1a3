"""How fast an endpoint may be asked: requests and tokens per minute, calls in flight, and the rest that a busy server orders."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

__all__ = ["Limits", "Window"]

_LONGEST_REST = 60.0


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

    def _spacing(self, tokens: int) -> float:
        by_requests = 60 / self._requests if self._requests else 0.0
        by_tokens = 60 * tokens / self._tokens if self._tokens else 0.0
        return max(by_requests, by_tokens)


class Window:
    """Calls in flight of one endpoint: one more for each round of answers, half as many after "too many" (AIMD).

    A burst of refusals counts once: those of calls that had started before the rest was over say nothing new.
    """

    def __init__(self, most: int) -> None:
        self._most, self.limit = most, float(most)
        self._in_flight = 0
        self._rests_until = self._counted_until = 0.0
        self.rests = 0
        """Rests since the last answer."""
        self._since: float | None = None
        self._changed = threading.Condition()

    def enter(self, stopped: Callable[[], bool]) -> bool:
        """Wait for a place; False when `stopped` says so."""
        with self._changed:
            while not stopped():
                wait = self._rests_until - time.monotonic()
                if wait <= 0 and self._in_flight < int(self.limit):
                    self._in_flight += 1
                    return True
                self._changed.wait(min(wait, 0.1) if wait > 0 else 0.1)
        return False

    def wait_out(self, stopped: Callable[[], bool]) -> float:
        """Wait, with a place taken, until no rest is ordered; the time at which the call starts."""
        with self._changed:
            while (wait := self._rests_until - time.monotonic()) > 0 and not stopped():
                self._changed.wait(min(wait, 0.1))
        return time.monotonic()

    def leave(self) -> None:
        """Give the place back."""
        with self._changed:
            self._in_flight -= 1
            self._changed.notify()

    def answered(self) -> None:
        """The server has answered: a little more may be in flight."""
        with self._changed:
            self.rests, self._since = 0, None
            self.limit = min(float(self._most), self.limit + 1 / self.limit)

    def rest(self, started: float, wanted: float | None, pause: Callable[[int], float]) -> None:
        """The server was too busy for a call that had `started` then, and asked for `wanted` seconds of rest (None: it did not say).

        `pause(n)` is the n-th pause in a row where the server asks for none. It grows to `pause(3)` and no further: a busy server
        is asked one call at a time by then. Where the server asks for less than `pause(1)`, it gets that from the second time on.
        """
        with self._changed:
            now = time.monotonic()
            if started >= self._counted_until:
                self._since = now if self._since is None else self._since
                self.rests += 1
                self.limit = max(1.0, self.limit / 2)
                own = pause(min(self.rests, 3)) if wanted is None else pause(1) if self.rests > 1 else 0.0
                self._rests_until = self._counted_until = max(
                    self._rests_until, now + min(_LONGEST_REST, max(own, wanted or 0.0))
                )
            elif wanted is not None:
                self._rests_until = max(self._rests_until, now + min(_LONGEST_REST, wanted))

    def busy_for(self) -> float:
        """Seconds since the first rest after the last answer."""
        return 0.0 if self._since is None else time.monotonic() - self._since

"""Rate limits of an endpoint: requests and tokens per minute, calls in flight, rests that a busy server asks for."""

import threading
import time
from collections.abc import Callable

_MAX_REST = 60.0
"""Seconds."""


class Clock:
    """Time as the run sees it. Tests replace `now`, or set `speed` to make pauses shorter."""

    speed = 1.0

    def now(self) -> float:
        """Seconds, from any origin."""
        return time.monotonic() * self.speed

    def wait(self, seconds: float, stopped: Callable[[], bool]) -> None:
        """Sleep, but return when `stopped` says so."""
        end = self.now() + seconds
        while (left := end - self.now()) > 0 and not stopped():
            time.sleep(min(left / self.speed, 0.2))

    def wait_for(self, condition: threading.Condition, seconds: float) -> None:
        """Wait for a change or `seconds`."""
        condition.wait(seconds / self.speed)


CLOCK = Clock()


class RateLimit:
    """Spaces calls evenly under both rates; None is no limit. Shared by all threads of one endpoint."""

    def __init__(self, requests_per_minute: float | None, tokens_per_minute: float | None) -> None:
        self._requests, self._tokens = requests_per_minute, tokens_per_minute
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self, tokens: int, stopped: Callable[[], bool]) -> None:
        """Return when a call of `tokens` may start, or when `stopped` says so."""
        with self._lock:
            start = max(self._next, CLOCK.now())
            by_requests = 60 / self._requests if self._requests else 0.0
            by_tokens = 60 * tokens / self._tokens if self._tokens else 0.0
            self._next = start + max(by_requests, by_tokens)
        CLOCK.wait(start - CLOCK.now(), stopped)


class Window:
    """Limit of calls in flight of one endpoint: additive increase with answers, halved by "too many requests" (AIMD).

    Refusals of calls that started before the current rest ended count with the refusal that caused it.
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
        """Take a place in the window; False when `stopped` says so."""
        with self._changed:
            while not stopped():
                wait = self._rests_until - CLOCK.now()
                if wait <= 0 and self._in_flight < int(self.limit):
                    self._in_flight += 1
                    return True
                CLOCK.wait_for(self._changed, min(wait, 0.1) if wait > 0 else 0.1)
        return False

    def resting(self) -> bool:
        """Whether a rest has begun since the place was taken: another call was refused meanwhile."""
        return self._rests_until > CLOCK.now()

    def leave(self) -> None:
        """Free the place."""
        with self._changed:
            self._in_flight -= 1
            self._changed.notify()

    def answered(self) -> None:
        """Widen the window after an answer."""
        with self._changed:
            self.rests, self._since = 0, None
            self.limit = min(float(self._most), self.limit + 1 / self.limit)

    def rest(self, started: float, wanted: float | None, pause: Callable[[int], float]) -> None:
        """Start a rest. The server was too busy for a call that began at `started` and asked for `wanted` seconds (None: for none).

        Without a wish of the server the n-th rest in a row takes `pause(n)`, at most `pause(3)`: by then one call is in flight.
        From the second rest on, a wish below `pause(1)` is raised to it.
        """
        with self._changed:
            now = CLOCK.now()
            if started >= self._counted_until:
                self._since = now if self._since is None else self._since
                self.rests += 1
                self.limit = max(1.0, self.limit / 2)
                own = pause(min(self.rests, 3)) if wanted is None else pause(1) if self.rests > 1 else 0.0
                self._rests_until = self._counted_until = max(self._rests_until, now + min(_MAX_REST, max(own, wanted or 0.0)))
            elif wanted is not None:
                self._rests_until = max(self._rests_until, now + min(_MAX_REST, wanted))

    def busy_for(self) -> float:
        """Seconds since the first rest after the last answer."""
        return 0.0 if self._since is None else CLOCK.now() - self._since

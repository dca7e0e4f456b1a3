"""The threads that generate together: wake helpers, and choose by measurement how many threads to use.

A helper looks for work for about a millisecond, then sleeps until the next token. It never holds the leader up (`kernels/decode.py`).
On Linux it runs at a lower priority than the leader, so that on a busy machine it uses only what is left.
"""

import os
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np

from .kernels.arrays import CLAIM_BITS, CLOSED, DONE, LAST, LAYER_BITS, TICKET, WAIT, aligned

_NICE = 5
"""How much lower the priority of a helper is."""
_PATIENCE = 1e-3
"""Seconds that a helper looks for work before it sleeps."""
_READ, _COUNTED = 8e9, 40e9
"""Bytes and operations per second of a slow thread: what a helper has not computed at this speed, the leader computes itself."""
_LEAST_WAIT = 3e-6


def usable_threads(wanted: int) -> int:
    """`wanted` threads, or as many as this process has processors."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(wanted, allowed))


class Team:
    """The shared words of one generation, and the helpers that look at them."""

    def __init__(self, threads: int, items: int, help_forward: Callable[..., None], looks: float) -> None:
        self.words = aligned((DONE + items,), np.int64)
        self.words[TICKET] = CLOSED << (LAYER_BITS + CLAIM_BITS)
        self._help, self._looks = help_forward, looks
        self._helpers: list[Future[None] | None] = [None] * (threads - 1)
        self._process = os.getpid()

    def set_waits(self, seconds: dict[int, float]) -> None:
        """How long an item of each kind of phase should take."""
        for kind, value in seconds.items():
            self.words[WAIT + kind] = int(max(value, _LEAST_WAIT) * self._looks)

    def wake(self, *arguments: Any) -> None:
        """Start each helper that sleeps, with help_forward(*arguments, words, its number, patience)."""
        if self._process != os.getpid():  # forked: the parent's helpers are not here, and may have held a lock of their futures
            self._helpers, self._process = [None] * len(self._helpers), os.getpid()
        for number, helper in enumerate(self._helpers):
            if helper is None or helper.done():
                self._helpers[number] = _pool(len(self._helpers)).submit(
                    self._help, *arguments, self.words, number + 1, int(_PATIENCE * self._looks)
                )

    def settle(self) -> None:
        """Wait until no helper can still store keys and values: before a row's place is given to another row."""
        serial, items, claims = (int(word) for word in self.words[LAST : LAST + 3])
        claimed = self.words[DONE + items - claims : DONE + items]
        while (claimed >> 8 != serial).any() and self._process == os.getpid() and any(h and not h.done() for h in self._helpers):
            time.sleep(0)


def item_seconds(read: float, counted: float = 0) -> float:
    """How long an item that reads so many bytes and computes so many operations should take at most."""
    return read / _READ + counted / _COUNTED


@cache
def _pool(helpers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(helpers, thread_name_prefix="ts-models-helper", initializer=_lower_priority)


def _lower_priority() -> None:
    """Linux gives each thread a priority of its own; elsewhere the call would change the whole process."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + _NICE)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)


class Pace:
    """Chooses an option (a number of threads, or of guesses) by the seconds that calls took: it compares, keeps the best for a
    while, compares again."""

    WINDOW, ROUNDS, FIRST_HOLD, LONGEST_HOLD = 5, 3, 200, 5000
    """Calls of a window (its first does not count: helpers wake), most windows of each option, calls between two comparisons."""
    _CLEAR = 1.2
    """A difference that ends a comparison early."""
    _LONG = 0.02
    """Seconds that the counted calls of each option take at least by then: shorter ones may all be disturbed by one thing."""

    def __init__(self, options: Iterable[int]) -> None:
        self.options = sorted(options, reverse=True)
        """The last is taken unless another is 2 % faster."""
        self.best = self.options[0]
        self._hold = self.FIRST_HOLD
        self._begin()

    def _begin(self) -> None:
        self._calls, self._left = 0, 0
        self._seconds: dict[int, list[float]] = {option: [] for option in self.options}
        self._tokens = dict.fromkeys(self.options, 0)
        self._elapsed = dict.fromkeys(self.options, 0.0)

    def choose(self) -> int:
        """The option of the next call."""
        if len(self.options) == 1 or self._left:
            return self.best
        return self.options[self._calls // self.WINDOW % len(self.options)]

    def record(self, option: int, seconds: float, tokens: int = 1, *, rows: int = 1) -> None:
        """What a call with this option took for each of its rows, and how many tokens it brought to each."""
        if len(self.options) == 1:
            return
        if self._left:
            self._left -= 1
            if not self._left:
                self._begin()
            return
        if self._calls % self.WINDOW:
            self._seconds[option].append(seconds)
            self._tokens[option] += tokens
            self._elapsed[option] += seconds * rows
        self._calls += 1
        rounds, begun = divmod(self._calls, self.WINDOW * len(self.options))
        if not begun and (rounds == self.ROUNDS or self._is_clear()):
            self._decide()

    def _is_clear(self) -> bool:
        """Whether every call of one option took less than every call of each other, with a margin; a call brought one token."""
        if any(self._tokens[option] != len(values) or not values for option, values in self._seconds.items()):
            return False
        if min(self._elapsed.values()) < self._LONG:
            return False
        ranges = sorted((max(values), min(values)) for values in self._seconds.values())
        return all(self._CLEAR * ranges[0][0] < least for _, least in ranges[1:])

    def _decide(self) -> None:
        cost = {
            option: statistics.median(values) * len(values) / self._tokens[option]
            for option, values in self._seconds.items()
            if values
        }
        best = min(cost, key=lambda option: cost[option] * (1.0 if option == self.options[-1] else 1.02))
        self._hold = min(2 * self._hold, self.LONGEST_HOLD) if best == self.best else self.FIRST_HOLD
        self.best, self._left = best, self._hold


@cache
def pace_of(most: int, size: int, precision: str, rows: int) -> Pace:
    """The Pace of up to `most` threads for networks of that size and a class of batches. All generations of a process share it."""
    return Pace({1, *(2**power for power in range(1, most.bit_length()) if 2**power <= most), most})


@cache
def looks_per_second(spin: Callable[..., None]) -> float:
    """How often a thread looks at a word in a second: measured once, in about a millisecond."""
    words, count = aligned((DONE,), np.int64), 10_000
    spin(words, 1)
    best = float("inf")
    for _ in range(3):
        begin = time.perf_counter()
        spin(words, count)
        best = min(best, time.perf_counter() - begin)
    return count / best

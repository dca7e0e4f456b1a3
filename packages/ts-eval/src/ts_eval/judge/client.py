"""Runs the calls: stories x repeats over the endpoints, each reply into the store as it comes. It computes no statistics.

One thread per allowed call. A lane is an endpoint with its limits; lanes draw jobs from one pool, so that a lane that dies
leaves its jobs to the others.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from ..schemas import Endpoint, JudgeConfig
from .backends.base import Backend, EndpointError, RefusedError, Reply, Request, TryAgainError
from .fence import new_nonce
from .ledger import Ledger, tokens_of
from .limits import Limits

__all__ = ["Job", "Lane", "run_jobs"]

_MAX_TROUBLE = 12
"""Failed calls after which a story is left unrated for this run, so that one poisonous request cannot go round for ever."""


@dataclass
class Job:
    """One rating to be got. `keys[i]` is its place in the store when lane i answers."""

    story: int
    text: str
    repeat: int
    keys: list[str]
    anchor: str | None = None
    attempts: int = 0
    trouble: int = 0
    failure: str | None = None
    """Why it stays unrated, where the store does not say it."""
    done: bool = False


@dataclass
class Lane:
    """An endpoint at work."""

    index: int
    endpoint: Endpoint
    backend: Backend
    limits: Limits = field(init=False)
    failures: int = 0
    dead: str | None = None

    def __post_init__(self) -> None:
        self.limits = Limits(self.endpoint.requests_per_minute, self.endpoint.tokens_per_minute)


class _Pool:
    """Jobs waiting and in flight, shared by the threads."""

    def __init__(self, jobs: list[Job]) -> None:
        self.waiting, self.in_flight = deque(jobs), 0
        self.changed = threading.Condition()
        self.error: BaseException | None = None
        self.stopped = False

    def take(self, lane: Lane) -> Job | None:
        """A job for the lane; waits while others may still give one back. None: nothing left to do here."""
        with self.changed:
            while not self.waiting and self.in_flight and not self.stopped and lane.dead is None:
                self.changed.wait(0.2)
            if self.stopped or lane.dead is not None or not self.waiting:
                return None
            self.in_flight += 1
            return self.waiting.popleft()

    def give(self, job: Job, *, first: bool = False) -> None:
        """End of a turn: an unfinished job goes back."""
        with self.changed:
            self.in_flight -= 1
            if not job.done:
                (self.waiting.appendleft if first else self.waiting.append)(job)
            self.changed.notify_all()

    def stop(self, error: BaseException | None = None) -> None:
        with self.changed:
            self.stopped, self.error = True, self.error or error
            self.changed.notify_all()


def run_jobs(
    jobs: list[Job],
    lanes: list[Lane],
    config: JudgeConfig,
    ledger: Ledger,
    make: Callable[[Job, Lane, str], Request],
    keep: Callable[[Job, Lane, Request, str, Reply], bool],
    report: Callable[[int], None],
) -> None:
    """Work until every job is done or no lane is left. `keep` stores a reply and says whether it settles the job.

    What cannot be rated leaves with `job.failure`. An unexpected exception, Ctrl-C included, stops the run after the
    calls in flight have been stored, and comes out here.
    """
    pool = _Pool(jobs)
    worker = _Worker(pool, config, ledger, make, keep, report)
    threads = [
        threading.Thread(target=worker.work, args=(lane,), daemon=True)
        for lane in lanes
        for _ in range(lane.endpoint.concurrency)
    ]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            while thread.is_alive():
                thread.join(0.5)
    except KeyboardInterrupt:
        pool.stop()
        for thread in threads:
            thread.join(config.timeout)
        raise
    if pool.error is not None:
        raise pool.error
    reasons = "; ".join(f"{lane.endpoint.base_url}: {lane.dead}" for lane in lanes if lane.dead)
    for job in pool.waiting:
        job.failure = job.failure or f"no endpoint left ({reasons})"


@dataclass
class _Worker:
    pool: _Pool
    config: JudgeConfig
    ledger: Ledger
    make: Callable[[Job, Lane, str], Request]
    keep: Callable[[Job, Lane, Request, str, Reply], bool]
    report: Callable[[int], None]
    finished: int = 0

    def work(self, lane: Lane) -> None:
        """A thread's life."""
        try:
            while (job := self.pool.take(lane)) is not None:
                try:
                    pause = self.turn(job, lane)
                finally:
                    self.pool.give(job, first=job.attempts > 0)
                if job.done:
                    with self.pool.changed:
                        self.finished += 1
                    self.report(self.finished)
                self.sleep(pause)
        except BaseException as problem:
            self.pool.stop(problem)

    def turn(self, job: Job, lane: Lane) -> float:
        """One call for one job; returns how long this thread should rest."""
        nonce = new_nonce()
        request = self.make(job, lane, nonce)
        size = tokens_of(request.messages) + self.config.max_tokens
        if not self.ledger.reserve(size):
            return self.over_budget(job)
        used = 0
        try:
            lane.limits.wait(size, lambda: self.pool.stopped or lane.dead is not None)
            if self.pool.stopped or lane.dead is not None:
                return 0
            reply = lane.backend.ask(request)
            used = (reply.prompt_tokens + reply.completion_tokens) or size
            lane.failures = 0
            job.done = self.keep(job, lane, request, nonce, reply)
            return 0
        except RefusedError as problem:
            job.failure, job.done = f"refused by the server ({problem})", True
            return 0
        except EndpointError as problem:
            lane.dead = str(problem)
            return 0
        except TryAgainError as problem:
            return self.trouble(job, lane, problem)
        finally:
            self.ledger.settle(size, used)

    def trouble(self, job: Job, lane: Lane, problem: TryAgainError) -> float:
        """Count a passing failure, give up a lane or a story that has had too many."""
        lane.failures += 1
        job.trouble += 1
        if lane.failures >= self.config.dead_after:
            lane.dead = f"{lane.failures} failures in a row, the last: {problem}"
        elif job.trouble >= _MAX_TROUBLE:
            job.failure, job.done = f"{job.trouble} calls failed, the last: {problem}", True
        pause = min(60.0, self.config.backoff * 2.0 ** (lane.failures - 1)) * random.uniform(0.5, 1.0)
        if problem.after is not None:
            lane.limits.rest(problem.after)
        return max(pause, problem.after or 0.0)

    def over_budget(self, job: Job) -> float:
        """Wait for calls in flight to free what they reserved; alone, there is no budget left."""
        with self.pool.changed:
            if self.pool.in_flight > 1:
                return 0.05
        job.failure, job.done = f"the budget of {self.ledger.budget:,} tokens is used up", True
        return 0

    def sleep(self, seconds: float) -> None:
        """Rest, but wake up when the run stops."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not self.pool.stopped:
            time.sleep(min(left, 0.2))

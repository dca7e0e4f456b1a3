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
from dataclasses import dataclass, field, replace

from ..errors import TsEvalError
from ..schemas import Endpoint, JudgeConfig
from .backends.base import Backend, BackendError, BusyError, EndpointError, RefusedError, Reply, Request, TryAgainError
from .budget import Ledger, tokens_in, tokens_of
from .guards.delimiters import new_nonce
from .limits import Limits, Window

__all__ = ["GIVEN_UP", "NO_ENDPOINT", "Job", "Lane", "run_jobs"]

NO_ENDPOINT = "no endpoint left"
"""Begins the reason of stories that were not asked because every endpoint had been given up."""
GIVEN_UP = "was given up"
"""Stands in the note about each endpoint for which that is so."""
_MAX_TROUBLE = 12
"""Failed calls after which a story is left unrated for this run, so that one poisonous request cannot go round for ever."""
_LEAST_RESTS, _MOST_RESTS = 5, 40
_LEAST_PATIENCE = 30.0
"""A busy endpoint is given up after so many rests in a row, without an answer between: 5 that take longer than `patience`, or 40 that
take longer than this."""


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
    window: Window = field(init=False)
    failures: int = 0
    """Failures in a row; those of calls that start before the pause after one is over count with it."""
    failed_at: float = 0.0
    heard: bool = False
    """Whether a server has answered anything at all."""
    answered: bool = False
    """Whether there was a reply."""
    dead: str | None = None

    def __post_init__(self) -> None:
        self.limits = Limits(self.endpoint.requests_per_minute, self.endpoint.tokens_per_minute)
        self.window = Window(self.endpoint.concurrency)


class _Pool:
    """Jobs waiting and in flight, shared by the threads."""

    def __init__(self, jobs: list[Job]) -> None:
        self.waiting, self.in_flight = deque(jobs), 0
        self.changed = threading.Condition()
        self.error: BaseException | None = None
        self.stopped = False

    def over(self) -> bool:
        """Whether no job waits or may still be given back."""
        with self.changed:
            return self.stopped or not (self.waiting or self.in_flight)

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
        job.failure = job.failure or f"{NO_ENDPOINT} ({reasons})"


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
            while lane.window.enter(lambda: self.pool.over() or lane.dead is not None):
                try:
                    job = self.pool.take(lane)
                    pause = self.one(job, lane) if job is not None else 0.0
                finally:
                    lane.window.leave()
                if job is None:
                    return
                self.sleep(pause)
        except BaseException as problem:
            self.pool.stop(problem)

    def one(self, job: Job, lane: Lane) -> float:
        """A turn for a job that was taken; the job goes back unless it is done."""
        try:
            pause = self.turn(job, lane)
        finally:
            self.pool.give(job, first=job.attempts > 0)
        if job.done:
            with self.pool.changed:
                self.finished += 1
            self.report(self.finished)
        return pause

    def turn(self, job: Job, lane: Lane) -> float:
        """One call for one job; returns how long this thread should rest."""
        nonce = new_nonce()
        request = self.make(job, lane, nonce)
        size = tokens_of(request.messages) + self.config.max_tokens
        if not self.ledger.reserve(size):
            return self.over_budget(job)
        used, started = 0, 0.0
        try:
            lane.limits.wait(size, lambda: self.pool.stopped or lane.dead is not None)
            started = lane.window.wait_out(lambda: self.pool.stopped or lane.dead is not None)
            if self.pool.stopped or lane.dead is not None:
                return 0
            reply = _counted(_ask(lane.backend, request), lane.backend, request)
            used = reply.total
            lane.failures, lane.heard, lane.answered = 0, True, True
            lane.window.answered()
            job.done = self.keep(job, lane, request, nonce, reply)
            return 0
        except RefusedError as problem:
            lane.heard = True
            job.failure, job.done = f"refused by the server ({problem})", True
            return 0
        except EndpointError as problem:
            if not lane.answered:
                lane.dead = str(problem)
                return 0
            return self.trouble(job, lane, TryAgainError(str(problem)), started)  # it worked before: one bad call among good ones
        except BusyError as problem:
            return self.busy(lane, problem, started)
        except TryAgainError as problem:
            return self.trouble(job, lane, problem, started)
        finally:
            self.ledger.settle(size, used)

    def trouble(self, job: Job, lane: Lane, problem: TryAgainError, started: float) -> float:
        """Count a passing failure, give up a lane or a story that has had too many."""
        job.trouble += 1
        with self.pool.changed:
            lane.heard = lane.heard or problem.reached
            if started >= lane.failed_at or not lane.heard:
                lane.failures += 1
                lane.failed_at = time.monotonic() + self.pause(lane.failures)
            failures = lane.failures
        if failures >= self.config.dead_after:
            lane.dead = f"{failures} failures in a row, the last: {problem}"
        elif job.trouble >= _MAX_TROUBLE:
            job.failure, job.done = f"{job.trouble} calls failed, the last: {problem}", True
        if problem.after is not None:
            lane.window.rest(started, problem.after, self.pause)
        return max(self.pause(failures), lane.failed_at - time.monotonic())

    def busy(self, lane: Lane, problem: BusyError, started: float) -> float:
        """Let the lane rest; give it up only if it has been too busy for every call for a long time."""
        lane.heard = True
        lane.window.rest(started, problem.after, self.pause)
        rests, seconds = lane.window.rests, lane.window.busy_for()
        if (rests >= _LEAST_RESTS and seconds > self.config.patience) or (rests >= _MOST_RESTS and seconds > _LEAST_PATIENCE):
            lane.dead = f"too busy for every call for {seconds:.0f} s, the last: {problem}"
        return 0

    def pause(self, failures: int) -> float:
        """Seconds of the n-th pause in a row, with jitter."""
        doubled: float = self.config.backoff * 2.0 ** min(max(failures, 1) - 1, 6)
        return min(60.0, doubled) * random.uniform(0.5, 1.0)

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


def _ask(backend: Backend, request: Request) -> Reply:
    """The back end's reply. Whatever else a back end raises is a failed call, not the end of the run."""
    try:
        reply = backend.ask(request)
    except (BackendError, TsEvalError):
        raise
    except Exception as problem:
        raise TryAgainError(f"the back end failed ({type(problem).__name__}: {str(problem)[:150]})") from problem
    if not isinstance(reply, Reply):
        raise TryAgainError(f"the back end gave {type(reply).__name__} in place of a Reply")
    return reply


def _counted(reply: Reply, backend: Backend, request: Request) -> Reply:
    """The reply with token counts: the server's, or estimates where it sends none."""
    known = reply.prompt_tokens is not None and reply.completion_tokens is not None
    if backend.mode == "estimated" or (known and reply.total):
        return reply
    prompt, completion = reply.prompt_tokens, reply.completion_tokens
    return replace(
        reply,
        prompt_tokens=prompt or tokens_of(request.messages),
        completion_tokens=tokens_in(reply.text) if completion is None else completion,
        estimated=True,
    )

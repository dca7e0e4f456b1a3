"""Client: makes the calls of a run over all endpoints and stores each reply as it arrives.

One thread per concurrent call. Each endpoint is a worker with its own limits; workers draw jobs from one pool, so that another
worker takes over the jobs of an endpoint that is given up.
"""

import random
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from ..errors import TsEvalError
from ..schemas import Endpoint, JudgeConfig, PromptTemplate
from .backends.base import Backend, BackendError, BusyError, EndpointError, RefusedError, Reply, Request, TryAgainError
from .budget import Budget, tokens_in, tokens_of
from .guards import Guards
from .guards.delimiters import new_nonce
from .limits import CLOCK, RateLimit, Window
from .prompt import json_schema, render
from .store import Job, JobKeys, Replies, Stored, sha256

NO_ENDPOINT = "no endpoint left"
"""Starts the reason of stories that were not asked because every endpoint had been given up."""
OVER_BUDGET = "the budget"
"""Starts the reason of stories that the budget did not reach."""
GIVEN_UP = "was given up"
"""Part of the note about each endpoint that was given up."""
_MAX_FAILED_CALLS = 12
"""Maximum failed calls per story and endpoint, which is then not asked for this story again in this run."""
_LOOKED_AT = 1_000
"""Waiting jobs among which an endpoint looks for one that it may take. The first one is always open to some endpoint."""
_MIN_RESTS, _MAX_RESTS = 5, 40
_MIN_PATIENCE = 30.0
"""A busy endpoint is given up after 5 rests in a row that take longer than `patience`, or after 40 that take longer than this."""


@dataclass
class Worker:
    """An endpoint with its limits and its history in this run."""

    index: int
    endpoint: Endpoint
    backend: Backend
    limits: RateLimit = field(init=False)
    window: Window = field(init=False)
    failures: int = 0
    """Failed calls in a row. Calls that started before the pause after a failure ended count with that failure."""
    failed_at: float = 0.0
    reached: bool = False
    """Whether a server has answered anything at all."""
    answered: bool = False
    """Whether there was a reply."""
    dead: str | None = None
    """Why the endpoint was given up."""

    def __post_init__(self) -> None:
        self.limits = RateLimit(self.endpoint.requests_per_minute, self.endpoint.tokens_per_minute)
        self.window = Window(self.endpoint.concurrency)


@dataclass(frozen=True)
class Calls:
    """Makes a job's request, asks the back end, stores the reply."""

    config: JudgeConfig
    template: PromptTemplate
    guards: Guards
    keys: JobKeys
    replies: Replies

    def request(self, job: Job, worker: Worker, nonce: str) -> Request:
        """The request of the job's next attempt."""
        seed = self.config.seed + 1_000 * job.repeat + job.attempts
        messages = render(self.template, job.text, nonce, self.guards.wrap)
        key = sha256(f"{job.keys[worker.index]}\0{job.attempts}")
        return Request(messages, job.text, key, seed, json_schema(self.template))

    def ask(self, worker: Worker, request: Request) -> Reply:
        """The back end's reply with token counts: the server's, or estimates where it sends none."""
        reply = _ask(worker.backend, request)
        known = reply.prompt_tokens is not None and reply.completion_tokens is not None
        if not worker.backend.prices_tokens or (known and reply.total):
            return reply
        return replace(
            reply,
            prompt_tokens=reply.prompt_tokens or tokens_of(request.messages),
            completion_tokens=reply.completion_tokens or tokens_in(reply.text),
            estimated=True,
        )

    def store(self, job: Job, worker: Worker, request: Request, nonce: str, reply: Reply) -> bool:
        """Store the reply; whether it rates the job."""
        i, endpoint = worker.index, worker.endpoint
        answer = self.replies.add(
            Stored(
                job.keys[i], job.attempts, self.keys.calls[i], endpoint.base_url.rstrip("/"), endpoint.model or self.config.model,
                self.keys.prompt, sha256(job.text), job.repeat, job.anchor, request.seed, nonce, reply, None,
            )
        )  # fmt: skip
        job.attempts += 1
        job.replies[job.keys[i]] += 1
        if reply.refused:
            job.closed[job.keys[i]] = ""
        return answer.scores is not None


def run_jobs(jobs: Sequence[Job], workers: Sequence[Worker], calls: Calls, budget: Budget, report: Callable[[int], None]) -> None:
    """Work until every job is done or no worker is left. `report` gets the number of finished jobs.

    A job that cannot be rated gets `failure`. An unexpected exception (also Ctrl-C) stops the run after the calls in flight
    have been stored, and is raised here.
    """
    pool = _Pool(jobs, workers, calls.config.retries)
    runner = _Runner(pool, calls, budget, report)
    threads = [
        threading.Thread(target=runner.work, args=(worker,), daemon=True)
        for worker in workers
        for _ in range(worker.endpoint.concurrency)
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
            thread.join(calls.config.timeout)
        raise
    if pool.error is not None:
        raise pool.error
    reasons = "; ".join(f"{worker.endpoint.base_url}: {worker.dead}" for worker in workers if worker.dead)
    for job in pool.waiting:
        job.failure = job.failure or _why(job) or f"{NO_ENDPOINT} ({reasons})"


class _Pool:
    """Jobs that wait and the number in flight, shared by the threads."""

    def __init__(self, jobs: Sequence[Job], workers: Sequence[Worker], retries: int) -> None:
        self._workers, self._retries = workers, retries
        self.waiting, self.in_flight, self.finished = deque(jobs), 0, 0
        self.changed = threading.Condition()
        self.error: BaseException | None = None
        self.stopped = False

    def over(self) -> bool:
        """Whether no job waits and none in flight may come back."""
        with self.changed:
            return self.stopped or not (self.waiting or self.in_flight)

    def take(self, worker: Worker) -> Job | None:
        """A job for the worker, or one that is over; waits while there may be one. None: nothing is left for this worker."""
        with self.changed:
            while (at := self._first(worker)) is None and (self.waiting or self.in_flight):
                if self.stopped or worker.dead is not None:
                    return None
                self.changed.wait(0.2)
            if self.stopped or worker.dead is not None or at is None:
                return None
            self.in_flight += 1
            job = self.waiting[at]
            del self.waiting[at]
            return job

    def _first(self, worker: Worker) -> int | None:
        for at, job in enumerate(islice(self.waiting, _LOOKED_AT)):
            if job.open_to(worker.index, self._retries) or self.settle(job):
                return at
        return None

    def settle(self, job: Job) -> bool:
        """End the job if no endpoint that is left may be asked for it; whether it is over."""
        left = [worker for worker in self._workers if worker.dead is None] or self._workers
        job.done = not any(job.open_to(worker.index, self._retries) for worker in left)
        if job.done:
            job.failure = _why(job)
        return job.done

    def give_back(self, job: Job) -> int | None:
        """End of a turn: the number of finished jobs, or None if the job goes back (to the front if it has attempts)."""
        with self.changed:
            self.in_flight -= 1
            self.finished += job.done
            if not job.done:
                (self.waiting.appendleft if job.attempts else self.waiting.append)(job)
            self.changed.notify_all()
            return self.finished if job.done else None

    def stop(self, error: BaseException | None = None) -> None:
        """End the run; the first error is kept."""
        with self.changed:
            self.stopped, self.error = True, self.error or error
            self.changed.notify_all()


@dataclass(frozen=True)
class _Runner:
    """The loop of every thread."""

    pool: _Pool
    calls: Calls
    budget: Budget
    report: Callable[[int], None]

    def work(self, worker: Worker) -> None:
        """Take turns until no job is left for the worker."""
        try:
            while worker.window.enter(lambda: self.pool.over() or worker.dead is not None):
                try:
                    job = self.pool.take(worker)
                    pause = self.one(job, worker) if job is not None else 0.0
                finally:
                    worker.window.leave()
                if job is None:
                    return
                CLOCK.wait(pause, lambda: self.pool.stopped)
        except BaseException as problem:
            self.pool.stop(problem)

    def one(self, job: Job, worker: Worker) -> float:
        """A turn for one job; returns the seconds that this thread should pause."""
        try:
            pause = self.turn(job, worker)
        finally:
            finished = self.pool.give_back(job)
        if finished is not None:
            self.report(finished)
        return pause

    def turn(self, job: Job, worker: Worker) -> float:
        """One call for one job that is not over; returns the seconds of pause."""
        if job.done:
            return 0
        nonce = new_nonce()
        request = self.calls.request(job, worker, nonce)
        size = tokens_of(request.messages) + self.calls.config.max_tokens
        if not self.budget.reserve(size):
            return self.over_budget(job)
        used, started = 0, 0.0

        def stopped() -> bool:
            return self.pool.stopped or worker.dead is not None

        try:
            worker.limits.wait(size, stopped)
            if stopped() or worker.window.resting():
                return 0  # another endpoint may take the job
            started = CLOCK.now()
            reply = self.calls.ask(worker, request)
            used = reply.total
            worker.failures, worker.reached, worker.answered = 0, True, True
            worker.window.answered()
            job.done = self.calls.store(job, worker, request, nonce, reply) or self.pool.settle(job)
            return 0
        except RefusedError as problem:
            worker.reached = True
            job.closed[job.keys[worker.index]] = f"refused by the server ({problem})"
            self.pool.settle(job)
            return 0
        except EndpointError as problem:
            if not worker.answered:
                worker.dead = str(problem)
                return 0
            return self.failed(job, worker, TryAgainError(str(problem)), started)  # the endpoint has worked: count one bad call
        except BusyError as problem:
            return self.busy(worker, problem, started)
        except TryAgainError as problem:
            return self.failed(job, worker, problem, started)
        finally:
            self.budget.settle(size, used)

    def failed(self, job: Job, worker: Worker, problem: TryAgainError, started: float) -> float:
        """Count a temporary failure; give up an endpoint or a story that has had too many."""
        config, key = self.calls.config, job.keys[worker.index]
        job.failed[key] += 1
        with self.pool.changed:
            worker.reached = worker.reached or problem.reached
            if started >= worker.failed_at or not worker.reached:
                worker.failures += 1
                worker.failed_at = CLOCK.now() + self.pause(worker.failures)
            failures = worker.failures
        if failures >= config.dead_after:
            worker.dead = f"{failures} failures in a row, the last: {problem}"
        elif job.failed[key] >= _MAX_FAILED_CALLS:
            job.closed[key] = f"{job.failed[key]} calls failed, the last: {problem}"
            self.pool.settle(job)
        if problem.after is not None:
            worker.window.rest(started, problem.after, self.pause)
        return max(self.pause(failures), worker.failed_at - CLOCK.now())

    def busy(self, worker: Worker, problem: BusyError, started: float) -> float:
        """Rest the endpoint; give it up if it has been too busy for every call for a long time."""
        worker.reached = True
        worker.window.rest(started, problem.after, self.pause)
        rests, seconds = worker.window.rests, worker.window.busy_for()
        patience = self.calls.config.patience
        if (rests >= _MIN_RESTS and seconds > patience) or (rests >= _MAX_RESTS and seconds > _MIN_PATIENCE):
            worker.dead = f"too busy for every call for {seconds:.0f} s, the last: {problem}"
        return 0

    def pause(self, failures: int) -> float:
        """Seconds of the n-th pause in a row: doubled each time, at most 60, with jitter."""
        doubled: float = self.calls.config.backoff * 2.0 ** min(max(failures, 1) - 1, 6)
        return min(60.0, doubled) * random.uniform(0.5, 1.0)

    def over_budget(self, job: Job) -> float:
        """Wait for calls in flight to release their reservations; without any, the budget is used up."""
        with self.pool.changed:
            if self.pool.in_flight > 1:
                return 0.05
        job.failure, job.done = f"{OVER_BUDGET} of {self.budget.limit:,} tokens is used up", True
        return 0


def _why(job: Job) -> str | None:
    """Why an endpoint is not asked again for the job; None where stored replies say so."""
    return next(filter(None, job.closed.values()), None)


def _ask(backend: Backend, request: Request) -> Reply:
    """The back end's reply. An unexpected exception of a back end is a failed call, not the end of the run."""
    try:
        reply = backend.ask(request)
    except (BackendError, TsEvalError):
        raise
    except Exception as problem:
        raise TryAgainError(f"the back end failed ({type(problem).__name__}: {str(problem)[:150]})") from problem
    if not isinstance(reply, Reply):
        raise TryAgainError(f"the back end returned {type(reply).__name__} instead of a Reply")
    return reply

"""`judge_stories`: rates stories, resumable. `estimate_cost`: its cost before the first call.

A run: flags (`guards`), calls (`client`), replies (`store`), ratings (`results`), summary. See
docs/explanation/how-the-judge-is-calibrated.md.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from ..checks import Progress, StrPath, need_instance, need_path
from ..errors import ConfigError
from ..places import check_output
from ..schemas import Endpoint, JudgeConfig, JudgeSummary, PromptTemplate, Rating, Scores
from .backends import backend_class
from .backends.base import Backend
from .budget import Budget, Estimate, cost, count_calls, estimate, money, resolvable, tokens_of
from .client import GIVEN_UP, Calls, Worker, run_jobs
from .drift import by_day
from .files import Story, read_stories, write_ratings
from .guards import make_guards
from .guards.base import Guard, Stage
from .guards.delimiters import NONCE
from .prompt import label, load_prompt, prompt_key, render
from .results import Plan, Recheck, Results
from .store import Job, JobKeys, Replies, call_of, open_store
from .summary import summarise


@dataclass(frozen=True)
class JudgeRun:
    """Ratings in the order of stories and repeats, with their summary and the estimate made before the first call."""

    ratings: list[Rating]
    summary: JudgeSummary
    estimate: Estimate


def judge_stories(
    stories: StrPath | Iterable[str | Story],
    config: JudgeConfig | None = None,
    *,
    out: StrPath | None = None,
    store: StrPath | None = None,
    template: PromptTemplate | None = None,
    progress: Progress | None = None,
    announce: Callable[[Estimate], object] | None = None,
) -> JudgeRun:
    """Rate stories. Replies in the store are not asked for again, so an interrupted run resumes.

    `out`: path of ratings.jsonl. `store`: path of the replies; judge.sqlite beside `out` by default, temporary without `out`.
    `template` replaces `config.prompt`. `announce` is called with the cost estimate before the first call. Raises ConfigError
    before the first call where a package, a key or a file is missing.
    """
    config = need_instance(config or JudgeConfig(), JudgeConfig, "config")
    items = read_stories(stories)
    place = _store_path(stories, config, out, store)
    with _opened(config, template, place, items) as run:
        expected = run.estimate()
        if announce is not None:
            announce(expected)
        run.work(progress)
        ratings = run.results.ratings()
        summary = run.summarise(ratings)
    if out is not None:
        write_ratings(out, ratings)
    return JudgeRun(ratings, summary, expected)


def estimate_cost(
    stories: StrPath | Iterable[str | Story],
    config: JudgeConfig,
    *,
    out: StrPath | None = None,
    store: StrPath | None = None,
    template: PromptTemplate | None = None,
) -> Estimate:
    """What `judge_stories` would still cost with the same arguments. Makes all of its checks and no call."""
    need_instance(config, JudgeConfig, "config")
    items = read_stories(stories)
    place = _store_path(stories, config, out, store)
    with _opened(config, template, place if place is not None and place.exists() else None, items) as run:
        return run.estimate()


def _store_path(stories: object, config: JudgeConfig, out: StrPath | None, store: StrPath | None) -> Path | None:
    """The store's path, after a check that neither it nor `out` overwrites an input."""
    place = need_path(store, "store") if store is not None else Path(out).parent / "judge.sqlite" if out is not None else None
    check_output(out, "ts-eval/rating", [stories, config.prompt, config.page, config.reference], store=place)
    return place


# --- one run -----------------------------------------------------------------------------------


@contextlib.contextmanager
def _opened(
    config: JudgeConfig, template: PromptTemplate | None, store_path: Path | None, stories: list[Story]
) -> Iterator[_Run]:
    """A run with its back ends checked, its store open and its first jobs planned."""
    template = template or load_prompt(config.prompt)
    kind = backend_class(config.backend)
    workers = [Worker(i, endpoint, kind(config, endpoint)) for i, endpoint in enumerate(_endpoints(config, kind))]
    try:
        for worker in workers:
            worker.backend.check()
        backend, guards = workers[0].backend, make_guards(config)
        keys = JobKeys(tuple(call_of(config, w.endpoint, w.backend) for w in workers), prompt_key(template, guards.wrap))
        jobs = [keys.job(i, story.text, repeat) for i, story in enumerate(stories) for repeat in range(config.repeats)]
        plan = Plan([guards.inspect(story) for story in stories], jobs)
        estimated = backend.mode == "estimated"  # by rules that no story can address
        name = backend.identity if estimated else label(template, guards.wrap)
        with open_store(store_path) as store:
            replies = Replies(store, backend, config.retries)
            calls, results = Calls(config, template, guards, keys, replies), Results(config, plan, replies, backend, name)
            run = _Run(workers, calls, plan, results, () if estimated else guards.members)
            run.plan_first()
            yield run
    finally:
        for worker in workers:
            worker.backend.close()


def _endpoints(config: JudgeConfig, kind: type[Backend]) -> tuple[Endpoint, ...]:
    if config.endpoints:
        return config.endpoints
    if kind.needs_endpoint:
        raise ConfigError(
            f"endpoints: the {config.backend} back end needs one: --base-url http://localhost:11434/v1, or endpoints in --config."
        )
    return (Endpoint(base_url=f"local:{config.backend}", concurrency=1),)


@dataclass
class _Run:
    """The parts of one call of `judge_stories`."""

    workers: list[Worker]
    calls: Calls
    plan: Plan
    results: Results
    rechecking: tuple[Guard, ...]
    """Guards whose variants are rated; empty where variants mean nothing."""
    open: list[Job] | None = None
    """Jobs that the store does not answer."""
    controls: list[Job] = field(default_factory=list)
    """Control stories that this run rates."""

    def plan_first(self) -> None:
        """Plan what can be planned before the first call; control stories only beside other calls."""
        self.open = self._still_open([*self.plan.jobs, *self._rechecks("before")])
        self.open += self._open_rechecks()
        if self.open and self.calls.config.anchors:
            today = self.calls.keys.controls(datetime.now(UTC).date().isoformat())
            self.calls.replies.load(today)
            self.controls = [job for job in today if not self.calls.replies.settled(job)]
            self.open += self.controls

    def estimate(self) -> Estimate:
        """Cost of the open jobs."""
        jobs = self.open or []
        cached = sum(self.plan.items[job.story].unsent is None for job in self.plan.asked.values())
        cached -= sum(job.anchor is None for job in jobs)
        fine = resolvable((item.story.source, item.unsent is None) for item in self.plan.items)
        if not self.results.backend.prices_tokens:
            return Estimate(len(jobs), cached, prompt_tokens=0, completion_tokens=0, cost=0.0, resolves=fine)
        return replace(estimate(self.calls.config, [self._prompt_tokens(job) for job in jobs], cached), resolves=fine)

    def work(self, progress: Progress | None) -> None:
        """Make the calls; rechecks that depend on ratings follow in further rounds."""
        limit = self.calls.config.budget
        budget = Budget(limit, self._spent() if limit is not None else 0)
        while self.open:
            total = len(self.open)
            report = (lambda done: progress("judging", done, total)) if progress is not None else (lambda done: None)  # noqa: B023
            run_jobs(self.open, self.workers, self.calls, budget, report)
            self.open = self._open_rechecks()

    def summarise(self, ratings: list[Rating]) -> JudgeSummary:
        """The run's summary."""
        config, results = self.calls.config, self.results
        models = {worker.endpoint.model or config.model for worker in self.workers}
        return summarise(
            ratings, config, judge=results.backend.label, mode=results.backend.mode, prompt=results.prompt,
            stories=len(self.plan.items), days=by_day(self.calls.replies.controls(sorted(models), self.calls.keys)),
            checked=results.checked(), notes=self._notes(),
        )  # fmt: skip

    def _rechecks(self, stage: Stage, scores: Mapping[int, Sequence[Scores]] | None = None) -> list[Job]:
        """Plan each guard's variants of the stories in `scores` (None: of all unflagged stories), once; the new jobs."""
        items = self.plan.items
        known = {(r.guard, r.story) for r in self.plan.rechecks if r.stage == stage}
        sound = [i for i, item in enumerate(items) if not item.flags and item.unsent is None]
        new = []
        for guard in self.rechecking:
            for i in sound if scores is None else scores:
                if (guard, i) in known:
                    continue
                texts = guard.variants(items[i].story.text, None if scores is None else scores[i])
                if texts:
                    new.append(Recheck(guard, stage, [self.calls.keys.job(i, text, 0) for text in texts]))
        self.plan.rechecks.extend(new)
        return [job for recheck in new for job in recheck.jobs]

    def _open_rechecks(self) -> list[Job]:
        return self._still_open(self._rechecks("after", self.results.rated_in_full())) if self.rechecking else []

    def _still_open(self, jobs: list[Job]) -> list[Job]:
        """The jobs whose text is asked for the first time, may be sent, and has no stored answer."""
        self.calls.replies.load(jobs)
        asked, items = self.plan.asked, self.plan.items
        first = [job for job in jobs if asked.setdefault(job.keys[0], job) is job and items[job.story].unsent is None]
        return [job for job in first if not self.calls.replies.settled(job)]

    def _prompt_tokens(self, job: Job) -> int:
        return tokens_of(render(self.calls.template, job.text, NONCE, self.calls.guards.wrap))

    def _spent(self) -> int:
        """Tokens of all replies in the store; an estimate for those of this run that a store of version 1 has no count of."""
        replies = self.calls.replies
        spent = replies.spent()
        for job in self.plan.asked.values():
            for answer in replies.of(job):
                if not answer.row.reply.total and self.results.backend.prices_tokens:
                    spent += self._prompt_tokens(job) + answer.text_tokens
        return spent

    def _notes(self) -> list[str]:
        """Sentences of the back ends, about endpoints that were given up and about estimated token counts."""
        notes = list(dict.fromkeys(note for worker in self.workers for note in worker.backend.notes))
        notes += [f"{worker.endpoint.base_url} {GIVEN_UP}: {worker.dead}" for worker in self.workers if worker.dead]
        notes += self._about_controls()
        count = self.results.estimated_counts()
        return [*notes, f"the token counts of {count:,} replies are estimates: the server sends none"] if count else notes

    def _about_controls(self) -> list[str]:
        """A sentence on what the control stories of this run cost: it is in no other figure of the summary."""
        replies = [answer.row.reply for job in self.controls for answer in self.calls.replies.of(job)]
        asked, given = (sum(getattr(r, f"{kind}_tokens") or 0 for r in replies) for kind in ("prompt", "completion"))
        if not asked + given:
            return []
        price = cost(self.calls.config, asked, given)
        tokens = f"{asked:,} prompt and {given:,} completion tokens{f', {money(price)}' if price else ''}"
        return [f"{count_calls(len(replies))} for control stories, once a day: {tokens}, in none of the other figures"]

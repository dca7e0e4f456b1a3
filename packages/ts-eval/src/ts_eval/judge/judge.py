"""`judge_stories`: stories in, ratings out, by way of prompt, store and back ends. The line of the judge, resumable."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, cast

from ..checks import need_instance, need_path
from ..errors import ConfigError
from ..schemas import Endpoint, JudgeConfig, JudgeSummary, PromptTemplate, Rating, Scores
from .backends import make_backend
from .backends.base import Reply, Request, lone_surrogate, without_surrogates
from .budget import Estimate, Ledger, estimate, tokens_in, tokens_of
from .client import GIVEN_UP, Job, Lane, run_jobs
from .drift import anchor_stories
from .expected import expected_scores
from .files import Story, check_output, read_stories, write_ratings
from .guards.delimiters import new_nonce
from .guards.flags import flags
from .guards.leave_one_out import FLAG, decides, is_extreme, moves_the_mean, without_each_part, without_suspect
from .parse import UnparsedError, parse_estimate, parse_reply
from .prompt import json_schema, label, load_prompt, prompt_key, render
from .store import Store, Stored, open_store
from .summary import repeat_sd, summarise

if TYPE_CHECKING:
    from ts_data.console import Progress

    from ..schemas import Category

__all__ = ["JudgeRun", "estimate_cost", "judge_stories"]


@dataclass(frozen=True)
class JudgeRun:
    """Ratings in the order of stories and repeats, and what they come to."""

    ratings: list[Rating]
    summary: JudgeSummary
    estimate: Estimate


def judge_stories(
    stories: str | os.PathLike[str] | Iterable[str | Story],
    config: JudgeConfig | None = None,
    *,
    out: str | os.PathLike[str] | None = None,
    store: str | os.PathLike[str] | None = None,
    template: PromptTemplate | None = None,
    progress: Progress | None = None,
    announce: object = None,
) -> JudgeRun:
    """Rate stories. What the store already holds is not asked again; a killed run goes on where it was.

    `out` takes ratings.jsonl; `store` defaults to judge.sqlite beside it (without either, replies are not kept). `template`
    stands in for `config.prompt`. `announce`, if callable, gets the cost estimate before the first call. Raises ConfigError
    before any call where a package, a key or a file is missing.
    """
    config = need_instance(config or JudgeConfig(), JudgeConfig, "config")
    items = read_stories(stories)
    place = _store_of(stories, config, out, store)
    with _opened(config, template, place, items) as run:
        guess = run.estimate()
        if callable(announce):
            announce(guess)
        run.work(progress)
        ratings = run.ratings()
        probes, parts = list(run.probe_ratings().values()), run.part_ratings()
        summary = summarise(ratings, config, label(run.template), len(items), run.anchor_days(), probes, parts, run.notes())
    if out is not None:
        write_ratings(out, ratings)
    return JudgeRun(ratings, summary, guess)


def estimate_cost(
    stories: str | os.PathLike[str] | Iterable[str | Story],
    config: JudgeConfig,
    *,
    out: str | os.PathLike[str] | None = None,
    store: str | os.PathLike[str] | None = None,
    template: PromptTemplate | None = None,
) -> Estimate:
    """What `judge_stories` with the same arguments would still have to pay; all its checks, no call."""
    need_instance(config, JudgeConfig, "config")
    items = read_stories(stories)
    place = _store_of(stories, config, out, store)
    with _opened(config, template, place if place is not None and place.exists() else None, items) as run:
        return run.estimate()


def _store_of(
    stories: object, config: JudgeConfig, out: str | os.PathLike[str] | None, store: str | os.PathLike[str] | None
) -> Path | None:
    """Where the store is, once it is sure that neither it nor `out` is something else."""
    place = need_path(store, "store") if store is not None else Path(out).parent / "judge.sqlite" if out is not None else None
    inputs = [stories if isinstance(stories, (str, os.PathLike)) else None, config.prompt, config.page, config.reference]
    check_output(out, "ts-eval/rating", [*inputs, place])
    return place


# --- one run -----------------------------------------------------------------------------------


@contextlib.contextmanager
def _opened(
    config: JudgeConfig, template: PromptTemplate | None, place: str | os.PathLike[str] | None, items: list[Story]
) -> Iterator[_Run]:
    template = template or load_prompt(config.prompt)
    lanes = [Lane(i, endpoint, make_backend(config, endpoint)) for i, endpoint in enumerate(_endpoints(config))]
    try:
        for lane in lanes:
            lane.backend.check()
        with open_store(place) as store:
            yield _Run(config, template, lanes, store, items)
    finally:
        for lane in lanes:
            lane.backend.close()


def _endpoints(config: JudgeConfig) -> tuple[Endpoint, ...]:
    if config.endpoints:
        return config.endpoints
    if config.backend == "openai":
        raise ConfigError("the openai back end needs an endpoint: --base-url http://localhost:11434/v1, or endpoints in --config")
    return (Endpoint(base_url=f"local:{config.backend}", concurrency=1),)


class _Run:
    """State of one call of `judge_stories`."""

    def __init__(
        self, config: JudgeConfig, template: PromptTemplate, lanes: list[Lane], store: Store, items: list[Story]
    ) -> None:
        self.config, self.template, self.lanes, self.store, self.items = config, template, lanes, store, items
        self.mode = lanes[0].backend.mode
        self._prompt_hash = prompt_key(template)
        self._calls = [self._call(lane) for lane in lanes]
        self.broken = {i: place for i, item in enumerate(items) if (place := lone_surrogate(item.text)) is not None}
        self.flags = [flags(item.text, max_characters=config.max_characters) for item in items]
        self.jobs = [self._job(i, item.text, repeat) for i, item in enumerate(items) for repeat in range(config.repeats)]
        self._probing = config.probe != "off" and self.mode != "estimated"
        self.probes = self._probe_jobs() if self._probing else {}
        self.parts: dict[int, list[Job]] = {}
        self._asked: dict[str, Job] = {}
        self.open = self._still_open([*self.jobs, *self.probes.values()])
        self.open += self._add_parts()
        self.open += self._anchor_jobs() if self.open and config.anchors else []

    # jobs

    def _call(self, lane: Lane) -> str:
        """Everything but prompt, story and repeat that a reply depends on, as canonical JSON."""
        c = self.config
        parameters = {
            "temperature": c.temperature,
            "top_p": c.top_p,
            "max_tokens": c.max_tokens,
            "seed": c.seed,
            "structured": c.structured,
        }
        return json.dumps(
            {
                "backend": c.backend, "identity": lane.backend.identity, "endpoint": lane.endpoint.base_url.rstrip("/"),
                "model": lane.endpoint.model or c.model, "mode": self.mode, "parameters": parameters,
            },
            sort_keys=True,
        )  # fmt: skip

    def _job(self, story: int, text: str, repeat: int, anchor: str | None = None) -> Job:
        digest = _sha(text)
        keys = [_sha("\0".join([call, self._prompt_hash, digest, str(repeat), anchor or ""])) for call in self._calls]
        return Job(story, text, repeat, keys, anchor)

    def _probe_jobs(self) -> dict[int, Job]:
        """Story → the job that rates it without its suspect passage. A story that is flagged already needs none."""
        every = self.config.probe == "all"
        sound = (i for i in range(len(self.items)) if not self.flags[i] and i not in self.broken)
        rests = {i: without_suspect(self.items[i].text, every=every) for i in sound}
        return {i: self._job(i, rest, 0) for i, rest in rests.items() if rest is not None}

    def _add_parts(self) -> list[Job]:
        """Jobs for the parts of stories whose ratings, as far as known, are extreme; those among them that are still open."""
        if not self._probing or self.config.probe_extreme is None:
            return []
        new = {i: self._part_jobs(i) for i in self._extreme() if i not in self.parts}
        self.parts |= new
        return self._still_open([job for jobs in new.values() for job in jobs])

    def _part_jobs(self, story: int) -> list[Job]:
        return [self._job(story, rest, 0) for rest in without_each_part(self.items[story].text)]

    def _extreme(self) -> list[int]:
        """Stories without a flag that are rated in full and near an end of the scale."""
        limit = cast("float", self.config.probe_extreme)
        ratings = self.ratings()
        flagged = {r.story for r in ratings if r.flags}
        whole = {i: found for i, found in _by_story(ratings).items() if i not in flagged}
        return [i for i, found in whole.items() if len(found) == self.config.repeats and is_extreme(found, limit)]

    def _still_open(self, wanted: list[Job]) -> list[Job]:
        """The jobs that the store does not answer. A text that stands twice is asked once, and both places get the answer."""
        for job in wanted:
            self._asked.setdefault(job.keys[0], job)
        return [job for job in wanted if self._asked[job.keys[0]] is job and not self._settled(job)]

    def _anchor_jobs(self) -> list[Job]:
        day = datetime.now(UTC).date().isoformat()
        jobs = [self._job(i, text, 0, day) for i, text in enumerate(anchor_stories())]
        return [job for job in jobs if not self._settled(job)]

    def _settled(self, job: Job) -> bool:
        """Whether the store (or the story itself) leaves nothing to ask."""
        if job.anchor is None and self._unsent(job) is not None:
            return True
        replies = self.store.attempts(job.keys)
        job.attempts = max((r.attempt + 1 for r in replies), default=0)
        refused = any(r.reply.refused for r in replies)
        return refused or len(replies) > self.config.retries or any(self._usable(r) for r in replies)

    def _usable(self, row: Stored) -> bool:
        try:
            self.read(row.reply)
        except UnparsedError:
            return False
        return True

    def read(self, reply: Reply) -> tuple[Scores, dict[Category, float] | None]:
        """A reply's scores in this run's mode, or UnparsedError."""
        if reply.fault is not None:
            raise UnparsedError(reply.fault)
        if self.mode == "estimated":
            return parse_estimate(reply.text), None
        if self.mode == "expected":
            return expected_scores(reply.text, reply.tokens, self.config.max_lost_mass)
        return Scores(**{k: float(v) for k, v in parse_reply(reply.text).model_dump().items()}), None

    # calls

    def estimate(self) -> Estimate:
        sizes = [tokens_of(render(self.template, job.text, new_nonce())) for job in self.open]
        free = self.mode == "estimated"
        return estimate(
            self.config,
            [0] * len(sizes) if free else sizes,
            len(self.jobs) + len(self.probes) + sum(map(len, self.parts.values())) - sum(j.anchor is None for j in self.open),
        )

    def work(self, progress: Progress | None) -> None:
        ledger = Ledger(self.config.budget, self._spent() if self.config.budget is not None else 0)
        while self.open:
            self._run_open(ledger, progress)
            self.open = self._add_parts()

    def _spent(self) -> int:
        """Tokens of the stored replies; where a store of an earlier version has no count, an estimate."""
        spent = 0
        for job in self._asked.values():
            for row in self.store.attempts(job.keys):
                spent += row.reply.total
                if not row.reply.total and self.mode != "estimated":
                    spent += tokens_of(render(self.template, job.text, row.nonce)) + tokens_in(row.reply.text)
        return spent

    def _run_open(self, ledger: Ledger, progress: Progress | None) -> None:
        total = len(self.open)

        def report(done: int) -> None:
            if progress is not None:
                progress("judging", done, total)

        run_jobs(list(self.open), self.lanes, self.config, ledger, self._request, self._keep, report)

    def _request(self, job: Job, lane: Lane, nonce: str) -> Request:
        seed = self.config.seed + 1_000 * job.repeat + job.attempts
        messages = render(self.template, job.text, nonce)
        key = _sha(f"{job.keys[lane.index]}\0{job.attempts}")
        return Request(messages, job.text, key, seed, json_schema(self.template))

    def _keep(self, job: Job, lane: Lane, request: Request, nonce: str, reply: Reply) -> bool:
        try:
            self.read(reply)
            unparsed = None
        except UnparsedError as problem:
            unparsed = str(problem)
        endpoint, model = lane.endpoint.base_url.rstrip("/"), lane.endpoint.model or self.config.model
        self.store.add(
            Stored(
                job.keys[lane.index], job.attempts, self._calls[lane.index], endpoint, model, self._prompt_hash, _sha(job.text),
                job.repeat, job.anchor, request.seed, nonce, reply, unparsed,
            )
        )  # fmt: skip
        job.attempts += 1
        return unparsed is None or reply.refused or job.attempts > self.config.retries

    # results

    def ratings(self) -> list[Rating]:
        ratings = [self._rating(job) for job in self.jobs]
        decided = self._decided(ratings)
        return [
            r.model_copy(update={"flags": (*r.flags, FLAG)}) if r.story in decided and r.scores is not None else r
            for r in ratings
        ]

    def probe_ratings(self) -> dict[int, Rating]:
        """Story → its rating without the suspect passage."""
        return {i: self._rating(job) for i, job in self.probes.items()}

    def part_ratings(self) -> dict[int, list[Rating]]:
        """Story → its ratings without each of its parts, for the stories with an extreme rating."""
        return {i: [self._rating(job) for job in jobs] for i, jobs in self.parts.items()}

    def _decided(self, ratings: list[Rating]) -> set[int]:
        """Stories whose rating hangs on one passage: by more than the tolerance, and two SD of the judge's noise if known."""
        whole = _by_story(ratings)
        noise = repeat_sd(ratings)
        spread = 0.0 if noise is None else fmean(noise.values()) * (1 + 1 / self.config.repeats) ** 0.5
        tolerance = max(self.config.probe_tolerance, 2 * spread)
        rests = {i: rating.scores for i, rating in self.probe_ratings().items() if i in whole}
        found = {i for i, rest in rests.items() if rest is not None and decides(whole[i], rest, tolerance)}
        return found | {
            i
            for i, parts in self.part_ratings().items()
            if any(part.scores is not None and moves_the_mean(whole[i], part.scores, tolerance) for part in parts)
        }

    def anchor_days(self) -> dict[str, dict[str, list[Scores]]]:
        """Day → anchor story → its ratings, of all days that this judge and prompt have in the store."""
        days: dict[str, dict[str, list[Scores]]] = {}
        models = {lane.endpoint.model or self.config.model for lane in self.lanes}
        for row in (row for model in sorted(models) for row in self.store.anchors(model, self._prompt_hash)):
            with contextlib.suppress(UnparsedError):
                days.setdefault(cast("str", row.anchor), {}).setdefault(row.story_sha256, []).append(self.read(row.reply)[0])
        return days

    def _rating(self, job: Job) -> Rating:
        item = self.items[job.story]
        base = {
            "story": job.story, "text": without_surrogates(item.text),
            "source": None if item.source is None else without_surrogates(item.source), "repeat": job.repeat, "mode": self.mode,
            "flags": self.flags[job.story], "judge": self.config.model if self.config.backend == "openai" else self.config.backend,
            "prompt": label(self.template) if self.mode != "estimated" else self.lanes[0].backend.identity, "key": job.keys[0],
        }  # fmt: skip
        rows = self.store.attempts(job.keys)
        base["attempts"] = len(rows)
        base["prompt_tokens"] = sum(r.reply.prompt_tokens or 0 for r in rows)
        base["completion_tokens"] = sum(r.reply.completion_tokens or 0 for r in rows)
        reason = self._asked[job.keys[0]].failure
        for row in rows:
            try:
                scores, lost = self.read(row.reply)
            except UnparsedError as problem:
                reason = reason or _reason(row.reply, problem)
                continue
            seen = {"endpoint": row.endpoint, "seed": row.seed, "system_fingerprint": row.reply.fingerprint, "key": row.key}
            return Rating(**base | seen, scores=scores, lost_mass=lost)
        return Rating(**base, scores=None, unscored=reason or self._unsent(job) or "not asked")

    def _unsent(self, job: Job) -> str | None:
        """Why the story is not sent at all; None for one that is."""
        if not job.text.strip():
            return "the story is empty"
        if self.flags[job.story] == ("too-long",):
            return f"longer than {self.config.max_characters:,} characters, not sent"
        if job.story in self.broken:
            return f"the story holds half a character (a lone surrogate, at place {self.broken[job.story]:,}), not sent"
        return None

    def notes(self) -> tuple[str, ...]:
        """What the endpoints were like, for the summary."""
        dead = [f"{lane.endpoint.base_url} {GIVEN_UP}: {lane.dead}" for lane in self.lanes if lane.dead]
        stepped = [note for lane in self.lanes for note in getattr(lane.backend, "notes", ())]
        estimated = sum(r.reply.estimated for job in self._asked.values() for r in self.store.attempts(job.keys))
        guessed = [f"the token counts of {estimated:,} replies are estimates: the server sends none"] if estimated else []
        return (*stepped, *dead, *guessed)


def _reason(reply: Reply, problem: UnparsedError) -> str:
    if reply.refused:
        return f"the judge gave no answer ({problem})"
    return f"the reply is not whole ({problem})" if reply.fault is not None else f"the reply does not parse ({problem})"


def _by_story(ratings: Iterable[Rating]) -> dict[int, list[Scores]]:
    """Story → the scores of its repeats; without those that have none."""
    found: dict[int, list[Scores]] = {}
    for rating in ratings:
        if rating.scores is not None:
            found.setdefault(rating.story, []).append(rating.scores)
    return found


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

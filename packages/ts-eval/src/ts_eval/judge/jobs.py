"""Jobs: which texts a run has to rate, and where their replies are in the store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ..schemas import Endpoint, JudgeConfig, Scores
from .backends.base import Backend, lone_surrogate
from .drift import control_stories
from .files import Story
from .guards import TOO_LONG, Guards
from .guards.base import Guard, Stage


@dataclass
class Job:
    """One rating to get. `keys[i]` is its key in the store when worker i answers."""

    story: int
    text: str
    repeat: int
    keys: list[str]
    anchor: str | None = None
    """The day, for a control story."""
    attempts: int = 0
    trouble: int = 0
    """Failed calls."""
    failure: str | None = None
    """Why it stays unrated, where no stored reply says so."""
    done: bool = False


@dataclass(frozen=True)
class JobKeys:
    """Makes jobs with their keys: SHA-256 over call, prompt, text, repeat and day."""

    calls: tuple[str, ...]
    """Per worker, see `call_of`."""
    prompt: str
    """SHA-256 of the prompt without the story."""

    def job(self, story: int, text: str, repeat: int, anchor: str | None = None) -> Job:
        """The job for one text."""
        digest = sha256(text)
        keys = [sha256("\0".join([call, self.prompt, digest, str(repeat), anchor or ""])) for call in self.calls]
        return Job(story, text, repeat, keys, anchor)

    def controls(self, day: str) -> list[Job]:
        """A job for each packaged control story."""
        return [self.job(i, text, 0, day) for i, text in enumerate(control_stories())]


def call_of(config: JudgeConfig, endpoint: Endpoint, backend: Backend) -> str:
    """Everything but prompt, text and repeat that a reply depends on, as canonical JSON."""
    names = ("temperature", "top_p", "max_tokens", "seed", "structured")
    content = {
        "backend": config.backend, "identity": backend.identity, "endpoint": endpoint.base_url.rstrip("/"),
        "model": endpoint.model or config.model, "mode": backend.mode, "parameters": {name: getattr(config, name) for name in names},
    }  # fmt: skip
    return json.dumps(content, sort_keys=True)


def sha256(text: str) -> str:
    """Hexadecimal SHA-256; lone surrogates are allowed."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True)
class Item:
    """A story with its flags; `unsent` is the reason why it is not sent, None for a story that is."""

    story: Story
    flags: tuple[str, ...]
    unsent: str | None


def inspect(stories: Iterable[Story], guards: Guards) -> list[Item]:
    """The stories with their flags."""
    return [Item(story, flags, _unsent(story.text, flags, guards)) for story in stories for flags in [guards.flags(story.text)]]


def _unsent(text: str, flags: tuple[str, ...], guards: Guards) -> str | None:
    if not text.strip():
        return "the story is empty"
    if TOO_LONG in flags:
        return f"longer than {guards.max_characters:,} characters, not sent"
    place = lone_surrogate(text)
    return None if place is None else f"the story contains a lone surrogate (at character {place:,}), not sent"


@dataclass(frozen=True)
class Recheck:
    """Variants of a story that a guard wants rated."""

    guard: Guard
    stage: Stage
    jobs: list[Job]

    @property
    def story(self) -> int:
        """The story's number."""
        return self.jobs[0].story


@dataclass
class Plan:
    """The jobs of a run. `rechecks` grows while the run goes on."""

    items: list[Item]
    jobs: list[Job]
    """Every repeat of every story, in order."""
    keys: JobKeys
    guards: tuple[Guard, ...]
    """Guards whose variants are rated; empty where variants mean nothing."""
    rechecks: list[Recheck] = field(default_factory=list)
    asked: dict[str, Job] = field(default_factory=dict)
    """First key → the job that is asked; a text that occurs twice is asked once."""

    def add_rechecks(self, stage: Stage, scores: Mapping[int, Sequence[Scores]] | None = None) -> list[Job]:
        """Add each guard's variants of the stories in `scores` (None: of all unflagged stories) once; the new jobs."""
        known = {(r.guard, r.story) for r in self.rechecks if r.stage == stage}
        sound = [i for i, item in enumerate(self.items) if not item.flags and item.unsent is None]
        new = []
        for guard in self.guards:
            for i in sound if scores is None else scores:
                if (guard, i) in known:
                    continue
                texts = guard.variants(self.items[i].story.text, None if scores is None else scores[i])
                if texts:
                    new.append(Recheck(guard, stage, [self.keys.job(i, text, 0) for text in texts]))
        self.rechecks += new
        return [job for recheck in new for job in recheck.jobs]

    def first_asked(self, jobs: list[Job]) -> list[Job]:
        """The jobs whose text is asked for the first time and may be sent."""
        for job in jobs:
            self.asked.setdefault(job.keys[0], job)
        return [job for job in jobs if self.asked[job.keys[0]] is job and self.items[job.story].unsent is None]

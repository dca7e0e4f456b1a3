"""Results: a run's stored answers as ratings, with the flags of variants that guards had rated."""

from dataclasses import dataclass, field
from statistics import fmean

from ..schemas import JudgeConfig, Rating, Scores
from .backends.base import Backend, without_surrogates
from .guards import Item
from .guards.base import Guard, Stage
from .store import Answer, Job, Replies
from .summary import spread


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


@dataclass(frozen=True)
class Plan:
    """What a run rates. `rechecks` and `asked` grow while it goes on."""

    items: list[Item]
    jobs: list[Job]
    """Every repeat of every story, in order."""
    rechecks: list[Recheck] = field(default_factory=list)
    asked: dict[str, Job] = field(default_factory=dict)
    """First key → the job that is asked; a text that occurs twice is asked once."""


Checked = dict[tuple[Guard, Stage], dict[int, list[Rating]]]
"""(guard, stage) → story → ratings of its variants."""


@dataclass(frozen=True)
class Results:
    """Reads ratings out of a plan and its replies. Holds no state of its own."""

    config: JudgeConfig
    plan: Plan
    replies: Replies
    backend: Backend
    prompt: str
    """Label of the prompt."""

    def ratings(self) -> list[Rating]:
        """One rating per story and repeat, in order."""
        rejected = self._rejected(self._scores())
        return [self._rating(job, rejected.get(job.story, ())) for job in self.plan.jobs]

    def rated_in_full(self) -> dict[int, list[Scores]]:
        """Story → scores of its repeats, for unflagged stories with scores in every repeat."""
        scores = self._scores()
        rejected = self._rejected(scores)
        items = self.plan.items
        return {
            i: found
            for i, found in scores.items()
            if len(found) == self.config.repeats and not items[i].flags and i not in rejected
        }

    def checked(self) -> Checked:
        """The ratings of all variants."""
        found: Checked = {}
        for recheck in self.plan.rechecks:
            stories = found.setdefault((recheck.guard, recheck.stage), {})
            stories[recheck.story] = [self._rating(job, ()) for job in recheck.jobs]
        return found

    def estimated_counts(self) -> int:
        """How many replies have estimated token counts."""
        return sum(answer.row.reply.estimated for job in self.plan.asked.values() for answer in self.replies.of(job))

    def _scores(self) -> dict[int, list[Scores]]:
        """Story → scores of its repeats, for stories that have some."""
        found: dict[int, list[Scores]] = {}
        for job in self.plan.jobs:
            scores = self.replies.scores(job)
            if scores is not None:
                found.setdefault(job.story, []).append(scores)
        return found

    def _rejected(self, whole: dict[int, list[Scores]]) -> dict[int, tuple[str, ...]]:
        """Story → flags of the guards that reject its rating.

        The tolerance is `probe_tolerance`, or two SD of the judge's noise where repeats show more.
        """
        noise = spread(whole.values())
        sd = 0.0 if noise is None else fmean(noise.values()) * (1 + 1 / self.config.repeats) ** 0.5
        tolerance = max(self.config.probe_tolerance, 2 * sd)
        found: dict[int, tuple[str, ...]] = {}
        for recheck in self.plan.rechecks:
            flags = found.get(recheck.story, ())
            if recheck.story not in whole or recheck.guard.flag in flags:
                continue
            variants = [scores for job in recheck.jobs if (scores := self.replies.scores(job)) is not None]
            if any(recheck.guard.rejects(recheck.stage, whole[recheck.story], scores, tolerance) for scores in variants):
                found[recheck.story] = (*flags, recheck.guard.flag)
        return found

    def _rating(self, job: Job, flags: tuple[str, ...]) -> Rating:
        item, answers = self.plan.items[job.story], self.replies.of(job)
        source = item.story.source
        base = {
            "story": job.story, "text": without_surrogates(item.story.text),
            "source": None if source is None else without_surrogates(source), "repeat": job.repeat, "mode": self.backend.mode,
            "judge": self.backend.label, "prompt": self.prompt, "key": job.keys[0], "attempts": len(answers),
            "prompt_tokens": sum(a.row.reply.prompt_tokens or 0 for a in answers),
            "completion_tokens": sum(a.row.reply.completion_tokens or 0 for a in answers),
        }  # fmt: skip
        used = next((a for a in answers if a.scores is not None), None)
        if used is None:
            reason = self.plan.asked[job.keys[0]].failure or next(map(_reason, answers), None) or item.unsent or "not asked"
            return Rating(**base, flags=item.flags, scores=None, unscored=reason)
        row = used.row
        seen = {"endpoint": row.endpoint, "seed": row.seed, "system_fingerprint": row.reply.fingerprint, "key": row.key}
        return Rating(**base | seen, flags=(*item.flags, *flags), scores=used.scores, lost_mass=used.lost_mass)


def _reason(answer: Answer) -> str:
    reply = answer.row.reply
    what = "the reply does not parse" if reply.fault is None else "the reply is not whole"
    return f"{'the judge gave no answer' if reply.refused else what} ({answer.problem})"

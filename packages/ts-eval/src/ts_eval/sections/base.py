"""Shared by the sections: the draw of stories, the index, the stories generated so far, and the `Section` that each returns."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ts_data import TsDataError

from ..checks import Progress
from ..errors import ConfigError, TsEvalError
from ..index import StoryIndex
from ..models import ModelAdapter
from ..models.checked import generate
from ..schemas import BaselineScore, Completion, Estimate, EvalConfig, Neighbours, PromptAnswer, Story
from ..texts import cut

if TYPE_CHECKING:
    from ..index.plots import PlotIndex

SPLITS = ("train", "test")
PROMPTING = {"memorisation", "paper", "overfitting"}
"""Sections that take prompts from training stories and from held-out ones."""
DRAWING = PROMPTING | {"texts"}
"""Sections that take prompts from held-out stories."""


@dataclass
class Section:
    """The results of one section for one model. `values`: metric → one number per story; `estimates`: metrics that are no plain mean."""

    values: dict[str, list[float | None]] = field(default_factory=dict)
    estimates: dict[str, Estimate] = field(default_factory=dict)
    stories: list[Story] = field(default_factory=list)
    completions: list[Completion] = field(default_factory=list)
    prompts: list[PromptAnswer] = field(default_factory=list)
    neighbours: list[Neighbours] = field(default_factory=list)
    baselines: list[BaselineScore] = field(default_factory=list)
    bits_scale: tuple[float, float] | None = None
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Generations:
    """Real stories cut in two, and the endings that a model generated."""

    split: str
    index: list[int]
    prompts: list[str]
    references: list[str]
    completions: list[str]


class Context:
    """One evaluation: the same stories, prompts and seeds for every model."""

    def __init__(self, config: EvalConfig, train: Sequence[str], test: Sequence[str], progress: Progress | None = None) -> None:
        self.config, self.train, self.test, self.progress = config, train, test, progress
        self._index: StoryIndex | None = None
        splits = {"train": train, "test": test}
        self.drawn = {name: draw([config.seed, i], len(splits[name]), config.stories) for i, name in enumerate(splits)}
        self.texts = {name: [stories[i] for i in self.drawn[name]] for name, stories in splits.items()}
        self.fitted: set[object] = set()
        self._completed: dict[tuple[int, str, float], Generations | None] = {}
        self._opened: dict[tuple[int, str], list[tuple[str, str]] | None] = {}

    @cached_property
    def plots(self) -> PlotIndex:
        """The embeddings of the training stories, computed at first use."""
        from ..index.plots import PlotIndex, embedder

        total = len(self.train)
        return PlotIndex(self.train, embedder(), lambda done: self.notify("embedding the training stories", done, total))

    @property
    def index(self) -> StoryIndex:
        """The index of the training stories: opened by `open_index`, or built in memory at first use."""
        if self._index is None:
            self._index = StoryIndex.build(self.train, progress=self.progress)
        return self._index

    def open_index(self, place: Path, corpus: str) -> None:
        """Use the index of the training stories at `place`; build it there if needed."""
        self._index = StoryIndex.cached(place, self.train, corpus=corpus, progress=self.progress)

    @property
    def index_sha256(self) -> str:
        """Hash of the index on disk; empty without one."""
        return "" if self._index is None else self._index.sha256

    # --- which stories are measured ------------------------------------------------------------

    @cached_property
    def scored(self) -> list[str]:
        """The held-out stories scored for perplexity: all of them, or a seeded draw."""
        wanted = self.config.perplexity_stories
        if wanted is None or wanted >= len(self.test):
            return [text for text in self.test if text]
        return [self.test[i] for i in draw([self.config.seed, 3], len(self.test), wanted)]

    def held_out(self) -> list[str]:
        """The held-out stories that the chosen sections use, without duplicates."""
        chosen = set(self.config.parts)
        drawn = self.texts["test"] if chosen & DRAWING else []
        return list(dict.fromkeys([*(self.scored if "perplexity" in chosen else []), *drawn]))

    def prompting(self) -> list[str]:
        """The training stories that the chosen sections take prompts from."""
        return self.texts["train"] if set(self.config.parts) & PROMPTING else []

    def notify(self, stage: str, done: int, total: int | None = None) -> None:
        """Report progress."""
        if self.progress is not None:
            self.progress(stage, done, total)

    # --- what a model generates, once ------------------------------------------------------------

    def complete(self, adapter: ModelAdapter, split: str, share: float) -> Generations | None:
        """Endings of the drawn stories, generated once per model. None if it cannot generate.

        For `real`, each beginning gets the ending of the next drawn story: what a story's ending shares with any other; None for one story.
        """
        key = (id(adapter), split, share)
        if key not in self._completed:
            self._completed[key] = self._complete(adapter, split, share)
        return self._completed[key]

    def _complete(self, adapter: ModelAdapter, split: str, share: float) -> Generations | None:
        halves = [cut(text, share) for text in self.texts[split]]
        prompts, references = [a.rstrip() for a, _ in halves], [b.strip() for _, b in halves]
        if adapter.kind == "real":
            written: list[str] | None = references[1:] + references[:1] if len(references) > 1 else None
        else:
            written = self._generate(adapter, prompts, f"{split} {share:.0%}")
        if written is None:
            return None
        return Generations(split, self.drawn[split], prompts, references, [text.strip() for text in written])

    def generate_stories(self, adapter: ModelAdapter, split: str) -> list[tuple[str, str]] | None:
        """(opening, whole story) from a few opening words of the drawn stories. None if it cannot generate."""
        key = (id(adapter), split)
        if key not in self._opened:
            self._opened[key] = self._open(adapter, split)
        return self._opened[key]

    def _open(self, adapter: ModelAdapter, split: str) -> list[tuple[str, str]] | None:
        if adapter.stories is not None:
            chosen = draw([self.config.seed, 2], len(adapter.stories), self.config.stories)
            return [("", adapter.stories[i]) for i in chosen]
        openings = [" ".join(text.split()[: self.config.opening_words]) for text in self.texts[split]]
        if adapter.kind == "real":
            return list(zip(openings, self.texts[split], strict=True))
        written = self._generate(adapter, openings, f"{split} openings")
        return None if written is None else [(a, joined(a, b)) for a, b in zip(openings, written, strict=True)]

    def _generate(self, adapter: ModelAdapter, prompts: list[str], what: str) -> list[str] | None:
        self.notify(f"{adapter.name}: stories from {what}", 0, len(prompts))
        written = generate(adapter, prompts, seed=self.config.seed, **self.config.decoding.options())
        if written is not None:
            self.notify(f"{adapter.name}: stories from {what}", len(prompts), len(prompts))
        return written


def computed(name: str, compute: Callable[[Any], Any], given: Any) -> Any:
    """What a metric computes. ConfigError that names the metric for an exception of its own."""
    try:
        return compute(given)
    except (TsEvalError, TsDataError, OSError):
        raise
    except Exception as problem:
        raise ConfigError(f"metric {name}: its compute raised {type(problem).__name__} ({problem}).") from problem


def each_number(name: str, found: Any, count: int) -> list[float | None]:
    """A metric's numbers, one per story. ConfigError that names the metric for anything else."""
    values = list(found) if isinstance(found, Iterable) and not isinstance(found, (str, bytes)) else None
    odd = [x for x in values or () if x is not None and not isinstance(x, Real)]
    if values is None or len(values) != count or odd:
        given = (
            f"one {type(found).__name__}" if values is None else f"a {type(odd[0]).__name__}" if odd else f"{len(values)} numbers"
        )
        raise ConfigError(f"metric {name}: gave {given} for {count} stories; one number for each, or None, is expected.")
    return [None if x is None else float(x) for x in values]


def draw(seed: int | Sequence[int], total: int, count: int) -> list[int]:
    """Numbers of `count` of `total` stories, or of all, ascending."""
    return sorted(np.random.default_rng(seed).choice(total, min(count, total), replace=False).tolist())


def finite(value: float | None) -> float | None:
    """The number; None for NaN and infinity, which JSON does not have."""
    return value if value is not None and math.isfinite(value) else None


def joined(prompt: str, completion: str) -> str:
    """Join prompt and completion; inserts a blank if neither has one and the completion starts with a word."""
    glue = "" if not completion or completion[0].isspace() or not (completion[0].isalnum() or completion[0] in '"“‘(—') else " "
    return (prompt + glue + completion).strip()

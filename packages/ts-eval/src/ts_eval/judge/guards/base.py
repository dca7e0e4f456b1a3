"""Base class of the guards. A subclass overrides the hooks it needs."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from ...schemas import JudgeConfig, Scores

Stage = Literal["before", "after"]
"""When variants of a story are chosen: before its first rating, or after all of its repeats are rated."""


class Guard:
    """One defence. Every hook has a default that does nothing."""

    flag: ClassVar[str] = ""
    """Flag of a story whose variants `rejects`."""
    notes: ClassVar[Mapping[Stage, str]] = {}
    """Stage → what the summary says about the stories whose variants were rated."""

    def __init__(self, config: JudgeConfig) -> None:
        self.config = config

    def wrap(self, story: str, nonce: str) -> str:
        """The story as the prompt shows it. `nonce` is new for each call."""
        return story

    def flags(self, story: str) -> tuple[str, ...]:
        """Flags that the text alone earns. A flagged rating enters no mean."""
        return ()

    def variants(self, story: str, scores: Sequence[Scores] | None) -> list[str]:
        """Texts made from the story that are rated once each. `scores` is None before the story is rated."""
        return []

    def rejects(self, stage: Stage, whole: Sequence[Scores], variant: Scores, tolerance: float) -> bool:
        """Whether a variant's scores show that the story's rating (one entry per repeat) cannot be trusted."""
        return False

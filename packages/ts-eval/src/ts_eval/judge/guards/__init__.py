"""Guards: defences against stories that address the judge.

`GUARDS` maps a name to "module:class", imported on first use. A new guard is one module, one line here and one test.
"""

from __future__ import annotations

from dataclasses import dataclass
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from ...errors import ConfigError

if TYPE_CHECKING:
    from ...schemas import JudgeConfig
    from ..files import Story
    from .base import Guard

GUARDS = {
    "delimiters": "ts_eval.judge.guards.delimiters:Delimiters",
    "flags": "ts_eval.judge.guards.flags:Flags",
    "anomaly": "ts_eval.judge.guards.anomaly:Anomaly",
    "leave_one_out": "ts_eval.judge.guards.leave_one_out:LeaveOneOut",
}
TOO_LONG = "too-long"
"""Flag of a story that is not sent because of its length; no other rule looks at it."""


@dataclass(frozen=True)
class Item:
    """A story with its flags; `unsent` is the reason why it is not sent, None for a story that is."""

    story: Story
    flags: tuple[str, ...]
    unsent: str | None


@dataclass(frozen=True)
class Guards:
    """The guards of a run, in the order of the table."""

    members: tuple[Guard, ...]
    max_characters: int

    def wrap(self, story: str, nonce: str) -> str:
        """The story as the prompt shows it."""
        for guard in self.members:
            story = guard.wrap(story, nonce)
        return story

    def flags(self, story: str) -> tuple[str, ...]:
        """Flags that the text alone earns; empty for an ordinary story."""
        if len(story) > self.max_characters:
            return (TOO_LONG,)
        return tuple(flag for guard in self.members for flag in guard.flags(story))

    def inspect(self, story: Story) -> Item:
        """The story with its flags."""
        from ..backends.base import lone_surrogate  # here, because `--help` should not wait for pydantic

        flags, unsent = self.flags(story.text), None
        if not story.text.strip():
            unsent = "the story is empty"
        elif TOO_LONG in flags:
            unsent = f"longer than {self.max_characters:,} characters, not sent"
        elif (place := lone_surrogate(story.text)) is not None:
            unsent = f"the story contains a lone surrogate (at character {place:,}), not sent"
        return Item(story, flags, unsent)


def make_guards(config: JudgeConfig) -> Guards:
    """The guards that `config.guards` names (all by default). Raises ConfigError for an unknown name."""
    names = list(GUARDS) if config.guards is None else config.guards
    unknown = [name for name in names if name not in GUARDS]
    if unknown:
        raise ConfigError(f"guards: {unknown[0]!r} is unknown; available: {', '.join(GUARDS)}.")
    return Guards(tuple(resolve_name(GUARDS[name])(config) for name in GUARDS if name in names), config.max_characters)

"""The cleaning steps: one rule per module, found by name in STEPS, loaded on use.

A step module holds

- `apply(text) -> str | Drop`, pure: the text, repaired, or a reason to drop the story;
- `TRIGGERS`: short patterns without any of which `apply` gives an ASCII text back unchanged, so that a whole batch
  can be searched at once; `()` for a step that does nothing to plain ASCII (a text with other characters is always
  shown to the step); or `ALWAYS`. A pattern is a sequence of sets of ASCII characters: "--" is a dash and a dash,
  `(BLANK, "-", BLANK)` a dash between blanks. It is looked for in the text as it came: where a step works on single
  blanks, its pattern says BLANK.

A step counts nothing, knows no file and no other step. To add one: a module here, a line in STEPS, its
cases in tests/steps/cases.json, and its place in `schemas.DEFAULT_STEPS` if it should run by default.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches

__all__ = ["ALWAYS", "BLANK", "STEPS", "Drop", "Step", "Trigger", "check_names", "load"]

STEPS: dict[str, str] = {
    "mojibake": "ts_data.steps.mojibake",
    "invisible": "ts_data.steps.invisible",
    "ligatures": "ts_data.steps.ligatures",
    "accents": "ts_data.steps.accents",
    "backslashes": "ts_data.steps.backslashes",
    "stars": "ts_data.steps.stars",
    "quotes": "ts_data.steps.quotes",
    "whitespace": "ts_data.steps.whitespace",
    "paragraphs": "ts_data.steps.paragraphs",
    "ellipses": "ts_data.steps.ellipses",
    "dashes": "ts_data.steps.dashes",
    "quote_space": "ts_data.steps.quote_space",
    "truncated": "ts_data.steps.truncated",
    "empty": "ts_data.steps.empty",
    "non_ascii": "ts_data.steps.non_ascii",
    "short": "ts_data.steps.short",
}
"""Name -> module."""

Trigger = str | tuple[str, ...]

ALWAYS: tuple[Trigger, ...] = ("",)
BLANK = " \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f"
"""The ASCII characters that `str.split` takes for blanks."""


@dataclass(frozen=True)
class Drop:
    """A step's verdict that the story goes; the reason names the step in counts and in removed.parquet."""

    reason: str


@dataclass(frozen=True)
class Step:
    """A loaded step."""

    name: str
    apply: Callable[[str], str | Drop]
    triggers: tuple[Trigger, ...]
    cut_only: bool
    """Runs only on a story that the end of its file has cut (no separator after it)."""


def check_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names, if each is a known step and none stands twice; otherwise ValueError, with the nearest name."""
    for name in names:
        if name not in STEPS:
            near = get_close_matches(name, STEPS, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"no step is called {name!r}.{hint} There are: {', '.join(STEPS)}")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"the step {twice[0]!r} stands twice")
    return names


def load(name: str, *, min_characters: int = 180) -> Step:
    """Load one step by name. `min_characters` is the limit of the step `short`."""
    check_names((name,))
    module = importlib.import_module(STEPS[name])
    apply = module.at_least(min_characters) if name == "short" else module.apply
    return Step(name, apply, module.TRIGGERS, getattr(module, "CUT_ONLY", False))

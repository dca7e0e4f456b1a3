"""The cleaning steps: one rule per module, found by name in STEPS, loaded on use.

A step module holds

- `apply(text) -> str | Drop`, pure: the text, repaired, or a reason to drop the story;
- `TRIGGERS`: short patterns without any of which `apply` gives an ASCII text back unchanged, so that a whole batch
  can be searched at once; `()` for a step that does nothing to plain ASCII (a text with other characters is always
  shown to the step); or `ALWAYS`. A pattern is a sequence of sets of ASCII characters: "--" is a dash and a dash,
  `(BLANK, "-", BLANK)` a dash between blanks. It is looked for in the text as it came: where a step works on single
  blanks, its pattern says BLANK.

A step that is shown every story (ALWAYS) tells, to be fast, what it does to a plain one, which is ASCII without any trigger:

- `SPARES`: from so many characters on, without blanks at the ends, nothing; or
- `apply_all(content, ends)`: what `apply` does to each of many of them, at once.

A step counts nothing, knows no file and no other step. To add one: a module here, a line in STEPS, its
cases in tests/steps/cases.json, and its place in `schemas.DEFAULT_STEPS` if it should run by default.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

__all__ = ["ALWAYS", "BLANK", "STEPS", "ApplyAll", "Drop", "Step", "Trigger", "check_names", "load"]

STEPS: dict[str, str] = {
    "html": "ts_data.cleaning.rules.html",
    "mojibake": "ts_data.cleaning.rules.mojibake",
    "invisible": "ts_data.cleaning.rules.invisible",
    "ligatures": "ts_data.cleaning.rules.ligatures",
    "accents": "ts_data.cleaning.rules.accents",
    "backslashes": "ts_data.cleaning.rules.backslashes",
    "stars": "ts_data.cleaning.rules.stars",
    "quotes": "ts_data.cleaning.rules.quotes",
    "whitespace": "ts_data.cleaning.rules.whitespace",
    "paragraphs": "ts_data.cleaning.rules.paragraphs",
    "ellipses": "ts_data.cleaning.rules.ellipses",
    "dashes": "ts_data.cleaning.rules.dashes",
    "quote_sides": "ts_data.cleaning.rules.quote_sides",
    "quote_space": "ts_data.cleaning.rules.quote_space",
    "truncated": "ts_data.cleaning.rules.truncated",
    "empty": "ts_data.cleaning.rules.empty",
    "non_ascii": "ts_data.cleaning.rules.non_ascii",
    "short": "ts_data.cleaning.rules.short",
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


ApplyAll = Callable[["np.ndarray", "np.ndarray"], tuple["np.ndarray", "np.ndarray", "np.ndarray"]]
"""Many texts' bytes and where each ends -> the same, changed, and which texts have changed; see `whitespace.apply_all`."""


@dataclass(frozen=True)
class Step:
    """A loaded step."""

    name: str
    apply: Callable[[str], str | Drop]
    triggers: tuple[Trigger, ...]
    cut_only: bool
    """Runs only on a story that the end of its file has cut (no separator after it)."""
    spares: int | None = None
    """Characters from which a plain text comes back as it is; None: it may be changed whatever its length."""
    apply_all: ApplyAll | None = None
    """`apply` to many plain texts at once."""


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
    is_short = name == "short"
    return Step(
        name,
        module.at_least(min_characters) if is_short else module.apply,
        module.TRIGGERS,
        cut_only=getattr(module, "CUT_ONLY", False),
        spares=min_characters if is_short else getattr(module, "SPARES", None),
        apply_all=getattr(module, "apply_all", None),
    )

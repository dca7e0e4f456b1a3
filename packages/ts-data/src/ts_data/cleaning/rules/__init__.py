"""The cleaning rules, found by name in RULES, loaded on use.

A rule is a pure function `(text) -> str | Drop`: the repaired text, or a verdict that drops the story. A rule with parameters is a
class instead (`base.ParametricRule`), whose fields are the parameters. A rule counts nothing, opens no file and knows no other rule.

To add one: a function or class in a module here, a line in RULES, and its cases in tests/cleaning/. `PrepareConfig.steps` names the rules that run, in order;
`schemas.DEFAULT_STEPS` those that run by default.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Drop:
    """A rule's verdict that drops the story. `reason` is the rule's name; counts and removed.parquet use it."""

    reason: str


Apply = Callable[[str], str | Drop]
AtOnce = Callable[["np.ndarray", "np.ndarray"], tuple["np.ndarray", "np.ndarray", "np.ndarray"]]

NON_ASCII = r"[^\x00-\x7f]"
_BLANK = r"[\s\x0b\x1c-\x1f]"  # what str.split takes for a blank in ASCII; RE2's \s holds only some of it


@dataclass(frozen=True)
class Rule:
    """A line of RULES."""

    target: str | Callable[..., Any]
    """`"module:name"` of the function or of the class with parameters, or the object itself."""

    hint: str | None = None
    """A regular expression (RE2 syntax): the rule returns an ASCII story without a match unchanged. The cleaner searches all hints at
    once and skips the rules for most stories. The hint is searched in the raw text, so it must allow any blank for a blank.
    None: the rule sees every story. A story with a character beyond ASCII goes through all rules in any case."""

    blanks_only: bool = False
    """The rule replaces or removes blanks and nothing else, so that a hint that did not match before does not match after it."""

    at_once: str | None = None
    """`"module:function"` that applies the rule to the bytes of many ASCII stories at once; see `blanks.whitespace_at_once`. Optional, for
    speed, for a `blanks_only` rule that changes most stories."""

    enough: str | None = None
    """The parameter that is a number of characters from which the rule returns a story unchanged, whatever it is. Optional, for speed."""

    cut_only: bool = False
    """The rule runs only on a story that the end of its file has cut, because no separator follows it."""


RULES: dict[str, Rule] = {
    "html": Rule("ts_data.cleaning.rules.html:apply", hint="[<&]"),
    "mojibake": Rule("ts_data.cleaning.rules.mojibake:apply", hint=NON_ASCII),
    "invisible": Rule("ts_data.cleaning.rules.invisible:apply", hint=r"[\x00-\x08\x0e-\x1b\x7f]"),
    "ligatures": Rule("ts_data.cleaning.rules.letters:ligatures", hint=NON_ASCII),
    "accents": Rule("ts_data.cleaning.rules.letters:accents", hint=NON_ASCII),
    "backslashes": Rule("ts_data.cleaning.rules.backslashes:apply", hint=r"\\"),
    "stars": Rule("ts_data.cleaning.rules.stars:apply", hint=r"\*"),
    "quotes": Rule("ts_data.cleaning.rules.quotes:straight", hint="`|''"),
    "whitespace": Rule(
        "ts_data.cleaning.rules.blanks:whitespace", blanks_only=True, at_once="ts_data.cleaning.rules.blanks:whitespace_at_once"
    ),
    "paragraphs": Rule("ts_data.cleaning.rules.blanks:paragraphs", blanks_only=True),
    "ellipses": Rule("ts_data.cleaning.rules.ellipses:apply", hint=rf"\.{_BLANK}*\."),
    "dashes": Rule("ts_data.cleaning.rules.dashes:apply", hint=f"--|{_BLANK}-{_BLANK}"),
    "quote_sides": Rule("ts_data.cleaning.rules.quotes:sides", hint=f'{_BLANK}"{_BLANK}'),
    "quote_space": Rule("ts_data.cleaning.rules.quotes:spaces", hint=',"[A-Za-z]'),
    "truncated": Rule("ts_data.cleaning.rules.drops:truncated", cut_only=True),
    "empty": Rule("ts_data.cleaning.rules.drops:empty", hint=rf"^{_BLANK}*$"),
    "non_ascii": Rule("ts_data.cleaning.rules.drops:non_ascii", hint=NON_ASCII),
    "short": Rule("ts_data.cleaning.rules.drops:Short", enough="min_characters"),
}
"""Name → rule."""


def check_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names if each is a known rule and none is listed twice; raise ValueError with the nearest name otherwise."""
    for name in names:
        if name not in RULES:
            near = get_close_matches(name, RULES, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"no cleaning rule is called {name!r}.{hint} Known: {', '.join(RULES)}")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"the rule {twice[0]!r} is listed twice")
    return names


def load(name: str, parameters: Mapping[str, Any] | None = None) -> Apply:
    """Load a rule; `parameters` are the fields of a class, None its defaults."""
    check_names((name,))
    target = _imported(RULES[name].target)
    apply: Apply = target(**parameters or {}) if isinstance(target, type) else target
    return apply


def parameters_of(name: str) -> dict[str, Any]:
    """The parameters of a rule: name → pydantic's description of the field. Empty for a plain function."""
    check_names((name,))
    return dict(getattr(_imported(RULES[name].target), "model_fields", {}))


def load_at_once(name: str) -> AtOnce:
    """The function for many stories of a rule that has one."""
    found: AtOnce = _imported(RULES[name].at_once)
    return found


@cache
def _imported(target: Any) -> Any:
    return resolve_name(target) if isinstance(target, str) else target

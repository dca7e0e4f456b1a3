"""Damages stories in one respect by a known amount, to test whether a judge's ratings in that category fall.

Each kind of damage leaves the other categories unchanged as far as possible: misspelled words keep their places, wrong forms are
spelled correctly, inserted sentences are whole.
"""

import random
import re
from collections.abc import Callable

from ..packaged import packaged_toml
from ..schemas import Category

AMOUNTS = (0.0, 0.1, 0.25, 0.5)
"""Share of words (spelling, grammar) or sentences (coherence) that are damaged."""


def base_stories() -> list[str]:
    """Packaged stories without faults; none of them is in a prompt."""
    return list(packaged_toml(__package__, "base_stories.toml")["stories"])


def damaged(story: str, kind: str, amount: float, *, others: list[str], seed: int = 1) -> str:
    """The story with the share `amount` (0–1) damaged. With one seed, larger amounts include the damage of smaller ones.

    `others` are the stories that sentences are inserted from. Raises KeyError for an unknown kind.
    """
    function = DAMAGES[kind][0]
    return function(story, amount, random.Random(f"{seed}{story}"), others) if amount > 0 else story


def _coherence(story: str, amount: float, draw: random.Random, others: list[str]) -> str:
    """Replaces sentences by sentences of other stories."""
    rows = re.split(r"(?<=[.!?][\"”])\s+|(?<=[.!?])\s+", story)
    foreign = [s for other in others if other != story for s in re.split(r"(?<=[.!?])\s+", other) if s]
    places = list(range(1, len(rows)))
    draw.shuffle(places)
    draws = {place: draw.choice(foreign) for place in places}
    for place in places[: max(1, round(amount * len(rows)))]:
        rows[place] = draws[place]
    return " ".join(rows)


DAMAGES: dict[str, tuple[Callable[[str, float, random.Random, list[str]], str], Category]] = {
    "grammar": (lambda story, amount, draw, _: _some_words(story, amount, draw, _form, share_of_changeable=True), "grammar"),
    "spelling": (lambda story, amount, draw, _: _some_words(story, amount, draw, lambda w: _misspelled(w, draw)), "spelling"),
    "coherence": (_coherence, "consistency"),
}
"""Kind → (function, category that must fall)."""


def _some_words(
    story: str, amount: float, draw: random.Random, change: Callable[[str], str | None], *, share_of_changeable: bool = False
) -> str:
    parts = re.split(r"([A-Za-z]+)", story)
    changes = {i: new for i in range(1, len(parts), 2) if (new := change(parts[i])) is not None}
    order = sorted(changes)
    draw.shuffle(order)
    total = len(changes) if share_of_changeable else len(parts) // 2
    for i in order[: max(1, round(amount * total))]:
        parts[i] = changes[i]
    return re.sub(r"  +", " ", "".join(parts))


def _misspelled(word: str, draw: random.Random) -> str | None:
    """The word with two adjacent letters swapped, one dropped or one doubled, never the first. None for fewer than four letters."""
    if len(word) < 4:
        return None
    i = draw.randrange(1, len(word) - 1)
    swapped = word[:i] + word[i + 1] + word[i] + word[i + 2 :]
    return draw.choice(
        [swapped if swapped != word else word[:i] + word[i + 1 :], word[:i] + word[i + 1 :], word[:i] + word[i] + word[i:]]
    )


def _form(word: str) -> str | None:
    other: str | None = packaged_toml(__package__, "base_stories.toml")["forms"].get(word.lower())
    if other is None:
        return None
    return other.capitalize() if word[0].isupper() and other else other

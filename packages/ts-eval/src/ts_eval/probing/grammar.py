"""Grammar of the minimal pairs: reads `phenomena.toml` and draws pairs of a right and a wrong sentence.

Each draw gives two pairs: with contexts A, B and targets a, b, the pairs are (A…a, A…b) and (B…b, B…a). A score that does not
see context and target together prefers the same target in both contexts, so it is right in exactly one of the two: length,
unigrams, and n-grams that are shorter than the distance of context and target score 50 %.
"""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from ..errors import ConfigError
from ..packaged import packaged_toml

_TOKEN = re.compile(r"\w+(?:'\w+)?|[^\w\s]")
_SLOT = re.compile(r"\{([a-z]+)(\d?)\}")
_TRIES = 20
"""Draws for each wanted pair before a phenomenon counts as too small."""


@dataclass(frozen=True)
class Pair:
    """Two sentences that differ in one place; `good` is right."""

    good: str
    bad: str


@dataclass(frozen=True)
class Phenomenon:
    """One kind of minimal pairs."""

    name: str
    title: str
    group: str
    frames: tuple[str, ...]
    options: tuple[str, ...]

    @property
    def local(self) -> bool:
        """Whether context and target lie within three tokens in some frame, so that a trigram model sees both."""
        return any(_distance(frame) < 3 for frame in self.frames)


@cache
def phenomena() -> dict[str, Phenomenon]:
    """Name → phenomenon, in the order of the file."""
    return {
        name: Phenomenon(name, entry["title"], entry["group"], tuple(entry["frames"]), tuple(entry["options"]))
        for name, entry in packaged_toml(__package__, "phenomena.toml").items()
        if name != "words"
    }


def draw_pairs(phenomenon: Phenomenon, count: int, seed: int = 1) -> list[Pair]:
    """`count` different pairs (rounded up to even). The two pairs of a draw follow each other. Raises ConfigError for too many."""
    draw = random.Random(f"{seed} {phenomenon.name}")
    found: dict[Pair, None] = {}
    for _ in range(_TRIES * count):
        if len(found) >= count:
            return list(found)
        two = _two_pairs(phenomenon, draw)
        if not any(pair in found for pair in two):
            found.update(dict.fromkeys(two))
    raise ConfigError(f"pairs: {phenomenon.name} gives about {len(found)} different pairs, {count} are wanted. Ask for fewer.")


def tokens(text: str) -> list[str]:
    """Lower-case words and single signs."""
    return _TOKEN.findall(text.lower())


def _two_pairs(phenomenon: Phenomenon, draw: random.Random) -> tuple[Pair, Pair]:
    frame, option = draw.choice(phenomenon.frames), draw.choice(phenomenon.options)
    words = _drawn(frame + option, draw)
    (one, a), (two, b) = (side.strip().split(" > ") for side in option.split(" / "))

    def sentence(context: str, target: str) -> str:
        c, _, d = context.partition(" & ")
        filled = frame.replace("{c}", c).replace("{d}", d).replace("{t}", target)
        return _SLOT.sub(lambda match: words[match[0]], filled)

    return Pair(sentence(one, a), sentence(one, b)), Pair(sentence(two, b), sentence(two, a))


def _drawn(text: str, draw: random.Random) -> dict[str, str]:
    """A word for each slot; slots of one list get different words."""
    slots: dict[str, list[str]] = {}
    for match in _SLOT.finditer(text):
        if match[1] not in {"c", "d", "t"} and match[0] not in slots.setdefault(match[1], []):
            slots[match[1]].append(match[0])
    lists: Mapping[str, Sequence[str]] = packaged_toml(__package__, "phenomena.toml")["words"]
    return {
        slot: word for name, some in slots.items() for slot, word in zip(some, draw.sample(lists[name], len(some)), strict=True)
    }


def _distance(frame: str) -> int:
    """Tokens from the nearest context to the target; adjacent tokens have distance 1."""
    marked = tokens(_SLOT.sub(lambda m: f" qq{m[1]} " if m[1] in {"c", "d", "t"} else " x ", frame))
    places = [(i, token) for i, token in enumerate(marked) if token in {"qqc", "qqd", "qqt"}]
    return min(b - a for (a, one), (b, two) in pairwise(places) if "qqt" in {one, two})

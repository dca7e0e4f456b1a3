"""The embedded default corpus: as many stories as asked, from a seed. For first runs, tests and benchmarks only."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

from ._grammar import story
from ._impurities import DUPLICATES, damage
from .artefact import write_file
from .errors import ConfigError

__all__ = ["sample", "write_sample"]

SEPARATOR = "<|endoftext|>"


def sample(stories: int, seed: int = 1, impurities: bool = False) -> Iterator[str]:
    """Yield generated children's stories; the same seed gives the same stories, and more of them continue the row.

    `impurities` adds the defects of the published files at their rates: 15.13 % exact copies of an earlier story,
    mojibake, invisible characters, short and empty stories and so on.

    >>> first, second = sample(2, seed=1)
    >>> len(first) > 180
    True
    """
    if stories < 1:
        raise ConfigError(f"stories: {stories}; ask for at least one.")
    return (_damaged(seed, number) if impurities else story(seed, number) for number in range(stories))


def _damaged(seed: int, number: int) -> str:
    """Story `number` with its damage; a copy follows its chain of originals."""
    while True:
        dice = random.Random(f"{seed}/{number}/damage")
        if number == 0 or dice.random() >= DUPLICATES:
            return damage(story(seed, number), dice)
        number = dice.randrange(number)


def write_sample(out: str | os.PathLike[str], stories: int, seed: int = 1, impurities: bool = False) -> int:
    """Write the stories to a text file in the layout of TinyStories-train.txt; returns its size in bytes."""
    with write_file(out) as aside:
        with aside.open("w", encoding="utf-8", newline="\n") as handle:
            for text in sample(stories, seed, impurities):
                handle.write(f"{text}\n{SEPARATOR}\n")
        return aside.stat().st_size

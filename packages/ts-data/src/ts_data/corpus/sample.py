"""The embedded default corpus: any number of stories from a seed. For first runs, tests and benchmarks only."""

import filecmp
import random
from collections.abc import Iterator

from ..artefact import StrPath, lock, need_space, resolve_target, write_file
from ..errors import ConfigError
from ..schemas import whole_number
from .grammar import story
from .impurities import DUPLICATES, damage

SEPARATOR = "<|endoftext|>"
BYTES = 600
"""A story in the file, on average a little more."""


def sample(stories: int, seed: int = 1, impurities: bool = False) -> Iterator[str]:
    """Yield generated children's stories. The same seed gives the same stories; a larger number only adds stories.

    `impurities` adds the defects of the published files at their rates: 15.13 % exact copies of an earlier story,
    mojibake, invisible characters, short and empty stories and so on.

    >>> first, second = sample(2, seed=1)
    >>> len(first) > 180
    True
    """
    count, root = whole_number(stories), whole_number(seed)
    if count is None or root is None:
        name, value = ("stories", stories) if count is None else ("seed", seed)
        raise ConfigError(f"{name}: a whole number is expected, not {value!r}.")
    if count < 1:
        raise ConfigError(f"stories: at least one is needed, not {count}.")
    return (_damaged(root, number) if impurities else story(root, number) for number in range(count))


def _damaged(seed: int, number: int) -> str:
    """Story `number` with its damage; a copy follows its chain of originals."""
    while True:
        dice = random.Random(f"{seed}/{number}/damage")
        if number == 0 or dice.random() >= DUPLICATES:
            return damage(story(seed, number), dice)
        number = dice.randrange(number)


def write_sample(out: StrPath, stories: int, seed: int = 1, impurities: bool = False, *, force: bool = False) -> int:
    """Write the stories to a text file in the layout of TinyStories-train.txt; returns its size in bytes.

    Raises ConfigError if `out` is a file with other content, unless `force`: it may hold real stories.
    """
    texts = sample(stories, seed, impurities)
    target = resolve_target(out)
    need_space(target, stories * BYTES, "the file", error=ConfigError)
    with lock(target, error=ConfigError), write_file(target) as aside:
        with aside.open("w", encoding="utf-8", newline="\n") as handle:
            for text in texts:
                handle.write(f"{text}\n{SEPARATOR}\n")
        if not force and target.is_file() and target.stat().st_size and not filecmp.cmp(aside, target, shallow=False):
            raise ConfigError(
                f"{out}: exists and holds something else; it is left alone. Name a new file, or replace it: --force"
            )
        return aside.stat().st_size

"""Stories by the million for the benches of ts-eval: sentences of given stories, put together anew from a seed."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np

__all__ = ["Recombined", "read", "versions"]


def read(data: Path | None) -> list[str]:
    """The stories of a file separated by <|endoftext|>, or of the generated sample corpus."""
    if data is not None:
        return [s.strip() for s in data.read_text(encoding="utf-8").split("<|endoftext|>") if s.strip()]
    import ts_data

    return list(ts_data.sample(2300, seed=1))


class Recombined:
    """A sequence of `count` stories; story i is made from seed and i, so that nothing is held in memory.

    Each story takes the sentence lengths of one real story, and its n-th sentence from any story's n-th place.
    """

    def __init__(self, stories: list[str], count: int, seed: int = 1) -> None:
        rows = [re.split(r"(?<=[.!?\"])\s+", story) for story in stories]
        longest = max(map(len, rows))
        self.places = [[row[i] for row in rows if len(row) > i] for i in range(longest)]
        self.lengths = np.array([len(row) for row in rows])
        self.count, self.seed = count, seed

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> str:
        return self._block(index // 1000)[index % 1000]

    def __iter__(self) -> Iterator[str]:
        for block in range(-(-self.count // 1000)):
            yield from self._block(block)[: self.count - block * 1000]

    def _block(self, block: int) -> list[str]:
        rng = np.random.default_rng([self.seed, block])
        sizes = rng.choice(self.lengths, 1000).tolist()
        draws = (rng.random(sum(sizes)) * (1 << 30)).astype(int).tolist()
        at, made = 0, []
        for size in sizes:
            made.append(" ".join(self.places[i][draws[at + i] % len(self.places[i])] for i in range(size)))
            at += size
        return made


def versions(*packages: str) -> str:
    """One line that says what was measured with what."""
    found = ", ".join(f"{package} {version(package)}" for package in packages)
    return f"python {platform.python_version()}, {found}, {platform.machine()}"

"""The longest run of words that a text shares with any story, found by running all stories through a suffix automaton."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .. import fast
from ..texts import runs
from .automaton import Automaton, Found, read_back
from .build import Array, Arrays

RARE = 0.005
"""A template masks words that stand in fewer than this share of the stories."""


@dataclass(frozen=True, slots=True)
class Span:
    """The longest run of words that a text shares with a training story.

    `start` and `words` count the text's own words, of which there are `total`; `text` is the run as written in the text; `index` is
    the first story that holds it (-1: none); `count` is the number of its occurrences in all stories.
    """

    words: int
    start: int
    text: str
    index: int
    count: int
    total: int


class SpanSearch:
    """Runs of words in common, exact or with names and rare words masked."""

    def __init__(self, arrays: Arrays, words: dict[str, int]) -> None:
        self.arrays, self.words = arrays, words
        self.stories = len(arrays.offsets) - 1

    def longest(self, texts: Sequence[str], left_out: Array, template: bool) -> list[Span]:
        """The longest span of each text; `left_out[i]` is a story not to search for text i (-1: none)."""
        classes, unknown = self._template if template else (np.arange(len(self.words)), -1)
        words = [runs(text) for text in texts]
        kinds = [[int(classes[self.words[w]]) if w in self.words else unknown for w in line] for line in words]
        used = {kind: i for i, kind in enumerate(sorted({k for line in kinds for k in line if k >= 0}))}
        table = np.full(len(self.words) + 1, -1, np.int32)
        for kind, i in used.items():
            table[kind] = i
        number = table[classes] if len(classes) else np.full(1, -1, np.int32)
        machine = Automaton([[used.get(kind, -1) for kind in line] for line in kinds], max(1, len(used)))
        alone = sorted({int(i) for i in left_out if i >= 0})
        scans = self._scan(machine, number, alone)
        skipped = [len(scans) - len(alone) + alone.index(int(i)) if i >= 0 else -1 for i in left_out]
        found = read_back(machine, scans, skipped)
        return [_span(text, len(line), f) for text, line, f in zip(texts, words, found, strict=True)]

    def _scan(self, machine: Automaton, number: Array, alone: list[int]) -> list[tuple[Array, ...]]:
        """All stories except `alone` in threads, then each of `alone` by itself."""
        a, m, scan = self.arrays, machine, fast.load_kernels().scan_spans
        fixed = (a.stream, a.offsets, number, m.root, m.edge, m.edge_word, m.edge_to, m.link, m.length)
        skip, none = np.array(alone, np.int64), np.zeros(0, np.int64)
        scans: list[tuple[Array, ...]] = fast.in_threads(lambda i, j: scan(*fixed, skip, i, j), self.stories)
        return scans + [scan(*fixed, none, s, s + 1) for s in alone]

    @cached_property
    def _template(self) -> tuple[Array, int]:
        """Class per word: itself, or one common class for names, rare words and unknown words."""
        masked = self.arrays.df < RARE * self.stories
        masked[[self.words[name] for name in self.arrays.names if name in self.words]] = True
        return np.where(masked, len(self.words), np.arange(len(self.words))), len(self.words)


def _span(text: str, total: int, found: Found) -> Span:
    start = found.end - found.words
    lower = text.lower()
    places = [m.span() for m in re.finditer(r"\w+", lower)]
    source = text if len(text) == len(lower) else lower
    stretch = source[places[start][0] : places[found.end - 1][1]] if found.words else ""
    return Span(found.words, start, stretch, found.story, found.count, total)

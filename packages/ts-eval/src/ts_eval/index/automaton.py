"""A suffix automaton of several queries, which recognises every run of words of any of them, stored as arrays.

Built in Python (queries are few), run by the kernels over the whole stream, read back per query here.
After Blumer et al. 1985, in the form for several words. It knows no stories and no files.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Found:
    """The longest run of one query: `words` of them that end before `end`; the first story with it; its occurrences."""

    words: int
    end: int
    story: int
    count: int


class Automaton:
    """States 0 … n - 1; state 0 is the empty run. `paths[q]` holds the state after each word of query q."""

    def __init__(self, queries: Sequence[Sequence[int]], words: int) -> None:
        self.next: list[dict[int, int]] = [{}]
        self.links = [-1]
        self.lengths = [0]
        for query in queries:
            last = 0
            for word in query:
                last = self._extend(last, word) if word >= 0 else 0
        self.paths = [self._path(query) for query in queries]
        self.root = np.full(words, -1, np.int32)
        for word, to in self.next[0].items():
            self.root[word] = to
        rows = [sorted(edges.items()) for edges in self.next]
        self.edge = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
        flat = [pair for row in rows for pair in row]
        self.edge_word = np.array([w for w, _ in flat], np.int32)
        self.edge_to = np.array([to for _, to in flat], np.int32)
        self.link = np.array(self.links, np.int32)
        self.length = np.array(self.lengths, np.int32)

    def _state(self, length: int, link: int, edges: dict[int, int]) -> int:
        self.next.append(edges)
        self.links.append(link)
        self.lengths.append(length)
        return len(self.next) - 1

    def _extend(self, last: int, word: int) -> int:
        known = self.next[last].get(word)
        if known is not None:  # an earlier query has this transition
            return known if self.lengths[known] == self.lengths[last] + 1 else self._split(last, word, known)
        new = self._state(self.lengths[last] + 1, 0, {})
        at = last
        while at != -1 and word not in self.next[at]:
            self.next[at][word] = new
            at = self.links[at]
        if at != -1:
            known = self.next[at][word]
            fits = self.lengths[known] == self.lengths[at] + 1
            self.links[new] = known if fits else self._split(at, word, known)
        return new

    def _split(self, at: int, word: int, known: int) -> int:
        clone = self._state(self.lengths[at] + 1, self.links[known], dict(self.next[known]))
        while at != -1 and self.next[at].get(word) == known:
            self.next[at][word] = clone
            at = self.links[at]
        self.links[known] = clone
        return clone

    def _path(self, query: Sequence[int]) -> list[int]:
        path, at = [], 0
        for word in query:
            at = self.next[at][word] if word >= 0 else 0
            path.append(at)
        return path


def read_back(machine: Automaton, scans: Sequence[tuple[Array, ...]], left_out: Sequence[int]) -> list[Found]:
    """The longest run per query over all scans except number `left_out[q]` (-1: over all)."""
    best, story, count = _settle(machine, scans)
    found = []
    for path, out in zip(machine.paths, left_out, strict=True):
        rows = np.arange(len(scans)) != out
        found.append(_longest(machine, path, best[rows], story[rows], count[rows]))
    return found


def _settle(machine: Automaton, scans: Sequence[tuple[Array, ...]]) -> tuple[Array, Array, Array]:
    """Propagate visits along the suffix links: a run that ends in a state also ends in all states on its link path.

    Returns [scans, states]: the longest run in each state, the first story with it, and its occurrences.
    """
    longest, where, at_longest, visits, earliest = (np.stack([scan[i] for scan in scans]) for i in range(5))
    earliest = np.where(visits > 0, earliest, NEVER)
    below, first_below = np.zeros_like(visits), np.full_like(earliest, NEVER)
    link = machine.link
    for v in np.argsort(-machine.length, kind="stable")[:-1]:
        if (total := visits[:, v] + below[:, v]).any():
            below[:, link[v]] += total
            first_below[:, link[v]] = np.minimum(first_below[:, link[v]], np.minimum(earliest[:, v], first_below[:, v]))
    full = longest == machine.length
    through = below > 0
    best = np.where(through, machine.length, longest)
    count = np.where(through, below + np.where(full, at_longest, 0), at_longest)
    story = np.where(through, np.where(full & (longest > 0), np.minimum(where, first_below), first_below), where)
    return best, story, count


def _longest(machine: Automaton, path: list[int], best: Array, story: Array, count: Array) -> Found:
    top, found = 0, Found(0, 0, -1, 0)
    over_all = best.max(axis=0)
    seen: dict[int, int] = {}  # state without a visit → the state that its links lead to: a word 5,000 times is 5,000 links deep
    for end, at in enumerate(path, 1):
        passed = []
        while at > 0 and over_all[at] == 0:
            passed.append(at)
            at = seen.get(at, machine.links[at])
        seen.update(dict.fromkeys(passed, at))
        if at > 0 and over_all[at] > top:
            top = int(over_all[at])
            rows = best[:, at] == top
            found = Found(top, end, int(story[rows, at].min()), int(count[rows, at].sum()))
    return found

"""spaCy's tokenizer algorithm in time linear in the length of a chunk.

spaCy searches the rest of a chunk for a prefix and a suffix after each mark that it splits off: 16,000 exclamation marks take
16 s. Apart from runs of periods, the patterns match only a few characters at either end, so each search here is limited to
`WINDOW` characters. The steps and their order are those of `spacy.tokenizer.Tokenizer`. Valid for the patterns in
`pinned.PROVEN`: `tests/test_linear.py` checks their widths and compares the results with spaCy's.
"""

import re
from collections.abc import Mapping, Sequence

from ..schemas import RulesSpec

LONG = 128
"""Chunks longer than this many characters use this module instead of spaCy."""

WINDOW = 16
"""Wider than any prefix or suffix with its context, other than a run of periods."""

_RUNS = re.compile(r"\S+|\s+")
_USER = r"(?:\S+(?::\S*)?@)?"
_USER_LINEAR = r"(?:\S+@)?"
"""The user part of a web address without nested repetition; both patterns accept the same strings."""


def has_long_chunk(text: str) -> bool:
    """Whether the text has a chunk for which spaCy would be slow."""
    return len(text) > LONG and max(map(len, text.split()), default=0) > LONG


class LinearTokenizer:
    """The tokens of spaCy's `Tokenizer` for pinned rules.

    `split_cases` maps each special case that spaCy's matcher looks for to its tokens under the patterns alone.
    """

    def __init__(self, spec: RulesSpec, split_cases: Mapping[str, Sequence[str]]) -> None:
        self._prefix = re.compile(spec.prefix).match  # each alternative begins with "^", so that `match` is `search`
        self._suffix = re.compile(spec.suffix).search
        self._infixes = re.compile(spec.infix).finditer
        self._url = re.compile((spec.url_match or "(?!)").replace(_USER, _USER_LINEAR)).match
        self._cases = spec.exceptions
        self._longest = max(map(len, spec.exceptions), default=0)
        self._split_cases = set(map(tuple, split_cases.values()))
        self._most: dict[str, int] = {}  # first token → tokens of the longest case that begins with it
        for case in self._split_cases:
            self._most[case[0]] = max(len(case), self._most.get(case[0], 0))

    @classmethod
    def looked_for(cls, spec: RulesSpec) -> list[str]:
        """The special cases that spaCy's matcher searches for in a whole text."""
        patterns = [re.compile(pattern).search for pattern in (spec.prefix, spec.suffix, spec.infix)]
        return [case for case in spec.exceptions if " " in case or any(search(case) for search in patterns)]

    def split(self, text: str) -> list[str]:
        """The tokens of a whole text."""
        tokens: list[str] = []
        spaced: list[bool] = []
        for run in _RUNS.findall(text):
            if run[0] == " " and tokens:
                spaced[-1] = True
                run = run[1:]
            if run:
                tokens += self._split_chunk(run)
                spaced += [False] * (len(tokens) - len(spaced))
        return self._merge_cases(tokens, spaced)

    # --- one chunk ---------------------------------------------------------------------------

    def _is_case(self, chunk: str, start: int, end: int) -> bool:
        return 0 < end - start <= self._longest and chunk[start:end] in self._cases

    def _split_chunk(self, chunk: str) -> list[str]:
        """Prefixes, the middle, suffixes, as `Tokenizer._split_affixes` and `_attach_tokens` find them."""
        start, end, before = 0, len(chunk), -1
        prefixes: list[str] = []
        suffixes: list[str] = []
        while start < end and end - start != before and not self._is_case(chunk, start, end):
            before = end - start
            inner = start + self._prefix_length(chunk, start, end)
            if inner > start:
                prefixes.append(chunk[start:inner])
                if self._is_case(chunk, inner, end):
                    start = inner
                    break
            outer = end - self._suffix_length(chunk, inner, end)
            if outer < end and self._is_case(chunk, start, outer):
                if inner > start:
                    prefixes.pop()  # spaCy looks for the case with the prefix still on it
                suffixes.append(chunk[outer:end])
                end = outer
                break
            if outer < end:
                suffixes.append(chunk[outer:end])
            start, end = inner, outer
        return [*prefixes, *self._split_middle(chunk[start:end]), *reversed(suffixes)]

    def _prefix_length(self, chunk: str, start: int, end: int) -> int:
        stop = min(end, start + WINDOW)
        while stop < end and chunk[stop - 1] == "." == chunk[stop]:
            stop += 1
        found = self._prefix(chunk[start:stop])
        return found.end() if found else 0

    def _suffix_length(self, chunk: str, start: int, end: int) -> int:
        begin = max(start, end - WINDOW)
        while begin > start and chunk[begin] == "." == chunk[begin - 1]:
            begin -= 1
        found = self._suffix(chunk[begin:end])
        return found.end() - found.start() if found else 0

    def _split_middle(self, middle: str) -> list[str]:
        if not middle:
            return []
        if middle in self._cases:
            return self._cases[middle]
        if self._url(middle):
            return [middle]
        tokens: list[str] = []
        start = 0
        for infix in self._infixes(middle):
            if infix.start() == 0:
                continue
            tokens += [middle[start : infix.start()], infix.group()]
            start = infix.end()
        return [token for token in [*tokens, middle[start:]] if token]

    # --- special cases in the whole text -----------------------------------------------------

    def _merge_cases(self, tokens: list[str], spaced: list[bool]) -> list[str]:
        """Replace matched spans by the tokens of their special case, as `Tokenizer._apply_special_cases` does."""
        out: list[str] = []
        at = 0
        for start, end in self._spans(tokens):
            inside = "".join(token + " " * blank for token, blank in zip(tokens[start : end - 1], spaced[start:], strict=False))
            own = self._cases.get(inside + tokens[end - 1], tokens[start:end])
            out += [*tokens[at:start], *own]
            at = end
        return [*out, *tokens[at:]]

    def _spans(self, tokens: Sequence[str]) -> list[tuple[int, int]]:
        """Non-overlapping spans of special cases in text order; longer spans win, then earlier ones."""
        found = [
            (start, end)
            for start, token in enumerate(tokens)
            for end in range(start + 1, min(start + self._most.get(token, 0), len(tokens)) + 1)
            if tuple(tokens[start:end]) in self._split_cases
        ]
        chosen = []
        seen: set[int] = set()
        for start, end in sorted(found, key=lambda span: (span[0] - span[1], span[0])):
            if start not in seen and end - 1 not in seen:
                chosen.append((start, end))
            seen.update(range(start, end))
        return sorted(chosen)

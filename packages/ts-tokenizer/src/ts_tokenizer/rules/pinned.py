"""spaCy's English rules, stored as data and rebuilt into spaCy's Tokenizer. No other module imports spaCy."""

import hashlib
import itertools
import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from ..schemas import RulesSpec
from .linear import LONG, LinearTokenizer, has_long_chunk

PROVEN = frozenset({"c75a06d143966f8e5e20fd8409bc0ea0b64df4ee8531dc7826c5877c1f70050a"})
"""Fingerprints of the patterns for which `plain_words` and `linear` are proven to equal spaCy: those of spaCy 3.8."""


def fingerprint(spec: RulesSpec) -> str:
    """SHA-256 of the patterns, without the special cases."""
    patterns = (spec.prefix, spec.suffix, spec.infix, spec.token_match, spec.url_match)
    return hashlib.sha256("\0".join(str(pattern) for pattern in patterns).encode("utf-8")).hexdigest()


def pin() -> RulesSpec:
    """The rules of `spacy.blank("en")` in the installed spaCy."""
    import spacy

    tokenizer: Any = spacy.blank("en").tokenizer

    def pattern(method: Any) -> str | None:
        return None if method is None else str(method.__self__.pattern)

    return RulesSpec(
        spacy_version=spacy.__version__,
        prefix=pattern(tokenizer.prefix_search) or "",
        suffix=pattern(tokenizer.suffix_search) or "",
        infix=pattern(tokenizer.infix_finditer) or "",
        token_match=pattern(tokenizer.token_match),
        url_match=pattern(tokenizer.url_match),
        exceptions={text: [part[_orth()] for part in parts] for text, parts in sorted(tokenizer.rules.items())},
    )


def _orth() -> int:
    from spacy.symbols import ORTH

    return int(ORTH)


class Rules:
    """spaCy's Tokenizer, rebuilt from stored rules on first use. Expects normalised text."""

    def __init__(self, spec: RulesSpec) -> None:
        self.spec = spec

    @cached_property
    def _tokenizer(self) -> Any:
        return self._build({text: [{_orth(): part} for part in parts] for text, parts in self.spec.exceptions.items()})

    def _build(self, exceptions: dict[str, Any]) -> Any:
        from spacy.tokenizer import Tokenizer
        from spacy.vocab import Vocab

        spec = self.spec
        return Tokenizer(
            Vocab(),
            rules=exceptions,
            prefix_search=re.compile(spec.prefix).search if spec.prefix else None,
            suffix_search=re.compile(spec.suffix).search if spec.suffix else None,
            infix_finditer=re.compile(spec.infix).finditer if spec.infix else None,
            token_match=re.compile(spec.token_match).match if spec.token_match else None,
            url_match=re.compile(spec.url_match).match if spec.url_match else None,
        )

    @cached_property
    def _linear(self) -> LinearTokenizer | None:
        """A tokenizer with the same results in linear time; None unless the patterns are proven."""
        if fingerprint(self.spec) not in PROVEN:
            return None
        bare = self._build({})
        return LinearTokenizer(self.spec, {case: _texts(bare(case)) for case in LinearTokenizer.looked_for(self.spec)})

    def split(self, text: str) -> list[str]:
        """spaCy's tokens of a whole text."""
        if has_long_chunk(text) and self._linear is not None:
            return self._linear.split(text)
        return _texts(self._tokenizer(text))

    def split_chunks(self, chunks: Sequence[str]) -> list[list[str]]:
        """spaCy's tokens of each chunk on its own.

        Short chunks without white space go through spaCy together, joined by line breaks: no special case contains one
        (`_separable`), so no match spans two chunks.
        """
        if not self._separable:
            return [self.split(chunk) for chunk in chunks]
        ink = [chunk for chunk in chunks if len(chunk) <= LONG and chunk.split() == [chunk]]
        found: dict[str, list[str]] = {}
        for start in range(0, len(ink), 512):
            found.update(zip(ink[start : start + 512], self._split_lines(ink[start : start + 512]), strict=True))
        return [found[chunk] if chunk in found else self.split(chunk) for chunk in chunks]

    def _split_lines(self, chunks: Sequence[str]) -> list[list[str]]:
        found: list[list[str]] = [[]]
        for token in self._tokenizer("\n".join(chunks)):
            text = token.text
            if text == "\n":
                found.append([])
            else:
                found[-1].append(text)
        return found

    @cached_property
    def _separable(self) -> bool:
        return not any("\n" in first or "\n" in second for first, second in self.pairs)

    @cached_property
    def pairs(self) -> frozenset[tuple[str, str]]:
        """Adjacent tokens inside multi-token special cases: the only pairs that spaCy's matcher can join across a blank."""
        bare = self._build({})
        pairs: set[tuple[str, str]] = set()
        for text in self.spec.exceptions:
            pairs.update(itertools.pairwise(_texts(bare(text))))
        return frozenset(pairs)

    @cached_property
    def firsts(self) -> tuple[str, ...]:
        """The first tokens of `pairs`."""
        return tuple(sorted({first for first, _ in self.pairs}))

    @cached_property
    def seconds(self) -> tuple[str, ...]:
        """The second tokens of `pairs`."""
        return tuple(sorted({second for _, second in self.pairs}))

    def edges(self, start: str, end: str) -> tuple[frozenset[str], frozenset[str]]:
        """The second tokens of `pairs` that a chunk with this start begins with, and the first tokens that it ends with."""
        starts = [second for second in self.seconds if start.startswith(second)] if start.startswith(self.seconds) else ()
        ends = [first for first in self.firsts if end.endswith(first)] if end.endswith(self.firsts) else ()
        return frozenset(starts), frozenset(ends)


def _texts(doc: Any) -> list[str]:
    return [token.text for token in doc]

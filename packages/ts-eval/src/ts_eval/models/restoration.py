"""Bits to restore the capitals and blanks that a foreign tokenizer loses, so that a lossy tokenizer gains no bits per byte.

The cost is the length of an adaptive code: each blank and each capital costs −log₂ of its relative frequency so far in the same
context (Krichevsky-Trofimov estimator, 1981; for the first letter of a word mixed with the frequency for that word). The context is
known to a decoder that has the decoded text, so this is a valid code (a test asserts that its probabilities sum to one).
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLANK, FIRST, REST, WORD = range(4)


def price(texts: Sequence[str], decoded: Sequence[str]) -> tuple[NDArray[np.float64] | None, str]:
    """`Scored.bits` of the texts, and a note on what was lost; the bits are None if more than capitals and blanks was lost."""
    lost = sum(text != plain for text, plain in zip(texts, decoded, strict=True))
    if not lost:
        return np.zeros((len(texts), 2)), ""
    bits = restore_bits(texts, decoded)
    if bits is None:
        return None, "its tokenizer loses more than capitals and blanks of some stories, so there are no bits per byte"
    note = "its tokenizer loses capitals or blanks; bits per byte include the cost of restoring them by an adaptive code"
    return np.column_stack([np.zeros(len(texts)), bits]), note


def restore_bits(texts: Sequence[str], decoded: Sequence[str]) -> NDArray[np.float64] | None:
    """Bits to restore each text from its decoded form; None if they differ in more than case and single blanks."""
    code = _Code()
    found = np.zeros(len(texts))
    for n, (text, plain) in enumerate(zip(texts, decoded, strict=True)):
        marks, plain_marks = _marks(text), _marks(plain)
        same = [m.sign.lower() for m in marks] == [m.sign.lower() for m in plain_marks]
        if not same or " ".join(text.split()) != text:
            return None
        found[n] = sum(code.bits(*event) for event in _events(marks, plain_marks))
    return found


@dataclass(frozen=True)
class _Mark:
    """A non-blank character, and whether a blank precedes it."""

    sign: str
    blank: bool

    @property
    def kind(self) -> str:
        return "a" if self.sign.isalpha() else "0" if self.sign.isdigit() else self.sign


def _marks(text: str) -> list[_Mark]:
    return [_Mark(sign, at > 0 and text[at - 1].isspace()) for at, sign in enumerate(text) if not sign.isspace()]


class _Code:
    """Counts of past events per context."""

    def __init__(self) -> None:
        self.seen: defaultdict[tuple[object, ...], list[int]] = defaultdict(lambda: [0, 0])

    def bits(self, value: bool, context: tuple[object, ...], word: str | None = None) -> float:
        """The cost of `value` in this context; counts it afterwards."""
        counts = self.seen[context]
        share = (counts[value] + 0.5) / (sum(counts) + 1)
        if word is not None:
            own = self.seen[WORD, word]
            share = (own[value] + share) / (sum(own) + 1)
            own[value] += 1
        counts[value] += 1
        return -math.log2(share)


def _events(marks: Sequence[_Mark], plain: Sequence[_Mark]) -> Iterator[tuple[bool, tuple[object, ...], str | None]]:
    """Each blank and each capital of a text with its context: the decoded text, and the text so far."""
    kinds = ["", "", *(mark.kind for mark in plain)]
    for at, (mark, there) in enumerate(zip(marks, plain, strict=True)):
        two, one, own = kinds[at : at + 3]
        if at > 0:
            yield mark.blank, (BLANK, there.blank, one, own), None
        if there.sign.lower() == there.sign.upper():
            continue
        upper = mark.sign != mark.sign.lower()
        given = there.sign != there.sign.lower()
        if own == "a" and one == "a" and not there.blank:
            before = marks[at - 1].sign
            yield upper, (REST, given, before != before.lower(), two == "a"), None
        else:
            yield upper, (FIRST, given, two, one), _word(plain, at)


def _word(plain: Sequence[_Mark], at: int) -> str:
    """The letters from `at` to the end of the word."""
    end = at + 1
    while end < len(plain) and plain[end].sign.isalpha() and not plain[end].blank:
        end += 1
    return "".join(mark.sign for mark in plain[at:end]).lower()

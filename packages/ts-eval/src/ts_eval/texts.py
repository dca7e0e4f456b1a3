"""Splits texts into words: scikit-learn's runs, rouge-score's words and stems, blank-separated words of prompts.

Two tokenisations matter. `TfidfVectorizer` takes runs of two or more word characters of the lower-cased text,
rouge-score runs of a-z and 0-9, stemmed when longer than three. They differ only where a text has an underscore
or a letter beyond ASCII.
"""

import re
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import islice
from typing import Any

TOKENISATION = 1
"""Incremented when a function here returns other words than before, which makes indexes on disk rebuild."""

_RUN = re.compile(r"\w+")
_ROUGE = re.compile(r"[a-z0-9]+")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_BLANK = re.compile(r"\S+\s*")


class _Stems(dict[str, str]):
    """Word → nltk's Porter stem if it has more than three characters, as rouge-score takes it; each found once."""

    def __missing__(self, word: str) -> str:
        self[word] = found = _stemmer().stem(word) if len(word) > 3 else word
        return found


STEMS = _Stems()


def runs(text: str) -> list[str]:
    """Runs of word characters, lower-cased. scikit-learn keeps those of two characters or more."""
    return _RUN.findall(text.lower())


def rouge_words(text: str) -> list[str]:
    """rouge-score's words before stemming."""
    return _ROUGE.findall(text.lower())


def stems(text: str) -> list[str]:
    """rouge-score's tokens with `use_stemmer=True`."""
    return list(map(STEMS.__getitem__, rouge_words(text)))


def words_of(text: str) -> list[str]:
    """Words as a reader counts them, lower-cased: letters, with an apostrophe inside."""
    return _WORD.findall(text.lower())


def first_words(texts: Iterable[str], words: int) -> Iterator[list[str]]:
    """The words of each text, up to `words` in all: an equal amount of text, for numbers that change with the amount."""
    for text in texts:
        line = words_of(text)[:words]
        words -= len(line)
        yield line


def batches(texts: Iterable[str], size: int) -> Iterator[list[str]]:
    """The texts in lists of `size`; the last may be shorter."""
    source = iter(texts)
    while batch := list(islice(source, size)):
        yield batch


def cut(text: str, share: float) -> tuple[str, str]:
    """Split a text after the given share of its blank-separated words; both halves keep their blanks."""
    pieces = _BLANK.findall(text)
    at = min(max(1, round(len(pieces) * share)), max(1, len(pieces) - 1))
    return "".join(pieces[:at]), "".join(pieces[at:])


@cache
def _stemmer() -> Any:
    from nltk.stem.porter import PorterStemmer

    return PorterStemmer()

"""`compare`: tokenizers side by side on the same stories, with torchtext's `basic_english` rules as reference."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ts_data.console import Progress

from ..checks import check_texts
from ..tokenizer import WordTokenizer


@dataclass(frozen=True)
class Comparison:
    """One tokenizer on a set of stories."""

    name: str
    vocab_size: int | None
    tokens_per_story: float
    unk_share: float | None
    distinct: int


def compare(
    tokenizers: dict[str, WordTokenizer], stories: Sequence[str], *, progress: Progress | None = None
) -> list[Comparison]:
    """Each tokenizer, and torchtext's `basic_english` rules (no vocabulary), on the same stories."""
    rows = []
    stories = check_texts(stories)
    for name, tokenizer in tokenizers.items():
        ids = np.concatenate([np.zeros(0, np.uint16), *tokenizer.encode_batch(stories)])
        share = float((ids == tokenizer.unk_id).mean()) if len(ids) else None
        rows.append(Comparison(name, tokenizer.vocab_size, len(ids) / max(1, len(stories)), share, len(np.unique(ids))))
        if progress is not None:
            progress("compare", len(rows), len(tokenizers) + 1)
    counts = Counter(token for story in stories for token in basic_english(story))
    rows.append(Comparison("basic_english", None, counts.total() / max(1, len(stories)), None, len(counts)))
    return rows


_MARKS = str.maketrans({"'": " '  ", ";": " ", ":": " "} | {mark: f" {mark} " for mark in ".,()!?"})


def basic_english(text: str) -> list[str]:
    """torchtext's `get_tokenizer("basic_english")`: lower case, punctuation apart, double quotes, `;` and `:` dropped."""
    return text.lower().replace('"', "").replace("<br />", " ").translate(_MARKS).split()

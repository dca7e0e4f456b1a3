"""What `check`, `stats`, `coverage` and `compare` report: numbers as frozen dataclasses, no printing, no files written."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ._checks import check_texts, iter_texts
from ._chunks import ChunkTable
from ._counting import count_tokens
from ._encoded import Encoded
from ._rules import Rules, pin
from ._tokenizer import WordTokenizer

if TYPE_CHECKING:
    from ts_data.console import Progress

__all__ = ["Check", "Comparison", "Coverage", "SplitStats", "basic_english", "check", "compare", "coverage", "stats"]


# --- check -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Check:
    """How well decode(encode(story)) gives stories back; shares lie in 0..1, and None stands where nothing was measured."""

    stories: int
    exact: float | None
    """Stories given back to the letter, with what stands behind each `<unk>` taken as given."""
    caseless: float | None
    """The same, capitals ignored."""
    caseless_blanks_given: float | None
    """The same, the blanks beside an `<unk>` taken as given, too: no model can see whether it hides a word or a semicolon."""
    without_unk: int
    exact_without_unk: float | None
    """Stories that have no `<unk>`, and how many of them come back to the letter."""
    case_accuracy: float | None
    space_accuracy: float | None
    markers_per_story: float
    errors: tuple[tuple[str, str, int], ...]
    """The commonest errors: as written, as decoded (one word before, the token, one after), how often."""


def check(tokenizer: WordTokenizer, stories: Iterable[str], *, examples: int = 20, progress: Progress | None = None) -> Check:
    """Decode what was encoded, and count."""
    errors: Counter[tuple[str, str]] = Counter()
    rows = []
    for story in iter_texts(stories):
        rows.append(_check_one(tokenizer, story, errors))
        if progress is not None:
            progress("check", len(rows), None)
    table = np.array(rows, dtype=np.float64).reshape(len(rows), 9)
    exact, caseless, blanks_given, free, cases, case_errors, blanks, blank_errors, markers = table.T
    return Check(
        stories=len(rows),
        exact=_share(exact),
        caseless=_share(caseless),
        caseless_blanks_given=_share(blanks_given),
        without_unk=int(free.sum()),
        exact_without_unk=_share(exact[free == 1]),
        case_accuracy=None if not cases.sum() else float(1 - case_errors.sum() / cases.sum()),
        space_accuracy=None if not blanks.sum() else float(1 - blank_errors.sum() / blanks.sum()),
        markers_per_story=float(markers.mean()) if len(rows) else 0.0,
        errors=tuple((wrote, read, n) for (wrote, read), n in errors.most_common(examples)),
    )


def _share(flags: np.ndarray) -> float | None:
    return float(flags.mean()) if len(flags) else None


def _check_one(tokenizer: WordTokenizer, text: str, errors: Counter[tuple[str, str]]) -> tuple[float, ...]:
    ids, places = tokenizer.encode(text, offsets=True)
    truth, at = [], 0
    unk = tokenizer.unk_id
    for i, (start, end) in zip(ids, places, strict=True):
        truth.append(text[at:start] + ("<unk>" if i == unk else text[start:end]))
        at = max(at, end)
    truth.append(text[at:])
    pieces = tokenizer.pieces(ids)
    tokens = [k for k, (start, end) in enumerate(places) if end > start or ids[k] == unk]
    real = [truth[k] for k in tokens]
    wrong_case = wrong_blank = 0
    blanks_given = True
    for n, (wrote, read) in enumerate(zip(real, pieces, strict=True)):
        if wrote == read:
            continue
        case, blank = wrote.strip() != read.strip(), wrote[:1].isspace() != read[:1].isspace()
        wrong_case += case
        wrong_blank += blank
        beside = unk in (ids[tokens[n]], ids[tokens[n - 1]] if n else -1)
        blanks_given &= not blank or beside
        context = slice(max(0, n - 1), n + 2)
        errors["".join(real[context]).strip(), "".join(pieces[context]).strip()] += 1
    whole, decoded = "".join(truth), "".join(pieces)
    caseless = whole.lower() == decoded.lower()
    return (
        whole == decoded,
        caseless,
        caseless or (blanks_given and "".join(whole.lower().split()) == "".join(decoded.lower().split())),
        unk not in ids,
        len(real),
        wrong_case,
        len(real),
        wrong_blank,
        len(ids) - len(tokens),
    )


# --- stats -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SplitStats:
    """One split of encoded/ in the talk's terms; lengths count tokens without `<bos>` and `<eos>`."""

    stories: int
    tokens: int
    distinct: int
    """Vocabulary entries that occur."""
    mean_length: float
    sd_length: float
    longest: int
    over_256: float
    """Share of stories that a context of 256 tokens, `<bos>` and `<eos>` included, cuts."""
    unk_share: float
    rare_quantiles: tuple[int, int]
    """A quarter, and a half, of the entries that occur do so at most this often."""
    histogram: tuple[int, ...]
    """Stories by length in steps of `step` tokens."""
    step: int


def stats(encoded: Encoded, *, progress: Progress | None = None) -> dict[str, SplitStats]:
    """The talk's table for each split of an encoded folder."""
    unk = encoded.manifest.unk_id
    found = {}
    for name, split in encoded.items():
        lengths = np.maximum(np.diff(split.offsets) - 2, 0)
        counts = np.zeros(encoded.vocab_size, dtype=np.int64)
        for start in range(0, len(split.ids), 1 << 24):
            counts += np.bincount(split.ids[start : start + (1 << 24)], minlength=encoded.vocab_size)
        counts[[encoded.manifest.bos_id, encoded.manifest.eos_id]] = 0
        seen, tokens = counts[counts > 0], int(counts.sum())
        step = 25
        found[name] = SplitStats(
            stories=len(lengths),
            tokens=tokens,
            distinct=len(seen),
            mean_length=float(lengths.mean()) if len(lengths) else 0.0,
            sd_length=float(lengths.std()) if len(lengths) else 0.0,
            longest=int(lengths.max(initial=0)),
            over_256=float((lengths + 2 > 256).mean()) if len(lengths) else 0.0,
            unk_share=float(counts[unk] / tokens) if tokens else 0.0,
            rare_quantiles=_quantiles(seen),
            histogram=tuple(np.bincount(lengths // step).tolist()),
            step=step,
        )
        if progress is not None:
            progress("stats", len(found), len(encoded))
    return found


def _quantiles(counts: np.ndarray) -> tuple[int, int]:
    if not len(counts):
        return 0, 0
    quarter, half = np.quantile(counts, [0.25, 0.5], method="lower")
    return int(quarter), int(half)


# --- coverage ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Coverage:
    """How much of a split's text vocabularies of growing size would keep."""

    stories: int
    tokens: int
    distinct: int
    rare_quantiles: tuple[int, int]
    curve: tuple[tuple[int, float], ...]
    """(vocabulary size, share of tokens kept), the four specials counted in the size."""
    vocab_size: int
    kept: float
    rarest: tuple[str, int] | None
    """The last word that the vocabulary keeps, and its count."""
    hidden: tuple[tuple[str, int], ...]
    """What `<unk>` hides most often."""


def coverage(stories: Iterable[str], vocab_size: int = 2048, *, top: int = 50, progress: Progress | None = None) -> Coverage:
    """Count all tokens and cut at any size."""
    counts, _, seen = count_tokens(stories, ChunkTable(Rules(pin())), 0, progress)
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    sizes = np.array([count for _, count in ranked], dtype=np.int64)
    total = max(1, int(sizes.sum()))
    shares = np.concatenate([[0.0], np.cumsum(sizes) / total])
    words = min(max(0, vocab_size - 4), len(ranked))
    points = sorted({2**k for k in range(4, 18) if 2**k - 4 <= len(ranked)} | {vocab_size, len(ranked) + 4})
    return Coverage(
        stories=seen,
        tokens=int(sizes.sum()),
        distinct=len(ranked),
        rare_quantiles=_quantiles(sizes),
        curve=tuple((size, float(shares[min(max(size - 4, 0), len(ranked))])) for size in points),
        vocab_size=vocab_size,
        kept=float(shares[words]),
        rarest=ranked[words - 1] if words else None,
        hidden=tuple(ranked[words : words + top]),
    )


# --- compare -----------------------------------------------------------------------------------


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


_BASIC_ENGLISH = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\'", " '  "),
        (r"\"", ""),
        (r"\.", " . "),
        (r"<br \/>", " "),
        (r",", " , "),
        (r"\(", " ( "),
        (r"\)", " ) "),
        (r"\!", " ! "),
        (r"\?", " ? "),
        (r"\;", " "),
        (r"\:", " "),
        (r"\s+", " "),
    )
]


def basic_english(text: str) -> list[str]:
    """torchtext's `get_tokenizer("basic_english")`: lower case, punctuation apart, double quotes, `;` and `:` dropped."""
    text = text.lower()
    for pattern, replacement in _BASIC_ENGLISH:
        text = pattern.sub(replacement, text)
    return text.split()

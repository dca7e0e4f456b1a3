"""`check`: how well `decode(encode(story))` restores stories."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ts_data.console import Progress

from ..checks import iter_texts
from ..tokenizer import WordTokenizer


@dataclass(frozen=True)
class Check:
    """How well decode(encode(story)) restores stories. Shares are in 0..1; None means not measured."""

    stories: int
    exact: float | None
    """Share of stories restored exactly, with the words behind `<unk>` given."""
    caseless: float | None
    """The same, ignoring case."""
    caseless_blanks_given: float | None
    """The same, with the blanks beside each `<unk>` also given: they depend on whether it hides a word or a mark."""
    without_unk: int
    exact_without_unk: float | None
    """Share of exactly restored stories among those without `<unk>`."""
    case_accuracy: float | None
    space_accuracy: float | None
    markers_per_story: float
    errors: tuple[tuple[str, str, int], ...]
    """The most frequent errors: (as written, as decoded, count), each with one token of context on both sides."""


def check(tokenizer: WordTokenizer, stories: Iterable[str], *, examples: int = 20, progress: Progress | None = None) -> Check:
    """Decode encoded stories and count the differences."""
    errors: Counter[tuple[str, str]] = Counter()
    rows = []
    for story in iter_texts(stories):
        rows.append(_check_one(tokenizer, story, errors))
        if progress is not None:
            progress("check", len(rows), None)
    if progress is not None:
        progress("check", len(rows), len(rows))
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

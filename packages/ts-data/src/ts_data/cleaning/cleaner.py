"""Runs the cleaning rules over one text, with what each changed, or over an Arrow batch.

`Cleaner.batch` is a pure function Arrow batch → Arrow batch that every engine can run. It opens no file and keeps no state. It does not
look for duplicates; it leaves a 128-bit hash of each story for the stage that does.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..arrow import blanks, fixed, numbers, strings, text_bytes
from ..checks import check_config, check_text
from ..schemas import PrepareConfig
from ..sources.separators import SIGN
from .rules import NON_ASCII, RULES, Apply, Drop, Rule, load, load_at_once, parameters_of

KEPT = -1
"""Column `dropped_by` of a story that stays; otherwise it holds the index of the rule in `config.steps`."""

CLEANED = pa.schema(
    [
        ("text", pa.large_string()),
        ("dropped_by", pa.int8()),
        ("changed", pa.uint32()),  # bit i: step i changed the story
        ("hash_hi", pa.uint64()),  # blake2b, 128 bits, of the cleaned text
        ("hash_lo", pa.uint64()),
        ("words", pa.int32()),
        ("characters", pa.int32()),
        ("bytes", pa.int32()),  # of the text as UTF-8
        ("unusual", pa.bool_()),  # beyond ASCII, or with what a rule or a separator in disguise may begin with
    ]
)

_CODE_VERSION = 5
"""Raise it with every change of what a rule does, so that the cleaner's hash changes too."""


@dataclass(frozen=True)
class Change:
    """One step that changed a text."""

    step: str
    before: str
    after: str


@dataclass(frozen=True)
class Cleaned:
    """A cleaned text, the steps that changed it in order, and the step that drops it, if any."""

    text: str
    changes: tuple[Change, ...]
    dropped: str | None


@dataclass(frozen=True)
class Step:
    """A rule at its place in `config.steps`, loaded with its parameters."""

    number: int
    name: str
    rule: Rule
    apply: Apply


def clean(text: str, config: PrepareConfig | None = None) -> Cleaned:
    """Clean one story. A dropped story has the text that it had when it was dropped, and the name of the step.

    Raises TypeError for anything but a str, such as the None or NaN of an empty cell.

    >>> clean("She said,\\u201cHi!\\u201d" + " They ran and ran." * 12).text[:20]
    'She said, "Hi!" They'
    """
    check_text(text)
    if config is not None:
        check_config(config)
    return run_steps(text, steps_of(config or PrepareConfig()))


def run_steps(text: str, steps: Sequence[Step], *, is_cut: bool = False) -> Cleaned:
    """`clean` with steps that are loaded already. `is_cut`: the end of its file has cut the story."""
    changes: list[Change] = []
    for step in steps:
        if step.rule.cut_only and not is_cut:
            continue
        after = step.apply(text)
        if isinstance(after, Drop):
            return Cleaned(text, tuple(changes), after.reason)
        if after != text:
            changes.append(Change(step.name, text, after))
            text = after
    return Cleaned(text, tuple(changes), None)


def steps_of(config: PrepareConfig) -> list[Step]:
    """The steps of a config, loaded."""
    return [Step(n, name, RULES[name], load(name, _parameters(name, config))) for n, name in enumerate(config.steps)]


def _parameters(name: str, config: PrepareConfig) -> dict[str, Any]:
    shared = {field: getattr(config, field) for field in parameters_of(name) if field in PrepareConfig.model_fields}
    return {**shared, **config.step_options.get(name, {})}


def cleaner_hash(config: PrepareConfig) -> str:
    """SHA-256 that changes with the steps, their order, their parameters or the code of the rules."""
    options = (config.step_options,) if config.step_options else ()
    return hashlib.sha256(repr((_CODE_VERSION, config.steps, config.min_characters, *options)).encode()).hexdigest()


def text_hash(text: str) -> bytes:
    """The 16 bytes of columns `hash_hi` and `hash_lo` for a text."""
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


class Cleaner:
    """The steps of a config, ready to run over batches.

    Most stories are plain: ASCII, and no rule's hint matches. One search over the batch finds the others, which go through all steps. So
    does a plain story that a rule without a hint drops or changes, unless the rule changes blanks only: those rules run over all plain
    stories. `keep_all` (for a test file) repairs, but drops nothing.
    """

    def __init__(self, config: PrepareConfig, *, keep_all: bool = False) -> None:
        self._with_cut = steps_of(config)
        self._all = [step for step in self._with_cut if not step.rule.cut_only]
        self._unhinted = [step for step in self._all if step.rule.hint is None]
        self._hints = "|".join(dict.fromkeys([NON_ASCII, SIGN, *(step.rule.hint for step in self._all if step.rule.hint)]))
        self._keep_all = keep_all

    def batch(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Clean a batch: column `text`, and optionally `cut` (the end of its file has cut the story). Returns the schema CLEANED."""
        raw = plain = batch.column("text").cast(pa.large_string())
        cut = numbers(batch.column("cut")) if "cut" in batch.schema.names else np.zeros(len(raw), bool)
        unusual = numbers(pc.match_substring_regex(raw, self._hints))
        hinted, dropped = unusual | cut, np.zeros(len(raw), bool)
        changed = np.zeros(len(raw), np.uint32)
        for step in self._unhinted:
            if step.rule.blanks_only:
                plain, touched = _in_all(step, plain)
                changed |= touched.astype(np.uint32) << step.number
                continue
            rows = np.arange(len(raw))
            if step.rule.enough is not None:  # a plain story has as many characters as bytes
                rows = np.flatnonzero(np.diff(text_bytes(plain)[1]) < getattr(step.apply, step.rule.enough))
            for row, text in zip(rows.tolist(), plain.take(fixed(rows)).to_pylist(), strict=True):
                after = step.apply(text)
                if after is not text:
                    (dropped if isinstance(after, Drop) else hinted)[row] = True
        rows = np.flatnonzero(hinted | dropped)
        steps = (
            self._with_cut if is_cut else self._all if is_hinted else self._unhinted
            for is_cut, is_hinted in zip(cut[rows], hinted[rows], strict=True)
        )
        alone = list(map(self._run, raw.take(fixed(rows)).to_pylist(), steps))
        return _result(plain, rows, alone, changed, unusual)

    def _run(self, text: str, steps: Sequence[Step]) -> tuple[str, int, int]:
        """(text, bits of the steps that changed it, the step that drops it or KEPT) after all steps."""
        changed = 0
        for step in steps:
            after = step.apply(text)
            if after is text:
                continue
            if isinstance(after, Drop):
                if not self._keep_all:
                    return text, changed, step.number
            elif after != text:
                text = after
                changed |= 1 << step.number
        return text, changed, KEPT


def _in_all(step: Step, column: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """A large_string column after a step that changes blanks only, and which texts it has changed. Valid for plain stories."""
    if step.rule.at_once is None:
        before = column.to_pylist()
        after = [str(step.apply(text)) for text in before]
        return strings([text.encode() for text in after]), np.array([a != b for a, b in zip(after, before, strict=True)], bool)
    content, ends, touched = load_at_once(step.name)(*text_bytes(column))
    return pa.Array.from_buffers(pa.large_string(), len(column), [None, pa.py_buffer(ends), pa.py_buffer(content)]), touched


def _result(
    plain: pa.Array, rows: np.ndarray, alone: Sequence[tuple[str, int, int]], changed: np.ndarray, unusual: np.ndarray
) -> pa.RecordBatch:
    """The columns of CLEANED: of the texts in `plain` those in `rows` are replaced by what `_run` made of them."""
    texts, bits, drops = zip(*alone, strict=True) if alone else ((), (), ())
    mask, dropped = np.zeros(len(plain), bool), np.full(len(plain), KEPT, np.int8)
    mask[rows], changed[rows], dropped[rows] = True, bits, drops
    column = pc.replace_with_mask(plain, fixed(mask), strings([text.encode() for text in texts]))
    content, ends = text_bytes(column)
    blake2b, view = hashlib.blake2b, content.data  # as `text_hash`
    hashes = b"".join([blake2b(view[a:b], digest_size=16).digest() for a, b in pairwise(ends.tolist())])
    digests = np.frombuffer(hashes, "<u8").reshape(-1, 2)
    sizes = np.diff(ends).astype(np.int32)
    characters, words = sizes.copy(), _words(content, ends)
    for row, text in zip(rows.tolist(), texts, strict=True):
        if not text.isascii():
            characters[row], words[row] = len(text), len(text.split())
    columns = [column, *map(fixed, (dropped, changed, digests[:, 0], digests[:, 1], words, characters, sizes, unusual))]
    return pa.record_batch(columns, schema=CLEANED)


def _words(content: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """What `len(text.split())` gives for each ASCII text, counted in the bytes of all at once."""
    blank = blanks(content)
    begins = np.zeros(len(content), bool)  # bytes that begin a word: the byte before is a blank, or of another text
    begins[1:] = blank[:-1] > blank[1:]
    filled = np.diff(ends) > 0
    first = ends[:-1][filled]
    begins[first] = ~blank[first]
    words = np.zeros(len(filled), np.int32)
    words[filled] = np.add.reduceat(begins, first, dtype=np.int32)
    return words

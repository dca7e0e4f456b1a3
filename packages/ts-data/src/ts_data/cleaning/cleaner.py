"""Runs the cleaning rules over one text, with what each changed, or over an Arrow batch.

`Cleaner.batch` is a pure function Arrow batch → Arrow batch that every engine can run. It opens no file and keeps no state. It does not
look for duplicates; it leaves a 128-bit hash of each story for the stage that does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..arrow import fixed, numbers, strings
from ..checks import check_config, check_text
from ..schemas import PrepareConfig
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
    ]
)

_CODE_VERSION = 5
"""Raise it with every change of what a rule does, so that the cleaner's hash changes too."""

_IS_BLANK = np.isin(np.arange(256), np.frombuffer(b" \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f", np.uint8))


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
    changes: list[Change] = []
    for step in steps_of(config or PrepareConfig()):
        if step.rule.cut_only:
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

    Most stories are plain: ASCII, and no rule's hint matches. One search over the batch finds the others. A plain story skips the rules
    with a hint, and the first rule without one may run over the bytes of all plain stories at once. `keep_all` (for a test file) repairs, but drops nothing.
    """

    def __init__(self, config: PrepareConfig, *, keep_all: bool = False) -> None:
        self._with_cut = steps_of(config)
        self._all = [step for step in self._with_cut if not step.rule.cut_only]
        self._unhinted = [step for step in self._all if step.rule.hint is None]
        self._at_once = load_at_once(self._unhinted[0].name) if self._unhinted else None
        self._hints = "|".join([NON_ASCII, *(step.rule.hint for step in self._all if step.rule.hint)])
        self._keep_all = keep_all

    def batch(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Clean a batch: column `text`, and optionally `cut` (the end of its file has cut the story). Returns the schema CLEANED."""
        column = batch.column("text").cast(pa.large_string())
        count = len(column)
        cut = numbers(batch.column("cut")) if "cut" in batch.schema.names else np.zeros(count, bool)
        hinted = numbers(pc.match_substring_regex(column, self._hints))
        raw: list[str] = column.to_pylist()
        first, touched = self._first_step(column) if self._at_once else (raw, np.zeros(count, bool))
        rest = self._unhinted[1:] if self._at_once else self._unhinted
        first_number = self._unhinted[0].number if self._unhinted else 0
        texts: list[str] = []
        dropped, changed = [KEPT] * count, [0] * count
        for row, (is_hinted, is_cut, is_touched) in enumerate(zip(hinted.tolist(), cut.tolist(), touched.tolist(), strict=True)):
            if is_hinted or is_cut:
                text, changed[row], dropped[row] = self._run(raw[row], self._with_cut if is_cut else self._all)
            else:
                text, changed[row], dropped[row] = self._run(first[row], rest, is_plain=True)
                changed[row] |= is_touched << first_number
            texts.append(text)
        return _result(texts, np.array(dropped, np.int8), np.array(changed, np.uint32))

    def _run(self, text: str, steps: Sequence[Step], *, is_plain: bool = False) -> tuple[str, int, int]:
        """(text, bits of the steps that changed it, the step that drops it or KEPT) after some steps.

        After a change of more than blanks a plain story is plain no longer and sees all steps that follow.
        """
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
                if is_plain and not step.rule.blanks_only:
                    text, more, dropped = self._run(text, [later for later in self._all if later.number > step.number])
                    return text, changed | more, dropped
        return text, changed, KEPT

    def _first_step(self, column: pa.Array) -> tuple[list[str], np.ndarray]:
        """The texts after the first step without a hint, and which it has changed. Valid for plain stories only."""
        assert self._at_once is not None
        _, offsets, buffer = column.buffers()
        ends = (
            np.frombuffer(offsets, np.int64)[column.offset : column.offset + len(column) + 1]
            if len(column)
            else np.zeros(1, np.int64)
        )
        content = np.frombuffer(buffer, np.uint8)[ends[0] : ends[-1]] if buffer is not None else np.zeros(0, np.uint8)
        content, ends, touched = self._at_once(content, ends - ends[0])
        buffers = [None, pa.py_buffer(ends), pa.py_buffer(content)]
        return pa.Array.from_buffers(pa.large_string(), len(column), buffers).to_pylist(), touched


def _result(texts: list[str], dropped: np.ndarray, changed: np.ndarray) -> pa.RecordBatch:
    encoded = [text.encode() for text in texts]
    blake2b = hashlib.blake2b  # as `text_hash`
    digests = np.frombuffer(b"".join([blake2b(text, digest_size=16).digest() for text in encoded]), "<u8").reshape(-1, 2)
    sizes, characters = (np.array(list(map(len, items)), np.int32) for items in (encoded, texts))
    column = strings(encoded)
    columns = [column, *map(fixed, (dropped, changed, digests[:, 0], digests[:, 1], _words(texts, column), characters, sizes))]
    return pa.record_batch(columns, schema=CLEANED)


def _words(texts: Sequence[str], column: pa.Array) -> np.ndarray:
    """Words of each text: what `len(text.split())` gives, for ASCII texts counted in the bytes of all at once."""
    _, offsets, buffer = column.buffers()
    ends, content = np.frombuffer(offsets, np.int64), np.frombuffer(buffer, np.uint8)
    blank = _IS_BLANK[content] if (content < ord(" ")).any() else content == ord(" ")
    last = blank.copy()  # blanks that end a word: the byte before is no blank; so does the end of a text
    last[1:] &= ~blank[:-1]
    filled = np.diff(ends) > 0
    last[ends[:-1][filled]] = False
    words = np.diff(np.searchsorted(np.flatnonzero(last), ends)).astype(np.int32)
    words[filled] += ~blank[ends[1:][filled] - 1]
    for row in np.flatnonzero([not text.isascii() for text in texts]).tolist():
        words[row] = len(texts[row].split())
    return words

"""Runs the cleaning steps: over one text, with what each changed, or over an Arrow batch, at speed.

`Cleaner.batch` is the pure function Arrow batch -> Arrow batch that every engine runs. It opens no file and keeps
no state. Which stories are duplicates is not its business; it only leaves a 128-bit hash for those who ask.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ._spot import Spotter
from .schemas import DEFAULT_STEPS, PrepareConfig
from .steps import ALWAYS, Drop, Step, load

__all__ = ["CLEANED", "KEPT", "Change", "Cleaned", "Cleaner", "clean", "cleaner_hash"]

KEPT = -1
"""The value of column `dropped_by` for a story that stays; otherwise the index of the step in `config.steps`."""

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

_CODE_VERSION = 1
"""Raised by whoever changes what a step does, so that the cleaner's hash tells the difference."""


@dataclass(frozen=True)
class Change:
    """One step that changed a text."""

    step: str
    before: str
    after: str


@dataclass(frozen=True)
class Cleaned:
    """A cleaned text, the steps that changed it in their order, and the step that would drop it, if any."""

    text: str
    changes: tuple[Change, ...]
    dropped: str | None


def clean(text: str, config: PrepareConfig | None = None) -> Cleaned:
    """Clean one story; a story that a step drops comes back as it stood then, with the step's name.

    >>> clean("She said,\\u201cHi!\\u201d" + " They ran and ran." * 12).text[:20]
    'She said, "Hi!" They'
    """
    changes: list[Change] = []
    for step in steps_of(config or PrepareConfig()):
        if step.cut_only:
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
    return [load(name, min_characters=config.min_characters) for name in config.steps]


def cleaner_hash(config: PrepareConfig) -> str:
    """SHA-256 that changes when the steps, their order, their settings or their code change."""
    return hashlib.sha256(repr((_CODE_VERSION, config.steps, config.min_characters)).encode()).hexdigest()


class Cleaner:
    """The steps of a config, ready to run over batches.

    `keep_all` (for a test file) repairs, but drops nothing.
    """

    def __init__(self, config: PrepareConfig, *, keep_all: bool = False) -> None:
        self.steps = steps_of(config)
        self.keep_all = keep_all
        self._single_blanks = config.steps == DEFAULT_STEPS

    def batch(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Clean a batch with column `text` (and, optionally, `cut`: the story may be truncated) into CLEANED's columns."""
        column = batch.column("text")
        texts: list[str] = column.to_numpy(zero_copy_only=False).tolist()
        cut = _cut_rows(batch)
        spotter = Spotter(column)
        dropped = [KEPT] * len(texts)
        changed = [0] * len(texts)
        special = {
            i for i, text in enumerate(texts) if not text.isascii()
        }  # rows that every step must see: not ASCII, or already changed by a step
        for number, step in enumerate(self.steps):
            rows: range | list[int] = range(len(texts))
            if step.cut_only:
                rows = sorted(cut)
            elif step.triggers is not ALWAYS:
                rows = sorted(special.union(spotter.rows(step.triggers)))
            bit = 1 << number
            for i in rows:
                before = texts[i]
                after = step.apply(before)
                if after is before or dropped[i] != KEPT:
                    continue
                if isinstance(after, Drop):
                    if not self.keep_all:
                        dropped[i] = number
                elif after != before:
                    texts[i] = after
                    changed[i] |= bit
                    if step.triggers is not ALWAYS:
                        special.add(i)  # what it became may set off a later step
        return _result(texts, dropped, changed, single_blanks=self._single_blanks)


def _cut_rows(batch: pa.RecordBatch) -> set[int]:
    if "cut" not in batch.schema.names:
        return set()
    return set(np.flatnonzero(batch.column("cut").to_numpy(zero_copy_only=False)).tolist())


def _result(texts: list[str], dropped: list[int], changed: list[int], *, single_blanks: bool) -> pa.RecordBatch:
    blake2b = hashlib.blake2b
    digests = b"".join([blake2b(text.encode(), digest_size=16).digest() for text in texts])
    if single_blanks:  # noqa: SIM108 - a tenth of the time of splitting
        words = [text.count(" ") + 1 if text else 0 for text in texts]
    else:
        words = [len(text.split()) for text in texts]
    pairs = np.frombuffer(digests, "<u8").reshape(-1, 2)
    column = pa.array(texts, pa.large_string())
    columns = [
        column,
        pa.array(dropped, pa.int8()),
        pa.array(changed, pa.uint32()),
        pa.array(np.ascontiguousarray(pairs[:, 0])),
        pa.array(np.ascontiguousarray(pairs[:, 1])),
        pa.array(words, pa.int32()),
        pa.array(list(map(len, texts)), pa.int32()),
        pc.binary_length(column).cast(pa.int32()),
    ]
    return pa.record_batch(columns, schema=CLEANED)

"""Puts finished shards and parts together into splits/: the Parquet files, the ledger, the card, the manifest."""

from __future__ import annotations

import json
import os
import shutil
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..arrow import fixed, numbers, strings
from ..artefact import sha256_bytes, sha256_file, write_folder, write_model, write_text
from ..cleaning.cleaner import KEPT, clean, cleaner_hash
from ..reports.card import card
from ..reports.lengths import lengths
from ..schemas import DatasetManifest, FileInfo, PrepareConfig, SourceInfo, SplitInfo, SplitName, StepExample, StepReport
from ..sources.blocks import Block, Input
from ..sources.storage import state
from .splits import Assignment, reasons_of, removed_of
from .tasks import EXAMPLES, LEDGER_SCHEMA, REMOVED, SPLIT_SCHEMA, TEST, TRAIN, VALIDATION, parquet_writer
from .warnings import warnings_of
from .workdir import OWNED, SPLITS

__all__ = ["Line", "assemble"]

_CODES: dict[SplitName, int] = {"train": TRAIN, "validation": VALIDATION, "test": TEST}
ROW_GROUP = 16_384
"""Stories per row group of validation, test and the ledger (some 13 MB)."""


class Line:
    """What a run of `prepare` knows: its inputs and blocks, the counts of each block, the cleaner's columns, the assignment."""

    def __init__(
        self,
        work: Path,
        config: PrepareConfig,
        inputs: Sequence[Input],
        blocks: Sequence[Block],
        counts: Sequence[dict[str, Any]],
        meta: dict[str, np.ndarray],
    ) -> None:
        self.work, self.config, self.inputs, self.blocks, self.counts, self.meta = work, config, inputs, blocks, counts, meta
        self.firsts = [0, *np.cumsum([count["stories"] for count in counts]).tolist()]
        self.assignment: Assignment | None = None
        self._mapped: dict[int, pa.Array] = {}

    @cached_property
    def hashes(self) -> np.ndarray:
        """[stories, 2] uint64."""
        return np.stack([self.meta["hash_hi"], self.meta["hash_lo"]], axis=1)

    @cached_property
    def input_firsts(self) -> list[int]:
        """The first row of each input, and the number of rows."""
        numbers = {item: n for n, item in enumerate(self.inputs)}
        stories = [0] * len(self.inputs)
        for block, count in zip(self.blocks, self.counts, strict=True):
            stories[numbers[block.input]] += count["stories"]
        return [0, *np.cumsum(stories).tolist()]

    @property
    def train_rows(self) -> int:
        """Rows of the training sources; those of test files follow, then those of `against`."""
        return self.input_firsts[sum(item.role == "train" for item in self.inputs)]

    @property
    def test_end(self) -> int:
        """The row behind the last one of the test files."""
        return self.input_firsts[sum(item.role != "against" for item in self.inputs)]

    def skipped(self, number: int) -> int:
        """Lines or rows of an input that could not be read."""
        pairs = zip(self.blocks, self.counts, strict=True)
        return int(
            self.inputs[number].skipped + sum(count["skipped"] for block, count in pairs if block.input == self.inputs[number])
        )

    def text(self, row: int) -> str:
        """The cleaned text of a row (mapped from the work folder; near-duplicates ask for few)."""
        block = bisect_right(self.firsts, row) - 1
        return str(self._texts(block)[row - self.firsts[block]].as_py())

    def bands(self, rows: np.ndarray) -> np.ndarray:
        """MinHash band keys `[rows, bands]` of ascending rows."""
        found = []
        for number, (first, end) in enumerate(pairwise(self.firsts)):
            inside = rows[(rows >= first) & (rows < end)] - first
            if len(inside):
                found.append(np.load(self.work / f"block-{number:06d}.bands.npy", mmap_mode="r")[inside])
        return np.concatenate(found) if found else np.zeros((0, self.config.near.bands), np.uint64)

    def _texts(self, block: int) -> pa.Array:
        if block not in self._mapped:
            if len(self._mapped) > 8:
                self._mapped.clear()
            source = pa.memory_map(str(self.work / f"block-{block:06d}.text"))
            self._mapped[block] = pa.ipc.open_file(source).get_batch(0).column(0)
        return self._mapped[block]

    def place(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Number of the source and position in it of each row; -1 for row -1."""
        number = np.searchsorted(self.input_firsts, rows, side="right") - 1
        return number, np.where(rows >= 0, rows - np.array(self.input_firsts)[number], -1)


def assemble(line: Line, groups: int, target: Path) -> DatasetManifest:
    """Write the whole folder aside and put it in its place."""
    with write_folder(target, *SPLITS, owned=OWNED) as folder:
        files: dict[SplitName, tuple[FileInfo, ...]] = {"train": _train(line, groups, folder)}
        files["validation"] = _small(line, groups, folder, VALIDATION, "validation.parquet")
        files["test"] = _small(line, groups, folder, TEST, "test.parquet")
        ledger = _ledger(line, groups, folder)
        manifest = _manifest(line, files, ledger)
        write_model(folder / "manifest.json", manifest)
        write_text(folder / "README.md", card(manifest))
    return manifest


# --- files -------------------------------------------------------------------------------------


def _train(line: Line, groups: int, folder: Path) -> tuple[FileInfo, ...]:
    """The shards that hold stories, under their final names."""
    results = [(n, json.loads((line.work / f"group-{n:05d}.json").read_text(encoding="utf-8"))) for n in range(groups)]
    filled = [(n, result) for n, result in results if result["rows"]]
    infos = []
    for shard, (number, result) in enumerate(filled):
        name = "train.parquet" if len(filled) == 1 else f"train-{shard:05d}-of-{len(filled):05d}.parquet"
        _link(line.work / f"group-{number:05d}.parquet", folder / name)
        infos.append(FileInfo(name=name, sha256=result["sha256"], bytes=result["bytes"], rows=result["rows"]))
    return tuple(infos)


def _link(source: Path, target: Path) -> None:
    """The same file under a second name, so that a kill loses nothing; a copy where the disk knows no hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _parts(line: Line, groups: int, code: int) -> Iterator[pa.RecordBatch]:
    """The batches (text, row) of one destination, in source order."""
    for number in range(groups):
        with pa.OSFile(f"{line.work}/group-{number:05d}.part{code}", "rb") as source:
            yield from pa.ipc.open_stream(source)


def _small(line: Line, groups: int, folder: Path, code: int, name: str) -> tuple[FileInfo, ...]:
    """Validation or test: the parts one after the other, in row groups of equal size. A split without stories has no file."""
    assert line.assignment is not None
    if not (line.assignment.to == code).any():
        return ()
    rows = 0
    with parquet_writer(folder / name, SPLIT_SCHEMA) as writer:
        for table in _regrouped(batch.select(["text"]) for batch in _parts(line, groups, code)):
            writer.write_table(table, row_group_size=ROW_GROUP)
            rows += len(table)
    return (_info(folder / name, rows),)


def _regrouped(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    held: list[pa.RecordBatch] = []
    for batch in batches:
        held.append(batch)
        while sum(map(len, held)) >= ROW_GROUP:
            table = pa.Table.from_batches(held)
            yield table.slice(0, ROW_GROUP).combine_chunks()
            held = table.slice(ROW_GROUP).to_batches()
    if held:
        yield pa.Table.from_batches(held).combine_chunks()


def _ledger(line: Line, groups: int, folder: Path) -> FileInfo:
    """removed.parquet: where each removed story stood, why it went, which twin stayed."""
    assignment = line.assignment
    assert assignment is not None
    reasons = reasons_of(line.config)
    sources = [item.name for item in line.inputs]
    rows = 0
    with parquet_writer(folder / "removed.parquet", LEDGER_SCHEMA) as writer:
        for table in _regrouped(_parts(line, groups, REMOVED)):
            at = numbers(table.column("row").chunk(0))
            reason, twin, similarity = (column[at] for column in (assignment.reason, assignment.twin, assignment.similarity))
            number, story = line.place(at)
            twin_number, twin_story = line.place(twin)
            columns = [
                _named(sources, number),
                fixed(story),
                _named(list(reasons.values()), np.searchsorted(list(reasons), reason)),
                _named(sources, twin_number),
                fixed(twin_story, twin >= 0),
                fixed(similarity, ~np.isnan(similarity)),
                table.column("text").chunk(0),
            ]
            writer.write_batch(pa.record_batch(columns, schema=LEDGER_SCHEMA))
            rows += len(table)
    return _info(folder / "removed.parquet", rows)


def _named(names: Sequence[str], index: np.ndarray) -> pa.Array:
    """The name of each number; null for -1."""
    known = strings([name.encode() for name in names])
    return known.take(fixed(np.maximum(index, 0), index >= 0)).cast(pa.string())


def _info(path: Path, rows: int) -> FileInfo:
    return FileInfo(name=path.name, sha256=sha256_file(path), bytes=path.stat().st_size, rows=rows)


# --- the manifest ------------------------------------------------------------------------------


def _manifest(line: Line, files: dict[SplitName, tuple[FileInfo, ...]], ledger: FileInfo) -> DatasetManifest:
    assert line.assignment is not None
    reason = line.assignment.reason[: line.train_rows]
    hashes = "".join(info.sha256 for name in _CODES for info in files[name])
    return DatasetManifest(
        sources=_source_infos(line),
        config=line.config,
        cleaner_hash=cleaner_hash(line.config),
        stories_in=line.train_rows,
        kept=int((reason == KEPT).sum()),
        removed={name: count for name, count in removed_of(reason, line.config).items() if count},
        steps=_step_reports(line, "train"),
        test_steps=_step_reports(line, "test"),
        splits={name: _split_info(line, code, files[name]) for name, code in _CODES.items()},
        ledger=ledger,
        fingerprint=sha256_bytes(hashes.encode()),
        warnings=warnings_of(line),
    )


def _source_infos(line: Line) -> tuple[SourceInfo, ...]:
    infos = []
    for n, item in enumerate(line.inputs):
        sha256 = json.loads((line.work / f"hash-{n}.json").read_text(encoding="utf-8"))["sha256"]
        stories = line.input_firsts[n + 1] - line.input_firsts[n]
        size = state(item.origin).size
        infos.append(
            SourceInfo(
                name=item.name,
                role=item.role,
                kind=item.kind,
                bytes=size,
                sha256=sha256,
                stories=stories,
                skipped=line.skipped(n),
            )
        )
    return tuple(infos)


def _split_info(line: Line, code: int, files: tuple[FileInfo, ...]) -> SplitInfo:
    assert line.assignment is not None
    rows = line.assignment.to == code
    words = line.meta["words"][rows]
    return SplitInfo(
        stories=int(rows.sum()),
        words=int(words.sum(dtype=np.int64)),
        characters=int(line.meta["characters"][rows].sum(dtype=np.int64)),
        utf8_bytes=int(line.meta["bytes"][rows].sum(dtype=np.int64)),
        lengths=lengths(words),
        files=files,
    )


def _step_reports(line: Line, role: str) -> tuple[StepReport, ...]:
    blocks = [n for n, block in enumerate(line.blocks) if block.input.role == role]
    if not blocks:
        return ()
    return tuple(_step_report(line, name, blocks) for name in line.config.steps)


def _step_report(line: Line, name: str, blocks: Sequence[int]) -> StepReport:
    counts = [(n, line.counts[n]["steps"][name]) for n in blocks]
    examples: list[StepExample] = []
    for n, count in counts:
        for row, raw in zip(count["rows"], count["texts"], strict=True):
            if len(examples) < EXAMPLES:
                examples.append(_example(line, name, line.firsts[n] + row, raw))
    return StepReport(
        step=name,
        changed=sum(count["changed"] for _, count in counts),
        dropped=sum(count["dropped"] for _, count in counts),
        examples=tuple(examples),
    )


def _example(line: Line, step: str, row: int, raw: str) -> StepExample:
    """A cutting of the story around the first place that the step changed."""
    number, story = line.place(np.array([row]))
    change = next(change for change in clean(raw, line.config).changes if change.step == step)
    pairs = zip(change.before, change.after, strict=False)
    at = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(change.before), len(change.after)))
    start = max(0, at - 30)
    return StepExample(
        source=line.inputs[int(number[0])].name,
        story=int(story[0]),
        before=change.before[start : at + 40],
        after=change.after[start : at + 40],
    )

"""Writes splits/: shards of train and parts side by side, by tasks of an engine; then all together, with the list of removed stories,
the card and the manifest.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..arrow import fixed, numbers, open_batch, strings
from ..artefact import link_or_copy, sha256_file, write_folder, write_model, write_text
from ..dataset import SPLIT_SCHEMA, file_info, parquet_writer
from ..reports.card import card
from ..schemas import DatasetManifest, FileInfo, SplitName
from .canaries import draw_canaries, planted_texts, write_canaries, write_planted
from .cleaned import CleanedStories
from .manifest import manifest_of
from .splits import REMOVED, TEST, TRAIN, VALIDATION, Assignment, reasons_of
from .workdir import OWNED, SPLITS, WorkDir, write_json, written_whole

_PART_SCHEMA = pa.schema([("text", pa.large_string()), ("row", pa.int64())])
REMOVED_SCHEMA = pa.schema(
    [
        ("source", pa.string()),
        ("story", pa.int64()),  # position in that source, from 0
        ("reason", pa.string()),
        ("twin_source", pa.string()),
        ("twin", pa.int64()),  # position of the story that stayed
        ("similarity", pa.float32()),  # of the two, if they are duplicates
        ("text", pa.large_string()),  # as it was when it was removed
    ]
)

ROW_GROUP = 16_384
"""Stories per row group of validation, test and removed.parquet (about 13 MB)."""


# --- side by side, by an engine ---------------------------------------------------------------


@dataclass(frozen=True)
class _GroupTask:
    """Work over a group of consecutive blocks."""

    work: WorkDir
    number: int
    blocks: tuple[tuple[int, int], ...]
    """(number, first row) of each block."""
    weight: int
    """Bytes of text."""

    def _batches(self) -> Iterator[tuple[pa.RecordBatch, np.ndarray, int]]:
        """(texts, destinations, first row) of each block."""
        assignment = np.load(self.work.assignment, mmap_mode="r")
        for block, first in self.blocks:
            batch = open_batch(self.work.block(block, "text"))
            yield batch, np.asarray(assignment[first : first + len(batch)]), first


@dataclass(frozen=True)
class WriteShard(_GroupTask):
    """Write the stories of train in a group as one Parquet file."""

    @property
    def marker(self) -> Path:
        """The description of the file."""
        return self.work.group(self.number, "json")

    def run(self) -> None:
        """Write the shard."""
        path, rows = self.work.group(self.number, "parquet"), 0
        with written_whole(path) as aside, parquet_writer(aside, SPLIT_SCHEMA) as writer:
            for batch, to, _ in self._batches():
                train = batch.filter(fixed(to == TRAIN))
                if len(train):
                    writer.write_batch(train, row_group_size=len(train))
                    rows += len(train)
        write_json(self.marker, {"rows": rows, "bytes": path.stat().st_size, "sha256": sha256_file(path)})


@dataclass(frozen=True)
class WriteParts(_GroupTask):
    """Write the other stories in a group, one file per destination."""

    @property
    def marker(self) -> Path:
        """A file without content of its own."""
        return self.work.group(self.number, "parts.json")

    def run(self) -> None:
        """Write the parts."""
        parts: dict[int, list[pa.RecordBatch]] = {REMOVED: [], VALIDATION: [], TEST: []}
        for batch, to, first in self._batches():
            for destination, found in parts.items():
                rows = np.flatnonzero(to == destination)
                if len(rows):
                    columns = [batch.column("text").take(fixed(rows)), fixed(rows + first)]
                    found.append(pa.record_batch(columns, schema=_PART_SCHEMA))
        for destination, found in parts.items():
            with (
                written_whole(self.work.group(self.number, f"part{destination}")) as aside,
                pa.OSFile(str(aside), "wb") as sink,
                pa.ipc.new_stream(sink, _PART_SCHEMA) as writer,
            ):
                for batch in found:
                    writer.write_batch(batch)
        write_json(self.marker, {})


# --- once, at the end ---------------------------------------------------------------------------


def write_splits(stories: CleanedStories, assignment: Assignment, groups: int, target: Path) -> DatasetManifest:
    """Write the whole folder aside and move it to `target`. `groups`: the number of shards and parts."""
    parts = [_part_files(stories.work, groups, code) for code in (VALIDATION, TEST, REMOVED)]
    canaries = draw_canaries(stories)
    planted = planted_texts(canaries)
    with write_folder(target, *SPLITS, owned=OWNED) as folder:
        files: dict[SplitName, tuple[FileInfo, ...]] = {
            "train": _train(stories.work, groups, planted, folder),
            "validation": _split(parts[0], folder / "validation.parquet"),
            "test": _split(parts[1], folder / "test.parquet"),
        }
        removed = _removed(stories, assignment, parts[2], folder / "removed.parquet")
        listed = write_canaries(canaries, folder / "canaries.json") if canaries else None
        manifest = manifest_of(stories, assignment, files, removed, listed, planted)
        write_model(folder / "manifest.json", manifest)
        write_text(folder / "README.md", card(manifest))
    return manifest


def _train(work: WorkDir, groups: int, planted: list[str], folder: Path) -> tuple[FileInfo, ...]:
    """The shards that hold stories, under their final names; planted canaries are the last."""
    results = [(n, json.loads(work.group(n, "json").read_text(encoding="utf-8"))) for n in range(groups)]
    filled = [(n, result) for n, result in results if result["rows"]]
    count = len(filled) + bool(planted)
    names = ["train.parquet"] if count == 1 else [f"train-{shard:05d}-of-{count:05d}.parquet" for shard in range(count)]
    infos = []
    for name, (number, result) in zip(names, filled, strict=False):
        link_or_copy(work.group(number, "parquet"), folder / name)  # the work folder keeps its name, so that a kill loses nothing
        infos.append(FileInfo(name=name, sha256=result["sha256"], bytes=result["bytes"], rows=result["rows"]))
    return (*infos, write_planted(planted, folder / names[-1])) if planted else tuple(infos)


def _part_files(work: WorkDir, groups: int, destination: int) -> Iterator[pa.RecordBatch]:
    """The batches (text, row) of one destination, in source order."""
    for number in range(groups):
        with pa.OSFile(str(work.group(number, f"part{destination}")), "rb") as source:
            yield from pa.ipc.open_stream(source)


def _split(batches: Iterator[pa.RecordBatch], path: Path) -> tuple[FileInfo, ...]:
    """Validation or test, in row groups of equal size. A split without stories has no file."""
    tables = _regrouped(batch.select(["text"]) for batch in batches)
    first = next(tables, None)
    if first is None:
        return ()
    rows = 0
    with parquet_writer(path, SPLIT_SCHEMA) as writer:
        for table in chain([first], tables):
            writer.write_table(table, row_group_size=ROW_GROUP)
            rows += len(table)
    return (file_info(path, rows),)


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


def _removed(stories: CleanedStories, assignment: Assignment, batches: Iterator[pa.RecordBatch], path: Path) -> FileInfo:
    """removed.parquet: the place of each removed story, the reason, and the duplicate that stayed."""
    reasons = reasons_of(stories.config)
    sources = [item.name for item in stories.inputs]
    rows = 0
    with parquet_writer(path, REMOVED_SCHEMA) as writer:
        for table in _regrouped(batches):
            at = numbers(table.column("row").chunk(0))
            reason, other, similarity = assignment.reason[at], assignment.duplicate_of[at], assignment.similarity[at]
            source, story = stories.locate(at)
            other_source, other_story = stories.locate(other)
            columns = [
                _named(sources, source),
                fixed(story),
                _named(list(reasons.values()), np.searchsorted(list(reasons), reason)),
                _named(sources, other_source),
                fixed(other_story, other >= 0),
                fixed(similarity, ~np.isnan(similarity)),
                table.column("text").chunk(0),
            ]
            writer.write_batch(pa.record_batch(columns, schema=REMOVED_SCHEMA))
            rows += len(table)
    return file_info(path, rows)


def _named(names: Sequence[str], index: np.ndarray) -> pa.Array:
    """The name of each number; null for -1."""
    known = strings([name.encode() for name in names])
    return known.take(fixed(np.maximum(index, 0), index >= 0)).cast(pa.string())

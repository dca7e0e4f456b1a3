"""Puts finished shards and parts together into splits/: the Parquet files, the list of removed stories, the card, the manifest."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..arrow import fixed, numbers, strings
from ..artefact import link_or_copy, write_folder, write_model, write_text
from ..dataset import file_info
from ..reports.card import card
from ..schemas import DatasetManifest, FileInfo, SplitName
from .canaries import draw_canaries, planted_texts, write_canaries, write_planted
from .cleaned import CleanedStories
from .manifest import manifest_of
from .splits import Assignment, reasons_of
from .tasks import REMOVED, SPLIT_SCHEMA, TEST, VALIDATION, parquet_writer
from .workdir import OWNED, SPLITS, WorkDir

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

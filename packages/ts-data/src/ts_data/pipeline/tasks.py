"""The pieces of work that `prepare` hands to an engine: JSON in, JSON out, everything large goes through files.

Each job writes its files aside and renames them, and writes the one that marks it as done last; so a job that
was killed is simply run again. Jobs know nothing of each other.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..arrow import fixed, numbers
from ..artefact import sha256_file
from ..cleaning.cleaner import KEPT, Cleaner
from ..dedup.minhash import Signer
from ..errors import SourceError
from ..schemas import NearConfig, PrepareConfig
from ..sources.blocks import Block, read_block, stop
from ..sources.separators import found_inside
from ..sources.storage import sha256_of

__all__ = ["REMOVED", "SPLIT_SCHEMA", "open_text", "parquet_writer", "perform"]

REMOVED, TRAIN, VALIDATION, TEST, NOWHERE = range(5)
"""Where a story goes: the values of assignment.npy. NOWHERE: a story of `against`, which is neither kept nor removed."""

SPLIT_SCHEMA = pa.schema([("text", pa.large_string())])
LEDGER_SCHEMA = pa.schema(
    [
        ("source", pa.string()),
        ("story", pa.int64()),  # position in that source, from 0
        ("reason", pa.string()),
        ("twin_source", pa.string()),
        ("twin", pa.int64()),  # position of the story that stayed
        ("similarity", pa.float32()),  # of the two, where they are duplicates
        ("text", pa.large_string()),  # as it stood when it was removed
    ]
)

EXAMPLES = 3
"""Changed stories per step that the manifest shows."""


def perform(job: dict[str, Any]) -> dict[str, Any]:
    """Do one job; what it gives back is JSON."""
    return _JOBS[job["job"]](job)


# --- hash a source -----------------------------------------------------------------------------


def _hash(job: dict[str, Any]) -> dict[str, Any]:
    return _done(Path(job["done"]), {"sha256": sha256_of(job["path"])})


# --- clean a block -----------------------------------------------------------------------------


def _clean(job: dict[str, Any]) -> dict[str, Any]:
    block = Block.from_dict(job["block"])
    config = PrepareConfig.model_validate(job["config"])
    _keep_memory()
    cleaner = Cleaner(config, keep_all=block.input.role != "train")
    counts, batches = _Counts(config), []
    for raw in read_block(block, config, counts.skip if config.bad_lines == "skip" else stop):
        batches.append(cleaner.batch(raw))
        counts.add(raw, batches[-1])
    place = Path(job["place"])
    _write_ipc(place.with_suffix(".text"), _whole([batch.select(["text"]) for batch in batches]))
    _write_ipc(place.with_suffix(".meta"), _whole([batch.drop_columns(["text"]) for batch in batches]))
    return _done(place.with_suffix(".json"), counts.to_dict())


def _keep_memory() -> None:
    """Let glibc keep what this process frees. It hands large pieces back to the system, to get them again as new pages, which
    takes a seventh of the whole time; but having seen one freed of this size, it keeps up to twice as much."""
    bytearray(31 << 20)


def _whole(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    """One batch of several (at least one)."""
    table = pa.Table.from_batches(batches).combine_chunks()
    return pa.record_batch([_chunk(column) for column in table.columns], schema=table.schema)


def _chunk(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks else pa.nulls(0, column.type)


class _Counts:
    """What the steps did to the stories of a block: how many each changed and dropped, and its first changed ones as they came."""

    def __init__(self, config: PrepareConfig) -> None:
        self.stories = self.kept = self.skipped = 0
        self.separators: Counter[str] = Counter()
        self.steps: dict[str, dict[str, Any]] = {
            name: {"changed": 0, "dropped": 0, "rows": [], "texts": []} for name in config.steps
        }

    def skip(self, _: SourceError) -> None:
        """Count a story that could not be read."""
        self.skipped += 1

    def add(self, raw: pa.RecordBatch, cleaned: pa.RecordBatch) -> None:
        """Count a batch, which follows the ones before."""
        dropped = numbers(cleaned.column("dropped_by"))
        changed = numbers(cleaned.column("changed"))
        for i, count in enumerate(self.steps.values()):
            rows = np.flatnonzero(changed & (1 << i))
            count["changed"] += len(rows)
            count["dropped"] += int((dropped == i).sum())
            for row in rows[: EXAMPLES - len(count["rows"])].tolist():
                count["rows"].append(self.stories + row)
                count["texts"].append(raw.column("text")[row].as_py())
        self.separators += found_inside(raw.column("text"))
        self.stories += len(cleaned)
        self.kept += int((dropped == KEPT).sum())

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "stories": self.stories,
            "kept": self.kept,
            "skipped": self.skipped,
            "separators": dict(self.separators),
            "steps": self.steps,
        }


# --- write a shard -----------------------------------------------------------------------------


def _blocks(job: dict[str, Any]) -> Iterator[tuple[pa.RecordBatch, np.ndarray, int]]:
    """The job's blocks in order: the texts, where each goes, and the first one's row."""
    work = Path(job["work"])
    assignment = np.load(work / "assignment.npy", mmap_mode="r")
    for block in job["blocks"]:
        table = open_text(work / f"block-{block['number']:06d}.text")
        yield table, np.asarray(assignment[block["first"] : block["first"] + len(table)]), block["first"]


def _shard(job: dict[str, Any]) -> dict[str, Any]:
    """The stories of train in some blocks, as one Parquet file."""
    place = Path(job["place"])
    rows = 0
    aside = place.with_suffix(f".{os.getpid()}.partial")
    with parquet_writer(aside, SPLIT_SCHEMA) as writer:
        for table, to, _ in _blocks(job):
            train = table.filter(fixed(to == TRAIN))
            if len(train):
                writer.write_batch(train, row_group_size=len(train))
                rows += len(train)
    os.replace(aside, place)
    return _done(Path(job["done"]), {"rows": rows, "bytes": place.stat().st_size, "sha256": sha256_file(place)})


def _parts(job: dict[str, Any]) -> dict[str, Any]:
    """The other stories in some blocks, one file for each place where they go."""
    parts: dict[int, list[pa.RecordBatch]] = {REMOVED: [], VALIDATION: [], TEST: []}
    for table, to, first in _blocks(job):
        for part, found in parts.items():
            chosen = np.flatnonzero(to == part)
            if len(chosen):
                found.append(_numbered(table, chosen, first))
    for part, found in parts.items():
        _write_part(Path(job["place"]).with_suffix(f".part{part}"), found)
    return _done(Path(job["done"]), {})


def _numbered(table: pa.RecordBatch, rows: np.ndarray, first: int) -> pa.RecordBatch:
    return pa.record_batch([table.column("text").take(fixed(rows)), fixed(rows + first)], schema=_PART)


_PART = pa.schema([("text", pa.large_string()), ("row", pa.int64())])


def _write_part(path: Path, batches: list[pa.RecordBatch]) -> None:
    aside = path.with_name(f"{path.name}.{os.getpid()}.partial")
    with pa.OSFile(str(aside), "wb") as sink, pa.ipc.new_stream(sink, _PART) as writer:
        for batch in batches:
            writer.write_batch(batch)
    os.replace(aside, path)


def parquet_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """Parquet as we write it: Snappy (fast to read everywhere), no dictionary (stories do not repeat), no text statistics."""
    return pq.ParquetWriter(
        path, schema, compression="snappy", use_dictionary=False, write_statistics=False, store_schema=False, version="2.6"
    )


def open_text(path: Path) -> pa.RecordBatch:
    """The one batch of an Arrow IPC file of ours, read (not mapped: mapped pages would count as our memory)."""
    with pa.OSFile(str(path), "rb") as source:
        return pa.ipc.open_file(source).get_batch(0)


def _write_ipc(path: Path, batch: pa.RecordBatch) -> None:
    aside = path.with_name(f"{path.name}.{os.getpid()}.partial")
    with pa.OSFile(str(aside), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    os.replace(aside, path)


def _done(path: Path, result: dict[str, Any]) -> dict[str, Any]:
    aside = path.with_name(f"{path.name}.{os.getpid()}.partial")
    aside.write_text(json.dumps(result), encoding="utf-8")
    os.replace(aside, path)
    return result


# --- band keys for near-duplicates -------------------------------------------------------------


def _bands(job: dict[str, Any]) -> dict[str, Any]:
    """MinHash band keys `[stories, bands]` of one cleaned block."""
    place = Path(job["place"])
    texts = open_text(place.with_suffix(".text")).column("text").to_numpy(zero_copy_only=False).tolist()
    aside = place.with_suffix(f".bands.{os.getpid()}.partial.npy")
    np.save(aside, Signer(NearConfig.model_validate(job["near"])).bands(texts))
    os.replace(aside, place.with_suffix(".bands.npy"))
    return _done(Path(job["done"]), {"stories": len(texts)})


_JOBS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "hash": _hash,
    "clean": _clean,
    "bands": _bands,
    "shard": _shard,
    "parts": _parts,
}

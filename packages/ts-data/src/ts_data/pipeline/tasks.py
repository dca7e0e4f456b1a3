"""The tasks of `prepare` that read stories; an engine runs them. Those that write splits are in `writer`.

Input and output are files of the work folder. A task writes each file aside and renames it, and its marker last. A task that was
killed runs again. Tasks do not know each other.
"""

from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..arrow import numbers, open_batch
from ..cleaning.cleaner import KEPT, Cleaner
from ..dedup.minhash import band_keys
from ..errors import SourceError
from ..schemas import NearConfig, PrepareConfig
from ..sources.blocks import Block, read_block, stop
from ..sources.separators import found_inside
from ..sources.storage import sha256_of
from .workdir import WorkDir, write_json, written_whole

EXAMPLES = 3
"""Changed stories per step that the manifest shows."""


@dataclass
class StepCounts:
    """What one step did in a block, and the rows and raw texts of its first changes."""

    changed: int = 0
    dropped: int = 0
    rows: list[int] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)


@dataclass
class BlockCounts:
    """What the steps did in a block."""

    steps: dict[str, StepCounts]
    stories: int = 0
    kept: int = 0
    skipped: int = 0
    """Stories that could not be read."""
    separators: dict[str, int] = field(default_factory=dict)
    """Possible separators inside stories: spelling → stories."""

    def add(self, raw: pa.RecordBatch, cleaned: pa.RecordBatch) -> None:
        """Count the next batch."""
        dropped = numbers(cleaned.column("dropped_by"))
        changed = numbers(cleaned.column("changed"))
        for number, count in enumerate(self.steps.values()):
            rows = np.flatnonzero(changed & (1 << number))
            count.changed += len(rows)
            count.dropped += int((dropped == number).sum())
            for row in rows[: EXAMPLES - len(count.rows)].tolist():
                count.rows.append(self.stories + row)
                count.texts.append(raw.column("text")[row].as_py())
        self.separators = dict(Counter(self.separators) + found_inside(raw.column("text").filter(cleaned.column("unusual"))))
        self.stories += len(cleaned)
        self.kept += int((dropped == KEPT).sum())

    def skip(self, _: SourceError) -> None:
        """Count a story that could not be read."""
        self.skipped += 1


@dataclass(frozen=True)
class HashSource:
    """Hash a source."""

    work: WorkDir
    number: int
    path: str

    weight = 0

    @property
    def marker(self) -> Path:
        """The file that holds the hash."""
        return self.work.source_hash(self.number)

    def run(self) -> None:
        """Write the SHA-256 of the source."""
        write_json(self.marker, {"sha256": sha256_of(self.path)})


@dataclass(frozen=True)
class CleanBlock:
    """Clean a block."""

    work: WorkDir
    number: int
    block: Block
    config: PrepareConfig

    @property
    def marker(self) -> Path:
        """The counts."""
        return self.work.block(self.number, "json")

    @property
    def weight(self) -> int:
        """Bytes of the block."""
        return self.block.end - self.block.start if self.block.size is None else self.block.size

    def run(self) -> None:
        """Write the cleaned texts, the cleaner's columns and the counts."""
        cleaner = Cleaner(self.config, keep_all=self.block.input.role != "train")
        counts, batches = BlockCounts({name: StepCounts() for name in self.config.steps}), []
        for raw in read_block(self.block, self.config, counts.skip if self.config.bad_lines == "skip" else stop):
            batches.append(cleaner.batch(raw))
            counts.add(raw, batches[-1])
        _write_batch(self.work.block(self.number, "text"), _joined([batch.select(["text"]) for batch in batches]))
        _write_batch(
            self.work.block(self.number, "meta"), _joined([batch.drop_columns(["text", "unusual"]) for batch in batches])
        )
        write_json(self.marker, asdict(counts))


@dataclass(frozen=True)
class BandKeys:
    """Make the MinHash band keys of a cleaned block."""

    work: WorkDir
    number: int
    near: NearConfig

    weight = 1

    @property
    def marker(self) -> Path:
        """The keys."""
        return self.work.block(self.number, "bands.npy")

    def run(self) -> None:
        """Write the keys `[stories, bands]`."""
        texts = open_batch(self.work.block(self.number, "text")).column("text").to_numpy(zero_copy_only=False).tolist()
        with written_whole(self.marker) as aside, aside.open("wb") as file:
            np.save(file, band_keys(texts, self.near))


# --- files -------------------------------------------------------------------------------------


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    """One batch of at least one."""
    table = pa.Table.from_batches(batches).combine_chunks()
    columns = [column.chunk(0) if column.num_chunks else pa.nulls(0, column.type) for column in table.columns]
    return pa.record_batch(columns, schema=table.schema)


def _write_batch(path: Path, batch: pa.RecordBatch) -> None:
    with written_whole(path) as aside, pa.OSFile(str(aside), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)

"""The cleaned stories of all sources: counts, columns and texts by row. A row is a story's number over all sources in order."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import pairwise

import numpy as np
import pyarrow as pa
from pydantic import TypeAdapter

from ..arrow import fixed, numbers, open_batch
from ..schemas import PrepareConfig
from ..sources.blocks import Block, Input
from .tasks import BlockCounts
from .workdir import WorkDir


class CleanedStories:
    """The results of all `CleanBlock` tasks. The rows of the training sources come first, then test files, then `against`."""

    def __init__(self, work: WorkDir, config: PrepareConfig, inputs: Sequence[Input], blocks: Sequence[Block]) -> None:
        self.work, self.config, self.inputs, self.blocks = work, config, inputs, blocks
        read = TypeAdapter(BlockCounts).validate_json
        self.counts = [read(work.block(number, "json").read_bytes()) for number in range(len(blocks))]
        batches = [open_batch(work.block(number, "meta")) for number in range(len(blocks))]
        names = batches[0].schema.names
        self.columns = {name: np.concatenate([numbers(batch.column(name)) for batch in batches]) for name in names}
        """The cleaner's columns but the text: name → `[stories]`."""
        self.block_starts = [0, *np.cumsum([count.stories for count in self.counts]).tolist()]
        """The first row of each block, and the number of rows."""

    @cached_property
    def hashes(self) -> np.ndarray:
        """[stories, 2] uint64."""
        return np.stack([self.columns["hash_hi"], self.columns["hash_lo"]], axis=1)

    @cached_property
    def input_counts(self) -> list[list[BlockCounts]]:
        """The counts of the blocks of each input."""
        found: dict[Input, list[BlockCounts]] = {item: [] for item in self.inputs}
        for block, count in zip(self.blocks, self.counts, strict=True):
            found[block.input].append(count)
        return list(found.values())

    @cached_property
    def input_starts(self) -> list[int]:
        """The first row of each input, and the number of rows."""
        return [0, *np.cumsum([sum(count.stories for count in counts) for counts in self.input_counts]).tolist()]

    @property
    def train_rows(self) -> int:
        """Rows of the training sources."""
        return self.input_starts[sum(item.role == "train" for item in self.inputs)]

    @property
    def test_end(self) -> int:
        """The row after the last one of the test files."""
        return self.input_starts[sum(item.role != "against" for item in self.inputs)]

    def skipped(self, number: int) -> int:
        """Lines or rows of an input that could not be read."""
        return self.inputs[number].skipped + sum(count.skipped for count in self.input_counts[number])

    def texts(self, rows: np.ndarray) -> list[str]:
        """The cleaned texts of ascending rows, mapped from the work folder: near-duplicates need few."""
        found: list[str] = []
        for number, inside in self._by_block(rows):
            source = pa.memory_map(str(self.work.block(number, "text")))
            found += pa.ipc.open_file(source).get_batch(0).column(0).take(fixed(inside)).to_pylist()
        return found

    def bands(self, rows: np.ndarray) -> np.ndarray:
        """MinHash band keys `[rows, bands]` of ascending rows."""
        found = [np.load(self.work.block(number, "bands.npy"), mmap_mode="r")[inside] for number, inside in self._by_block(rows)]
        return np.concatenate(found) if found else np.zeros((0, self.config.near.bands), np.uint64)

    def _by_block(self, rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """(number of a block, places in it) of ascending rows."""
        cuts = np.searchsorted(rows, self.block_starts).tolist()
        for number, (start, end) in enumerate(pairwise(cuts)):
            if start < end:
                yield number, rows[start:end] - self.block_starts[number]

    def locate(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(number of the source, position in it) of each row; -1 for row -1."""
        number = np.searchsorted(self.input_starts, rows, side="right") - 1
        return number, np.where(rows >= 0, rows - np.array(self.input_starts)[number], -1)

"""Opens a splits/ folder: its manifest, and its stories as a sequence or as Arrow batches. Read-only, but for the form of its files."""

from __future__ import annotations

import itertools
import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import pyarrow as pa
import pyarrow.parquet as pq

from .arrow import check_rows
from .artefact import StrPath, member, read_model, sha256_file
from .errors import ArtefactError
from .schemas import Canaries, Canary, DatasetManifest, FileInfo

REMOVED = "removed"

SPLIT_SCHEMA = pa.schema([("text", pa.large_string())])
"""The columns of a split."""


def open_manifest(splits: StrPath) -> DatasetManifest:
    """The manifest of a splits/ folder."""
    if not isinstance(splits, (str, os.PathLike)):
        raise TypeError(f"splits: the path of a splits/ folder is expected, not {type(splits).__name__}.")
    return read_model(Path(splits) / "manifest.json", DatasetManifest, package="ts-data")


def check_files(splits: StrPath) -> DatasetManifest:
    """The manifest of a splits/ folder after a check of each file: size, kind, number of stories.

    Raises ArtefactError if a file is missing, truncated or changed.
    """
    manifest = open_manifest(splits)
    for name, info in manifest.splits.items():
        Split(splits, name, info.files)
    Split(splits, REMOVED, (manifest.ledger,))
    read_canaries(splits)
    return manifest


def list_files(manifest: DatasetManifest) -> list[FileInfo]:
    """Every file that a manifest names."""
    files = [file for split in manifest.splits.values() for file in split.files]
    return [*files, manifest.ledger, *([manifest.canaries] if manifest.canaries else [])]


def read_canaries(splits: StrPath) -> tuple[Canary, ...]:
    """The canaries of a splits/ folder: stories whose number of copies in train is known (`times`), and controls (`times` is 0).

    Empty if none are planted (`PrepareConfig.canaries`). Raises ArtefactError if the file is missing, damaged or changed.
    """
    info = open_manifest(splits).canaries
    if info is None:
        return ()
    path = _checked(splits, info)
    if sha256_file(path) != info.sha256:
        raise ArtefactError(f"{path}: changed since it was written. Run `ts-data prepare` again.")
    return read_model(path, Canaries, package="ts-data").canaries


def read(splits: StrPath, split: str) -> Split:
    """The stories of one split: "train", "validation", "test", or "removed" (texts of removed.parquet).

    Raises ArtefactError if the folder is no splits/ folder, or a file is missing or has another size.
    """
    manifest = open_manifest(splits)
    if split == REMOVED:
        return Split(splits, REMOVED, (manifest.ledger,))
    for name, info in manifest.splits.items():
        if name == split:
            return Split(splits, name, info.files, manifest)
    raise ArtefactError(f"{splits}: no split {split!r}; there are: {', '.join([*manifest.splits, REMOVED])}.")


class Split(Sequence[str]):
    """The stories of one split, read on access. Holds one row group (about 16 MB) in memory."""

    def __init__(self, splits: StrPath, name: str, files: Sequence[FileInfo], manifest: DatasetManifest | None = None) -> None:
        self.splits, self.name = Path(splits).absolute(), name
        self.manifest = manifest
        self.files = tuple(files)
        self.paths = tuple(_checked(splits, info) for info in files)
        self._opened = [_open(path) for path in self.paths]
        self._groups: list[tuple[int, int]] = []
        self._starts = [0]
        for number, file in enumerate(self._opened):
            for group in range(file.metadata.num_row_groups):
                self._groups.append((number, group))
                self._starts.append(self._starts[-1] + file.metadata.row_group(group).num_rows)
        expected = sum(info.rows for info in files)
        if self._starts[-1] != expected:
            raise ArtefactError(f"{splits}: split {name!r} has {self._starts[-1]:,} stories, its manifest says {expected:,}.")
        self._held: tuple[int, pa.RecordBatch] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles the path; unpickling opens the files again."""
        return Split, (self.splits, self.name, self.files, self.manifest)

    def __len__(self) -> int:
        return self._starts[-1]

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self._story(row) for row in range(*index.indices(len(self)))]
        row = index + len(self) if index < 0 else index
        if not 0 <= row < len(self):
            raise IndexError(f"story {index} of {len(self)}")
        return self._story(row)

    def __iter__(self) -> Iterator[str]:
        for batch in self.batches(10_000):
            yield from batch.column(0).to_numpy(zero_copy_only=False).tolist()

    def batches(self, rows: int = 65_536) -> Iterator[pa.RecordBatch]:
        """The stories in order as Arrow batches of up to `rows` rows: column `text`, and `prompt` if the stories have prompts."""
        for first, end in self.cuts(rows):
            yield self.batch(first, end)

    def cuts(self, rows: int = 65_536) -> Iterator[tuple[int, int]]:
        """(first, end) of the batches: up to `rows` stories of one row group."""
        for start, end in itertools.pairwise(self._starts):
            for first in range(start, end, rows):
                yield first, min(first + rows, end)

    def batch(self, first: int, end: int) -> pa.RecordBatch:
        """Stories [first, end) of one of the `cuts`: column `text`, and `prompt` if the stories have prompts."""
        start = self._starts[bisect_right(self._starts, first) - 1]
        return self._group(first).slice(first - start, end - first)

    def _story(self, row: int) -> str:
        start = self._starts[bisect_right(self._starts, row) - 1]
        story: str = self._group(row).column(0)[row - start].as_py()
        return story

    def _group(self, row: int) -> pa.RecordBatch:
        """The stories of the row group that holds a row. Caches the last one."""
        position = bisect_right(self._starts, row) - 1
        if self._held is None or self._held[0] != position:
            self._held = None  # free it before the next one is read
            self._held = position, self._load(*self._groups[position])
        return self._held[1]

    def _load(self, number: int, group: int) -> pa.RecordBatch:
        try:
            names = ["text", "prompt"] if self.manifest is not None and self.manifest.instruct is not None else ["text"]
            table = self._opened[number].read_row_group(group, columns=names).select(names)
            check_rows(self._opened[number], [group], table.num_rows)
            table.validate(full=True)  # also that it is UTF-8
        except (pa.ArrowException, OSError) as problem:
            reason = str(problem).splitlines()[0][:80]
            raise ArtefactError(f"{self.paths[number]}: damaged: {reason}. Run `ts-data prepare` again.") from None
        return pa.record_batch([column.combine_chunks() for column in table.columns], names)

    def __repr__(self) -> str:
        return f"<Split {self.name!r}: {len(self):,} stories>"


def file_info(path: Path, rows: int) -> FileInfo:
    """A manifest's description of a file."""
    return FileInfo(name=path.name, sha256=sha256_file(path), bytes=path.stat().st_size, rows=rows)


def without_prompts(batch: pa.RecordBatch) -> pa.Array:
    """The stories of a batch of a Split, without their prompts."""
    if "prompt" not in batch.schema.names:
        return batch.column("text")
    pairs = zip(batch.column("text").to_pylist(), batch.column("prompt").to_pylist(), strict=True)
    return pa.array([text[len(prompt) + 1 :] for text, prompt in pairs], pa.large_string())


def _checked(splits: StrPath, info: FileInfo) -> Path:
    path = member(splits, info.name)
    if not path.is_file():
        raise ArtefactError(f"{path}: missing, though the manifest names it. Run `ts-data prepare` again.")
    if path.stat().st_size != info.bytes:
        raise ArtefactError(
            f"{path}: has {path.stat().st_size:,} bytes, its manifest says {info.bytes:,}; truncated or changed. Run `ts-data prepare` again."
        )
    return path


def _open(path: Path) -> pq.ParquetFile:
    try:
        file = pq.ParquetFile(path.absolute())  # see `parquet_writer`
        names = file.schema_arrow.names
    except (pa.ArrowException, OSError, ValueError) as problem:  # ValueError: a name that is not UTF-8
        raise ArtefactError(f"{path}: not readable as Parquet: {problem}. Run `ts-data prepare` again.") from None
    if "text" not in names:
        raise ArtefactError(f"{path}: has no column `text`.")
    return file


def parquet_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """Parquet with Snappy (fast to read everywhere), without a dictionary (stories do not repeat) and statistics of texts."""
    return pq.ParquetWriter(
        path.absolute(),  # Arrow would take "~name" at the beginning of a path for a user's home
        schema,
        compression="snappy",
        use_dictionary=False,
        write_statistics=False,
        store_schema=False,
        version="2.6",
    )

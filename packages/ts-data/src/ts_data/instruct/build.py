"""`instruct`: splits of stories → splits of prompts with their stories, and their reader."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..arrow import whole_batches
from ..artefact import (
    StrPath,
    check_target,
    keep_apart,
    link_or_copy,
    lock,
    recover,
    sha256_bytes,
    write_folder,
    write_model,
    write_text,
)
from ..console import Progress
from ..dataset import Split, check_files, file_info, open_manifest, parquet_writer, read
from ..errors import ArtefactError, ConfigError
from ..pipeline.manifest import split_info
from ..pipeline.workdir import OWNED, SPLITS
from ..reports.card import card
from ..schemas import DatasetManifest, FileInfo, InstructConfig, InstructInfo, SplitInfo, SplitName
from .prompts import FORMAT, Instruction, instruction_of

SCHEMA = pa.schema(
    [
        ("text", pa.large_string()),  # prompt, a blank, story
        ("prompt", pa.large_string()),
        ("parts", pa.list_(pa.string())),
        ("words", pa.list_(pa.string())),
        ("features", pa.list_(pa.string())),
        ("held_out", pa.bool_()),
    ]
)

ROWS = 16_384
"""Stories per row group."""


def instruct(
    splits: StrPath, out: StrPath, config: InstructConfig | None = None, *, force: bool = False, progress: Progress | None = None
) -> DatasetManifest:
    """Make a prompt from each story of a splits/ folder, and write prompts and stories as a splits/ folder of their own.

    Every story stays in its split. A row's `text` is the prompt and the story, so that every reader of splits/ can read the folder;
    `instructions` returns the parts.

    Args:
        splits: splits/ as `prepare` writes it.
        out: the folder to write. Existing splits are replaced only if they are of the same stories and settings, or with `force`.
        config: settings; None is the default.
        force: replace other splits.
        progress: called as `progress("instruct", done, total)` with stories.

    Raises:
        ArtefactError: `splits` is damaged, or holds prompts already. ConfigError: `out` holds something else.
    """
    config = config or InstructConfig()
    source = check_files(splits)
    if source.instruct is not None:
        raise ArtefactError(f"{splits}: holds prompts already. Name the splits of plain stories.")
    target = Path(out)
    keep_apart(target, [splits], error=ConfigError)
    check_target(target, *SPLITS, error=ConfigError)
    with lock(target, error=ConfigError):
        recover(target)
        if not force:
            _check_existing(target, source, config)
        return _write(splits, source, target, config, progress or (lambda stage, done, total=None: None))


def _check_existing(target: Path, source: DatasetManifest, config: InstructConfig) -> None:
    """Raise ConfigError if the splits at `target` are of other stories or settings."""
    if not (target / "manifest.json").is_file():
        return
    made = open_manifest(target).instruct
    if made is None or made.source != source.fingerprint or made.config != config:
        what = (
            "plain stories"
            if made is None
            else "prompts of other stories"
            if made.config == config
            else "prompts of other settings"
        )
        raise ConfigError(f"{target}: holds splits of {what}. Name a new folder, or replace them: --force")


def _write(splits: StrPath, source: DatasetManifest, target: Path, config: InstructConfig, progress: Progress) -> DatasetManifest:
    total, done = sum(info.stories for info in source.splits.values()), 0
    found: dict[SplitName, SplitInfo] = {}
    parts: Counter[str] = Counter()
    held_out: dict[SplitName, int] = {}
    with write_folder(target, *SPLITS, owned=OWNED) as folder:
        for name in source.splits:
            writer = _SplitWriter(folder / f"{name}.parquet")
            stories = read(splits, name)
            for first in range(0, len(stories), ROWS):
                rows = [instruction_of(story, config, is_train=name == "train") for story in stories[first : first + ROWS]]
                writer.write(rows)
                parts.update(part for row in rows for part in row.parts)
                done += len(rows)
                progress("instruct", done, total)
            found[name], held_out[name] = writer.close(), writer.held_out
        link_or_copy(Split(splits, "removed", (source.ledger,)).paths[0], folder / source.ledger.name)
        hashes = "".join(file.sha256 for info in found.values() for file in info.files)
        made = InstructInfo(config=config, prompts=FORMAT, source=source.fingerprint, parts=dict(parts), held_out=held_out)
        changes = {"splits": found, "fingerprint": sha256_bytes(hashes.encode()), "canaries": None, "instruct": made}
        manifest = source.model_copy(update=changes)
        write_model(folder / "manifest.json", manifest)
        write_text(folder / "README.md", card(manifest))
    return manifest


class _SplitWriter:
    """Writes one split and counts it. A split without stories has no file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: pq.ParquetWriter | None = None
        self._words: list[int] = []
        self._characters = self._bytes = self.held_out = 0

    def write(self, rows: list[Instruction]) -> None:
        """Write a row group."""
        if self._writer is None:
            self._writer = parquet_writer(self._path, SCHEMA)
        columns = [[getattr(row, name) for row in rows] for name in SCHEMA.names]
        arrays = [pa.array(column, kind) for column, kind in zip(columns, SCHEMA.types, strict=True)]
        self._writer.write_batch(pa.record_batch(arrays, schema=SCHEMA), row_group_size=len(rows))
        self._words += [len(text.split()) for text in columns[0]]
        self._characters += sum(map(len, columns[0]))
        self._bytes += sum(len(text.encode()) for text in columns[0])
        self.held_out += sum(row.held_out for row in rows)

    def close(self) -> SplitInfo:
        """Finish the file."""
        files: tuple[FileInfo, ...] = ()
        if self._writer is not None:
            self._writer.close()
            files = (file_info(self._path, len(self._words)),)
        return split_info(np.array(self._words, np.int64), self._characters, self._bytes, files)


def instructions(splits: StrPath, split: str) -> Iterator[Instruction]:
    """The prompts and stories of one split of a folder that `instruct` wrote, in order.

    Raises ArtefactError if the folder holds no prompts, or a file is missing or damaged.
    """
    if open_manifest(splits).instruct is None:
        raise ArtefactError(f"{splits}: holds no prompts. Make them: ts-data instruct {splits} --out instruct/")
    paths = read(splits, split).paths
    if split == "removed":
        raise ArtefactError(f"{splits}: removed stories have no prompts. Name train, validation or test.")
    for path in paths:
        try:
            file = pq.ParquetFile(path.absolute())
            for batch in whole_batches(file, 1_024, range(file.num_row_groups)):
                for row in batch.to_pylist():
                    story = row["text"][len(row["prompt"]) + 1 :]
                    parts, words, features = (tuple(row[name]) for name in ("parts", "words", "features"))
                    yield Instruction(row["prompt"], story, parts, words, features, row["held_out"])
        except (pa.ArrowException, OSError, TypeError, KeyError) as problem:
            raise ArtefactError(f"{path}: damaged: {problem}. Run `ts-data instruct` again.") from None

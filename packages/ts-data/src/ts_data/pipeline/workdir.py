"""The folders that `prepare` writes: how splits/ is recognised, and the work folder with every file name in it.

The work folder (`.<out>.ts-work` beside `out`) holds intermediate files, so that an interrupted run can resume. Its layout is private to
`prepare`.
"""

from __future__ import annotations

import contextlib
import fnmatch
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..schemas import PrepareConfig
from ..sources import has_prefix
from ..sources.storage import state

SPLITS = ("manifest.json", "ts-data/manifest")
"""A file in a folder of splits and its format: only such a folder is replaced."""

OWNED = (
    "manifest.json",
    "README.md",
    "train.parquet",
    "train-[0-9]*-of-[0-9]*.parquet",
    "validation.parquet",
    "test.parquet",
    "removed.parquet",
    "canaries.json",
)
"""Patterns of the files in a folder of splits. Any other file in it belongs to the user."""

_FORMAT = "ts-data/work"
_OWN = ("input-*", "block-*", "hash-*", "group-*", "assignment*", "finished", ".finished.ts-*", ".*.ts-*")
"""Patterns of the files in a work folder. Any other file in it belongs to the user."""


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` and rename it to `path` at the end, so that a killed task leaves no half file."""
    aside = path.with_name(f"{path.name}.{os.getpid()}.partial")
    yield aside
    os.replace(aside, path)


@dataclass(frozen=True)
class WorkDir:
    """A work folder. Blocks, shards and inputs are numbered from 0."""

    root: Path

    # --- file names ----------------------------------------------------------------------------

    @property
    def identity(self) -> Path:
        """Marks the folder as one of ours, and names the call that it belongs to."""
        return self.root / "identity.json"

    @property
    def finished(self) -> Path:
        """The whole splits, until they are uploaded."""
        return self.root / "finished"

    @property
    def assignment(self) -> Path:
        """Destination of each story, `[stories]` uint8."""
        return self.root / "assignment.npy"

    def input_file(self, number: int, suffix: str) -> Path:
        """A source that was copied, unpacked or converted."""
        return self.root / f"input-{number}{suffix}"

    def source_hash(self, number: int) -> Path:
        """JSON: the SHA-256 of a source."""
        return self.root / f"hash-{number}.json"

    def block_text(self, number: int) -> Path:
        """Arrow IPC: the cleaned texts of a block."""
        return self._block(number, "text")

    def block_columns(self, number: int) -> Path:
        """Arrow IPC: the cleaner's other columns of a block."""
        return self._block(number, "meta")

    def block_counts(self, number: int) -> Path:
        """JSON: what the rules did in a block; written last."""
        return self._block(number, "json")

    def block_bands(self, number: int) -> Path:
        """MinHash band keys of a block, `[stories, bands]` uint64."""
        return self._block(number, "bands.npy")

    def shard(self, number: int) -> Path:
        """Parquet: the stories of train in a group of blocks."""
        return self._group(number, "parquet")

    def shard_info(self, number: int) -> Path:
        """JSON: rows, bytes and SHA-256 of a shard; written last."""
        return self._group(number, "json")

    def part(self, number: int, destination: int) -> Path:
        """Arrow IPC stream: the stories of a group of blocks of one other destination."""
        return self._group(number, f"part{destination}")

    def parts_done(self, number: int) -> Path:
        """JSON: all parts of a group are written."""
        return self._group(number, "parts.json")

    def _block(self, number: int, suffix: str) -> Path:
        return self.root / f"block-{number:06d}.{suffix}"

    def _group(self, number: int, suffix: str) -> Path:
        return self.root / f"group-{number:05d}.{suffix}"

    def sha256(self, number: int) -> str:
        """The SHA-256 of a source, from `source_hash`."""
        return str(json.loads(self.source_hash(number).read_text(encoding="utf-8"))["sha256"])

    # --- the folder ----------------------------------------------------------------------------

    def check(self) -> None:
        """Raise ConfigError if the folder exists, is not empty, and is not a work folder."""
        if self.root.exists() and not self._is_ours() and (not self.root.is_dir() or any(self.root.iterdir())):
            raise ConfigError(f"{self.root}: exists and is no work folder of ts-data; it is left alone. Name a new folder.")

    def begin(self, sources: Sequence[tuple[str, str, str | None]], config: PrepareConfig, *sizes: int) -> None:
        """Keep a folder that an equal call left; clear any other. A call that read a pipe is never equal to another.

        `sources`: (name, role, its file or None). `sizes`: of the pieces of work.
        """
        described: list[Any] = []
        for name, role, origin in sources:
            found = state(origin) if origin else None
            described.append([name, str(origin), role, found.size if found else 0, found.changed if found else 0])
            if origin is None and not has_prefix(name):
                described.append(os.getpid())
        call = [described, config.model_dump(mode="json"), *sizes]
        identity = json.dumps({"format": _FORMAT, "call": call}, sort_keys=True)
        if not self.identity.exists() or self.identity.read_text(encoding="utf-8") != identity:
            self.clear()
            self.root.mkdir(parents=True, exist_ok=True)
            self.identity.write_text(identity, encoding="utf-8")

    def clear(self) -> None:
        """Remove our files, and the folder if nothing else is in it.

        First invalidates the identity, so that an interrupted removal is finished next time.
        """
        if not self.root.is_dir() or not self.identity.is_file():
            return
        self.identity.write_text(json.dumps({"format": _FORMAT}), encoding="utf-8")
        has_others = False
        for entry in self.root.iterdir():
            if entry == self.identity:
                continue
            if not any(fnmatch.fnmatchcase(entry.name, pattern) for pattern in _OWN):
                has_others = True
            elif entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        if not has_others:
            shutil.rmtree(self.root, ignore_errors=True)

    def _is_ours(self) -> bool:
        try:
            content = json.loads(self.identity.read_bytes())
        except (OSError, ValueError, RecursionError):
            return False
        return isinstance(content, dict) and content.get("format") == _FORMAT

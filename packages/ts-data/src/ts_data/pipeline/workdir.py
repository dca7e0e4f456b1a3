"""The folders that `prepare` writes: how splits/ is recognised, and the work folder with every file name in it.

The work folder (`.<out>.ts-work` beside `out`) holds intermediate files, so that an interrupted run can resume. Its layout is private to
`prepare`.
"""

import contextlib
import fnmatch
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import ConfigError
from ..schemas import PrepareConfig
from ..sources import kind_of_prefix
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


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a file whole."""
    with written_whole(path) as aside:
        aside.write_text(json.dumps(content), encoding="utf-8")


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

    def block(self, number: int, part: Literal["text", "meta", "bands.npy", "json"]) -> Path:
        """A file of a cleaned block.

        text: the cleaned texts (Arrow IPC). meta: the cleaner's other columns (Arrow IPC). bands.npy: MinHash band keys,
        `[stories, bands]` uint64. json: what the rules did; written last.
        """
        return self.root / f"block-{number:06d}.{part}"

    def group(self, number: int, part: str) -> Path:
        """A file of a group of blocks.

        parquet: the stories of train. json: rows, bytes and SHA-256 of that file; written last. `part` and the number of another
        destination: its stories (Arrow IPC stream). parts.json: marks that all these are written.
        """
        return self.root / f"group-{number:05d}.{part}"

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
            if origin is None and not kind_of_prefix(name):
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

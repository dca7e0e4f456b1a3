"""Files by path or by URI (`s3://bucket/raw.txt`, `gs://…`, `hdfs://…`), through pyarrow's file systems.

Credentials and end points are those of pyarrow: for S3 the usual AWS variables and profile.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import SourceError, TsDataError

if TYPE_CHECKING:  # loaded on use: checking a name must not load pyarrow
    import pyarrow as pa
    import pyarrow.fs

_RETRIES = 20
"""Seconds for which a Google Cloud store is asked again."""


@dataclass(frozen=True)
class FileState:
    """Size in bytes and modification time in nanoseconds, by which a changed file is recognised."""

    size: int
    changed: int


def is_uri(name: str | os.PathLike[str]) -> bool:
    """True of `scheme://…`; False of a path."""
    return "://" in os.fspath(name)


def open_file(name: str) -> pa.NativeFile:
    """A file to be read at any place: `read_at(bytes, place)`, `read`, `seek`."""
    import pyarrow as pa

    if not is_uri(name):
        try:
            return pa.OSFile(name, "rb")
        except UnicodeEncodeError:
            raise SourceError(f"{name!a}: the name is not UTF-8, which Arrow cannot open. Rename the file.") from None
    system, path = _resolve(name)
    try:
        return system.open_input_file(path)
    except OSError as problem:
        raise SourceError(f"{name}: cannot be read: {_first_line(problem)}") from None


def state(name: str) -> FileState:
    """Size and time of a file. Raises SourceError where there is none, or a folder."""
    if not is_uri(name):
        found = Path(name).stat()
        return FileState(found.st_size, found.st_mtime_ns)
    system, path = _resolve(name)
    try:
        info = system.get_file_info(path)
    except OSError as problem:
        raise SourceError(f"{name}: cannot be reached: {_first_line(problem)}") from None
    if info.type.name == "NotFound":
        raise SourceError(f"{name}: no such file.")
    if info.type.name == "Directory":
        raise SourceError(f"{name}: is a folder. Name the file (or files) in it.")
    return FileState(int(info.size or 0), int(info.mtime_ns or 0))


def sha256_of(name: str) -> str:
    """Hex digest of a file's content."""
    with open_file(name) as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def upload(folder: Path, uri: str, mark: str) -> None:
    """Copy a folder of files to `uri`; the file `mark`, which marks a complete copy, is removed first and written last."""
    system, path = _resolve(uri)
    names = sorted(item.name for item in folder.iterdir() if item.name != mark)
    try:
        system.create_dir(path, recursive=True)
        if system.get_file_info(f"{path}/{mark}").type.name == "File":
            system.delete_file(f"{path}/{mark}")
        for name in [*names, mark]:
            with (folder / name).open("rb") as source, system.open_output_stream(f"{path}/{name}") as target:
                shutil.copyfileobj(source, target)
    except OSError as problem:
        raise TsDataError(f"{uri}: cannot be written: {_first_line(problem)}. The complete result is in {folder}.") from None


def _resolve(uri: str) -> tuple[pa.fs.FileSystem, str]:
    import pyarrow as pa
    import pyarrow.fs

    try:
        system, path = pa.fs.FileSystem.from_uri(_limited(uri))
    except pa.ArrowException as problem:
        mend = "Download the file and name it. " if uri.startswith("http") else ""
        raise SourceError(f"{uri}: not a place that pyarrow knows. {mend}({_first_line(problem)})") from None
    except OSError as problem:
        raise SourceError(f"{uri}: cannot be reached: {_first_line(problem)}") from None
    return system, path.rstrip("/")


def _limited(uri: str) -> str:
    """A gs:// URI with a limit to its retries: pyarrow's own is 15 minutes, also where there is no network."""
    if not uri.startswith(("gs://", "gcs://")) or "retry_limit_seconds" in uri:
        return uri
    return f"{uri}{'&' if '?' in uri else '?'}retry_limit_seconds={_RETRIES}"


def _first_line(problem: BaseException) -> str:
    return next(iter(str(problem).splitlines()), type(problem).__name__)

"""Expands the sources that a caller names, folders and patterns among them, into a list of files."""

import glob
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..artefact import StrPath, read_model
from ..errors import ArtefactError, ConfigError, SourceError
from ..schemas import DatasetManifest
from . import PACKED, SOURCES, STDIN, is_stream, kind_of, kind_of_prefix
from .storage import is_uri

Source = StrPath

_PATTERN = re.compile(r"[*?\[]")


def expanded(sources: Source | Sequence[Source], argument: str = "source") -> list[str]:
    """The files of all sources, those of a folder or a pattern in the order of their names.

    A folder gives the files in it and below whose ending is known; a splits/ folder gives its stories, without those removed.
    """
    names: object = [sources] if isinstance(sources, (str, os.PathLike)) else sources
    if isinstance(names, (bytes, dict)) or not isinstance(names, Iterable):
        raise ConfigError(f"{argument}: a path or a list of paths is expected, not {type(sources).__name__}.")
    found: list[str] = []
    for name in names:
        if not isinstance(name, (str, os.PathLike)) or isinstance(os.fspath(name), bytes):
            raise ConfigError(f"{argument}: a path is expected, not {name!r}.")
        found += _files(os.fspath(name))
    if not found:
        raise ConfigError(f"no {argument} is named.")
    places: dict[str, str] = {}
    for name in found:
        place = os.path.realpath(name) if local([name]) else name
        if place in places:
            other = "" if name == places[place] else f", as {places[place]}"
            raise ConfigError(f"{name}: is named twice{other}. Name each {argument} once.")
        places[place] = name
    return found


def local(names: Iterable[str]) -> list[str]:
    """Those of the names that are files on this machine."""
    return [name for name in names if not (is_uri(name) or kind_of_prefix(name) or is_stream(name))]


def _files(name: str) -> list[str]:
    if not name:
        raise SourceError("an empty name was given for a source. Name a file.")
    if name == STDIN or kind_of_prefix(name) or is_uri(name):
        return [name]
    try:
        if Path(name).is_dir():
            return _of_folder(name)
        if _PATTERN.search(name) and not os.path.lexists(name):
            return _of_pattern(name)
    except (OSError, ValueError) as problem:
        raise SourceError(f"{name}: cannot be read: {getattr(problem, 'strerror', None) or problem}.") from None
    return [name]


def _of_pattern(pattern: str) -> list[str]:
    found = sorted(path for path in glob.glob(pattern, recursive=True) if not Path(path).is_dir())  # noqa: PTH207 - keeps the spelling
    if not found:
        raise SourceError(f"{pattern}: matches no file.")
    return found


def _of_folder(name: str) -> list[str]:
    if (Path(name) / "manifest.json").is_file():
        try:
            manifest = read_model(Path(name) / "manifest.json", DatasetManifest, package="ts-data")
        except ArtefactError:
            pass
        else:
            if manifest.instruct is not None:
                raise SourceError(f"{name}: holds prompts, made by `ts-data instruct`. Name the splits of plain stories.")
            return [os.path.join(name, file.name) for split in manifest.splits.values() for file in split.files]  # noqa: PTH118
    found = []
    for folder, inner, files in os.walk(name):
        inner[:] = sorted(item for item in inner if not item.startswith("."))
        found += [os.path.join(folder, file) for file in sorted(files) if not file.startswith(".") and _is_read(file)]  # noqa: PTH118
    if not found:
        raise SourceError(
            f"{name}: is a folder without any file of stories ({', '.join(sorted(_endings()))}, also packed). Name the files."
        )
    return found


def _is_read(name: str) -> bool:
    """Whether the ending of a file is that of stories. The other files of a folder may be anything."""
    path = Path(name)
    ending = path.with_suffix("").suffix if path.suffix.lower() in PACKED else path.suffix
    return ending.lower() in _endings() and bool(kind_of(name))


def _endings() -> set[str]:
    return {ending for known in SOURCES.values() for ending in known.endings}

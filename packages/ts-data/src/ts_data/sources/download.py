"""Fetches the published TinyStories files from the Hub: a pinned revision, resumed after an interruption, checked by size and SHA-256."""

import contextlib
import logging
import os
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..artefact import StrPath, beside, lock, need_space, sha256_file
from ..console import Progress
from ..errors import ConfigError, SourceError, TsDataError, has_no_space


@dataclass(frozen=True)
class Remote:
    """One file of the Hub data set."""

    name: str
    bytes: int
    sha256: str | None = None
    """Pinned where known; otherwise the hash that the Hub states for the pinned revision is checked."""


_PUBLISHED = tomllib.loads(Path(__file__).with_name("corpora.toml").read_text(encoding="utf-8"))
REPOSITORY, REVISION = _PUBLISHED["repository"], _PUBLISHED["revision"]
CORPORA = {name: tuple(Remote(**file) for file in files) for name, files in _PUBLISHED["corpora"].items()}
"""Name → files, train first."""


def download(corpus: str, out: StrPath, *, endpoint: str | None = None, progress: Progress | None = None) -> list[Path]:
    """Download a corpus into the folder `out`; returns its files, train first. A complete file is kept.

    `endpoint` is another Hub (a mirror); None is the library's own choice. Raises SourceError if a file cannot be
    downloaded or differs from the published one; such a file is removed.
    """
    if corpus not in CORPORA:
        raise ConfigError(f"corpus {corpus!r}: there are: {', '.join(CORPORA)}.")
    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{out}: is a file, the raw files need a folder. Name a new one.")
    files = CORPORA[corpus]
    missing = sum(file.bytes for file in files if not (folder / file.name).exists())
    need_space(folder, missing, "the download", error=SourceError)
    paths = []
    with lock(folder, error=SourceError) if missing else contextlib.nullcontext():
        for number, file in enumerate(files):
            if progress:
                progress(f"download {corpus}", number, len(files))
            paths.append(_fetch(file, folder, endpoint))
    if progress:
        progress(f"download {corpus}", len(files), len(files))
    return paths


def _fetch(file: Remote, folder: Path, endpoint: str | None) -> Path:
    there = folder / file.name
    if file.sha256 and there.is_file() and there.stat().st_size == file.bytes and sha256_file(there) == file.sha256:
        return there
    try:
        from huggingface_hub import get_hf_file_metadata, hf_hub_url
        from huggingface_hub.file_download import http_get
        from huggingface_hub.utils import build_hf_headers
    except ImportError:
        raise TsDataError('downloading needs the Hub library: pip install "ts-data[hub]"') from None
    url = hf_hub_url(REPOSITORY, file.name, repo_type="dataset", revision=REVISION, endpoint=endpoint)
    partial = beside(there, "partial")
    try:
        with silent("huggingface_hub"):  # it logs each retry; asking for metadata first fails at once without a network
            stated = get_hf_file_metadata(url, endpoint=endpoint, timeout=30)
            expected = file.sha256 or stated.etag
            if there.is_file() and there.stat().st_size == file.bytes and sha256_file(there) == expected:
                return there
            folder.mkdir(parents=True, exist_ok=True)
            # hf_hub_download begins anew in each call, and leaves what a killed one has
            with partial.open("ab") as handle:
                if handle.tell() > file.bytes:
                    handle.truncate(handle.seek(0))
                http_get(url, handle, resume_size=handle.tell(), headers=build_hf_headers(), expected_size=stated.size)
    except Exception as problem:  # the library's own errors, its HTTP client's, the disk's
        if has_no_space(problem):  # the console says it
            raise
        reason = next((line.strip() for line in str(problem).splitlines() if line.strip()), type(problem).__name__).rstrip(".")
        raise SourceError(
            f"{file.name}: cannot be downloaded ({reason}). Check the network, then run the same command again; it resumes."
        ) from None
    _verify(partial, there, file, expected)
    os.replace(partial, there)
    return there


def _verify(partial: Path, path: Path, file: Remote, expected: str | None) -> None:
    found = partial.stat().st_size
    if found != file.bytes:
        partial.unlink()
        raise SourceError(f"{path}: has {found:,} bytes, {file.bytes:,} were published. It was removed; download it again.")
    if expected is None or len(expected) != 64:
        raise SourceError(f"{path}: the Hub states no SHA-256 for it, so it cannot be checked.")
    if (found_hash := sha256_file(partial)) != expected:
        partial.unlink()
        raise SourceError(f"{path}: SHA-256 is {found_hash}, {expected} was published. It was removed; download it again.")


@contextlib.contextmanager
def silent(*names: str) -> Iterator[None]:
    """Silence the loggers of these names: our own error reports a failure once."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)

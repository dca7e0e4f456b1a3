"""`prepare`: raw stories → cleaned, de-duplicated, split → splits/. Resumable; any number of workers, the same bytes.

Here stands what has to be known before the work begins; the work itself is in `_passes`, whose libraries load while the
engine's processes start. The finished folder takes its place by one rename.
"""

from __future__ import annotations

import errno
import math
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from . import _work, engines
from ._storage import is_uri, upload
from ._work import SPLITS
from .artefact import beside, check_target, lock, recover
from .errors import ConfigError, SourceError, TsDataError
from .schemas import DatasetManifest, PrepareConfig

if TYPE_CHECKING:
    from .console import Progress

__all__ = ["prepare"]

PROCESS = 1 << 24
"""Bytes of text that are worth one more process: what it does while another would only start."""

Source = str | os.PathLike[str]


def prepare(
    source: Source | Sequence[Source],
    out: Source,
    config: PrepareConfig | None = None,
    *,
    test: Source | None = None,
    workers: int | None = None,
    engine: str = "local",
    work: Source | None = None,
    progress: Progress | None = None,
) -> DatasetManifest:
    """Clean, de-duplicate and split raw stories into the folder `out`.

    Args:
        source: one file or several: `<|endoftext|>`-separated text, JSONL, Parquet, CSV, each also as .gz or .zst; "-" is
            stdin; "hub:owner/name" a Hub data set; a URI (s3://, gs://, hdfs://) what pyarrow's file systems reach.
        out: the splits/ folder to write. One that stands there is replaced when the new one is whole. May be a URI.
        config: settings; None is the talk's.
        test: a file whose stories become the test split: normalised, none dropped. None draws test like validation.
        workers: processes; None is one per core. Never changes a byte of the result.
        engine: where the work runs: "local", or "ray" on a cluster (extra `ray`). Never changes a byte of the result.
        work: the folder for what is under way; None is one beside `out`. Where `out` is a URI it must be named; on a
            cluster all machines must see it.
        progress: called as `progress(stage, done, total)` with bytes of raw text (stage "clean") or of text (stage "write").

    Raises:
        SourceError: the stories cannot be read. ConfigError: the settings do not hold. Either leaves nothing behind.
    """
    config = config or PrepareConfig()
    if workers is not None and workers < 1:
        raise ConfigError(f"workers: at least one process is needed, {workers} were asked for. Leave it out for one per core.")
    report: Progress = progress or (lambda stage, done, total=None: None)
    sources = _listed(source)
    held_out = None if test is None else os.fspath(test)
    workers = min(workers or os.cpu_count() or 1, _useful([*sources, *filter(None, [held_out])]))
    target, place = _places(out, work)
    recover(target)
    with lock(target), lock(place):
        try:
            with engines.load(engine, workers) as running:
                from ._passes import run  # late: its libraries load while the engine's processes do the same

                manifest = run(sources, held_out, target, place, config, running, report)
            if is_uri(out):
                report("upload", 0, None)
                upload(target, os.fspath(out), SPLITS[0])
                shutil.rmtree(target)
        except (SourceError, ConfigError):
            _work.clear(place)
            raise
        except OSError as problem:
            if problem.errno != errno.ENOSPC:
                raise
            raise TsDataError(
                f"{place}: no space is left on its disk. Free some, then run the same command again; it goes on where it stood."
            ) from None
        _work.clear(place)
    return manifest


def _listed(source: Source | Sequence[Source]) -> list[str]:
    listed = [source] if isinstance(source, (str, os.PathLike)) else list(source)
    if not listed:
        raise ConfigError("no source is named.")
    return [os.fspath(item) for item in listed]


def _useful(sources: Sequence[str]) -> int:
    """How many processes can have enough to do; where that cannot be told, as many as one likes."""
    total = 0
    for path in map(Path, sources):
        if not path.is_file():
            return sys.maxsize
        packed = path.suffix.lower() in (".gz", ".zst", ".parquet")
        total += path.stat().st_size * (4 if packed else 1)
    return max(1, math.ceil(total / PROCESS))


def _places(out: Source, work: Source | None) -> tuple[Path, Path]:
    """The folder to write here, and the one for the work; neither holds anything of somebody else."""
    if is_uri(out):
        if work is None:
            raise ConfigError(f"{os.fspath(out)}: is not on this machine; name a folder for the work that is: --work FOLDER")
        place = Path(work).absolute()
        target = place.with_name(f"{place.name}.finished")
    else:
        target = Path(out)
        place = Path(work).absolute() if work else beside(target, "work").absolute()
    check_target(target, *SPLITS, error=ConfigError)  # now, not after the work
    _work.check(place)
    return target, place

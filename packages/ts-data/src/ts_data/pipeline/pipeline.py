"""`prepare`: raw stories → cleaned, de-duplicated, split → splits/. Resumable; any number of workers, the same bytes.

Here stands what has to be known before the work begins; the work itself is in `_passes`, whose libraries load while the
engine's processes start. The finished folder takes its place by one rename.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .. import engines
from ..artefact import beside, check_target, keep_apart, lock, recover
from ..checks import check_config
from ..errors import ConfigError, SourceError, TsDataError
from ..schemas import DatasetManifest, PrepareConfig, Role
from ..sources.inputs import Source, expanded, local
from ..sources.names import STDIN
from ..sources.storage import is_uri, upload
from . import workdir as _work
from .existing import standing
from .workdir import FINISHED, SPLITS

if TYPE_CHECKING:
    from ..console import Progress

__all__ = ["prepare"]

PROCESS = 1 << 24
"""Bytes of text that are worth one more process: what it does while another would only start."""


def prepare(
    source: Source | Sequence[Source],
    out: Source,
    config: PrepareConfig | None = None,
    *,
    test: Source | Sequence[Source] | None = None,
    against: Source | Sequence[Source] | None = None,
    workers: int | None = None,
    engine: str = "local",
    work: Source | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> DatasetManifest:
    """Clean, de-duplicate and split raw stories into the folder `out`.

    Args:
        source: one file or several: `<|endoftext|>`-separated text, JSON lines or a JSON list, Parquet, CSV, TSV, each also
            packed (.gz, .zst, .bz2); a folder or a pattern ("raw/*.jsonl") of such files; "-" is stdin; "hub:owner/name" a Hub
            data set; a URI (s3://, gs://, hdfs://) what pyarrow's file systems reach.
        out: the splits/ folder to write. May be a URI. Splits that stand there are replaced when the new ones are whole, but
            only those of the same settings and sources (those come back as they are), or with `force`.
        config: settings; None is the talk's.
        test: files whose stories become the test split: normalised, none dropped. None draws test like validation.
        against: files or splits/ folders with stories that the result must not hold; those found are removed for the reason
            "against".
        workers: processes; None is one per core. Never changes a byte of the result.
        engine: where the work runs: "local", or "ray" on a cluster (extra `ray`). Never changes a byte of the result.
        work: the folder for what is under way; None is one beside `out`. Where `out` is a URI it must be named; on a
            cluster all machines must see it.
        force: replace splits that were made with other settings or of other sources.
        progress: called as `progress(stage, done, total)` with bytes of raw text (stage "clean") or of text (stage "write").

    What looks wrong with the sources stands in the manifest's `warnings` and is issued as a UserWarning each.

    Raises:
        SourceError: the stories cannot be read. ConfigError: the settings do not hold, or `out` holds something else. Either
        leaves nothing behind.
    """
    config = PrepareConfig() if config is None else config
    check_config(config)
    if workers is not None and workers < 1:
        raise ConfigError(f"workers: at least one process is needed, {workers} were asked for. Leave it out for one per core.")
    report: Progress = progress or (lambda stage, done, total=None: None)
    named: list[tuple[str, Role]] = [(name, "train") for name in expanded(source)]
    named += [(name, "test") for name in expanded(test, "test")] if test is not None else []
    named += [(name, "against") for name in expanded(against, "against")] if against is not None else []
    names = [name for name, _ in named]
    if names.count(STDIN) > 1:
        raise ConfigError("-: stdin can be read once only. Name a file for one of its uses.")
    target, place = _places(out, work, [*names, *_folders(source, test, against)])
    before = None if force else standing(out)
    if before is not None:
        from ..cleaning.cleaner import cleaner_hash

        before.check_settings(config, cleaner_hash(config))
    workers = min(workers or os.cpu_count() or 1, _useful(names))
    with contextlib.ExitStack() as locks:
        if not is_uri(out):
            locks.enter_context(lock(target, error=ConfigError))
            recover(target)
        locks.enter_context(lock(place, option="--work", error=ConfigError))
        try:
            with engines.load(engine, workers) as running:
                from .stages import run  # late: its libraries load while the engine's processes do the same

                manifest = run(named, target, place, config, running, report, before)
            if is_uri(out):
                report("upload", 0, None)
                upload(target, os.fspath(out), SPLITS[0])
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
    for message in manifest.warnings:
        warnings.warn(message, stacklevel=2)
    return manifest


def _useful(sources: Sequence[str]) -> int:
    """How many processes can have enough to do; where that cannot be told, as many as one likes."""
    total = 0
    for path in map(Path, sources):
        if not path.is_file():
            return sys.maxsize
        packed = path.suffix.lower() in (".gz", ".gzip", ".zst", ".zstd", ".bz2", ".parquet", ".pq")
        total += path.stat().st_size * (4 if packed else 1)
    return max(1, math.ceil(total / PROCESS))


def _folders(*sources: Source | Sequence[Source] | None) -> list[str]:
    """The folders among what a caller named."""
    listed = [[item] if isinstance(item, (str, os.PathLike)) else item or [] for item in sources]
    return [os.fspath(item) for items in listed for item in items if not is_uri(item) and Path(item).is_dir()]


def _places(out: Source, work: Source | None, inputs: Sequence[str]) -> tuple[Path, Path]:
    """The folder to write here, and the one for the work; neither holds anything of somebody else, or touches an input."""
    for argument, value in (("out", out), ("work", work)):
        if (value is not None or argument == "out") and (not isinstance(value, (str, os.PathLike)) or not os.fspath(value)):
            raise ConfigError(f"{argument}: the path of a folder is expected, not {value!r}.")
    if is_uri(out):
        if work is None:
            raise ConfigError(f"{os.fspath(out)}: is not on this machine; name a folder for the work that is: --work FOLDER")
        place = Path(work).absolute()
        target = place / FINISHED
    else:
        target = Path(out)
        place = Path(work).absolute() if work else beside(target, "work").absolute()
        keep_apart(target, local(inputs), error=ConfigError)
        keep_apart(place, [target], option="--work", error=ConfigError)
        check_target(target, *SPLITS, error=ConfigError)  # now, not after the work
    keep_apart(place, local(inputs), option="--work", error=ConfigError)
    _work.check(place)
    return target, place

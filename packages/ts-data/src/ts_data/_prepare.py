"""The line itself: raw stories → cleaned, de-duplicated, split → splits/. Resumable; any number of workers, the same bytes.

Three passes. Blocks of the sources are cleaned side by side into a work folder (`.<out>.work`); one look at all the
hashes assigns every story; shards are written side by side. The finished folder takes its place by one rename.
Each piece of work is marked when done, so after a kill the same call goes on where it stood.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from . import _sources, engines
from ._assemble import KIND, Line, assemble
from ._assign import assign
from ._jobs import TRAIN
from ._spool import STDIN, lay_down, origin_of
from ._storage import FileState, is_uri, state, upload
from .artefact import check_target, need_space, recover
from .errors import ConfigError, SourceError, TsDataError
from .schemas import DatasetManifest, PrepareConfig

if TYPE_CHECKING:
    from .console import Progress

__all__ = ["prepare"]

SHARD = 1 << 27
"""Bytes of text from which a shard of train is full."""

SPACE = 3.5
"""Bytes of disk per byte of raw text, at the worst: the cleaned text, the shards, and a spare copy of the input."""

MARK = "identity.json"
"""By what a work folder is known, and to which call it belongs."""

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
    report: Progress = progress or (lambda stage, done, total=None: None)
    workers = workers or os.cpu_count() or 1
    target, work = _places(out, work)
    recover(target)
    with _locked(work):
        try:
            with engines.load(engine, workers) as running:
                manifest = _prepare(_listed(source), test, target, work, config, running, report)
            if is_uri(out):
                report("upload", 0, None)
                upload(target, os.fspath(out), "manifest.json")
                shutil.rmtree(target)
        except (SourceError, ConfigError):
            _clear(work)
            raise
        _clear(work)
    return manifest


def _places(out: Source, work: Source | None) -> tuple[Path, Path]:
    """The folder to write here, and the one for the work; neither holds anything of somebody else."""
    if is_uri(out):
        if work is None:
            raise ConfigError(f"{os.fspath(out)}: is not on this machine; name a folder for the work that is: --work FOLDER")
        place = Path(work).absolute()
        target = place.with_name(f"{place.name}.finished")
    else:
        target = Path(out)
        place = Path(work).absolute() if work else target.absolute().with_name(f".{target.absolute().name}.work")
    check_target(target, *KIND, error=ConfigError)  # now, not after the work
    if place.exists() and not (place / MARK).is_file() and (not place.is_dir() or any(place.iterdir())):
        raise ConfigError(f"{place}: is there and is no work folder of ts-data; it is left alone. Name a new folder.")
    return target, place


def _prepare(
    sources: list[Source],
    test: Source | None,
    target: Path,
    work: Path,
    config: PrepareConfig,
    engine: engines.Engine,
    report: Progress,
) -> DatasetManifest:
    named: list[tuple[str, Literal["train", "test"]]] = [(os.fspath(source), "train") for source in sources]
    if test is not None:
        named.append((os.fspath(test), "test"))
    origins = [origin_of(source) for source, _ in named]
    size = sum(state(origin).size for origin in origins if origin)
    need_space(target, int(size * SPACE), "preparing these stories", error=SourceError)
    _begin(work, [(source, role, path) for (source, role), path in zip(named, origins, strict=True)], config)
    report("read", 0, None)
    inputs = [lay_down(source, role, number, work, config) for number, (source, role) in enumerate(named)]
    blocks = [block for item in inputs for block in _sources.plan(item, config)]
    _run(engine, _clean_jobs(blocks, inputs, work, config), "clean", report)
    line = Line(work, config, inputs, blocks, _stories(work, len(blocks)), _load(work, len(blocks)))
    stories = None
    if config.deduplicate in ("near", "cluster"):
        _run(engine, _band_jobs(len(blocks), work, config), "compare", report)
        stories = line
    line.assignment = assign(line.meta["dropped_by"], line.hashes, line.train_rows, config, stories, engine.first_of)
    _save_assignment(work, line.assignment.to)
    groups = _groups(line)
    _run(engine, [_write_job(line, number, group) for number, group in enumerate(groups)], "write", report)
    return assemble(line, len(groups), target)


# --- the work folder ---------------------------------------------------------------------------


def _listed(source: Source | Sequence[Source]) -> list[Source]:
    listed = [source] if isinstance(source, (str, os.PathLike)) else list(source)
    if not listed:
        raise ConfigError("no source is named.")
    return listed


@contextlib.contextmanager
def _locked(work: Path) -> Iterator[None]:
    """One `prepare` per folder at a time; the lock goes with the process, also when it is killed."""
    work.parent.mkdir(parents=True, exist_ok=True)
    path = work.with_suffix(".lock")
    with path.open("w") as handle:
        try:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:  # not a POSIX system: go on without
            pass
        except OSError:
            raise TsDataError(f"{work}: another prepare is writing this folder. Wait for it, or choose another --out.") from None
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _clear(work: Path) -> None:
    """Remove the work folder. Killed in between, it is still known for one, and as nobody's, so that the rest is cleared next time."""
    if not work.is_dir():
        return
    (work / MARK).write_text("", encoding="utf-8")
    for entry in work.iterdir():
        if entry.name != MARK:
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    shutil.rmtree(work, ignore_errors=True)


def _begin(work: Path, sources: Sequence[tuple[str, str, str | None]], config: PrepareConfig) -> None:
    """Keep a work folder that an equal call left; clear away any other. What came through a pipe is never equal."""
    marks: list[Any] = [os.getpid()] if any(name == STDIN for name, _, _ in sources) else []
    for name, role, origin in sources:
        found = state(origin) if origin else FileState(0, 0)
        marks.append([name, str(origin), role, found.size, found.changed])
    identity = json.dumps([marks, config.model_dump(mode="json"), _sources.BLOCK, SHARD], sort_keys=True)
    mark = work / MARK
    if not mark.exists() or mark.read_text(encoding="utf-8") != identity:
        _clear(work)
        work.mkdir(parents=True)
        mark.write_text(identity, encoding="utf-8")


def _clean_jobs(
    blocks: Sequence[_sources.Block], inputs: Sequence[_sources.Input], work: Path, config: PrepareConfig
) -> list[dict[str, Any]]:
    settings = config.model_dump(mode="json")
    jobs = [
        {
            "job": "clean",
            "block": b.to_dict(),
            "config": settings,
            "place": f"{work}/block-{n:06d}",
            "done": f"{work}/block-{n:06d}.json",
        }
        for n, b in enumerate(blocks)
    ]
    hashes = [{"job": "hash", "path": item.origin, "done": f"{work}/hash-{n}.json"} for n, item in enumerate(inputs)]
    return hashes + jobs


def _band_jobs(blocks: int, work: Path, config: PrepareConfig) -> list[dict[str, Any]]:
    near = config.near.model_dump(mode="json")
    return [
        {"job": "bands", "near": near, "place": f"{work}/block-{n:06d}", "done": f"{work}/block-{n:06d}.bands.json", "bytes": 1}
        for n in range(blocks)
    ]


def _run(engine: engines.Engine, jobs: Sequence[dict[str, Any]], stage: str, report: Progress) -> None:
    """Run the jobs whose mark is not there yet."""
    weights = [_weight(job) for job in jobs]
    todo = [n for n, job in enumerate(jobs) if not Path(job["done"]).exists()]
    total, done = sum(weights), sum(weights) - sum(weights[n] for n in todo)
    report(stage, done, total)
    for number, _ in engine.run([jobs[n] for n in todo]):
        done += weights[todo[number]]
        report(stage, done, total)


def _weight(job: dict[str, Any]) -> int:
    if job["job"] == "clean":
        return int(job["block"]["end"] - job["block"]["start"])
    return int(job.get("bytes", 0))


def _stories(work: Path, blocks: int) -> list[dict[str, Any]]:
    return [json.loads((work / f"block-{n:06d}.json").read_text(encoding="utf-8")) for n in range(blocks)]


def _load(work: Path, blocks: int) -> dict[str, np.ndarray]:
    """The cleaner's small columns of all blocks, one array each."""
    batches = []
    for number in range(blocks):
        with pa.OSFile(f"{work}/block-{number:06d}.meta", "rb") as source:
            batches.append(pa.ipc.open_file(source).get_batch(0))
    table = pa.Table.from_batches(batches)
    return {name: table.column(name).to_numpy() for name in table.column_names}


def _save_assignment(work: Path, to: np.ndarray) -> None:
    aside = work / f"assignment.{os.getpid()}.partial.npy"
    np.save(aside, to)
    os.replace(aside, work / "assignment.npy")


# --- shards ------------------------------------------------------------------------------------


def _groups(line: Line) -> list[list[int]]:
    """Consecutive blocks whose train text fills one shard."""
    groups: list[list[int]] = [[]]
    filled = 0
    assert line.assignment is not None
    for number in range(len(line.blocks)):
        rows = slice(line.firsts[number], line.firsts[number + 1])
        size = int(line.meta["bytes"][rows][line.assignment.to[rows] == TRAIN].sum())
        if groups[-1] and filled + size > SHARD:
            groups.append([])
            filled = 0
        groups[-1].append(number)
        filled += size
    return groups


def _write_job(line: Line, number: int, group: Sequence[int]) -> dict[str, Any]:
    place = line.work / f"group-{number:05d}.parquet"
    return {
        "job": "write",
        "work": str(line.work),
        "blocks": [{"number": n, "first": line.firsts[n]} for n in group],
        "place": str(place),
        "done": str(place.with_suffix(".json")),
        "bytes": int(line.meta["bytes"][line.firsts[group[0]] : line.firsts[group[-1] + 1]].sum()),
    }

"""The three passes of `prepare` over the stories; their jobs run on an engine, each is marked when done.

Blocks of the sources are cleaned side by side into the work folder; one look at all the hashes assigns every story; shards are
written side by side, and put together.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from .. import engines
from ..arrow import numbers
from ..artefact import need_space
from ..errors import TsDataError
from ..schemas import DatasetManifest, PrepareConfig, Role
from ..sources import blocks as _sources
from ..sources.names import kind_of
from ..sources.staging import lay_down, origin_of
from ..sources.storage import state
from . import workdir as _work
from .splits import assign
from .tasks import TRAIN
from .writer import Line, assemble

if TYPE_CHECKING:
    from ..console import Progress
    from .existing import Standing

__all__ = ["run"]

SHARD = 1 << 27
"""Bytes of text from which a shard of train is full."""

SPACE = 3.5
"""Bytes of disk per byte of raw text, at the worst: the cleaned text, the shards, and a spare copy of the input."""

UNPACKED = 3
"""Bytes of stories per byte of gzip or zstd, about."""


def run(
    named: Sequence[tuple[str, Role]],
    target: Path,
    work: Path,
    config: PrepareConfig,
    engine: engines.Engine,
    report: Progress,
    before: Standing | None = None,
) -> DatasetManifest:
    """From raw sources to the folder `target`, or on from where a killed run of the same call stood.

    `before`: what stands at the place of the result. It is refused where it is of other sources, and given back where it is
    what would be made.
    """
    origins = [origin_of(source) for source, _ in named]
    _check_space(list(filter(None, origins)), target, work)
    marks = [(source, role, path) for (source, role), path in zip(named, origins, strict=True)]
    _work.begin(work, marks, config, _sources.BLOCK, SHARD)
    inputs = []
    for number, (source, role) in enumerate(named):
        report("read", number, len(named))
        inputs.append(lay_down(source, role, number, work, config))
    report("read", len(named), len(named))
    if before is not None and (whole := _whole(before, inputs, work, target, engine)) is not None:
        return whole
    blocks = [block for item in inputs for block in _sources.plan(item, config)]
    _run(engine, [*_hash_jobs(inputs, work), *_clean_jobs(blocks, work, config)], "clean", report)
    line = Line(work, config, inputs, blocks, _stories(work, len(blocks)), _load(work, len(blocks)))
    stories = None
    if config.deduplicate in ("near", "cluster"):
        _run(engine, _band_jobs(len(blocks), work, config), "compare", report)
        stories = line
    line.assignment = assign(
        line.meta["dropped_by"], line.hashes, line.train_rows, config, stories, engine.first_of, line.test_end
    )
    _save_assignment(work, line.assignment.to)
    groups = _groups(line)
    _run(engine, _write_jobs(line, groups), "write", report)
    return assemble(line, len(groups), target)


def _check_space(origins: Sequence[str], target: Path, work: Path) -> None:
    """Refuse to begin what the disks have no room for; what a killed run left there is room, to be used or to be cleared."""
    size = sum(state(origin).size * (UNPACKED if kind_of(origin)[1] else 1) for origin in origins)
    held = sum(file.stat().st_size for file in work.rglob("*") if file.is_file())
    beside = work.parent == target.absolute().parent
    need_space(target if beside else work, int(size * SPACE) - held, "preparing these stories", error=TsDataError)
    if not beside:  # perhaps another disk
        need_space(target, size, "what comes of these stories", error=TsDataError)


def _whole(
    before: Standing, inputs: Sequence[_sources.Input], work: Path, target: Path, engine: engines.Engine
) -> DatasetManifest | None:
    """What stands there, where nothing of it has to be made again. Raises ConfigError where it is of other sources."""
    _run(engine, _hash_jobs(inputs, work), "hash", lambda stage, done, total=None: None)
    hashes = [json.loads((work / f"hash-{n}.json").read_text(encoding="utf-8"))["sha256"] for n in range(len(inputs))]
    given = [(item.name, item.role, sha256) for item, sha256 in zip(inputs, hashes, strict=True)]
    before.check_sources(given)
    return before.whole(given, target)


def _hash_jobs(inputs: Sequence[_sources.Input], work: Path) -> list[dict[str, Any]]:
    return [{"job": "hash", "path": item.origin, "done": f"{work}/hash-{n}.json"} for n, item in enumerate(inputs)]


def _clean_jobs(blocks: Sequence[_sources.Block], work: Path, config: PrepareConfig) -> list[dict[str, Any]]:
    settings = config.model_dump(mode="json")
    return [
        {
            "job": "clean",
            "block": b.to_dict(),
            "config": settings,
            "place": f"{work}/block-{n:06d}",
            "done": f"{work}/block-{n:06d}.json",
        }
        for n, b in enumerate(blocks)
    ]


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
    return {name: np.concatenate([numbers(batch.column(name)) for batch in batches]) for name in batches[0].schema.names}


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


def _write_jobs(line: Line, groups: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
    """For each group of blocks its shard of train, and apart from it what goes elsewhere: where there is one group, two can work."""
    shards, parts = [], []
    for number, group in enumerate(groups):
        place = line.work / f"group-{number:05d}.parquet"
        blocks = [{"number": n, "first": line.firsts[n]} for n in group]
        job = {"work": str(line.work), "blocks": blocks, "place": str(place)}
        size = int(line.meta["bytes"][line.firsts[group[0]] : line.firsts[group[-1] + 1]].sum())
        shards.append({"job": "shard", **job, "done": str(place.with_suffix(".json")), "bytes": size})
        parts.append({"job": "parts", **job, "done": str(place.with_suffix(".parts.json"))})
    return shards + parts

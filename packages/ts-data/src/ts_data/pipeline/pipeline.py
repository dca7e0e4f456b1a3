"""`prepare`: raw stories → cleaned, de-duplicated, split → splits/. It can resume, and any number of workers gives the same bytes.

The stages: convert sources that cannot be cut into blocks (`sources`); clean blocks side by side (`tasks.CleanBlock`); decide from the
hashes of all stories where each goes (`splits.assign`); write shards side by side (`writer.WriteShard`); put them together
(`writer.write_splits`). Finished files of the work folder (`workdir.WorkDir`) are not made again after an interruption.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from .. import engines
from ..artefact import beside, check_target, keep_apart, lock, need_space, recover
from ..checks import check_config
from ..errors import ConfigError, SourceError, TsDataError, naming_full_disk
from ..schemas import DatasetManifest, PrepareConfig, Role, whole_number
from ..sources import SOURCES, STDIN, kind_of
from ..sources.inputs import Source, expanded, local
from ..sources.storage import FileState, is_uri, state, upload
from .existing import Existing, existing_splits
from .workdir import SPLITS, WorkDir

if TYPE_CHECKING:
    from ..console import Progress
    from ..sources.blocks import Input
    from .cleaned import CleanedStories
    from .splits import Assignment
    from .writer import WriteParts, WriteShard

PROCESS = 1 << 24
"""Minimum bytes of text per worker; below this, its start costs more than it saves."""

SHARD = 1 << 27
"""Maximum bytes of text in a shard of train."""

SPACE = 3.5
"""Bytes of disk per byte of raw text, at most: the cleaned text, the shards, and a spare copy of the input."""

UNPACKED = 3
"""Bytes of stories per byte of gzip or zstd, about."""


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
            compressed (.gz, .zst, .bz2); a folder or a pattern ("raw/*.jsonl") of such files; "-" is stdin; "hub:owner/name" a Hub
            data set; a URI (s3://, gs://, hdfs://) what pyarrow's file systems reach.
        out: the splits/ folder to write. May be a URI. Existing splits of the same settings and sources are returned as they are; of
            others they are replaced only with `force`, once the new ones are whole.
        config: settings; None is the talk's.
        test: files whose stories become the test split: normalised, none dropped. None draws test like validation.
        against: files or splits/ folders whose stories are removed from the result, for the reason "against".
        workers: processes; None is one per core. Never changes a byte of the result.
        engine: where the work runs: "local", or "ray" on a cluster (extra `ray`). Never changes a byte of the result.
        work: the folder for intermediate files; None is one beside `out`. Required if `out` is a URI; on a cluster all machines must
            see it.
        force: replace splits of other settings or sources.
        progress: called as `progress(stage, done, total)` with bytes of raw text (stage "clean") or of text (stage "write").

    Warnings about the sources are in the manifest's `warnings`; each is issued as a UserWarning.

    Raises:
        SourceError: the stories cannot be read. ConfigError: the settings are invalid, or `out` holds something else. Both remove
        intermediate files.
    """
    config = PrepareConfig() if config is None else config
    check_config(config)
    if workers is not None and (whole_number(workers) or 0) < 1:
        raise ConfigError(f"workers: at least one process is needed, not {workers!r}. Leave it out for one per core.")
    named = _named(source, test, against)
    names = [name for name, _ in named]
    target, workdir = _places(out, work, [*names, *_folders(source, test, against)])
    existing = None if force else _checked_existing(out, config)
    workers = min(workers or os.cpu_count() or 1, _useful_workers(names))
    report: Progress = progress or (lambda stage, done, total=None: None)
    with _working_in(workdir, None if is_uri(out) else target), engines.load(engine, workers) as running:
        manifest = _Run(workdir, config, running, report).run(named, target, existing)
        if is_uri(out):
            report("upload", 0, None)
            upload(target, os.fspath(out), SPLITS[0])
    for message in manifest.warnings:
        warnings.warn(message, stacklevel=2)
    return manifest


# --- before the work ---------------------------------------------------------------------------


def _named(
    source: Source | Sequence[Source], test: Source | Sequence[Source] | None, against: Source | Sequence[Source] | None
) -> list[tuple[str, Role]]:
    """(name, role) of every file."""
    named: list[tuple[str, Role]] = [(name, "train") for name in expanded(source)]
    named += [(name, "test") for name in expanded(test, "test")] if test is not None else []
    named += [(name, "against") for name in expanded(against, "against")] if against is not None else []
    if [name for name, _ in named].count(STDIN) > 1:
        raise ConfigError("-: stdin can be read once only. Name a file for one of its uses.")
    return named


def _checked_existing(out: Source, config: PrepareConfig) -> Existing | None:
    """The splits at `out`, if any. Raises ConfigError if they have other settings."""
    from ..cleaning.cleaner import cleaner_hash

    existing = existing_splits(out)
    if existing is not None:
        existing.check_settings(config, cleaner_hash(config))
    return existing


@contextlib.contextmanager
def _working_in(workdir: WorkDir, target: Path | None) -> Iterator[None]:
    """Hold the right to write both folders. Clears the work folder at the end and after an error of the user, but not after any other."""
    with contextlib.ExitStack() as locks:
        if target is not None:
            locks.enter_context(lock(target, error=ConfigError))
            recover(target)
        locks.enter_context(lock(workdir.root, option="--work", error=ConfigError))
        try:
            with naming_full_disk(workdir.root, TsDataError):
                yield
        except (SourceError, ConfigError):
            workdir.clear()
            raise
        workdir.clear()


def _useful_workers(sources: Sequence[str]) -> int:
    """Upper bound on useful workers; unlimited if the size of an input is unknown."""
    total = 0
    for path in map(Path, sources):
        if not path.is_file():
            return sys.maxsize
        kind, packed = kind_of(str(path))
        total += path.stat().st_size * (4 if packed or SOURCES[kind].is_compressed else 1)
    return max(1, math.ceil(total / PROCESS))


def _folders(*sources: Source | Sequence[Source] | None) -> list[str]:
    """The folders among the sources."""
    listed = [[item] if isinstance(item, (str, os.PathLike)) else item or [] for item in sources]
    return [os.fspath(item) for items in listed for item in items if not is_uri(item) and Path(item).is_dir()]


def _places(out: Source, work: Source | None, inputs: Sequence[str]) -> tuple[Path, WorkDir]:
    """The folder to write on this machine, and the work folder. Neither replaces anything of the user or touches an input."""
    for argument, value in (("out", out), ("work", work)):
        if (value is not None or argument == "out") and (not isinstance(value, (str, os.PathLike)) or not os.fspath(value)):
            raise ConfigError(f"{argument}: the path of a folder is expected, not {value!r}.")
    if is_uri(out):
        if work is None:
            raise ConfigError(f"{os.fspath(out)}: is not on this machine. Name a work folder that is: --work FOLDER")
        workdir = WorkDir(Path(work).absolute())
        target = workdir.finished
    else:
        target = Path(out)
        workdir = WorkDir(Path(work).absolute() if work else beside(target, "work").absolute())
        keep_apart(target, local(inputs), error=ConfigError)
        keep_apart(workdir.root, [target], option="--work", error=ConfigError)
        check_target(target, *SPLITS, error=ConfigError)  # now, not after the work
    keep_apart(workdir.root, local(inputs), option="--work", error=ConfigError)
    workdir.check()
    return target, workdir


# --- the stages --------------------------------------------------------------------------------
# They import what loads NumPy and Arrow: the engine's processes load the same at the same time.


@dataclass(frozen=True)
class _Run:
    """One run of the stages."""

    work: WorkDir
    config: PrepareConfig
    engine: engines.Engine
    report: Progress

    def run(self, named: Sequence[tuple[str, Role]], target: Path, existing: Existing | None) -> DatasetManifest:
        """From (name, role) of the sources to the folder `target`. Resumes an interrupted run of the same call.

        `existing`: the splits at the place of the result. Refused if they are of other sources, returned if nothing would change.
        """
        from .writer import write_splits

        inputs, found = self._stage(named, target)
        if existing is not None and (whole := self._unchanged(existing, inputs, target)) is not None:
            return whole
        stories = self._clean(inputs)
        _check_unchanged(found)
        assignment = self._assign(stories)
        groups = _group_blocks(stories, assignment)
        self._run_tasks(_write_tasks(stories, groups), "write")
        return write_splits(stories, assignment, len(groups), target)

    def _stage(self, named: Sequence[tuple[str, Role]], target: Path) -> tuple[list[Input], dict[str, FileState]]:
        """Every source as a file that can be cut into blocks, and the state of each file before it was read."""
        from ..sources.blocks import BLOCK
        from ..sources.staging import origin_of, stage

        origins = [origin_of(source) for source, _ in named]
        found = {origin: state(origin) for origin in origins if origin}
        _check_space([origin for origin in origins if origin], target, self.work)
        described = [(name, role, origin) for (name, role), origin in zip(named, origins, strict=True)]
        self.work.begin(described, self.config, BLOCK, SHARD)
        inputs = []
        for number, (source, role) in enumerate(named):
            self.report("read", number, len(named))
            inputs.append(stage(source, role, partial(self.work.input_file, number), self.config))
        self.report("read", len(named), len(named))
        return inputs, found

    def _unchanged(self, existing: Existing, inputs: Sequence[Input], target: Path) -> DatasetManifest | None:
        """The manifest of the existing splits if they are whole and of these sources. Raises ConfigError if they are of others."""
        from .tasks import HashSource

        self._run_tasks([HashSource(self.work, n, item.origin) for n, item in enumerate(inputs)])
        given = [(item.name, item.role, self.work.sha256(n)) for n, item in enumerate(inputs)]
        existing.check_sources(given)
        return existing.manifest_if_whole(given, target)

    def _clean(self, inputs: Sequence[Input]) -> CleanedStories:
        """Clean all blocks."""
        from ..sources.blocks import plan
        from .cleaned import CleanedStories
        from .tasks import CleanBlock, HashSource

        blocks = [block for item in inputs for block in plan(item, self.config)]
        hashes = [HashSource(self.work, n, item.origin) for n, item in enumerate(inputs)]
        self._run_tasks([*hashes, *(CleanBlock(self.work, n, block, self.config) for n, block in enumerate(blocks))], "clean")
        return CleanedStories(self.work, self.config, inputs, blocks)

    def _assign(self, stories: CleanedStories) -> Assignment:
        """Assign each story to a destination, and save the destinations for the tasks that write."""
        import numpy as np

        from .splits import assign
        from .tasks import BandKeys
        from .workdir import written_whole

        near = self.config.deduplicate in ("near", "cluster")
        if near:
            self._run_tasks([BandKeys(self.work, n, self.config.near) for n in range(len(stories.blocks))], "compare")
        assignment = assign(
            stories.columns["dropped_by"],
            stories.hashes,
            stories.train_rows,
            self.config,
            stories if near else None,
            self.engine.first_occurrence,
            stories.test_end,
        )
        with written_whole(self.work.assignment) as aside, aside.open("wb") as file:
            np.save(file, assignment.to)
        return assignment

    def _run_tasks(self, tasks: Sequence[engines.Task], stage: str | None = None) -> None:
        """Run the tasks whose marker does not exist yet."""
        todo = [task for task in tasks if not task.marker.exists()]
        total = sum(task.weight for task in tasks)
        done = total - sum(task.weight for task in todo)
        report = self.report if stage else lambda *_: None
        report(stage or "", done, total)
        for index in self.engine.run(todo):
            done += todo[index].weight
            report(stage or "", done, total)


def _check_unchanged(found: Mapping[str, FileState]) -> None:
    """Raise SourceError if a file changed since its state was `found`: its hash may be of other bytes than its stories."""
    for name, before in found.items():
        if (not is_uri(name) and not Path(name).exists()) or state(name) != before:
            raise SourceError(f"{name}: changed while it was read. Run the same command again once the file is complete.")


def _check_space(origins: Sequence[str], target: Path, work: WorkDir) -> None:
    """Raise TsDataError if the disks have too little room. Files that an interrupted run left count as room."""
    size = sum(state(origin).size * (UNPACKED if kind_of(origin)[1] else 1) for origin in origins)
    held = sum(file.stat().st_size for file in work.root.rglob("*") if file.is_file())
    is_beside = work.root.parent == target.absolute().parent
    need_space(target if is_beside else work.root, int(size * SPACE) - held, "preparing these stories", error=TsDataError)
    if not is_beside:  # perhaps another disk
        need_space(target, size, "the result", error=TsDataError)


def _group_blocks(stories: CleanedStories, assignment: Assignment) -> list[list[int]]:
    """Consecutive blocks whose train text fills one shard."""
    from .splits import TRAIN

    groups: list[list[int]] = [[]]
    filled = 0
    for number in range(len(stories.blocks)):
        rows = slice(stories.block_starts[number], stories.block_starts[number + 1])
        size = int(stories.columns["bytes"][rows][assignment.to[rows] == TRAIN].sum())
        if groups[-1] and filled + size > SHARD:
            groups.append([])
            filled = 0
        groups[-1].append(number)
        filled += size
    return groups


def _write_tasks(stories: CleanedStories, groups: Sequence[Sequence[int]]) -> list[WriteShard | WriteParts]:
    """For each group of blocks its shard of train, and apart from it the other stories: two workers can share one group."""
    from .writer import WriteParts, WriteShard

    starts, shards, parts = stories.block_starts, [], []
    for number, group in enumerate(groups):
        blocks = tuple((n, starts[n]) for n in group)
        size = int(stories.columns["bytes"][starts[group[0]] : starts[group[-1] + 1]].sum())
        shards.append(WriteShard(stories.work, number, blocks, size))
        parts.append(WriteParts(stories.work, number, blocks, 0))
    return [*shards, *parts]

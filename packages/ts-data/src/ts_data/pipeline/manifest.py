"""The manifest of a splits/ folder: sources, counts per step, statistics per split."""

from collections.abc import Sequence

import numpy as np

from ..artefact import sha256_bytes
from ..cleaning.cleaner import KEPT, Step, cleaner_hash, run_steps, steps_of
from ..schemas import DatasetManifest, FileInfo, LengthStats, SourceInfo, SplitInfo, SplitName, StepExample, StepReport
from ..sources.storage import state
from .cleaned import CleanedStories
from .splits import TEST, TRAIN, VALIDATION, Assignment, removed_of
from .tasks import EXAMPLES
from .warnings import warnings_of

_CODES: dict[SplitName, int] = {"train": TRAIN, "validation": VALIDATION, "test": TEST}

BIN_WIDTH = 25
"""Words per bin of the histogram."""
BINS = 41
"""Bins; the last holds every story of 1,000 words and more."""


def manifest_of(
    stories: CleanedStories,
    assignment: Assignment,
    files: dict[SplitName, tuple[FileInfo, ...]],
    removed: FileInfo,
    canaries: FileInfo | None,
    planted: Sequence[str],
) -> DatasetManifest:
    """The manifest of splits in `files`, with the removed stories in `removed` and the `planted` ones described by `canaries`."""
    reason = assignment.reason[: stories.train_rows]
    hashes = "".join(info.sha256 for name in _CODES for info in files[name])
    return DatasetManifest(
        sources=_sources(stories),
        config=stories.config,
        cleaner_hash=cleaner_hash(stories.config),
        stories_in=stories.train_rows,
        kept=int((reason == KEPT).sum()),
        removed={name: count for name, count in removed_of(reason, stories.config).items() if count},
        steps=_step_reports(stories, "train"),
        test_steps=_step_reports(stories, "test"),
        splits={
            name: _split(stories, assignment.to == code, files[name], planted if name == "train" else ())
            for name, code in _CODES.items()
        },
        ledger=removed,
        canaries=canaries,
        fingerprint=sha256_bytes(hashes.encode()),
        warnings=warnings_of(stories, assignment),
    )


def _sources(stories: CleanedStories) -> tuple[SourceInfo, ...]:
    starts = stories.input_starts
    return tuple(
        SourceInfo(
            name=item.name,
            role=item.role,
            kind=item.kind,
            bytes=state(item.origin).size,
            sha256=stories.work.sha256(number),
            stories=starts[number + 1] - starts[number],
            skipped=stories.skipped(number),
        )
        for number, item in enumerate(stories.inputs)
    )


def _split(stories: CleanedStories, rows: np.ndarray, files: tuple[FileInfo, ...], planted: Sequence[str]) -> SplitInfo:
    columns = stories.columns
    words = np.concatenate([columns["words"][rows], np.array([len(text.split()) for text in planted], np.int32)])
    characters = int(columns["characters"][rows].sum(dtype=np.int64)) + sum(map(len, planted))
    utf8_bytes = int(columns["bytes"][rows].sum(dtype=np.int64)) + sum(len(text.encode()) for text in planted)
    return split_info(words, characters, utf8_bytes, files)


def split_info(words: np.ndarray, characters: int, utf8_bytes: int, files: tuple[FileInfo, ...]) -> SplitInfo:
    """The counts of a split from the words of each of its stories, `[stories]`."""
    return SplitInfo(
        stories=len(words),
        words=int(words.sum(dtype=np.int64)),
        characters=characters,
        utf8_bytes=utf8_bytes,
        lengths=lengths(words),
        files=files,
    )


def lengths(words: np.ndarray) -> LengthStats:
    """Statistics of the words per story `[stories]`; all zero for no stories."""
    if len(words) == 0:
        return LengthStats(mean=0, sd=0, minimum=0, median=0, maximum=0, bin_width=BIN_WIDTH, histogram=(0,) * BINS)
    bins = np.bincount(np.minimum(words // BIN_WIDTH, BINS - 1), minlength=BINS)
    return LengthStats(
        mean=round(float(words.mean(dtype=np.float64)), 4),
        sd=round(float(words.std(dtype=np.float64)), 4),
        minimum=int(words.min()),
        median=float(np.median(words)),
        maximum=int(words.max()),
        bin_width=BIN_WIDTH,
        histogram=tuple(bins.tolist()),
    )


def _step_reports(stories: CleanedStories, role: str) -> tuple[StepReport, ...]:
    blocks = [number for number, block in enumerate(stories.blocks) if block.input.role == role]
    steps = steps_of(stories.config)
    return tuple(_step_report(stories, step.name, blocks, steps[: step.number + 1]) for step in steps) if blocks else ()


def _step_report(stories: CleanedStories, name: str, blocks: Sequence[int], steps: Sequence[Step]) -> StepReport:
    counts = [(number, stories.counts[number].steps[name]) for number in blocks]
    changed = [(stories.block_starts[n] + row, raw) for n, c in counts for row, raw in zip(c.rows, c.texts, strict=True)]
    return StepReport(
        step=name,
        changed=sum(count.changed for _, count in counts),
        dropped=sum(count.dropped for _, count in counts),
        examples=tuple(_example(stories, name, row, raw, steps) for row, raw in changed[:EXAMPLES]),
    )


def _example(stories: CleanedStories, step: str, row: int, raw: str, steps: Sequence[Step]) -> StepExample:
    """An excerpt of the story around the first character that the step changed."""
    source, story = stories.locate(np.array([row]))
    change = next(change for change in run_steps(raw, steps).changes if change.step == step)
    pairs = zip(change.before, change.after, strict=False)
    at = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(change.before), len(change.after)))
    start = max(0, at - 30)
    return StepExample(
        source=stories.inputs[int(source[0])].name,
        story=int(story[0]),
        before=change.before[start : at + 40],
        after=change.after[start : at + 40],
    )

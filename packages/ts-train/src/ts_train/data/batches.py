"""Stories to batches: the batch of a step is a pure function of (seed, step), independent of the world size.

There is no loader state to save. The layout (which places share a batch) follows from the sorted lengths and is the same in every
epoch; an epoch draws which story of similar length takes which place, and the order of the batches.

Shapes: a row holds one story (several when packed); a batch is `[rows, time]`, padded to its longest row.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import DataError

IGNORED = -100
"""Target of a padded place, without a loss (torch's `ignore_index`)."""


def step_size(run_tokens: float) -> int:
    """Positions per optimizer step for a run of so many tokens: 1,024 for 250,000, growing with their 0.4th power.

    The exponent is that of Bergsma et al. 2025, "Power Lines". docs/performance/ts-train.md has the measurements.
    """
    return max(512, round(1024 * math.pow(run_tokens / 250_000, 0.4)))


class Stories(Protocol):
    """An encoded split: flat ids and offsets; `ids[offsets[i]:offsets[i + 1]]` is story i.

    Optional: `prompts`, the tokens of each story before the story itself, which have no loss (`<bos>` included).
    """

    @property
    def ids(self) -> NDArray[Any]: ...
    @property
    def offsets(self) -> NDArray[Any]: ...


@dataclass(frozen=True)
class Batch:
    ids: torch.Tensor
    """int64 `[rows, time]`."""
    targets: torch.Tensor
    """int64 `[rows, time]`, IGNORED where padded or in a prompt."""
    segments: torch.Tensor | None
    """int64 `[rows, time]`, 1, 2 … per story of a packed row, 0 where padded; None when a row is one story."""


@dataclass(frozen=True)
class StepPlan:
    """The rows of one optimizer step over all ranks: per row the indices of its stories, longest row first."""

    rows: list[NDArray[np.int64]]
    tokens: int
    """Predicted tokens of the step: neither padding nor in a prompt."""
    padded_tokens: int
    """Positions of the step as one padded rectangle."""


class Batches:
    """All the batches of a training split.

    Args:
        stories: flat ids with offsets.
        context: maximum positions of a row; a story of n tokens needs n - 1 and is cut to `context`.
        batch_size: rows per optimizer step, or
        max_tokens: maximum positions (rows x width) per optimizer step.
        arrangement: "bucketed" (like lengths together), "shuffled", "packed".
        bucket: lengths within this many tokens count as equal.
        pad_to: widths are rounded up to a multiple of this, so that a device sees few shapes.
        scores: one number per story; in the first `score_epochs` epochs, batches are sorted by their mean score.
    """

    def __init__(
        self, stories: Stories, *, context: int, seed: int, pad_id: int, batch_size: int | None = None,
        max_tokens: int | None = None, arrangement: str = "bucketed", bucket: int = 8, pad_to: int = 1,
        scores: NDArray[np.float64] | None = None, score_epochs: int = 1,
    ) -> None:  # fmt: skip
        self.ids, self.offsets = stories.ids, np.asarray(stories.offsets, dtype=np.int64)
        full = np.diff(self.offsets) - 1  # positions that a story would need
        if len(full) == 0 or full.min() < 1:
            raise DataError("the training split is empty, or holds a story of fewer than two tokens.")
        self.lengths = np.minimum(full, context)
        self.unscored = prompt_places(stories, self.lengths)
        self.cut_stories, self.cut_tokens = int((full > context).sum()), int((full - self.lengths).sum())
        self.seed, self.pad_id, self.packed, self.pad_to = seed, pad_id, arrangement == "packed", pad_to
        self.scores, self.score_epochs = scores, score_epochs
        self.context, self.epoch_tokens = context, int((self.lengths - self.unscored).sum())
        if self.packed:
            self._keys = self.lengths
            self._row_of_place = _pack(np.sort(self.lengths)[::-1], context)
            rows_per_batch = batch_size or max(1, (max_tokens or 1024) // context)
            self._rows = int(self._row_of_place.max()) + 1
            self._starts = np.arange(0, self._rows, rows_per_batch)
        else:
            ceilings = np.minimum(-(-self.lengths // bucket) * bucket, context)
            if pad_to > 1:
                ceilings = np.minimum(-(-ceilings // pad_to) * pad_to, context)
            self._keys = ceilings if arrangement == "bucketed" else np.full_like(ceilings, self.lengths.max())
            self._rows = len(self.lengths)
            self._starts = _cut(np.sort(self._keys), batch_size, max_tokens or 1024)
        self.steps_per_epoch = len(self._starts)
        self._epoch = lru_cache(maxsize=2)(self._draw_epoch)
        self._plan = lru_cache(maxsize=2)(self._draw_plan)

    def plan(self, step: int) -> StepPlan:
        """The rows of optimizer step `step` (from 0)."""
        return self._plan(step)

    def _draw_plan(self, step: int) -> StepPlan:
        epoch, number = divmod(step, self.steps_per_epoch)
        rows, order = self._epoch(epoch)
        start = int(self._starts[order[number]])
        end = int(self._starts[order[number] + 1]) if order[number] + 1 < len(self._starts) else self._rows
        chosen = [rows[i] for i in range(start, end)]
        lengths = self.row_lengths(chosen)
        chosen = [chosen[i] for i in np.argsort(-lengths, kind="stable")]
        tokens = int(lengths.sum() - self.unscored[np.concatenate(chosen)].sum())
        return StepPlan(rows=chosen, tokens=tokens, padded_tokens=self.width(int(lengths.max())) * len(chosen))

    def micro_batches(self, plan: StepPlan, *, rank: int, world_size: int, max_tokens: int) -> list[Batch]:
        """This rank's part of a step, in pieces of at most `max_tokens` positions (at least one row).

        A rank without rows gets one padded row, so that all ranks take the same steps.
        """
        rows = plan.rows[rank::world_size]
        if not rows:
            return [self._batch(plan.rows[:1], real=False)]
        pieces: list[Batch] = []
        start = 0
        while start < len(rows):  # rows fall in length: the first of a piece sets its width
            end = start + max(1, max_tokens // self.width(self._row_length(rows[start])))
            pieces.append(self._batch(rows[start:end]))
            start = end
        return pieces

    def row_lengths(self, rows: list[NDArray[np.int64]]) -> NDArray[np.int64]:
        """Positions of each row."""
        if self.packed:
            return np.array([self._row_length(row) for row in rows], dtype=np.int64)
        lengths: NDArray[np.int64] = self.lengths[np.concatenate(rows)]
        return lengths

    def width(self, longest: int) -> int:
        """Positions of a batch whose longest row has `longest`."""
        return min(self.context, -(-longest // self.pad_to) * self.pad_to)

    def _row_length(self, row: NDArray[np.int64]) -> int:
        return int(self.lengths[row].sum())

    def _batch(self, rows: list[NDArray[np.int64]], real: bool = True) -> Batch:
        width = self.width(max(self._row_length(row) for row in rows))
        ids = np.full((len(rows), width), self.pad_id, dtype=np.int64)
        targets = np.full((len(rows), width), IGNORED, dtype=np.int64)
        segments = np.zeros((len(rows), width), dtype=np.int64) if self.packed else None
        for r, row in enumerate(rows):
            place = 0
            for s, story in enumerate(row, start=1):
                length, first = int(self.lengths[story]), int(self.offsets[story])
                ids[r, place : place + length] = self.ids[first : first + length]
                if real:
                    skip = int(self.unscored[story])
                    targets[r, place + skip : place + length] = self.ids[first + 1 + skip : first + 1 + length]
                if segments is not None:
                    segments[r, place : place + length] = s
                place += length
        return Batch(torch.from_numpy(ids), torch.from_numpy(targets), None if segments is None else torch.from_numpy(segments))

    def _draw_epoch(self, epoch: int) -> tuple[list[NDArray[np.int64]] | NDArray[np.int64], NDArray[np.int64]]:
        """(rows, order of the batches) of an epoch."""
        draw = np.random.default_rng([self.seed, epoch, 0xBA7C])
        places = np.lexsort((draw.random(len(self._keys)), self._keys))
        rows: Any = places[:, None]
        if self.packed:
            places = places[::-1]  # the layout was packed from the longest down
            by_row = np.argsort(self._row_of_place, kind="stable")
            cuts = np.flatnonzero(np.diff(self._row_of_place[by_row])) + 1
            rows = np.split(places[by_row], cuts)
            rows = [rows[i] for i in draw.permutation(len(rows))]
        if self.scores is not None and epoch < self.score_epochs:
            means = np.array([np.mean(self.scores[row]) for row in rows])
            sums, sizes = np.add.reduceat(means, self._starts), np.diff([*self._starts, self._rows])
            return rows, np.argsort(sums / sizes, kind="stable")
        return rows, draw.permutation(len(self._starts))


def prompt_places(stories: Stories, lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions of each story that predict a token of its prompt; the last position always has a loss."""
    prompts = getattr(stories, "prompts", None)
    if prompts is None:
        return np.zeros_like(lengths)
    return np.minimum(np.asarray(prompts, dtype=np.int64) - 1, lengths - 1)


def story_difficulty(stories: Stories) -> NDArray[np.float64]:
    """Mean surprisal in nats of each story's tokens under the split's unigram model."""
    ids, offsets = np.asarray(stories.ids), np.asarray(stories.offsets, dtype=np.int64)
    counts = np.bincount(ids).astype(np.float64)
    surprise = np.log(len(ids)) - np.log(np.maximum(counts, 1.0))
    return np.add.reduceat(surprise[ids], offsets[:-1]) / np.diff(offsets)


def _cut(keys: NDArray[np.int64], batch_size: int | None, max_tokens: int) -> NDArray[np.int64]:
    """Start of each batch over ascending widths: `batch_size` rows each, or rows x width <= max_tokens."""
    if batch_size is not None:
        return np.arange(0, len(keys), batch_size)
    starts, start = [], 0
    while start < len(keys):
        starts.append(start)
        end = min(len(keys), start + max(1, max_tokens // int(keys[start])))
        while end - start > 1 and (end - start) * int(keys[end - 1]) > max_tokens:
            end = start + max(1, min(end - start - 1, max_tokens // int(keys[end - 1])))
        start = end
    return np.array(starts, dtype=np.int64)


def _pack(lengths: NDArray[np.int64], context: int) -> NDArray[np.int64]:
    """Best-fit decreasing bin packing: the row of each place, for descending lengths. No story is cut to fill a row."""
    open_rows: list[list[int]] = [[] for _ in range(context + 1)]  # rows by the room left in them
    row_of_place = np.empty(len(lengths), dtype=np.int64)
    rows = 0
    for place, length in enumerate(lengths.tolist()):
        room = next((r for r in range(length, context + 1) if open_rows[r]), None)
        if room is None:
            row, room, rows = rows, context, rows + 1
        else:
            row = open_rows[room].pop()
        row_of_place[place] = row
        open_rows[room - length].append(row)
    return row_of_place

"""Recorded steps: one CUDA graph per batch shape on an NVIDIA GPU, replayed without a launch per kernel.

A step of a small model has hundreds of kernels of a few microseconds; Python launches them more slowly than the device runs them.
The training split is kept on the device. The host sends starts and lengths of the rows and replays two recordings: gradients (batch,
forward, backward, clipping) and update. The step synchronises once, between them, to read loss and norm. Other devices run the same
functions unrecorded.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..data.batches import IGNORED, Batch, Batches, StepPlan

MOST_SHAPES = 256
"""Most recordings kept (some megabytes each); further shapes run unrecorded."""


class ResidentStories:
    """The training split on a device; builds the same batches as `Batches`, for rows of one story."""

    def __init__(self, batches: Batches, device: torch.device) -> None:
        ids = torch.from_numpy(batches.ids.astype("int32"))
        self.ids = torch.nn.functional.pad(ids, (0, batches.context + 1)).to(device)
        self.pad_id, self.device = batches.pad_id, device

    def batch(self, starts: Tensor, lengths: Tensor, unscored: Tensor, width: int) -> Batch:
        """Rows of ids and targets, `[rows, width]`; `starts`, `lengths` and `unscored` (places in the prompt) int64 `[rows]`."""
        places = torch.arange(width, device=self.device)
        padded = places >= lengths[:, None]
        index = starts[:, None] + places
        ids = self.ids[index].long().masked_fill(padded, self.pad_id)  # torch.where would copy a number from the host
        targets = self.ids[index + 1].long().masked_fill(padded | (places < unscored[:, None]), IGNORED)
        return Batch(ids, targets, None)


class CapturedStep:
    """Runs gradients and update from fixed memory; records each the second time a shape occurs.

    Args:
        gradients: fills the parameters' gradients from a batch and the step's tokens; returns values for the host.
        update: one optimizer step.
    """

    def __init__(
        self, model: nn.Module, batches: Batches, device: torch.device, *, gradients: Callable[[Batch, Tensor], Tensor],
        update: Callable[[], None],
    ) -> None:  # fmt: skip
        self.batches, self.device, self._gradients, self._update = batches, device, gradients, update
        self.stories = ResidentStories(batches, device)
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.grads = [torch.zeros_like(p) for p in self.parameters]
        for parameter, grad in zip(self.parameters, self.grads, strict=True):
            parameter.grad = grad
        self._recordings: dict[Any, Callable[[], None] | None] = {}
        self._inputs: dict[int, Tensor] = {}
        self._out: dict[tuple[int, int], Tensor] = {}
        self._pool: Any = None

    def gradients(self, plan: StepPlan) -> Tensor:
        """Result of `gradients` for a step; valid until the next step."""
        shape = (len(plan.rows), self.batches.width(int(self.batches.row_lengths(plan.rows[:1])[0])))
        inputs = self._send(plan)

        def run() -> None:
            rows, width = shape
            torch._foreach_zero_(self.grads)
            starts, lengths, unscored = inputs[:-1].view(3, rows)
            batch = self.stories.batch(starts, lengths, unscored, width)
            values = self._gradients(batch, inputs[-1])
            if shape not in self._out:
                self._out[shape] = torch.empty_like(values)
            self._out[shape].copy_(values)

        self._play(shape, run)
        return self._out[shape]

    def update(self) -> None:
        """One optimizer step."""
        self._play("update", self._update)

    def _send(self, plan: StepPlan) -> Tensor:
        """Starts, lengths, places in the prompt and tokens of a step in fixed memory on the device, `[3 rows + 1]`."""
        rows = len(plan.rows)
        stories = np.concatenate(plan.rows)
        columns = (self.batches.offsets, self.batches.lengths, self.batches.unscored)
        sent = torch.from_numpy(np.concatenate([*(column[stories] for column in columns), [plan.tokens]]))
        sent = sent.pin_memory() if self.device.type == "cuda" else sent
        if rows not in self._inputs:
            self._inputs[rows] = torch.empty_like(sent, device=self.device)
        return self._inputs[rows].copy_(sent, non_blocking=True)

    def _play(self, key: Any, function: Callable[[], None]) -> None:
        """Run a function the first time, record it the second time, replay the recording from then on."""
        if key not in self._recordings:
            self._recordings[key] = None
            function()
            return
        replay = self._recordings[key]
        if replay is None and len(self._recordings) > MOST_SHAPES:
            function()
            return
        if replay is None:
            replay = self._recordings[key] = self._record(function)
        replay()

    def _record(self, function: Callable[[], None]) -> Callable[[], None]:
        """What replays the function: a CUDA graph; on devices without them, the function itself."""
        if self.device.type != "cuda":
            return function
        graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize(self.device)
        graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
        try:
            function()
        finally:
            graph.capture_end()
        self._pool = self._pool or graph.pool()
        replay: Callable[[], None] = graph.replay
        return replay


@contextlib.contextmanager
def own_stream(device: torch.device) -> Iterator[None]:
    """Run inside a non-default CUDA stream, which recording requires; does nothing on other devices."""
    if device.type != "cuda":
        yield
        return
    stream: Any = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    before = torch.cuda.current_stream(device)
    stream.wait_stream(before)
    with torch.cuda.stream(stream):
        yield
    before.wait_stream(stream)

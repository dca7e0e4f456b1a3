"""How to watch a run or end it: one protocol for the live line, the sinks, a search that prunes, and your own.

Callbacks run on rank 0 only, after the step is done; they see numbers, never touch the training, and end it by raising
`StopTraining("why")`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from pathlib import Path

    from .schemas import RunManifest, TrainerState, ValidationPoint


class StopTraining(Exception):  # noqa: N818 - a request, not an error
    """Raised by a callback: end the run in good order after this step (pruning, a budget of your own)."""


@dataclass(frozen=True)
class RunInfo:
    """What is known before the first step."""

    path: Path
    manifest: RunManifest
    start_step: int
    """0, or the step that a resume goes on from."""
    total_steps: int = 0
    """As planned so far; with `max_minutes` the steps are planned again while training."""


@dataclass(frozen=True)
class StepMetrics:
    """One optimizer step. Losses are nats per real token, mean over the whole step."""

    step: int
    """Steps done, this one included."""
    loss: float
    lr: float
    grad_norm: float
    """Global norm before clipping."""
    tokens: int
    """Real tokens trained on so far."""
    seconds: float
    """Time spent training so far, resumed parts included."""
    tokens_per_second: float
    mfu: float
    """Model FLOPs over the measured peak of the matrix product."""
    padding: float
    """Share of padded places in this step's micro-batches of rank 0."""
    skipped: bool
    """The step was not finite and changed nothing."""
    total_steps: int = 0
    """Steps of the whole run, as planned so far."""


@dataclass(frozen=True)
class ValidationMetrics:
    point: ValidationPoint
    best: bool
    samples: list[str] = field(default_factory=list)


@runtime_checkable
class Callback(Protocol):
    def on_start(self, run: RunInfo) -> None: ...
    def on_step(self, metrics: StepMetrics) -> None: ...
    def on_validation(self, metrics: ValidationMetrics) -> None: ...
    def on_end(self, state: TrainerState) -> None: ...


class BaseCallback:
    """Does nothing; override what you need."""

    def on_start(self, run: RunInfo) -> None: ...

    def on_step(self, metrics: StepMetrics) -> None: ...

    def on_validation(self, metrics: ValidationMetrics) -> None: ...

    def on_end(self, state: TrainerState) -> None: ...

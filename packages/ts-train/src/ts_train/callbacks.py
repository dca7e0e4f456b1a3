"""Callbacks: observe a run or end it. The live line, the sinks and a search's pruning are callbacks.

They run on rank 0 only, after each step, receive numbers, and end the run by raising `StopTraining("why")`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from .schemas import RunManifest, TrainerState, ValidationPoint

Warn = Callable[[str], None]
"""What receives warnings."""


class StopTraining(Exception):  # noqa: N818 - a request, not an error
    """Raised by a callback to end the run after this step."""


@dataclass(frozen=True)
class RunInfo:
    """Facts known before the first step."""

    path: Path
    manifest: RunManifest
    start_step: int
    """0, or the step at which a resume starts."""
    total_steps: int = 0
    """By the first plan; with `max_minutes` later plans may change it."""


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
    """Training time so far, including earlier parts of a resumed run."""
    tokens_per_second: float
    mfu: float
    """Model FLOPs utilisation, relative to the measured peak of the matrix product."""
    padding: float
    """Share of padding in this step's micro-batches on rank 0."""
    skipped: bool
    """Loss or gradient was not finite, so no weight changed."""
    total_steps: int = 0
    """Steps of the whole run, by the latest plan."""


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
    """Base class with empty methods; override those you need."""

    def on_start(self, run: RunInfo) -> None: ...

    def on_step(self, metrics: StepMetrics) -> None: ...

    def on_validating(self, done: int, total: int) -> None:
        """During a validation, after each batch; a callback may lack this method."""

    def on_validation(self, metrics: ValidationMetrics) -> None: ...

    def on_end(self, state: TrainerState) -> None: ...

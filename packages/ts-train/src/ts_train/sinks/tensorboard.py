"""TensorBoard events in run/tensorboard/; a resume purges the events of lost steps."""

from __future__ import annotations

from typing import Any

from ..callbacks import BaseCallback, RunInfo, StepMetrics, ValidationMetrics
from ..errors import ConfigError
from ..schemas import TrainerState


class TensorBoardSink(BaseCallback):
    def __init__(self) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise ConfigError("field `sinks`: tensorboard is not installed: pip install tensorboard") from None
        self._make = SummaryWriter
        self._writer: Any = None

    def on_start(self, run: RunInfo) -> None:
        self._writer = self._make(str(run.path / "tensorboard"), purge_step=run.start_step + 1 if run.start_step else None)

    def on_step(self, metrics: StepMetrics) -> None:
        for name in ("loss", "lr", "grad_norm", "tokens_per_second", "mfu", "padding"):
            self._writer.add_scalar(f"train/{name}", getattr(metrics, name), metrics.step)

    def on_validation(self, metrics: ValidationMetrics) -> None:
        point = metrics.point
        self._writer.add_scalar("validation/loss", point.validation_loss, point.step)
        if point.bits_per_byte is not None:
            self._writer.add_scalar("validation/bits_per_byte", point.bits_per_byte, point.step)
        for i, sample in enumerate(metrics.samples):
            self._writer.add_text(f"samples/{i}", sample, point.step)

    def on_end(self, state: TrainerState) -> None:
        if self._writer is not None:
            self._writer.close()

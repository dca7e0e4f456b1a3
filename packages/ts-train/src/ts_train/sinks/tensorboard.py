"""TensorBoard events in run/tensorboard/NAME/, with the settings for the tab hparams; a resume purges the events of lost steps."""

from collections.abc import Iterator, Mapping
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
        from torch.utils.tensorboard.summary import hparams

        folder = run.path / "tensorboard" / run.path.resolve().name  # TensorBoard names a run by its folder
        self._writer = self._make(str(folder), purge_step=run.start_step + 1 if run.start_step else None)
        settings = dict(_flat(run.manifest.config.model_dump(mode="json")))
        for summary in hparams(settings, {"validation/loss": 0.0, "validation/bits_per_byte": 0.0}):  # type: ignore[no-untyped-call]
            self._writer.file_writer.add_summary(summary)

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


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, bool | float | str]]:
    """Dotted names of settings with their values; lists as text."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif value is not None:
            yield f"{prefix}{name}", value if isinstance(value, bool | int | float | str) else str(value)

"""Weights & Biases (extra `wandb`)."""

from dataclasses import asdict
from typing import Any

from ..callbacks import BaseCallback, RunInfo, StepMetrics, ValidationMetrics
from ..errors import ConfigError
from ..schemas import TrainerState


class WandbSink(BaseCallback):
    def __init__(self) -> None:
        try:
            import wandb  # type: ignore[import-not-found,unused-ignore]
        except ImportError:
            raise ConfigError('field `sinks`: wandb is not installed: pip install "tinystories-train[wandb]"') from None
        self._wandb: Any = wandb

    def on_start(self, run: RunInfo) -> None:
        self._wandb.init(project="ts-train", name=run.path.name, config=run.manifest.model_dump(mode="json"), resume="allow")

    def on_step(self, metrics: StepMetrics) -> None:
        self._wandb.log({f"train/{k}": v for k, v in asdict(metrics).items()}, step=metrics.step)

    def on_validation(self, metrics: ValidationMetrics) -> None:
        self._wandb.log({f"validation/{k}": v for k, v in metrics.point.model_dump().items()}, step=metrics.point.step)

    def on_end(self, state: TrainerState) -> None:
        self._wandb.finish()

"""Teachers: trained models whose mean prediction is a part of each target (distillation, Hinton et al. 2015)."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import ts_models
from ts_models.errors import TsModelsError
from ts_models.io.model_folder import TOKENIZER

from .data.dataset import TrainingData
from .errors import ArtefactError, ConfigError, DataError
from .schemas import RunManifest, TrainConfig


@dataclass(frozen=True)
class Teachers:
    models: list[nn.Module]
    weight: float
    """Their share of a target."""
    sha256: tuple[str, ...]
    """Of the weights of each."""

    @torch.no_grad()
    def __call__(self, ids: Tensor, **segments: Tensor) -> Tensor:
        """Mean probabilities times `weight`: float32 `[batch, time, vocab]`."""
        first, *others = (torch.softmax(model(ids, **segments).float(), dim=-1) for model in self.models)
        for other in others:
            first += other
        return first.mul_(self.weight / len(self.models))


def load_teachers(config: TrainConfig, data: TrainingData, device: torch.device, context: int) -> Teachers | None:
    """The models of `config.teachers`, checked against the data; None without any.

    Raises:
        DataError: a teacher has another vocabulary than the data.
        ConfigError: a teacher reads fewer tokens than the rows have.
    """
    if not config.teachers:
        return None
    models = [_load(folder, data, context).to(device).eval() for folder in config.teachers]
    return Teachers(models, config.teacher_weight, tuple(map(_digest, models)))


def same_teachers(path: Path, manifest: RunManifest, data: TrainingData, device: torch.device) -> Teachers | None:
    """The teachers of a run that goes on.

    Raises:
        ArtefactError: one is missing, or is not what the run began with.
    """
    try:
        teachers = load_teachers(manifest.config, data, device, manifest.context)
    except TsModelsError as problem:
        raise ArtefactError(f"{path}: a teacher of this run cannot be read: {problem} Put it back.") from None
    now = () if teachers is None else teachers.sha256
    for folder, old, new in zip(manifest.config.teachers, manifest.teachers_sha256, now, strict=True):
        if old != new:
            raise ArtefactError(
                f"{folder}: this teacher's weights are not those that {path} began with. Put them back, or begin a new run."
            )
    return teachers


def _load(folder: str, data: TrainingData, context: int) -> nn.Module:
    loaded = ts_models.load(folder)
    known = loaded.tokenizer is not None and data.tokenizer_file is not None
    if loaded.config.vocab_size != data.vocab_size or (known and loaded.vocabulary() != list(data.tokenizer.vocab)):
        own = Path(str(loaded.path)) / TOKENIZER
        mend = (
            f"Encode again: ts-tokenizer encode splits/ --tokenizer {own} --out encoded/" if own.exists() else "Choose another."
        )
        raise DataError(f"{folder}: this teacher's vocabulary is not that of the data. {mend}")
    limit: Any = loaded.config.context_limit
    if limit is not None and limit < context:
        raise ConfigError(f"{folder}: this teacher reads {limit} tokens, rows have up to {context}. Set batch.context={limit}.")
    return loaded.model.float()


def _digest(model: nn.Module) -> str:
    found = hashlib.sha256()
    for tensor in model.state_dict().values():
        found.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy())
    return found.hexdigest()

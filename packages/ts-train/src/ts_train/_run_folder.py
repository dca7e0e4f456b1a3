"""run/ on disk: its manifest, its model folder, its metrics; what a finished run gives back."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ts_models import artefact

from .errors import ArtefactError
from .schemas import RunManifest, TrainerState
from .sinks.jsonl import read_metrics

if TYPE_CHECKING:
    from torch import nn

    from ts_models.schemas import TrainingSummary

__all__ = ["Run", "claim", "load_best", "named_tensors", "read_manifest", "summarise", "write_weights"]


@dataclass(frozen=True)
class Run:
    """What `train` and `resume` give back."""

    path: Path
    model: nn.Module
    """With the weights of the best validation loss, in evaluation mode."""
    manifest: RunManifest
    state: TrainerState
    summary: TrainingSummary

    @property
    def stopped(self) -> str | None:
        """Why the run ended early, or None."""
        return self.state.stopped

    @cached_property
    def metrics(self) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl: `kind` is "step" or "validation"."""
        return list(read_metrics(self.path / "metrics.jsonl"))


def claim(path: Path) -> None:
    """Refuse a folder that cannot be written before anything is computed.

    Raises:
        ArtefactError: a file or another artefact stands there, or it lies where this user may not write.
    """
    if (path / "manifest.json").exists():
        raise ArtefactError(f"{path}: holds something else (by its manifest.json); it is left alone. Choose another --out.")
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as problem:
        reason = "a file of that name is in the way" if isinstance(problem, FileExistsError) else problem.strerror
        raise ArtefactError(f"{path}: cannot hold a run ({reason}). Choose another --out.") from None


def read_manifest(path: Path) -> RunManifest:
    """run/config.json."""
    return artefact.read_model(path / "config.json", RunManifest, package="tinystories-train", error=ArtefactError)


def summarise(manifest: RunManifest, state: TrainerState) -> TrainingSummary:
    """model/training.json: what a report needs, readable without ts-train."""
    from ts_models.schemas import CurvePoint, TrainingSummary

    bits = next((p.bits_per_byte for p in state.curve if p.step == state.best_step), None)
    points = [
        CurvePoint(step=p.step, tokens=p.tokens, seconds=p.seconds, train_loss=p.train_loss, validation_loss=p.validation_loss)
        for p in state.curve
    ]
    env = manifest.environment
    return TrainingSummary(
        preset=manifest.config.preset, parameters=manifest.parameters, steps=state.step, tokens=state.tokens,
        seconds=state.seconds, best_validation_loss=state.best_loss, validation_bits_per_byte=bits, curve=points,
        seed=manifest.config.seed, precision=manifest.precision, device=env.device, optimizer=env.optimizer,
        data_fingerprint=manifest.data_fingerprint, versions={"torch": env.torch, "tinystories-train": env.ts_train},
    )  # fmt: skip


def write_weights(model: nn.Module, path: Path, *, tokenizer: Path | None, training: TrainingSummary) -> None:
    """run/model/: a whole ts-models folder for a model of the zoo, weights and training.json for any other module."""
    from ts_models import StoryModel, save

    if isinstance(model, StoryModel):
        save(model, path, tokenizer=tokenizer, training=training)
        return
    from safetensors.torch import save_file

    with artefact.write_folder(path, "training.json", "ts-models/training") as aside:
        tensors = {name: p.detach().to("cpu", copy=True).contiguous() for name, p in named_tensors(model)}
        save_file(tensors, aside / "model.safetensors")
        artefact.write_model(aside / "training.json", training)


def named_tensors(model: nn.Module) -> list[tuple[str, Any]]:
    """Parameters (tied ones once) and the buffers that a state dict would hold."""
    kept = set(model.state_dict())
    return [*model.named_parameters(), *((name, b) for name, b in model.named_buffers() if name in kept)]


def load_best(model: nn.Module, path: Path) -> None:
    """Put the weights of run/model/ into the network."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not (path / "model.safetensors").exists():
        return  # no validation had a finite loss
    weights = path / "model.safetensors"
    try:
        tensors = load_file(weights)
    except (SafetensorError, OSError, ValueError) as problem:
        raise ArtefactError(f"{weights}: not a whole safetensors file ({problem}). Train again in another --out.") from None
    with torch.no_grad():
        for name, tensor in named_tensors(model):
            if name not in tensors or tensors[name].shape != tensor.shape:
                raise ArtefactError(f"{weights}: holds no tensor `{name}` of shape {list(tensor.shape)}; it is of another model.")
            tensor.copy_(tensors[name])

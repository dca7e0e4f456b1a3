"""The run folder on disk (manifest, model, metrics) and `Run`, the result of training."""

import html
import json
import math
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from ts_models import StoryModel, artefact, save
from ts_models.io.model_folder import check_utf8, read_training, save_tensors
from ts_models.io.provenance import pack
from ts_models.schemas import CurvePoint, PromptFormat, TrainingSummary

from .callbacks import Warn
from .checkpoint import CheckpointStore
from .data.dataset import TrainingData
from .data.provenance import TRAIN_STORIES
from .errors import ArtefactError, ConfigError
from .network import named_tensors
from .runtime.hardware import hardware_name
from .schemas import MIGRATIONS, RunManifest, TrainConfig, TrainerState
from .sinks.jsonl import read_metrics
from .trainer import Trainer

PARTS = ("checkpoints", "model", "metrics.jsonl", "tensorboard")
"""Entries of a run folder besides config.json."""


@dataclass(frozen=True)
class Run:
    """The result of `train` and `resume`."""

    path: Path
    model: nn.Module
    """With the weights of the best validation loss, in eval mode."""
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

    def __repr__(self) -> str:
        best = "no validation" if self.state.best_loss is None else f"best validation loss {self.state.best_loss:.4f}"
        return f"Run({str(self.path)!r}, {self.state.step:,} steps, {best}{'' if self.stopped is None else f', stopped: {self.stopped}'})"

    def _repr_html_(self) -> str:
        """A table of the validations, for notebooks."""
        rows = "".join(
            f"<tr><td>{p.step:,}</td><td>{p.tokens:,}</td><td>{'' if p.train_loss is None else f'{p.train_loss:.4f}'}</td>"
            f"<td>{p.validation_loss:.4f}</td></tr>"
            for p in self.state.curve
        )
        header = "<tr><th>step</th><th>tokens</th><th>training loss</th><th>validation loss</th></tr>"
        return f"<p>{html.escape(repr(self))}</p><table>{header}{rows}</table>"


class RunFolder:
    """Saves checkpoints and the best model into a run folder: the `Output` of the main process.

    Args:
        path: the run folder.
        store: its checkpoints.
        stories: hashes of the stories that the model is trained on; None where they are not known.
    """

    def __init__(self, path: Path, store: CheckpointStore, stories: Any) -> None:
        self.path, self.store, self.stories = path, store, stories

    def save_checkpoint(self, trainer: Trainer, *, now: bool) -> None:
        """Save the state, stamped with data, settings and environment for a resume to compare."""
        state, tensors = trainer.state_dict().values()
        stamps = {"data_fingerprint": trainer.manifest.data_fingerprint, "run_sha256": config_digest(self.path)}
        self.store.save(state.model_copy(update=stamps), tensors, now=now)

    def save_best(self, trainer: Trainer, samples: Sequence[str] = ()) -> None:
        """Save model/, with stories that the model wrote."""
        write_weights(
            trainer.model, self.path / "model", tokenizer=trainer.data.tokenizer_file,
            training=summarise(trainer.manifest, trainer.state, trainer.data.prompt_format, samples),
            train_stories=self.stories,
        )  # fmt: skip


def create_run_dir(path: Path) -> None:
    """Create the run folder, before anything is computed.

    Raises:
        ArtefactError: the path is a file or another artefact, is not writable, or is not UTF-8.
    """
    if (path / "manifest.json").exists():
        raise ArtefactError(f"{path}: holds something else (by its manifest.json); it is left alone. Choose another --out.")
    check_utf8(path, error=ArtefactError)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as problem:
        reason = "a file of that name is in the way" if isinstance(problem, FileExistsError) else problem.strerror
        mend = "Make it writable, or go on with a copy of it." if (path / "config.json").exists() else "Choose another --out."
        raise ArtefactError(f"{path}: cannot hold a run ({reason}). {mend}") from None


def holds_run(path: Path, config: TrainConfig, data: TrainingData, model: nn.Module | None, warn: Warn) -> bool:
    """Whether `path` holds this run. Removes a run with other settings that has no step yet, and returns False.

    Raises:
        ConfigError: it holds a run with other settings.
        ArtefactError: it holds parts of a run without its config.json.
    """
    if not (path / "config.json").exists():
        parts = [
            name
            for name in PARTS
            if (path / name).exists() and (name != "checkpoints" or _entries(path) or (path / name).is_file())
        ]
        if parts:
            raise ArtefactError(
                f"{path}: holds {' and '.join(parts)} of a run, but not its config.json. "
                "Put config.json back to go on with that run, or choose another --out."
            )
        return False
    manifest = read_manifest(path)
    there, asked = manifest.config.model_dump(), config.model_dump()
    changed = sorted(name for name in asked if there[name] != asked[name])
    other_data = manifest.data_fingerprint != data.fingerprint
    stepless = not (path / "model").exists() and _entries(path) <= {"step-00000000"}
    if stepless and (changed or other_data or not _fits(path, model)):
        warn(f"{path}: begins anew; the earlier try ({', '.join(changed) or 'other data or model'} differ) made no checkpoint")
        for name in ("checkpoints", "tensorboard"):
            shutil.rmtree(path / name, ignore_errors=True)
        for name in ("metrics.jsonl", TRAIN_STORIES, "config.json"):  # the last: an interrupted removal leaves a valid run
            (path / name).unlink(missing_ok=True)
        return False
    if changed:
        raise ConfigError(
            f"{path}: holds a run with other settings ({', '.join(changed)}). Choose another --out, or go on with that run: "
            f"ts-train resume {path}"
        )
    return True


def _entries(path: Path) -> set[str]:
    """Names of the checkpoints, damaged ones included."""
    folder = path / "checkpoints"
    return {p.name for p in folder.iterdir() if p.name.startswith(("step-", "damaged-"))} if folder.is_dir() else set()


def _fits(path: Path, model: nn.Module | None) -> bool:
    """Whether the caller's module has the tensors of the checkpoint of step 0."""
    if model is None or not _entries(path):
        return True
    try:
        kept = CheckpointStore(path / "checkpoints").read(0)[1]
    except (ArtefactError, OSError):
        return False
    shapes = {name: tensor.shape for name, tensor in kept.items() if name.startswith("model.")}
    return shapes == {f"model.{name}": tensor.shape for name, tensor in named_tensors(model)}


def config_digest(path: Path) -> str:
    """SHA-256 of the parts of run/config.json that decide the result (without library versions)."""
    content = artefact.read_json(path / "config.json", error=ArtefactError)
    environment = content.get("environment")
    if isinstance(environment, dict):
        content["environment"] = {name: environment.get(name) for name in ("threads", "world_size")}
    return artefact.sha256_bytes(json.dumps(content, sort_keys=True).encode())


def check_state(path: Path, manifest: RunManifest, state: TrainerState) -> None:
    """Refuse a checkpoint or model folder of another run.

    Raises:
        ArtefactError: config.json was changed, the checkpoint was trained on other data, or run/model is missing.
    """
    where = f"{path / 'checkpoints'}: the checkpoint of step {state.step}"
    if state.data_fingerprint and state.data_fingerprint != manifest.data_fingerprint:
        raise ArtefactError(
            f"{where} was trained on other data than config.json names. Put back the config.json of its run, "
            "or choose another --out."
        )
    if state.run_sha256 and state.run_sha256 != config_digest(path):
        raise ArtefactError(
            f"{where} belongs to another config.json than the one in {path}, which was changed or exchanged. "
            "Put the old one back, or begin a new run with other settings in another --out."
        )
    summary = path / "model" / "training.json"
    if state.best_step is not None and not (summary.exists() and (path / "model" / "model.safetensors").exists()):
        raise ArtefactError(
            f"{path / 'model'}: is missing or incomplete, but the run kept its best model of step {state.best_step} there. "
            "Put it back, or choose another --out."
        )
    if summary.exists():
        found = artefact.read_json(summary, error=ArtefactError).get("data_fingerprint")
        if found not in (None, manifest.data_fingerprint):
            raise ArtefactError(
                f"{summary}: is of a run on other data. Put back this run's model folder, or choose another --out."
            )


def check_not_emptied(path: Path, manifest: RunManifest) -> None:
    """Refuse to restart a run whose model folder shows that its checkpoints were removed.

    Raises:
        ArtefactError: the model is of a later step than a first checkpoint.
    """
    summary = path / "model" / "training.json"
    if not summary.exists():
        return
    steps = artefact.read_json(summary, error=ArtefactError).get("steps")
    if isinstance(steps, int) and steps > manifest.checkpoint_every:
        raise ArtefactError(
            f"{path}: holds the model of step {steps}, but no checkpoint to resume from. "
            "Put its checkpoints/ back, or choose another --out."
        )


def read_manifest(path: Path) -> RunManifest:
    """run/config.json."""
    return artefact.read_model(
        path / "config.json", RunManifest, package="tinystories-train", migrations=MIGRATIONS["ts-train/run"], error=ArtefactError
    )


def summarise(
    manifest: RunManifest, state: TrainerState, prompts: dict[str, Any] | None, samples: Sequence[str] = ()
) -> TrainingSummary:
    """The content of model/training.json, which reports read without ts-train. `prompts`: how those of the data are written."""
    bits = next((p.bits_per_byte for p in state.curve if p.step == state.best_step), None)
    points = [
        CurvePoint(
            step=p.step, tokens=p.tokens, seconds=p.seconds, train_loss=p.train_loss,
            validation_loss=p.validation_loss if math.isfinite(p.validation_loss) else None,
        )
        for p in state.curve
    ]  # fmt: skip
    env = manifest.environment
    earlier = "preset" not in manifest.model_fields_set  # a run of an earlier version
    preset = manifest.config.preset if earlier else manifest.preset
    return TrainingSummary(
        preset=preset, parameters=manifest.parameters, steps=state.step, tokens=state.tokens,
        seconds=state.seconds, best_validation_loss=state.best_loss, validation_bits_per_byte=bits, curve=points,
        seed=manifest.config.seed, precision=manifest.precision, device=env.device, optimizer=env.optimizer,
        data_fingerprint=manifest.data_fingerprint, splits_fingerprint=manifest.splits_fingerprint,
        versions={"torch": env.torch, "tinystories-train": env.ts_train}, samples=list(samples),
        hardware=f"{hardware_name(env.device)}, {env.workers}",
        prompts=None if prompts is None else PromptFormat.model_validate(prompts),
    )  # fmt: skip


def read_samples(path: Path) -> list[str]:
    """The stories of the best model in a run folder."""
    training = read_training(path / "model")
    return [] if training is None else training.samples


def write_weights(
    model: nn.Module, path: Path, *, tokenizer: Path | None, training: TrainingSummary, train_stories: Any = None
) -> None:
    """Write run/model/: a complete ts-models folder for a model of the zoo, weights and training.json for any other module."""
    if isinstance(model, StoryModel):
        save(model, path, tokenizer=tokenizer, training=training, train_stories=train_stories)
        return
    hashes, known = pack(train_stories, training)
    with artefact.write_folder(path, "training.json", "ts-models/training") as aside:
        tensors = {name: p.detach().to("cpu", copy=True).contiguous() for name, p in named_tensors(model)}
        save_tensors(tensors, aside / "model.safetensors")
        if hashes is not None:
            (aside / TRAIN_STORIES).write_bytes(hashes)
        artefact.write_model(aside / "training.json", known or training)


def load_best(model: nn.Module, path: Path) -> None:
    """Load the weights of run/model/ into the network."""
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

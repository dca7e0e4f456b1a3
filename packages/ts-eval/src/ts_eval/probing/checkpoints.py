"""Reads the checkpoints of a run folder that `ts-train run` wrote, without ts_train."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ts_data.artefact import read_json

from ..errors import ArtefactError
from ..models import ModelAdapter
from ..models.language_model import LanguageModelAdapter

_WEIGHTS = "model."
"""Prefix of the network's tensors in a checkpoint."""


def read_checkpoints(run: Path) -> Iterator[tuple[int, int, ModelAdapter]]:
    """(step, tokens, model) of the checkpoints of a run, oldest first. One network holds each in turn: use a checkpoint before the next is read."""
    import ts_models
    from ts_models.io.model_folder import load_weights

    folders = sorted(path.parent for path in (run / "checkpoints").glob("*/state.json"))
    if not folders:
        raise ArtefactError(f"{run}: has no checkpoints. Train with --checkpoint-every N --set checkpoint.keep=100 to keep them.")
    if not (run / "model" / "config.json").is_file():
        raise ArtefactError(f"{run}: has no model/ yet, which the checkpoints need for vocabulary and structure.")
    lm = ts_models.load(run / "model")
    for folder in folders:
        state = read_json(folder / "state.json", error=ArtefactError)
        step, tokens = state.get("step"), state.get("tokens")
        if not isinstance(step, int) or not isinstance(tokens, int):
            raise ArtefactError(f"{folder / 'state.json'}: `step` and `tokens` are no whole numbers. Remove this checkpoint.")
        file = folder / "tensors.safetensors"
        load_weights(lm.model, _weights(file), source=str(file))
        yield step, tokens, LanguageModelAdapter(lm)


def _weights(file: Path) -> dict[str, Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "pt") as tensors:
            return {key.removeprefix(_WEIGHTS): tensors.get_tensor(key) for key in tensors.keys() if key.startswith(_WEIGHTS)}  # noqa: SIM118
    except (OSError, SafetensorError) as problem:
        raise ArtefactError(f"{file}: cannot be read ({problem}). Remove this checkpoint, or take another run.") from None

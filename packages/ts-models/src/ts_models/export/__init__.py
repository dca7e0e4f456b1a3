"""Export of models to the formats of other tools: one module per format."""

import copy
from pathlib import Path
from typing import Any

import torch

from ..artefact import StrPath, check_file, check_target, keep_apart
from ..console import Progress
from ..errors import ConfigError
from ..io.loading import load
from ..io.model_folder import KIND, check_finite
from ..language_model import LanguageModel
from ..registry import FORMATS, Format, load_entry

__all__ = ["FORMATS", "Format", "export"]


def export(
    model: StrPath | LanguageModel, out: StrPath, *, format: str, text: StrPath | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Write `model` to `out` in a format of FORMATS; what was written is opened again and compared.

    Returns the path, the size, the largest difference of logits, and for int8 the cost in loss and the speed.
    Raises ConfigError for an unknown format or a network that the format cannot hold.
    """
    if format not in FORMATS:
        raise ConfigError(f"no format named {format!r}. There are: {', '.join(FORMATS)}.")
    _check_target(Path(out), format, model)
    stories = None if text is None else _read_stories(Path(text))
    lm = model if isinstance(model, LanguageModel) else load(model)
    check_finite(lm.model.state_dict())
    if lm.model.dtype != torch.float32:  # the formats hold float32; the caller's model stays as it is
        lm = copy.copy(lm)
        lm.model = copy.deepcopy(lm.model).float()
    write = load_entry(FORMATS[format].write)
    return {"format": format, "path": str(out), **write(lm, Path(out), stories=stories, progress=progress)}


def _check_target(out: Path, format: str, model: StrPath | LanguageModel) -> None:
    """Raise ConfigError where `out` is the model that is exported, or something other than an earlier export."""
    path = model.path if isinstance(model, LanguageModel) else Path(model)
    source = [path] if path is not None and path.exists() else []
    is_own = FORMATS[format].is_own
    if is_own is None:
        keep_apart(out, source, error=ConfigError)
        check_target(out, *KIND, error=ConfigError)
        return
    if out.is_dir():
        raise ConfigError(f"{out} is a folder; {format} is one file: name it, such as {out / f'model.{format}'}.")
    files = [file for folder in source for file in ([folder] if folder.is_file() else folder.iterdir())]
    keep_apart(out, files, error=ConfigError)
    check_file(out, f"an earlier export to {format}", is_own, error=ConfigError)


def _read_stories(path: Path) -> list[str]:
    try:
        parts = path.read_text(encoding="utf-8").split("<|endoftext|>")
    except UnicodeDecodeError as problem:
        raise ConfigError(f"{path} is not UTF-8 text (byte {problem.start}); give the stories as a text file.") from None
    stories = [story.strip() for story in parts if story.strip()]
    if not stories:
        raise ConfigError(f"{path} holds no story: there is nothing to measure the loss on.")
    return stories

"""Adapters for every kind of model that can be evaluated, one kind per module. `open_model` selects by path, name or object.

A foreign model needs no class from here: any object with `generate(prompts, **options)` works; `logprobs(texts)` and `name` are optional.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from ..errors import ArtefactError, ConfigError
from .adapter import ModelAdapter

__all__ = ["MODELS", "ModelAdapter", "open_model"]

MODELS: dict[str, str] = {
    "ts-models": "language_model:open_language_model",
    "transformers": "transformers_lm:open_transformers",
    "completions": "completions:open_completions",
    "stories": "stories:open_stories",
    "object": "object:adapt",
}


def open_model(spec: Any) -> ModelAdapter:
    """Open a model from a path, a name or an object.

    Accepts a ts-models folder; a llama2.c checkpoint (.bin) beside its tokenizer.bin; a transformers folder, or `hf:NAME` for one on
    the Hub; `http://host/v1#MODEL`, an OpenAI-compatible completions server; a .txt (stories separated by <|endoftext|>), .jsonl or
    .json file of stories; a `LanguageModel`; any object that generates. Other names go to `ts_models.load`.
    """
    if not isinstance(spec, str | os.PathLike):
        return _open("object", spec)
    text = os.fspath(spec)
    kind = _kind(text)
    return _open(kind, text.removeprefix("hf:"))


def _open(kind: str, spec: Any) -> ModelAdapter:
    module, _, function = MODELS[kind].partition(":")
    opener: Callable[[Any], ModelAdapter] = getattr(import_module(f".{module}", __name__), function)
    return opener(spec)


def _kind(spec: str) -> str:
    if spec.startswith(("http://", "https://")):
        return "completions"
    if spec.startswith("hf:"):
        return "transformers"
    path = Path(spec)
    if path.is_file():
        ending = path.suffix.lower()
        if ending == ".bin":
            return "ts-models"
        if ending not in {".txt", ".jsonl", ".ndjson", ".json"}:
            raise ConfigError(
                f"{spec}: a file of stories ends in .txt, .jsonl, .ndjson or .json, a llama2.c model in .bin; others are folders."
            )
        return "stories"
    if path.is_dir():
        return _folder_kind(path)
    return "ts-models"


def _folder_kind(path: Path) -> str:
    config = path / "config.json"
    if not config.is_file():
        inner = path / "model" / "config.json"
        hint = f" Did you mean {inner.parent}?" if inner.is_file() else " `ts-train run` writes one (RUN/model)."
        raise ArtefactError(f"{path}: has no config.json, so it is no model folder.{hint}")
    try:
        content = json.loads(config.read_bytes())
    except ValueError:
        raise ArtefactError(f"{config}: not JSON; the file is damaged.") from None
    return "transformers" if isinstance(content, dict) and "model_type" in content else "ts-models"

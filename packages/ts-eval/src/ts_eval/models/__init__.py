"""What can be evaluated: anything that tells stories. One kind per module; `open_model` finds the kind of a path or name.

A stranger's model needs no class of ours: an object with `generate(prompts, **options)` is enough, `logprobs(texts)` and a
`name` are welcome (see `base.Subject`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from ..errors import ArtefactError, ConfigError
from .base import Subject

__all__ = ["MODELS", "Subject", "open_model"]

MODELS: dict[str, str] = {
    "ts-models": "ours:open_ours",
    "transformers": "transformers_lm:open_transformers",
    "completions": "completions:open_completions",
    "stories": "stories:open_stories",
    "object": "object:wrap",
}


def open_model(spec: Any) -> Subject:
    """A model from a path, a name or an object.

    A ts-models folder; a llama2.c checkpoint (.bin) beside its tokenizer.bin; a transformers folder, or `hf:NAME` for one on the Hub; `http://host/v1#MODEL`, an OpenAI-compatible
    completions server; a .txt (stories separated by <|endoftext|>), .jsonl or .json file of stories; a `LanguageModel`; any
    object that generates. Anything else is taken for a name that `ts_models.load` knows.
    """
    if not isinstance(spec, str | os.PathLike):
        return _open("object", spec)
    text = os.fspath(spec)
    kind = _kind(text)
    return _open(kind, text.removeprefix("hf:"))


def _open(kind: str, spec: Any) -> Subject:
    module, _, function = MODELS[kind].partition(":")
    opener: Callable[[Any], Subject] = getattr(import_module(f".{module}", __name__), function)
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

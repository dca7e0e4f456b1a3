"""Adapters for every kind of model that can be evaluated, one kind per module. `open_model` selects by path, name or object.

A foreign model needs no class from here: any object with `generate(prompts, **options)` works; `logprobs(texts)` and `name` are optional.
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from ts_data.artefact import read_json

from ..checks import need_list, need_text
from ..errors import ArtefactError, ConfigError
from .adapter import ModelAdapter

__all__ = ["MODELS", "ModelAdapter", "open_model", "open_models", "several"]

RESERVED = ("real", "real stories")
"""Names of the held-out stories in reports and ratings, which no model may have."""
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
    kind = "object"
    if isinstance(spec, str | os.PathLike):
        text = os.fspath(spec)
        kind, spec = _kind(text), text.removeprefix("hf:")
    adapter: ModelAdapter = resolve_name(f"{__name__}.{MODELS[kind]}")(spec)
    return adapter


def several(models: Any) -> Sequence[Any]:
    """The models of a list, array or column, or the one that is none. ConfigError for an iterator, which can be read only once."""
    if isinstance(models, Iterator):
        raise ConfigError(f"models: a list is expected, not one {type(models).__name__}. Pass list(models).")
    if isinstance(models, Sequence) and not isinstance(models, (str, bytes)):
        return models
    return list(models) if getattr(models, "ndim", None) == 1 else [models]


def open_models(models: Any, names: Sequence[str] | None = None) -> list[ModelAdapter]:
    """Open one model or a list of them; `names` replaces their own names, in order. Numbers models of the same name.

    Raises ConfigError for no model, and where there are not as many names as models.
    """
    specs = several(models)
    if not specs:
        raise ConfigError("there is no model to evaluate; name at least one.")
    names = None if names is None else need_list(names, "names")
    if names and not all(need_text(name, f"names[{i}]").strip() for i, name in enumerate(names)):
        raise ConfigError("names: one is empty; name each model.")
    if names and len(names) != len(specs):
        raise ConfigError(f"{len(names)} names for {len(specs)} models; give one name for each model, in their order.")
    adapters = [open_model(spec) for spec in specs]
    taken = Counter(RESERVED)
    for adapter, name in zip(adapters, names or [adapter.name for adapter in adapters], strict=True):
        adapter.name = name
        while adapter.name in taken:
            taken[name] += 1
            adapter.name = f"{name} ({taken[name]})"
        taken[adapter.name] = 1
    return adapters


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
    return "transformers" if "model_type" in read_json(config, error=ArtefactError) else "ts-models"

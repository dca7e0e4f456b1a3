"""Small story language models: Transformers and recurrent networks, generation, saving and loading."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import _hook
from .__about__ import __version__

if TYPE_CHECKING:
    from ._build import build
    from ._lm import LanguageModel
    from ._load import load
    from ._scoring import score_ids
    from ._sizes import count_parameters, flops_per_token, parameters_by_part
    from ._store import push_to_hub, save
    from ._train_stories import read_train_stories
    from .architectures import StoryModel
    from .presets import preset
    from .schemas import GenerationConfig, ModelConfig, RecurrentConfig, TrainingSummary, TransformerConfig

__all__ = [
    "GenerationConfig",
    "LanguageModel",
    "ModelConfig",
    "RecurrentConfig",
    "StoryModel",
    "TrainingSummary",
    "TransformerConfig",
    "__version__",
    "build",
    "count_parameters",
    "flops_per_token",
    "load",
    "parameters_by_part",
    "preset",
    "push_to_hub",
    "read_train_stories",
    "save",
    "score_ids",
]

_HOME = {
    **dict.fromkeys(("push_to_hub", "save"), "_store"),
    **dict.fromkeys(("GenerationConfig", "ModelConfig", "RecurrentConfig", "TrainingSummary", "TransformerConfig"), "schemas"),
    **dict.fromkeys(("count_parameters", "flops_per_token", "parameters_by_part"), "_sizes"),
    "LanguageModel": "_lm",
    "StoryModel": "architectures",
    "build": "_build",
    "load": "_load",
    "preset": "presets",
    "read_train_stories": "_train_stories",
    "score_ids": "_scoring",
}
_MODULES = frozenset({
    "architectures", "artefact", "console", "decoding", "errors", "export", "layers", "play", "presets", "protocols", "schemas",
})  # fmt: skip
"""Sub-packages and modules that need no import of their own: `ts_models.export.export(…)`."""
_hook.install()


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f".{_HOME[name]}", __name__), name)
    if name in _MODULES:
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

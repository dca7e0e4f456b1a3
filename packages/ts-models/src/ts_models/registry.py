"""Tables of architectures and position encodings. A new one is a module and a line here. Standard library only."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["ARCHITECTURES", "POSITIONS", "load_entry"]

ARCHITECTURES = {
    "transformer": "ts_models.architectures.transformer:Transformer",
    "rnn": "ts_models.architectures.recurrent:Recurrent",
    "lstm": "ts_models.architectures.recurrent:Recurrent",
    "gru": "ts_models.architectures.recurrent:Recurrent",
}
"""`kind` of a config → the `StoryModel` that it configures; its `config_class` validates configs of that kind."""
POSITIONS = {
    "sinusoidal": "ts_models.layers.positions:Sinusoidal",
    "learned": "ts_models.layers.positions:Learned",
    "rope": "ts_models.layers.positions:Rope",
    "rope-embedding": "ts_models.layers.positions:RotaryEmbedding",
    "none": "ts_models.layers.positions:NoPositions",
}
"""`positions` of a Transformer's config → a `PositionEncoding`."""


def load_entry(entry: str) -> Any:
    """The object of an entry "package.module:name"."""
    module, name = entry.split(":")
    return getattr(import_module(module), name)

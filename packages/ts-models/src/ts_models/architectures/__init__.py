"""The kinds of network: a table from a config's `kind` to its class."""

from __future__ import annotations

from importlib import import_module

from .base import StoryModel

__all__ = ["ARCHITECTURES", "StoryModel", "architecture"]

ARCHITECTURES = {
    "transformer": "transformer:Transformer",
    "rnn": "recurrent:Recurrent",
    "lstm": "recurrent:Recurrent",
    "gru": "recurrent:Recurrent",
}


def architecture(kind: str) -> type[StoryModel]:
    """The class that builds configs of this kind."""
    module, name = ARCHITECTURES[kind].split(":")
    return getattr(import_module(f".{module}", __name__), name)  # type: ignore[no-any-return]

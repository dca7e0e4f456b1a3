"""Where metrics go: one callback per module, named in the config's `sinks`."""

from __future__ import annotations

from importlib import import_module

from ..callbacks import Callback
from ..errors import ConfigError

__all__ = ["SINKS", "make_sink"]

SINKS = {"jsonl": "jsonl:JsonlSink", "tensorboard": "tensorboard:TensorBoardSink", "wandb": "wandb:WandbSink"}


def make_sink(name: str) -> Callback:
    """The sink of that name.

    Raises:
        ConfigError: there is none, or what it needs is not installed.
    """
    if name not in SINKS:
        raise ConfigError(f"field `sinks`: no sink is named {name!r}; there are {', '.join(SINKS)}")
    module, cls = SINKS[name].split(":")
    sink: Callback = getattr(import_module(f".{module}", __name__), cls)()
    return sink

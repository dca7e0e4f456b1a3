"""A web page to play with models: pick one, type a beginning, watch the story come. Needs the extra `ts-models[play]`."""

from __future__ import annotations

from ._app import LOOPBACK, create_app, serve

__all__ = ["LOOPBACK", "create_app", "serve"]

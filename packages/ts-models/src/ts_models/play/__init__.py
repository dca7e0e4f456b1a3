"""A web page to play with models: pick one, type a beginning, watch the story come. Needs the extra `ts-models[play]`."""

from __future__ import annotations

from ._app import create_app, serve

__all__ = ["create_app", "serve"]

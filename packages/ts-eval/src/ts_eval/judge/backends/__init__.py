"""The judge's back ends: name → "module:class", loaded on use. A new one is one module, one line here and one test."""

from __future__ import annotations

import difflib
from importlib import import_module
from typing import TYPE_CHECKING, cast

from ...errors import ConfigError

if TYPE_CHECKING:
    from ...schemas import Endpoint, JudgeConfig
    from .base import Backend

__all__ = ["BACKENDS", "make_backend"]

BACKENDS = {
    "openai": "ts_eval.judge.backends.openai.backend:OpenAIBackend",
    "selenium": "ts_eval.judge.backends.selenium:SeleniumBackend",
    "features": "ts_eval.judge.backends.features:FeaturesBackend",
    "fake": "ts_eval.judge.backends.fake:FakeBackend",
}


def make_backend(config: JudgeConfig, endpoint: Endpoint) -> Backend:
    """The back end that the settings name, for one endpoint. Raises ConfigError for an unknown name."""
    if config.backend not in BACKENDS:
        near = difflib.get_close_matches(config.backend, BACKENDS, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"judge back end {config.backend!r} is not known; there are {', '.join(BACKENDS)}.{hint}")
    module, name = BACKENDS[config.backend].split(":")
    return cast("Backend", getattr(import_module(module), name)(config, endpoint))

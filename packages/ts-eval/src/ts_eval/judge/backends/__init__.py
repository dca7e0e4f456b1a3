"""Back ends of the judge.

`BACKENDS` maps a name to "module:class", imported on first use. A new back end is one module, one line here and one test.
"""

from __future__ import annotations

import difflib
from pkgutil import resolve_name
from typing import TYPE_CHECKING, cast

from ...errors import ConfigError

if TYPE_CHECKING:
    from .base import Backend

BACKENDS = {
    "openai": "ts_eval.judge.backends.openai.backend:OpenAIBackend",
    "selenium": "ts_eval.judge.backends.selenium:SeleniumBackend",
    "features": "ts_eval.judge.backends.features:FeaturesBackend",
    "fake": "ts_eval.judge.backends.fake:FakeBackend",
}


def backend_class(name: str) -> type[Backend]:
    """The back end of this name. Raises ConfigError for an unknown name."""
    if name not in BACKENDS:
        near = difflib.get_close_matches(name, BACKENDS, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"backend: {name!r} is unknown; available: {', '.join(BACKENDS)}.{hint}")
    return cast("type[Backend]", resolve_name(BACKENDS[name]))

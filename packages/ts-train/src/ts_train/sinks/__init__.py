"""Where metrics go: one callback per module, named in the config's `sinks`."""

from ts_models.registry import load_entry

from ..callbacks import Callback
from ..errors import ConfigError
from ..registry import SINKS


def make_sink(name: str) -> Callback:
    """The sink of that name.

    Raises:
        ConfigError: there is none, or what it needs is not installed.
    """
    if name not in SINKS:
        raise ConfigError(f"field `sinks`: no sink is named {name!r}; there are {', '.join(SINKS)}")
    sink: Callback = load_entry(SINKS[name])()
    return sink

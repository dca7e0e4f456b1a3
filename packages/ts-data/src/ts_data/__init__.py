"""Cleaning, de-duplication, splits and statistics for story corpora."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .__about__ import __version__

if TYPE_CHECKING:
    from ._clean import Change, Cleaned, clean
    from ._download import download
    from ._hashes import story_hashes
    from ._leakage import leakage
    from ._prepare import prepare
    from ._read import Split, open_manifest, read
    from ._sample import sample
    from ._show import changes, removed
    from .errors import ArtefactError, ConfigError, SourceError, TsDataError
    from .schemas import DatasetManifest, LeakageReport, NearConfig, PrepareConfig

__all__ = [
    "ArtefactError",
    "Change",
    "Cleaned",
    "ConfigError",
    "DatasetManifest",
    "LeakageReport",
    "NearConfig",
    "PrepareConfig",
    "SourceError",
    "Split",
    "TsDataError",
    "__version__",
    "changes",
    "clean",
    "download",
    "leakage",
    "open_manifest",
    "prepare",
    "read",
    "removed",
    "sample",
    "story_hashes",
]

_HOME = {
    **dict.fromkeys(["Change", "Cleaned", "clean"], "_clean"),
    **{name: f"_{name}" for name in ("download", "leakage", "prepare", "sample")} | {"story_hashes": "_hashes"},
    **dict.fromkeys(["changes", "removed"], "_show"),
    **dict.fromkeys(["Split", "open_manifest", "read"], "_read"),
    **dict.fromkeys(["ArtefactError", "ConfigError", "SourceError", "TsDataError"], "errors"),
    **dict.fromkeys(["DatasetManifest", "LeakageReport", "NearConfig", "PrepareConfig"], "schemas"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)

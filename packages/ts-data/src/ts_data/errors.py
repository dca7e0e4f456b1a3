"""The exceptions of ts_data.

TsDataError
├── ArtefactError   a file that this package reads is missing, damaged, of another kind or too new
├── ConfigError     settings that do not hold (also a ValueError)
└── SourceError     raw stories that cannot be read: not UTF-8, no separator, empty, a folder, a dead download
"""

from typing import ClassVar

__all__ = ["ArtefactError", "ConfigError", "SourceError", "TsDataError"]


class TsDataError(Exception):
    """Base of every error that ts_data raises on purpose."""

    is_expected: ClassVar[bool] = True
    """Every command of every package prints such an error as one line (`console.run`)."""


class ArtefactError(TsDataError):
    """A file is missing, damaged, of another kind, or written by a newer version."""


class ConfigError(TsDataError, ValueError):
    """Settings that do not hold; the message names the field."""


class SourceError(TsDataError):
    """Raw stories cannot be read; the message names the file, the place and the mend."""

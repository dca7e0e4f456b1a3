"""The exceptions of ts_data."""

from typing import ClassVar


class TsDataError(Exception):
    """Base of all errors that ts_data raises for expected failures."""

    is_expected: ClassVar[bool] = True
    """Every command of every package prints such an error as one line (`console.run`)."""


class ArtefactError(TsDataError):
    """A file is missing, damaged, of another kind, or written by a newer version."""


class ConfigError(TsDataError, ValueError):
    """Invalid settings; the message names the field."""


class SourceError(TsDataError):
    """Raw stories cannot be read; the message names the file, the place and what to do."""

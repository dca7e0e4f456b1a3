"""The exceptions of ts_eval.

TsEvalError
├── ArtefactError           a file that this package reads is missing, damaged, of another kind or too new
│   └── IndexMismatchError  a story index on disk is of other stories, or of another tokenisation
├── ConfigError             settings that do not hold (also a ValueError)
└── UnavailableError        a package, server or ability that is needed is not there
"""

from typing import ClassVar

__all__ = ["ArtefactError", "ConfigError", "IndexMismatchError", "TsEvalError", "UnavailableError"]


class TsEvalError(Exception):
    """Base of every error that ts_eval raises on purpose."""

    is_expected: ClassVar[bool] = True
    """Every command of every package prints such an error as one line (`console.run`)."""


class ArtefactError(TsEvalError):
    """A file is missing, damaged, of another kind, or written by a newer version."""


class IndexMismatchError(ArtefactError):
    """A story index is whole, but of other stories or of another version of the tokenisation."""


class ConfigError(TsEvalError, ValueError):
    """Settings that do not hold; the message names the field."""


class UnavailableError(TsEvalError):
    """A package, a server or an ability of a model that is needed is not there; the message says how to get it."""

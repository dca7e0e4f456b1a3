"""The exceptions of ts_eval.

TsEvalError
├── ArtefactError           a file is missing, damaged, of another kind or too new
│   └── IndexMismatchError  a story index on disk is of other stories, or of another tokenisation
├── ConfigError             invalid settings (also a ValueError)
└── UnavailableError        a required package, server or model ability is missing
"""

from typing import ClassVar


class TsEvalError(Exception):
    """Base of every error that ts_eval raises on purpose."""

    is_expected: ClassVar[bool] = True
    """`console.run` prints such an error as one line in every command of every package."""


class ArtefactError(TsEvalError):
    """A file is missing, damaged, of another kind, or written by a newer version."""


class IndexMismatchError(ArtefactError):
    """A story index is intact, but belongs to other stories or to another version of the tokenisation."""


class ConfigError(TsEvalError, ValueError):
    """Invalid settings; the message names the field."""


class UnavailableError(TsEvalError):
    """A required package, server or ability of a model is missing; the message says how to get it."""

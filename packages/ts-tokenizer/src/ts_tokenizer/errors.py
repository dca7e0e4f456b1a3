"""The exceptions of ts_tokenizer.

TsTokenizerError
├── ArtefactError   a file that this package reads is missing, damaged, of another kind, too new, or made for another file
├── ConfigError     settings that do not hold (also a ValueError)
├── TextError       a text that is null or no Unicode text (also a ValueError)
└── VocabularyError ids that the vocabulary does not have (also a ValueError)
"""

from typing import ClassVar

__all__ = ["ArtefactError", "ConfigError", "TextError", "TsTokenizerError", "VocabularyError"]


class TsTokenizerError(Exception):
    """Base of every error that ts_tokenizer raises on purpose."""

    is_expected: ClassVar[bool] = True
    """Every command of every package prints such an error as one line (`console.run`)."""


class ArtefactError(TsTokenizerError):
    """A file is missing, damaged, of another kind, written by a newer version, or does not belong to its neighbour."""


class ConfigError(TsTokenizerError, ValueError):
    """Settings that do not hold; the message names the field."""


class TextError(TsTokenizerError, ValueError):
    """A text that is null, or that holds half of a surrogate pair; the message names its row."""


class VocabularyError(TsTokenizerError, ValueError):
    """An id outside of the vocabulary."""

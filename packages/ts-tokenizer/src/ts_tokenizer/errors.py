"""The exceptions of ts_tokenizer."""

from typing import ClassVar


class TsTokenizerError(Exception):
    """Base class of the errors that ts_tokenizer raises."""

    is_expected: ClassVar[bool] = True
    """`console.run` prints such an error as one line, without a traceback."""


class ArtefactError(TsTokenizerError):
    """A file is missing, damaged, of another kind, written by a newer version, or does not match the files beside it."""


class ConfigError(TsTokenizerError, ValueError):
    """Invalid settings; the message names the field."""


class TextError(TsTokenizerError, ValueError):
    """A text is null or contains a lone surrogate; the message names its row."""


class VocabularyError(TsTokenizerError, ValueError):
    """An id outside the vocabulary."""

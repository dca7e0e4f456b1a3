"""The exceptions of ts_train."""

from typing import ClassVar


class TsTrainError(Exception):
    """Base of every error that ts_train raises on purpose."""

    is_expected: ClassVar[bool] = True
    """Every command of every package prints such an error as one line (`console.run`)."""


class ArtefactError(TsTrainError):
    """A file is missing, damaged, of another kind, or written by a newer version."""


class ConfigError(TsTrainError, ValueError):
    """Invalid settings; the message names the field."""


class DataError(TsTrainError):
    """The encoded data do not fit the model, the tokenizer or the run."""


class DivergedError(TsTrainError):
    """Too many steps in a row with a loss or gradient that is not finite."""


class FitError(TsTrainError):
    """The runs of a ladder do not determine a fit; the message names what is missing."""


class UnavailableError(TsTrainError):
    """An optional package is not installed; the message names the extra."""


class DiskFullError(TsTrainError):
    """The disk is full; the last good checkpoint is whole."""


class Interrupted(TsTrainError):  # noqa: N818 - not a failure: the state was saved
    """A signal stopped the run after its state was saved; `signal` is its number."""

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.signal = signal

    def __reduce__(self) -> "tuple[type[Interrupted], tuple[str, int]]":
        return type(self), (str(self), self.signal)

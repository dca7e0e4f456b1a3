"""The exceptions of ts_data."""

import contextlib
import errno
import os
from collections.abc import Iterator
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


def has_no_space(problem: BaseException) -> bool:
    """Whether an error says that a file cannot grow: the disk, the user's quota or the limit of a file's size is reached."""
    return getattr(problem, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def naming_full_disk(work: str | os.PathLike[str], error: type[Exception]) -> Iterator[None]:
    """Raise `error`, which names the work folder, where its disk is full."""
    try:
        yield
    except OSError as problem:
        if not has_no_space(problem):
            raise
        raise error(f"{work}: no space is left on its disk. Free some, then run the same command again; it resumes.") from None

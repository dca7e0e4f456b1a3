"""Print Python warnings of this package as lines on stderr."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from ..console import warn


@contextmanager
def hints(*, show: bool = True) -> Iterator[None]:
    """Print UserWarnings of the block as `warning: …` on stderr, each once; `show=False` where they were printed before."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always", UserWarning)
        yield
    for sentence in dict.fromkeys(str(item.message) for item in found if item.category is UserWarning):
        if show:
            warn(sentence)

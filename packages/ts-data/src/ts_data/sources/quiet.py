"""Keeps the log messages of a library off stderr while it is called: what went wrong is said once, by our own error."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

__all__ = ["silent"]


@contextlib.contextmanager
def silent(*names: str) -> Iterator[None]:
    """Let the loggers of these names say nothing."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)

"""Check that a batch fits into the machine's memory before allocating it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from .task import Task

__all__ = ["check_memory", "machine_memory"]


def check_memory(network: Any, task: Task, copies: int) -> None:
    """Raise ConfigError where `copies` rows for each prompt need more memory than the machine has."""
    config = network.config
    rows = len(task.prompts) * copies
    if network.device.type != "cpu" or rows * config.vocab_size < 1 << 26:
        return
    state = (
        config.n_layers
        * 4
        * getattr(config, "d_hidden", 2 * task.room * getattr(config, "kv_heads", 1) * getattr(config, "head_size", 1))
    )
    needed, there = rows * (12 * config.vocab_size + state), machine_memory()
    if there is not None and needed > there:
        raise ConfigError(
            f"generation: {rows:,} rows ({len(task.prompts):,} prompts × {copies:,}) need about {needed / 1e9:,.0f} GB, but this machine "
            f"has {there / 1e9:,.0f} GB. Lower num_beams or num_return_sequences, or give fewer prompts at once."
        )


def machine_memory() -> int | None:
    """Bytes of memory of the machine, or of the container where that has a limit; None where neither is known."""
    known: list[int] = []
    with contextlib.suppress(AttributeError, ValueError, OSError):
        known.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            known.append(int(Path(name).read_text(encoding="ascii")))
    return min(known, default=None)

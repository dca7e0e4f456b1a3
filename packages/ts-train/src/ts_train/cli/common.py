"""Shared by the commands: exit code of a stopped run, summary of a finished one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from shlex import quote
from typing import TYPE_CHECKING, Any

from ts_models.console import emit

if TYPE_CHECKING:
    from ..run_folder import Run

DEFAULT = "story-1m"
"""The recipe where none is named."""


@contextmanager
def stoppable() -> Iterator[None]:
    """Exit with 128 + the signal, as shells and SLURM expect, after a run was stopped and saved."""
    from ..errors import Interrupted

    try:
        yield
    except Interrupted as stopped:
        print(stopped, file=sys.stderr)
        sys.exit(128 + stopped.signal)


def print_run(run: Run) -> None:
    """Print the result of a run, on rank 0."""
    from ..runtime.distributed import launched

    if launched()[0] != 0:
        return
    best = run.state.best_loss
    payload: dict[str, Any] = {
        "run": str(run.path),
        "model": str(run.path / "model"),
        "steps": run.state.step,
        "tokens": run.state.tokens,
        "seconds": round(run.state.seconds, 2),
        "best_validation_loss": best,
        "best_step": run.state.best_step,
        "bits_per_byte": run.summary.validation_bits_per_byte,
        "skipped_steps": run.state.skipped,
        "stopped": run.stopped,
    }
    following = f'ts-models generate {quote(payload["model"])} --prompt "Once upon a time"'
    emit(payload, lambda: _text(payload), then=following)


def _text(p: dict[str, Any]) -> str:
    loss = "no validation, or none with a finite loss" if p["best_validation_loss"] is None else (
        f"best validation loss {p['best_validation_loss']:.4f} at step {p['best_step']:,}"
    )  # fmt: skip
    bits = "" if p["bits_per_byte"] is None else f" ({p['bits_per_byte']:.4f} bits per byte)"
    early = f"; ended early: {p['stopped']}" if p["stopped"] else ""
    return f"wrote {p['model']}: {p['steps']:,} steps, {p['tokens']:,} tokens in {p['seconds']:,.0f} s; {loss}{bits}{early}"

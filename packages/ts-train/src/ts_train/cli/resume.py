"""ts-train resume: go on with a run from its last checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ts_models.console import Json, Quiet, warn

from .common import stoppable, tell, watchers

__all__ = ["resume"]


def resume(
    run: Annotated[Path, typer.Argument(help="The run folder.")],
    data: Annotated[Path | None, typer.Option("--data", help="Where the same encoded data lie now, if moved.")] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Go on with a run, to the bits that it would have reached uninterrupted on the same machine.

    Example: ts-train resume run/
    """
    from ..run import resume as go_on

    with stoppable():
        tell(go_on(run, data=data, callbacks=watchers(quiet=quiet), warn=warn), as_json=json)

"""`ts-models play`: a local web page to play with models."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Annotated

import typer

from ..console import Json, Quiet, emit, warn


def play(
    models: Annotated[list[str] | None, typer.Argument(help="Model folders, Hub ids, or `demo`.", show_default="demo")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; the default is reached from this machine only.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0: any that is free.")] = 7860,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Open a page: type a beginning, watch the story come, compare two models, see each word's probability.

    Example: ts-models play demo run/model
    """
    from ..io.loading import load
    from ..play import LOOPBACK, serve
    from ._ahead import write_a_little

    paths = models or ["demo"]
    loaded = {}
    for path in paths:
        lm = load(path)
        lm.write("Once", max_new_tokens=2)  # compiles the kernels now, not under the first story
        parts = Path(path).resolve().parts if Path(path).exists() else (path,)
        longest = range(2 if parts[-1] == "model" else 1, len(parts) + 1)
        loaded[next(name for count in longest if (name := "/".join(parts[-count:])) not in loaded or count == len(parts))] = lm
    if not quiet and host not in LOOPBACK:
        warn(f"everyone who can reach {host} can use this page.")

    def ready(url: str) -> None:
        emit(
            {"url": url, "models": list(loaded)}, f"Playing with {', '.join(loaded)} at {url}  (Ctrl-C ends it)", as_json=as_json
        )
        typer.get_text_stream("stdout").flush()

    threading.Thread(target=write_a_little, args=(loaded.values(),), daemon=True).start()  # the first story finds its kernels
    serve(loaded, host=host, port=port, ready=ready)

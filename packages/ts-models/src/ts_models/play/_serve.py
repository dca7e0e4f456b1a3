"""Runs the page on this machine."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Mapping

from ..errors import ConfigError, MissingExtraError
from ..language_model import LanguageModel
from ._app import LOOPBACK, create_app


def serve(
    models: Mapping[str, LanguageModel],
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve the page until interrupted; `ready` is called with its address. Port 0 picks a free one.

    Only this machine can reach it, unless `host` says otherwise: then everybody on that network can.
    """
    try:
        import uvicorn
    except ImportError:
        raise MissingExtraError('the page needs Starlette and uvicorn. Run: pip install "ts-models[play]"') from None
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(128)  # before the address is announced: early clients wait instead of being refused
        except OSError as problem:
            raise ConfigError(f"cannot listen on {host}, port {port} ({problem.strerror}); try another --port.") from None
        number = listener.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        if ready is not None:
            ready(f"http://{shown}:{number}/")
        app = create_app(models, hosts=(*LOOPBACK, host))
        config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False)
        with contextlib.suppress(KeyboardInterrupt):  # the way to end it; uvicorn raises it again once all is closed
            uvicorn.Server(config).run(sockets=[listener])

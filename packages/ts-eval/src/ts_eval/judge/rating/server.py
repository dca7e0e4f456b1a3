"""HTTP server of the rating page. Listens on loopback only.

A request needs the token of the printed address, this server's Host header and, where a browser sends one, this server's Origin.
So no other page in the browser can read stories or write ratings.
"""

import json
import secrets
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any

from ...errors import ConfigError
from .session import RatingSession

_FILES = {"/": ("page.html", "text/html; charset=utf-8"), "/page.js": ("page.js", "text/javascript; charset=utf-8")}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_LARGEST = 10_000


class RatingServer:
    """Serves one session on 127.0.0.1. The token in `url` follows `#`, so that browsers do not send it in request lines."""

    def __init__(self, session: RatingSession, *, port: int = 0) -> None:
        self.session, self.token = session, secrets.token_urlsafe(16)
        try:
            self._http = ThreadingHTTPServer(("127.0.0.1", port), _handler(self))
        except (OSError, OverflowError) as problem:
            reason = getattr(problem, "strerror", None) or problem
            raise ConfigError(
                f"port {port} cannot be used ({reason}); name another with --port, or omit --port for any free one."
            ) from None
        self._http.daemon_threads = True
        self.port = self._http.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/#{self.token}"

    def __reduce__(self) -> Any:
        raise TypeError("a RatingServer holds a port and cannot be pickled; pickle its session and serve that")

    def serve(self) -> None:
        """Serve until `stop`, or Ctrl-C."""
        try:
            self._http.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:  # the normal end; every rating is on disk
            pass
        finally:
            self._http.server_close()

    def stop(self) -> None:
        """End `serve` (from another thread)."""
        self._http.shutdown()


def _handler(server: RatingServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not self._ours():
                return
            if self.path in _FILES:
                name, kind = _FILES[self.path]
                self._send(200, resources.files(__package__).joinpath(name).read_bytes(), kind)
            elif self.path == "/next" and self._allowed():
                self._answer(server.session.next())
            elif self.path != "/next":
                self._send(404, b"not found")

        def do_POST(self) -> None:
            if not self._ours() or not self._allowed():
                return
            try:
                length = int(self.headers.get("Content-Length", ""))
                if not 0 <= length <= _LARGEST:
                    raise ValueError("too long")
                body = json.loads(self.rfile.read(length))
                if self.path == "/rate":
                    self._answer(server.session.rate(str(body["id"]), dict(body["ratings"])))
                elif self.path == "/undo":
                    self._answer(server.session.undo())
                else:
                    self._send(404, b"not found")
            except (ValueError, KeyError, TypeError, RecursionError) as problem:
                self._send(400, str(problem).encode("utf-8", "replace"))
            except OSError as problem:
                self._send(500, f"the rating could not be written ({problem.strerror})".encode())

        def _ours(self) -> bool:
            """Refuse other Hosts (DNS rebinding) and other Origins (other pages in the browser)."""
            names = {f"127.0.0.1:{server.port}", f"localhost:{server.port}"}
            origin = self.headers.get("Origin")
            if self.headers.get("Host") in names and (origin is None or origin in {f"http://{n}" for n in names}):
                return True
            self._send(403, b"not for this address")
            return False

        def _allowed(self) -> bool:
            if secrets.compare_digest(self.headers.get("X-Rating-Token", "").encode(), server.token.encode()):
                return True
            self._send(403, b"open the address that the command printed")
            return False

        def _answer(self, content: dict[str, Any]) -> None:
            self._send(200, json.dumps(content).encode(), "application/json")

        def _send(self, status: int, content: bytes, kind: str = "text/plain; charset=utf-8") -> None:
            self.send_response(status)
            for name, value in {**_HEADERS, "Content-Type": kind, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Write no log."""

    return Handler

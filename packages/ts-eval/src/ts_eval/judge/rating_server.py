"""The blind rating page: stories in a shuffled order, no word of who wrote them, every rating on disk before the next story.

Loopback only; requests need the token of the printed address, our own Host and, where a browser sends one, our own Origin, so
that no other page in the browser can read stories or write ratings. It computes no statistics: `calibrate` does.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import secrets
from collections.abc import Sequence
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from threading import Lock
from typing import Any

from pydantic import ValidationError

from .._checks import need_path, need_text
from ..errors import ArtefactError, ConfigError
from ..schemas import CATEGORIES, WholeScores
from .backends.base import without_surrogates
from .stories import Story, read_stories

__all__ = ["RatingServer", "RatingSession"]

_FILES = {"/": ("page.html", "text/html; charset=utf-8"), "/page.js": ("page.js", "text/javascript; charset=utf-8")}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_LARGEST = 10_000


class RatingSession:
    """Which story comes next and what has been rated. The file is append-only; its last line about a story counts.

    Lines are `{"story": …, "source": …, "ratings": [{…}], "rater": …}`, the format that `calibrate` reads; an undone rating is
    a line with no ratings.
    """

    def __init__(self, stories: Sequence[str | Story], out: str | os.PathLike[str], *, rater: str, seed: int = 1) -> None:
        sound = [replace(s, text=without_surrogates(s.text)) for s in read_stories(stories) if s.text.strip()]
        self._stories = list({s.text: s for s in sound}.values())
        self._path, self._rater = need_path(out, "out"), without_surrogates(need_text(rater, "rater"))
        order = list(range(len(self._stories)))
        random.Random(f"{seed} {self._rater}").shuffle(order)
        self._order = order
        self._lock = Lock()
        self._rated = self._read()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=Lock())

    def next(self) -> dict[str, Any]:
        """The next story for this rater, without its source."""
        total = len(self._stories)
        for index in self._order:
            if self._id(index) not in self._rated:
                story = self._stories[index].text
                return {
                    "id": self._id(index),
                    "story": story,
                    "categories": list(CATEGORIES),
                    "done": len(self._rated),
                    "total": total,
                    "finished": False,
                }
        return {"done": len(self._rated), "total": total, "finished": True}

    def rate(self, identifier: str, ratings: dict[str, Any]) -> dict[str, Any]:
        """Keep a rating (flushed to disk) and give the next story. Raises ValueError for anything but six integers from 1 to 10."""
        try:
            scores = WholeScores.model_validate(ratings)
        except ValidationError as problem:
            raise ValueError(f"not six whole numbers from 1 to 10 ({problem.error_count()} wrong)") from None
        with self._lock:
            index = next((i for i in self._order if self._id(i) == identifier), None)
            if index is None:
                raise ValueError("no such story")
            if identifier not in self._rated:
                self._append(index, [scores.model_dump()])
                self._rated.append(identifier)
        return self.next()

    def undo(self) -> dict[str, Any]:
        """Take the last rating back."""
        with self._lock:
            if self._rated:
                last = self._rated.pop()
                self._append(next(i for i in self._order if self._id(i) == last), [])
        return self.next()

    def _append(self, index: int, ratings: list[dict[str, int]]) -> None:
        story = self._stories[index]
        source = None if story.source is None else without_surrogates(story.source)
        row = {"story": story.text, "source": source, "ratings": ratings, "rater": self._rater}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8", newline="\n") as handle:
            handle.write(json.dumps(row, ensure_ascii=False) + "\n")
            handle.flush()
            os.fsync(handle.fileno())

    def _read(self) -> list[str]:
        """What this rater has rated, oldest first; a last line that a kill cut off is dropped, so that it does not spoil the next.

        Nothing is changed in a file that holds anything but ratings.
        """
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as problem:
            raise ArtefactError(f"{self._path}: cannot be read ({problem.strerror}). Name another file with --out.") from None
        *lines, last = content.decode("utf-8", "replace").split("\n")
        whole = _is_json(last)  # an editor took the last line break away
        lines = [*lines, last] if whole else lines
        places = {s.text: i for i, s in enumerate(self._stories)}
        rated: dict[str, None] = {}
        for number, line in enumerate(lines, 1):
            text, ratings, rater = self._line(line, number)
            if rater == self._rater and text in places:
                identifier = self._id(places[text])
                rated.pop(identifier, None)
                if ratings:
                    rated[identifier] = None
        if whole:
            with self._path.open("ab") as handle:
                handle.write(b"\n")
        elif last:
            self._mend(content, last, len(lines))
        return list(rated)

    def _line(self, line: str, number: int) -> tuple[str, list[Any], str]:
        try:
            row = json.loads(line)
            text, ratings, rater = row["story"], row["ratings"], row["rater"]
            if isinstance(text, str) and isinstance(ratings, list) and isinstance(rater, str):
                return text, ratings, rater
        except (ValueError, KeyError, TypeError, RecursionError):
            pass
        raise ArtefactError(f"{self._path}, line {number}: not a line of ratings. Name another file with --out.") from None

    def _mend(self, content: bytes, last: str, lines: int) -> None:
        """Drop a last line that was cut off. One that begins otherwise than ours is not ours to drop."""
        if not last.startswith('{"story": "'[: len(last)]):
            self._line("", lines + 1)
        with self._path.open("r+b") as handle:
            handle.truncate(content.rfind(b"\n") + 1)

    def _id(self, index: int) -> str:
        return hashlib.sha256(self._stories[index].text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _is_json(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


class RatingServer:
    """Serves one session on 127.0.0.1; `url` holds the token behind `#`, so that it is in no request line."""

    def __init__(self, session: RatingSession, *, port: int = 0) -> None:
        self.session, self.token = session, secrets.token_urlsafe(16)
        try:
            self._http = ThreadingHTTPServer(("127.0.0.1", port), _handler(self))
        except (OSError, OverflowError) as problem:
            reason = getattr(problem, "strerror", None) or problem
            raise ConfigError(
                f"port {port} cannot be used ({reason}); name another with --port, or none for any free one."
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
        except KeyboardInterrupt:  # the way to end it, no interruption: every rating is on disk
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
                self._send(200, resources.files(__package__).joinpath("rating_page", name).read_bytes(), kind)
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
            """Quiet."""

    return Handler

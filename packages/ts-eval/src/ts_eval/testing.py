"""Test doubles of the judge: `FakeJudge` (no server) and `FakeServer` (OpenAI's wire format on loopback). Deterministic."""

import hashlib
import json
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from .schemas import CATEGORIES

__all__ = ["FakeJudge", "FakeServer"]


class FakeJudge:
    """Ratings from a hash of the story, changed by at most one by the seed: repeatable, with noise over repeats."""

    def rate(self, story: str, *, seed: int = 0) -> str:
        """A well-formed reply for a story."""
        digest = hashlib.sha256(story.encode("utf-8", "surrogatepass")).digest()
        noise = random.Random(f"{digest.hex()}{seed}")
        scores = {name: min(10, max(1, 1 + digest[i] % 10 + noise.choice((-1, 0, 0, 0, 1)))) for i, name in enumerate(CATEGORIES)}
        return json.dumps(scores)


class FakeServer:
    """An OpenAI-compatible chat server on 127.0.0.1 with configurable faults.

    `answer(messages) -> str` makes the reply (default: FakeJudge on the delimited story in the last message). `fail` is the share of
    calls answered with 500, `die_after` the number of paid replies after which connections are dropped. `paid` counts, by
    `Idempotency-Key`, the replies that were computed; with `idempotent=True` a known key gets its first reply again without being paid.
    """

    def __init__(
        self,
        answer: Callable[[list[dict[str, str]]], str] | None = None,
        *,
        fail: float = 0.0,
        seed: int = 0,
        delay: float = 0.0,
        die_after: int | None = None,
        idempotent: bool = False,
        usage: bool = True,
        logprobs: Callable[[str], list[dict[str, Any]]] | None = None,
        refuse_schema: bool = False,
    ) -> None:
        self.answer, self.fail, self.delay, self.die_after = answer or _rate_delimited, fail, delay, die_after
        self.idempotent, self.usage, self.logprobs, self.refuse_schema = idempotent, usage, logprobs, refuse_schema
        self.paid: Counter[str] = Counter()
        self.calls = 0
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self._known: dict[str, str] = {}
        self._draw, self._lock = random.Random(seed), threading.Lock()
        self._http = _QuietServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        """The base URL for a client."""
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def __reduce__(self) -> Any:
        raise TypeError("a FakeServer holds a port and cannot be pickled; make one in each process")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def reply(self, body: dict[str, Any], headers: dict[str, str]) -> tuple[int, dict[str, Any]] | None:
        """Status and JSON for one call; None drops the connection."""
        with self._lock:
            self.calls += 1
            self.requests.append(body)
            self.headers.append(headers)
            if self.die_after is not None and self.paid.total() >= self.die_after:
                return None
            if self._draw.random() < self.fail:
                return 500, {"error": {"message": "made to fail"}}
        if self.refuse_schema and "response_format" in body:
            return 400, {"error": {"message": "response_format json_schema is not supported"}}
        time.sleep(self.delay)
        return 200, self._completion(body, headers.get("idempotency-key", ""))

    def _completion(self, body: dict[str, Any], key: str) -> dict[str, Any]:
        with self._lock:
            if not (self.idempotent and key in self._known):
                self._known[key] = self.answer(body["messages"])
                self.paid[key] += 1
            text = self._known[key]
        choice: dict[str, Any] = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        if body.get("logprobs") and self.logprobs is not None:
            choice["logprobs"] = {"content": self.logprobs(text)}
        size = sum(len(m["content"]) for m in body["messages"]) // 4
        usage = {"prompt_tokens": size, "completion_tokens": len(text) // 4, "total_tokens": size + len(text) // 4}
        return {
            "id": "chatcmpl-fake", "object": "chat.completion", "created": 0, "model": body.get("model", "fake"),
            "choices": [choice], "system_fingerprint": "fake-1", **({"usage": usage} if self.usage else {}),
        }  # fmt: skip


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    """More than a judge has in flight: beyond it a busy machine resets connections."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore connections that a killed client leaves."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _rate_delimited(messages: list[dict[str, str]]) -> str:
    content = messages[-1]["content"]
    story = content.split("<<<", 1)[-1].partition("\n")[2].rpartition(">>>")[0].rpartition("\n")[0]
    return FakeJudge().rate(story)


def _handler(server: FakeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            size = int(self.headers["Content-Length"])
            body = self.rfile.read(size)
            if len(body) < size:  # the client was killed while it sent
                self.close_connection = True
                return
            answer = server.reply(json.loads(body), {name.lower(): value for name, value in self.headers.items()})
            if answer is None:
                self.close_connection = True
                self.connection.close()
                return
            content = json.dumps(answer[1]).encode()
            self.send_response(answer[0])
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Write no log; tests read stderr."""

    return Handler

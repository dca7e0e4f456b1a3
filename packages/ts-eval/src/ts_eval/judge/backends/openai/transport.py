"""One HTTP call with a deadline from connect to the last byte and a maximum body size, compressed or not.

Common clients limit the time of each read, not of the call, and read bodies of any size. A connection serves one call.
"""

from __future__ import annotations

import base64
import http.client
import importlib.util
import io
import socket
import ssl
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from functools import cache
from typing import Any
from urllib.parse import quote, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class CallError(Exception):
    """There was no answer; `reached` is False where there was no connection."""

    def __init__(self, message: str, *, reached: bool) -> None:
        super().__init__(message)
        self.reached = reached


class OutOfTimeError(CallError):
    """The answer was incomplete at the deadline."""


class TooLongError(Exception):
    """The body is larger than the maximum."""


@dataclass(frozen=True)
class Answer:
    """A complete answer; names in `headers` are case-insensitive."""

    status: int
    headers: Message
    body: bytes


def post(url: str, headers: Mapping[str, str], body: bytes, *, seconds: float, largest: int) -> Answer:
    """The answer to one POST. Redirects are not followed, so key and story go to the given address only."""
    deadline, reached = time.monotonic() + seconds, False
    try:
        connection, target, more = _connection(url, deadline)
        try:
            connection.connect()
            reached = True
            connection.request("POST", target, body=body, headers={**headers, **more})
            with connection.getresponse() as response:
                found = _read(response, largest)
            status, received = response.status, response.headers
        finally:
            connection.close()
    except TimeoutError:
        raise OutOfTimeError(f"no whole answer within {seconds:g} s", reached=reached) from None
    except (OSError, http.client.HTTPException, ValueError) as problem:
        words = "the connection broke" if reached else "no connection"
        raise CallError(f"{words} ({type(problem).__name__}: {' '.join(str(problem).split())[:100]})", reached=reached) from None
    return Answer(status, received, _decompressed(found, received.get("Content-Encoding", "").strip().lower(), largest))


def _connection(url: str, deadline: float) -> tuple[http.client.HTTPConnection, str, dict[str, str]]:
    """The connection to the server or its proxy, the request target, and the proxy's headers."""
    parts = urlsplit(url)
    host, secure = parts.hostname or "", parts.scheme == "https"
    port, target = parts.port or (443 if secure else 80), quote(parts.path, safe="/%:@!$&'()*+,;=~")
    proxy = _proxy(parts.scheme, host)
    if proxy is None:
        return (_Secure(host, port, deadline) if secure else _Plain(host, port, deadline)), target, {}
    other = urlsplit(proxy if "//" in proxy else f"//{proxy}")
    login = f"{unquote(other.username or '')}:{unquote(other.password or '')}".encode()
    said = {"Proxy-Authorization": f"Basic {base64.b64encode(login).decode()}"} if other.username else {}
    if secure:
        tunnelled = _Secure(other.hostname or "", other.port or 80, deadline)
        tunnelled.set_tunnel(host, port, headers=said)
        return tunnelled, target, {}
    return _Plain(other.hostname or "", other.port or 80, deadline), f"http://{parts.netloc}{target}", said


def _proxy(scheme: str, host: str) -> str | None:
    if host in LOOPBACK or proxy_bypass(host):
        return None
    return getproxies().get(scheme) or getproxies().get("all")


def _read(response: http.client.HTTPResponse, largest: int) -> bytes:
    found = response.read(largest + 1)
    if len(found) > largest:
        raise TooLongError(f"more than {largest:,} bytes")
    if response.length:
        raise http.client.IncompleteRead(found[:0], response.length)
    return found


def _decompressed(body: bytes, encoding: str, largest: int) -> bytes:
    if encoding in {"", "identity"}:
        return body
    if encoding not in {"gzip", "x-gzip", "deflate"}:  # no compression was requested
        raise CallError(f"the answer is compressed as {encoding[:20]!r}", reached=True)
    for bits in (47, -15):  # gzip or zlib by its header; raw deflate
        decoder = zlib.decompressobj(bits)
        try:
            found = decoder.decompress(body, largest + 1)
        except zlib.error:
            continue
        if len(found) > largest:
            raise TooLongError(f"more than {largest:,} bytes")
        if decoder.eof:
            return found
    raise CallError("the compressed answer is damaged", reached=True)


class _Plain(http.client.HTTPConnection):
    """HTTP connection; every read and write ends at the deadline."""

    def __init__(self, host: str, port: int, deadline: float) -> None:
        super().__init__(host, port, timeout=_left(deadline))
        self._deadline = deadline

    def connect(self) -> None:
        super().connect()
        self.sock: Any = _Timed(self.sock, self._deadline)


class _Secure(http.client.HTTPSConnection):
    """HTTPS connection; every read and write ends at the deadline."""

    def __init__(self, host: str, port: int, deadline: float) -> None:
        super().__init__(host, port, timeout=_left(deadline), context=_trusted())
        self._deadline = deadline

    def connect(self) -> None:
        super().connect()
        self.sock: Any = _Timed(self.sock, self._deadline)


class _Timed:
    """The part of a socket that http.client uses. Closes when it and its reader are closed."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self.sock, self.deadline, self._users = sock, deadline, 1

    def sendall(self, data: bytes) -> None:
        self.sock.settimeout(_left(self.deadline))
        self.sock.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        self._users += 1
        return io.BufferedReader(_Reader(self))

    def close(self) -> None:
        self._users -= 1
        if self._users == 0:
            self.sock.close()


class _Reader(io.RawIOBase):
    def __init__(self, owner: _Timed) -> None:
        self._owner = owner

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._owner.sock.settimeout(_left(self._owner.deadline))
        return self._owner.sock.recv_into(buffer)

    def close(self) -> None:
        if not self.closed:
            self._owner.close()
        super().close()


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


@cache
def _trusted() -> ssl.SSLContext:
    """The system's certificates, and certifi's if installed."""
    context = ssl.create_default_context()
    if importlib.util.find_spec("certifi") is not None:
        import certifi

        context.load_verify_locations(certifi.where())
    return context

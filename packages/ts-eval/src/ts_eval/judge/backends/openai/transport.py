"""One HTTP call with a deadline from connect to the last byte and a maximum body size, compressed or not.

Common clients limit the time of each read, not of the call, and read bodies of any size. A connection serves one call.
"""

import base64
import http.client
import importlib.util
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.message import Message
from functools import cache
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
        connection, target, more = _connection(url, seconds)
        try:
            connection.connect()
            reached = True
            with _until(deadline, connection.sock):
                connection.request("POST", target, body=body, headers={**headers, **more})
                with connection.getresponse() as response:
                    found = _read(response, largest)
        finally:
            connection.close()
    except (OSError, http.client.HTTPException, ValueError) as problem:
        if isinstance(problem, TimeoutError) or time.monotonic() >= deadline:
            raise OutOfTimeError(f"no whole answer within {seconds:g} s", reached=reached) from None
        if isinstance(problem, ssl.SSLError) and problem.reason == "WRONG_VERSION_NUMBER":
            raise CallError("no connection: the server speaks no TLS; name it with http://", reached=reached) from None
        words = "the connection broke" if reached else "no connection"
        raise CallError(f"{words} ({type(problem).__name__}: {' '.join(str(problem).split())[:100]})", reached=reached) from None
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    return Answer(response.status, response.headers, _decompressed(found, encoding, largest))


@contextmanager
def _until(deadline: float, sock: socket.socket) -> Iterator[None]:
    """Shut the socket down at the deadline, which ends every read and write under way. TimeoutError if that has happened."""

    def shut_down() -> None:
        with suppress(OSError):  # the connection has ended by itself
            sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(max(0.0, deadline - time.monotonic()), shut_down)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
    if time.monotonic() >= deadline:  # what was read may be cut
        raise TimeoutError


def _connection(url: str, seconds: float) -> tuple[http.client.HTTPConnection, str, dict[str, str]]:
    """The connection to the server or its proxy, the request target, and the proxy's headers."""
    parts = urlsplit(url)
    host, secure = parts.hostname or "", parts.scheme == "https"
    port, target = parts.port or (443 if secure else 80), quote(parts.path, safe="/%:@!$&'()*+,;=~")
    direct, proxies = host in LOOPBACK or proxy_bypass(host), getproxies()
    proxy = None if direct else proxies.get(parts.scheme) or proxies.get("all")

    def connect(to: str, at: int) -> http.client.HTTPConnection:
        if secure:
            return http.client.HTTPSConnection(to, at, timeout=seconds, context=_trusted())
        return http.client.HTTPConnection(to, at, timeout=seconds)

    if proxy is None:
        return connect(host, port), target, {}
    other = urlsplit(proxy if "//" in proxy else f"//{proxy}")
    login = f"{unquote(other.username or '')}:{unquote(other.password or '')}".encode()
    said = {"Proxy-Authorization": f"Basic {base64.b64encode(login).decode()}"} if other.username else {}
    connection = connect(other.hostname or "", other.port or 80)
    if secure:
        connection.set_tunnel(host, port, headers=said)
        return connection, target, {}
    return connection, f"http://{parts.netloc}{target}", said


def _read(response: http.client.HTTPResponse, largest: int) -> bytes:
    found = response.read(largest + 1)
    if len(found) > largest:
        raise TooLongError(f"more than {largest:,} bytes")
    if response.length:
        raise http.client.IncompleteRead(found, response.length)
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


@cache
def _trusted() -> ssl.SSLContext:
    """The system's certificates, and certifi's if installed."""
    context = ssl.create_default_context()
    if importlib.util.find_spec("certifi") is not None:
        import certifi

        context.load_verify_locations(certifi.where())
    return context

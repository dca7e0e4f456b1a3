"""OpenAI-compatible chat servers (hosted, Ollama, llama.cpp, vLLM): request bodies, and the meaning of refusals.

`transport` makes the bounded HTTP call; `wire` reads the body.
"""

from __future__ import annotations

import email.utils
import json
import math
import os
import re
import threading
import time
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from ....__about__ import __version__
from ....errors import ConfigError
from ....packaged import either, packaged_toml
from ....schemas import Endpoint, JudgeConfig
from ..base import Backend, BusyError, EndpointError, RefusedError, Reply, Request, TryAgainError
from .transport import LOOPBACK, CallError, TooLongError, post
from .wire import NO_LOGPROBS, ServerError, error_in, loads, read_reply

_MAX_BYTES = 16 * 2**20
"""Largest body; 120 tokens with 20 candidates each take 150,000."""
_BUSY = {429, 503, 529}
_MAX_WAIT = 3600.0
"""Seconds. A longer wait is ignored."""
_FALLBACK_STATUSES = {None, 400, 406, 415, 422, 500, 501}
"""Statuses with which servers refuse a part of the request."""
_NO_LOGPROBS = 'the server sends no token log-probabilities, which mode = "expected" needs; use mode = "sampled"'
_WORDING = packaged_toml(__package__, "wording.toml")
_FEATURES = {name: either(names, r"(?<![a-z_])(?:{})(?![a-z_])") for name, names in _WORDING["features"].items()}
"""Feature of a request → how messages name it."""
_MESSAGES = {name: either(alternatives) for name, alternatives in _WORDING["messages"].items()}


@dataclass(frozen=True)
class _Dialect:
    """The request features that a server supports. Each refusal removes one, for this endpoint and run."""

    formats: tuple[str, ...]
    limit: str = "max_tokens"
    dropped: tuple[str, ...] = ()
    system: bool = True
    candidates: int = 20
    """`top_logprobs`; 20 is the API's maximum."""

    def without(self, refused: str) -> tuple[_Dialect, str] | None:
        """The dialect without the refused feature and a sentence about it; None where it has no fallback."""
        if refused == "response_format" and len(self.formats) > 1:
            return replace(self, formats=self.formats[1:]), f"asked for {self.formats[1]} instead of {self.formats[0]}"
        if refused == "max_tokens" and self.limit == "max_tokens":
            return replace(self, limit="max_completion_tokens"), "asked with max_completion_tokens instead of max_tokens"
        if refused == "system" and self.system:
            return replace(self, system=False), "the system message is part of the user message"
        if refused == "top_logprobs" and self.candidates > 5:
            return replace(self, candidates=5), "asked for 5 candidates per token instead of 20"
        if refused in {"temperature", "top_p", "seed"} and refused not in self.dropped:
            return replace(self, dropped=(*self.dropped, refused)), f"asked without {refused}"
        return None


class OpenAIBackend(Backend):
    """One endpoint. Falls back where the server refuses a feature (a JSON schema, a parameter, a system message)."""

    needs_endpoint = True

    def __init__(self, config: JudgeConfig, endpoint: Endpoint) -> None:
        super().__init__(config, endpoint)
        self.mode, self.label = config.mode, config.model
        formats = {
            "auto": ("json_schema", "json_object", "text"),
            "schema": ("json_schema", "json_object"),
            "text": ("text",),
        }[config.structured]
        self._dialect = _Dialect(formats)
        self._without_logprobs: int | None = 0
        """Replies without log-probabilities; None once a reply had some."""
        self._lock = threading.Lock()

    def check(self) -> None:
        """Check address and key; a server on loopback needs no key."""
        self._check_address()
        key = self._key()
        if not key:
            raise ConfigError(
                f"{self.endpoint.base_url}: no key. Set the environment variable {self.endpoint.api_key_env}, "
                f"or name another with api_key_env in the endpoint's settings."
            )
        if not (key.isascii() and key.isprintable()):
            raise ConfigError(
                f"the key in {self.endpoint.api_key_env} contains characters that an HTTP header cannot hold; copy it again."
            )

    def ask(self, request: Request) -> Reply:
        """One chat completion. Failure messages never contain the key."""
        while True:
            dialect = self._dialect
            reply = self._one(request, dialect)
            if reply is not None:
                return reply

    def _check_address(self) -> None:
        url = self.endpoint.base_url
        try:
            parts = urlsplit(url)
            good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        except ValueError:
            good = False
        if not good:
            raise ConfigError(f"{url}: not a server address; expected http:// or https://, a host and a path such as /v1.")

    def _key(self) -> str:
        key = os.environ.get(self.endpoint.api_key_env, "").strip()
        return key or ("none" if urlsplit(self.endpoint.base_url).hostname in LOOPBACK else "")

    # one call

    def _one(self, request: Request, dialect: _Dialect) -> Reply | None:
        """A reply, or None after a fallback."""
        config = self.config
        headers = {
            "Authorization": f"Bearer {self._key()}", "Content-Type": "application/json", "Accept": "application/json",
            "Idempotency-Key": request.key, "User-Agent": f"ts-eval/{__version__}",
        }  # fmt: skip
        url = f"{self.endpoint.base_url.rstrip('/')}/chat/completions"
        body = json.dumps(self._body(request, dialect)).encode()
        try:
            answer = post(url, headers, body, seconds=config.timeout, largest=_MAX_BYTES)
            if not 200 <= answer.status < 300:
                return self._refused(dialect, answer.status, *_error(answer.body), answer.headers)
            reply = read_reply(answer.body, max_tokens=config.max_tokens, logprobs=config.mode == "expected")
            if config.mode == "expected":
                self._count_logprobs(reply)
            return reply
        except CallError as problem:
            raise TryAgainError(str(problem), reached=problem.reached) from None
        except TooLongError as problem:
            return Reply("", fault=f"the reply has {problem}")
        except ServerError as problem:
            return self._refused(dialect, problem.status, str(problem), None, {})

    def _body(self, request: Request, dialect: _Dialect) -> dict[str, Any]:
        c = self.config
        messages = request.messages
        if not dialect.system:
            messages = [{"role": "user", "content": "\n\n".join(m["content"] for m in messages)}]
        body: dict[str, Any] = {"model": self.endpoint.model or c.model, "messages": messages, dialect.limit: c.max_tokens}
        optional = {"temperature": c.temperature, "top_p": c.top_p, "seed": request.seed}
        body |= {name: value for name, value in optional.items() if name not in dialect.dropped}
        if dialect.formats[0] == "json_schema":
            schema = {"name": "ratings", "strict": True, "schema": request.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif dialect.formats[0] == "json_object":  # with llama-cpp-python's `schema`; other servers ignore it
            body["response_format"] = {"type": "json_object", "schema": request.schema}
        if c.mode == "expected":
            body |= {"logprobs": True, "top_logprobs": dialect.candidates}
        return body

    def _count_logprobs(self, reply: Reply) -> None:
        """Give up the endpoint after three replies without log-probabilities and none with them."""
        with self._lock:
            if reply.tokens:
                self._without_logprobs = None
            elif self._without_logprobs is not None and reply.fault == NO_LOGPROBS:
                self._without_logprobs += 1
                if self._without_logprobs >= 3:
                    raise EndpointError(_NO_LOGPROBS)

    # refusals

    def _refused(self, dialect: _Dialect, status: int | None, message: str, content: Any, headers: Any) -> Reply | None:
        """Fall back (None), or raise the failure that status and message mean."""
        short = _short(message, self._key())
        text = f"HTTP {status}: {short}" if status else f"an error instead of a reply: {short}"
        if status == 429 and _MESSAGES["spent"].search(message):
            raise EndpointError(text)
        if status in _BUSY:
            raise BusyError(text, _after(headers, message))
        if 300 <= (status or 0) < 400:
            raise EndpointError(
                f"HTTP {status}: the server redirects to {_short(headers.get('location', '?'), self._key())}; use that address"
            )
        # 500: llama-cpp-python's answer to an unknown response_format.
        if (
            status in _FALLBACK_STATUSES
            and not _MESSAGES["too_long"].search(message)
            and self._fall_back(dialect, message, content)
        ):
            return None
        if self.config.mode == "expected" and status in {400, 422} and "logprob" in message.lower():
            raise EndpointError(f"{_NO_LOGPROBS} ({text})")
        if status is None or status in {408, 409, 425} or status >= 500 or status < 200:
            raise TryAgainError(text, _after(headers, message))
        if status in {400, 413, 422, 451}:
            raise RefusedError(text)
        raise EndpointError(text)

    def _fall_back(self, dialect: _Dialect, message: str, content: Any) -> bool:
        """Remove the refused feature, once for all threads. False: the message names no feature with a fallback."""
        for name in _named(message, content):
            found = dialect.without(name)
            if found is None:
                continue
            with self._lock:
                if self._dialect == dialect:  # otherwise another thread has fallen back
                    self._dialect = found[0]
                    self.notes.append(f"{self.endpoint.base_url} refuses {name}: {found[1]}")
            return True
        return False


def _named(message: str, content: Any) -> list[str]:
    """The refused features: by `param` or `loc`, else by their names beside a complaint."""
    fields = _fields(content)
    exact = [name for name, words in _FEATURES.items() if any(words.fullmatch(f) for f in fields)]
    if exact:
        return exact
    named = [name for name, words in _FEATURES.items() if words.search(message)]
    return named if _MESSAGES["complains"].search(message) else [n for n in named if n == "response_format"]


def _fields(content: Any) -> list[str]:
    """Names in `error.param` (OpenAI) and `detail[].loc` (FastAPI)."""
    if not isinstance(content, dict):
        return []
    error = content.get("error")
    found: list[Any] = [error.get("param")] if isinstance(error, dict) else []
    details = content.get("detail")
    for detail in details if isinstance(details, list) else []:
        loc = detail.get("loc") if isinstance(detail, dict) else None
        found += loc if isinstance(loc, list) else []
    return [f.split(".")[0] for f in found if isinstance(f, str)]


def _error(body: bytes) -> tuple[str, Any]:
    """An error's message, and its content if it is JSON."""
    try:
        content = loads(body)
    except ValueError:
        content = None
    return error_in(content)[0] or body[:2000].decode("utf-8", "replace"), content


def _short(message: str, key: str) -> str:
    text = " ".join(message.split())
    return (text.replace(key, "***") if len(key) > 4 else text)[:200]


def _after(headers: Any, message: str) -> float | None:
    """Seconds that a server asks to wait: retry-after-ms, Retry-After (seconds or a date), or the message. None without a usable value."""
    milliseconds, wanted = _number(headers.get("retry-after-ms")), headers.get("retry-after")
    said = re.search(r"(?:try again|retry) (?:in|after) (\d{1,6}(?:\.\d{1,6})?) ?(ms|m|s)", message, re.IGNORECASE)
    found = (
        None if milliseconds is None else milliseconds / 1000,
        _number(wanted),
        _until(wanted),
        float(said[1]) * {"ms": 0.001, "s": 1, "m": 60}[said[2].lower()] if said else None,
    )
    seconds = next((s for s in found if s is not None), None)
    return seconds if seconds is not None and seconds <= _MAX_WAIT else None


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _until(date: str | None) -> float | None:
    try:
        return max(0.0, email.utils.parsedate_to_datetime(date or "").timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None

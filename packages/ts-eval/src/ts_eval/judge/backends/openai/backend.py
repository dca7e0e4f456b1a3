"""Any OpenAI-compatible chat server (hosted, Ollama, llama.cpp, vLLM): what it is asked, and what its refusals mean.

`_transport` makes the call and bounds it; `_wire` reads the answer, since no server's word is taken for its shape.
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
from ....schemas import Endpoint, JudgeConfig
from ..base import BusyError, EndpointError, RefusedError, Reply, Request, TryAgainError
from .transport import LOOPBACK, CallError, TooLongError, post
from .wire import NO_LOGPROBS, ServerError, error_in, loads, read_reply

__all__ = ["OpenAIBackend"]

_LARGEST = 16 * 2**20
"""Bytes of a body; 120 tokens with 20 candidates each take 150,000."""
_BUSY = {429, 503, 529}
_LONGEST_WAIT = 3600.0
"""Seconds. A server that asks for more does not mean this run, or is wrong."""
_MAY_STEP = {None, 400, 406, 415, 422, 500, 501}
"""Statuses with which servers refuse a part of the request."""
_NO_LOGPROBS = 'the server sends no token log-probabilities, which mode = "expected" needs; use mode = "sampled"'
_SPENT = re.compile(
    r"insufficient_quota|billing_hard_limit|billing_not_active|exceeded your current quota|credit balance", re.IGNORECASE
)
_TOO_LONG = re.compile(r"context.{0,10}(?:length|window|size)|too long|too large|too many tokens", re.IGNORECASE)


@dataclass(frozen=True)
class _Dialect:
    """What a server takes. Starts with everything; each refusal takes one thing away, for this endpoint and run."""

    formats: tuple[str, ...]
    limit: str = "max_tokens"
    dropped: tuple[str, ...] = ()
    system: bool = True
    candidates: int = 20
    """Candidates asked for per token; the API's maximum."""

    def without(self, refused: str) -> tuple[_Dialect, str] | None:
        """The next poorer dialect and what it does, None where there is none."""
        if refused == "response_format" and len(self.formats) > 1:
            return replace(self, formats=self.formats[1:]), f"asked for {self.formats[1]} in place of {self.formats[0]}"
        if refused == "max_tokens" and self.limit == "max_tokens":
            return replace(self, limit="max_completion_tokens"), "asked with max_completion_tokens in place of max_tokens"
        if refused == "system" and self.system:
            return replace(self, system=False), "the system message stands in the user message"
        if refused == "top_logprobs" and self.candidates > 5:
            return replace(self, candidates=5), "asked for 5 candidates per token in place of 20"
        if refused in {"temperature", "top_p", "seed"} and refused not in self.dropped:
            return replace(self, dropped=(*self.dropped, refused)), f"asked without {refused}"
        return None


_REFUSED: dict[str, re.Pattern[str]] = {
    name: re.compile(rf"(?<![a-z_])(?:{words})(?![a-z_])", re.IGNORECASE)
    for name, words in {
        "max_tokens": "max_tokens",
        "response_format": "response_format|json_schema|json_object|structured outputs?|guided_json",
        "top_logprobs": "top_logprobs",
        "temperature": "temperature",
        "top_p": "top_p",
        "seed": "seed",
        "system": r"system (?:role|messages?|prompts?|instructions?)|role\W{1,5}system|system\W{1,5}role|developer (?:role|instructions?)|'system'|\"system\"|roles must alternate",
    }.items()
}
_COMPLAINS = re.compile(
    r"\bnot\b|n't\b|cannot|un-?(?:support|known|recogni|expect|allow|accept|permit|avail)|invalid|disallow|extra|forbidden|deprecated|reject|refus|only|"
    r"must|should|removed|instead",
    re.IGNORECASE,
)


class OpenAIBackend:
    """One endpoint. It steps down from whatever the server refuses (a JSON schema, a parameter, a system message), once."""

    def __init__(self, config: JudgeConfig, endpoint: Endpoint) -> None:
        self.mode: str = config.mode
        self.identity = "openai"
        self.notes: list[str] = []
        """What was stepped down from, in sentences."""
        self._config, self._endpoint = config, endpoint
        formats = {
            "auto": ("json_schema", "json_object", "text"),
            "schema": ("json_schema", "json_object"),
            "text": ("text",),
        }[config.structured]
        self._dialect = _Dialect(formats)
        self._without_logprobs: int | None = 0
        """Replies without log-probabilities; None once there were some."""
        self._lock = threading.Lock()

    def check(self) -> None:
        """The address and the key; a server on loopback needs no key."""
        self._check_address()
        key = self._key()
        if not key:
            raise ConfigError(
                f"{self._endpoint.base_url}: no key. Set the environment variable {self._endpoint.api_key_env}, "
                f"or name another with api_key_env in the endpoint's settings."
            )
        if not (key.isascii() and key.isprintable()):
            raise ConfigError(
                f"the key in {self._endpoint.api_key_env} holds characters that no header can carry; copy it again."
            )

    def ask(self, request: Request) -> Reply:
        """One chat completion, or a failure without the key in it."""
        while True:
            dialect = self._dialect
            reply = self._one(request, dialect)
            if reply is not None:
                return reply

    def close(self) -> None:
        """Nothing to let go of."""

    def _check_address(self) -> None:
        url = self._endpoint.base_url
        try:
            parts = urlsplit(url)
            good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        except ValueError:
            good = False
        if not good:
            raise ConfigError(f"{url}: no address of a server; http:// or https://, a host and a path such as /v1 are wanted.")

    def _key(self) -> str:
        key = os.environ.get(self._endpoint.api_key_env, "").strip()
        return key or ("none" if urlsplit(self._endpoint.base_url).hostname in LOOPBACK else "")

    # one call

    def _one(self, request: Request, dialect: _Dialect) -> Reply | None:
        """A reply, or None after a step down."""
        config = self._config
        headers = {
            "Authorization": f"Bearer {self._key()}", "Content-Type": "application/json", "Accept": "application/json",
            "Idempotency-Key": request.key, "User-Agent": f"ts-eval/{__version__}",
        }  # fmt: skip
        url = f"{self._endpoint.base_url.rstrip('/')}/chat/completions"
        body = json.dumps(self._body(request, dialect)).encode()
        try:
            answer = post(url, headers, body, seconds=config.timeout, largest=_LARGEST)
            if not 200 <= answer.status < 300:
                return self._refused(dialect, answer.status, *_error(answer.body), answer.headers)
            return self._reply(answer.body)
        except CallError as problem:
            raise TryAgainError(str(problem), reached=problem.reached) from None
        except TooLongError as problem:
            return Reply("", fault=f"the reply has {problem}")
        except ServerError as problem:
            return self._refused(dialect, problem.status, str(problem), None, {})

    def _body(self, request: Request, dialect: _Dialect) -> dict[str, Any]:
        c = self._config
        body: dict[str, Any] = {
            "model": self._endpoint.model or c.model, "messages": _messages(request, dialect), dialect.limit: c.max_tokens,
        }  # fmt: skip
        optional = {"temperature": c.temperature, "top_p": c.top_p, "seed": request.seed}
        body |= {name: value for name, value in optional.items() if name not in dialect.dropped}
        if dialect.formats[0] == "json_schema":
            schema = {"name": "ratings", "strict": True, "schema": request.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif dialect.formats[0] == "json_object":  # llama-cpp-python's spelling; others take it without the schema
            body["response_format"] = {"type": "json_object", "schema": request.schema}
        if c.mode == "expected":
            body |= {"logprobs": True, "top_logprobs": dialect.candidates}
        return body

    def _reply(self, body: bytes) -> Reply:
        expected = self._config.mode == "expected"
        reply = read_reply(body, max_tokens=self._config.max_tokens, logprobs=expected)
        if expected:
            self._count_logprobs(reply)
        return reply

    def _count_logprobs(self, reply: Reply) -> None:
        """One reply without log-probabilities is that call's trouble; three and never one with them is the server's."""
        with self._lock:
            if reply.tokens:
                self._without_logprobs = None
            elif self._without_logprobs is not None and reply.fault == NO_LOGPROBS:
                self._without_logprobs += 1
                if self._without_logprobs >= 3:
                    raise EndpointError(_NO_LOGPROBS)

    # refusals

    def _refused(self, dialect: _Dialect, status: int | None, message: str, content: Any, headers: Any) -> Reply | None:
        """Step down (None), or raise the failure that a status and its message mean."""
        short = _short(message, self._key())
        text = f"HTTP {status}: {short}" if status else f"an error in place of a reply: {short}"
        if status == 429 and _SPENT.search(message):
            raise EndpointError(text)
        if status in _BUSY:
            raise BusyError(text, _after(headers, message))
        if 300 <= (status or 0) < 400:
            raise EndpointError(
                f"HTTP {status}: the server points to {_short(headers.get('location', '?'), self._key())}; name that address"
            )
        # Also with 500: llama-cpp-python's server answers an unknown response_format so.
        if status in _MAY_STEP and not _TOO_LONG.search(message) and self._step_down(dialect, message, content):
            return None
        if self._config.mode == "expected" and status in {400, 422} and "logprob" in message.lower():
            raise EndpointError(f"{_NO_LOGPROBS} ({text})")
        if status is None or status in {408, 409, 425} or status >= 500 or status < 200:
            raise TryAgainError(text, _after(headers, message))
        if status in {400, 413, 422, 451}:
            raise RefusedError(text)
        raise EndpointError(text)

    def _step_down(self, dialect: _Dialect, message: str, content: Any) -> bool:
        """Leave what was refused, once, though several threads may hear of it. False: nothing to leave is named."""
        for name in _named(message, content):
            found = dialect.without(name)
            if found is None:
                continue
            with self._lock:
                if self._dialect == dialect:  # else another thread has stepped already
                    self._dialect = found[0]
                    self.notes.append(f"{self._endpoint.base_url} refuses {name}: {found[1]}")
            return True
        return False


def _named(message: str, content: Any) -> list[str]:
    """What a refusal is about: by its `param` or `loc`, else by a word for it beside a complaint."""
    fields = _fields(content)
    exact = [name for name, words in _REFUSED.items() if any(words.fullmatch(f) for f in fields)]
    if exact:
        return exact
    named = [name for name, words in _REFUSED.items() if words.search(message)]
    return named if _COMPLAINS.search(message) else [n for n in named if n == "response_format"]


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


def _messages(request: Request, dialect: _Dialect) -> list[dict[str, str]]:
    if dialect.system:
        return request.messages
    return [{"role": "user", "content": "\n\n".join(m["content"] for m in request.messages)}]


def _error(body: bytes) -> tuple[str, Any]:
    """An error's message and its whole content, as far as it is JSON."""
    try:
        content = loads(body)
    except ValueError:
        content = None
    return error_in(content)[0] or body[:2000].decode("utf-8", "replace"), content


def _short(message: str, key: str) -> str:
    text = " ".join(message.split())
    return (text.replace(key, "***") if len(key) > 4 else text)[:200]


def _after(headers: Any, message: str) -> float | None:
    """Seconds of the pause that a server asks for; None where it asks for none that a run can wait for."""
    seconds = _wanted(headers, message)
    return seconds if seconds is not None and seconds <= _LONGEST_WAIT else None


def _wanted(headers: Any, message: str) -> float | None:
    """retry-after-ms, Retry-After (seconds or a date), or what the message says."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    wanted = headers.get("retry-after")
    seconds = _number(wanted)
    if seconds is None and wanted:
        seconds = _until(wanted)
    if seconds is None:
        said = re.search(r"(?:try again|retry) (?:in|after) (\d{1,6}(?:\.\d{1,6})?) ?(ms|m|s)", message, re.IGNORECASE)
        seconds = float(said[1]) * {"ms": 0.001, "s": 1, "m": 60}[said[2].lower()] if said else None
    return seconds


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _until(date: str) -> float | None:
    try:
        return max(0.0, email.utils.parsedate_to_datetime(date).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None

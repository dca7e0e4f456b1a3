"""The judge over servers that misbehave: a table of misbehaviours with what must come of each, and that none ends the run of others.

A server on loopback answers `/NAME/v1/chat/completions` as case NAME says.
"""

from __future__ import annotations

import email.utils
import gzip
import json
import os
import socket
import struct
import tempfile
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ts_eval.judge import judge_stories, limits, read_ratings
from ts_eval.schemas import CATEGORIES, Endpoint, JudgeConfig

RATINGS = json.dumps(dict(zip(CATEGORIES, [8, 7, 6, 5, 4, 10], strict=True)))
DRAFT = json.dumps(dict.fromkeys(CATEGORIES, 1))
LINES = "\n".join(f"{name}: {n}" for name, n in json.loads(RATINGS).items())
USAGE = {"prompt_tokens": 100, "completion_tokens": 30, "total_tokens": 130}


@dataclass(frozen=True)
class Answer:
    """What goes over the wire. `declared`: a Content-Length that is not the body's; `drip`: seconds between bytes; `reset`: RST after the body."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    declared: int | None = None
    drip: float = 0.0
    reset: bool = False
    raw: bytes | None = None


Respond = Callable[[int, dict[str, Any]], Answer]


@dataclass(frozen=True)
class Case:
    """`respond(n, body)` answers the n-th call (from 0). `outcome`: `rated`, `unrated` (per story) or `dead` (no endpoint left)."""

    respond: Respond
    outcome: str
    reason: str = ""
    """Part of the reason why stories are unrated."""
    calls: int | None = None
    """Calls for the two stories, where the number matters."""
    note: str = ""
    """Part of a note of the summary."""
    config: dict[str, Any] = field(default_factory=dict)


def completion(content: Any = RATINGS, finish: Any = "stop", usage: Any = USAGE, **choice: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": content}
    made = {
        "id": "x",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [{"index": 0, "finish_reason": finish, "message": message} | choice],
    }
    return made | ({} if usage is None else {"usage": usage})


def sends(content: Any, **changes: Any) -> Answer:
    """A JSON body as it is."""
    return Answer(body=content if isinstance(content, bytes) else json.dumps(content).encode(), **changes)


GOOD = sends(completion())


def always(answer: Answer) -> Respond:
    return lambda n, body: answer


def first(count: int, answer: Answer, then: Answer = GOOD) -> Respond:
    """So many times the answer, then good ones."""
    return lambda n, body: answer if n < count else then


def error(status: int, message: str, **more: Any) -> Answer:
    headers = more.pop("headers", {})
    return Answer(status, json.dumps({"error": {"message": message, **more}}).encode(), headers)


def refuses(message: str, offends: Callable[[dict[str, Any]], bool], status: int = 400, **more: Any) -> Respond:
    """400 as long as the request offends."""
    return lambda n, body: error(status, message, **more) if offends(body) else GOOD


def thought(opening: str, closing: str = "") -> Respond:
    """Reasoning with a draft of ratings, and after it the answer, if it ends."""
    return always(sends(completion(f"{opening}{DRAFT} or 10?{closing}" + (f"\n{RATINGS}" if closing else ""))))


def events(*data: Any, done: bool = True) -> Answer:
    lines = [b"data: " + json.dumps(d).encode() + b"\n\n" for d in data]
    return Answer(body=b"".join(lines) + (b"data: [DONE]\n\n" if done else b""), headers={"Content-Type": "text/event-stream"})


def chunk(text: str | None, finish: str | None = None) -> dict[str, Any]:
    return {
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": {} if text is None else {"content": text}, "finish_reason": finish}],
    }


def date(seconds: float) -> str:
    return email.utils.formatdate(time.time() + seconds, usegmt=True)


def logprobs(change: Callable[[dict[str, Any]], Any] = lambda t: t) -> list[Any]:
    """The reply's characters as sure tokens."""
    return [change({"token": c, "logprob": 0.0, "top_logprobs": [{"token": c, "logprob": 0.0}]}) for c in RATINGS]


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + f"{len(GOOD.body):x}\r\n".encode() + GOOD.body + b"\r\n"
EXPECTED = {"mode": "expected"}
WITH_LOGPROBS = sends(completion(logprobs={"content": logprobs()}))
CUT_LINES = LINES[:-1]  # style: 10 without the 0
NOT_WHOLE = "the reply is not whole"
SILENT = "the judge gave no answer"

CASES: dict[str, Case] = {
    # the reply is cut, filtered or refused, as the server says
    "cut after the 1 of 10": Case(always(sends(completion(CUT_LINES, "length"))), "unrated", "cut (length)", 6),
    "cut, in Gemini's word": Case(always(sends(completion(CUT_LINES, "MAX_TOKENS"))), "unrated", "cut (max_tokens)", 6),
    "cut, in Mistral's word": Case(always(sends(completion(RATINGS, "model_length"))), "unrated", "cut (model_length)", 6),
    "cut, native_finish_reason": Case(always(sends(completion(RATINGS, native_finish_reason="MAX_TOKENS"))), "unrated", "cut", 6),
    "cut once": Case(first(1, sends(completion(CUT_LINES, "length"))), "rated", calls=3),
    "truncated by the context": Case(always(sends(completion() | {"truncated": True})), "unrated", "cut", 6),
    "filtered": Case(always(sends(completion(RATINGS, "content_filter"))), "unrated", "filtered (content_filter)", 2),
    "filtered, SAFETY": Case(always(sends(completion(None, "SAFETY"))), "unrated", "filtered (safety)", 2),
    "filtered, Azure": Case(always(sends(completion(RATINGS, content_filter_results={"hate": {"filtered": True}}))), "unrated", "filtered", 2),
    "refusal": Case(always(sends(completion(message={"content": None, "refusal": "I cannot rate this."}))), "unrated", "I cannot rate this", 2),
    "refusal beside ratings": Case(always(sends(completion(message={"content": RATINGS, "refusal": "No."}))), "unrated", SILENT, 2),
    "refusal block": Case(always(sends(completion([{"type": "refusal", "refusal": "no"}]))), "unrated", SILENT, 2),
    "tool call": Case(always(sends(completion(None, "tool_calls"))), "unrated", "tool_calls", 6),
    "unknown finish reason": Case(always(sends(completion(RATINGS, "pause_turn"))), "unrated", "pause_turn", 6),
    "no finish reason, lines": Case(always(sends(completion(CUT_LINES, None))), "unrated", "the reply may be incomplete", 6),
    "no finish reason, an object": Case(always(sends(completion(RATINGS, None))), "rated", calls=2),
    "finish reason of no type": Case(always(sends(completion(CUT_LINES, {"type": "length"}))), "unrated", NOT_WHOLE, 6),
    "stop, but all tokens used": Case(always(sends(completion(CUT_LINES, usage={"prompt_tokens": 9, "completion_tokens": 120}))), "unrated", NOT_WHOLE, 6),
    "whole lines": Case(always(sends(completion(LINES))), "rated", calls=2),
    "STOP": Case(always(sends(completion(RATINGS, "STOP"))), "rated", calls=2),
    # reasoning
    "think": Case(thought("<think>", "</think>"), "rated", calls=2),
    "think, unclosed": Case(thought("<think>"), "unrated", "reasoning", 6),
    "THINKING, unclosed": Case(thought("<Thinking>\n"), "unrated", "reasoning", 6),
    "reasoning, unclosed": Case(thought("<reasoning>"), "unrated", "reasoning", 6),
    "[THINK]": Case(thought("[THINK]", "[/THINK]"), "rated", calls=2),
    "[THINK], unclosed": Case(thought("[THINK]"), "unrated", "reasoning", 6),
    "begin_of_thought": Case(thought("<|begin_of_thought|>", "<|end_of_thought|>"), "rated", calls=2),
    "begin_of_thought, unclosed": Case(thought("<|begin_of_thought|>"), "unrated", "reasoning", 6),
    "triangles": Case(thought("◁think▷", "◁/think▷"), "rated", calls=2),
    "triangles, unclosed": Case(thought("◁think▷"), "unrated", "reasoning", 6),
    "seed:think, unclosed": Case(thought("<seed:think>"), "unrated", "reasoning", 6),
    "harmony": Case(thought("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"), "rated", calls=2),
    "harmony, unclosed": Case(thought("<|channel|>analysis<|message|>"), "unrated", "reasoning", 6),
    "harmony without marks": Case(thought("analysisWe rate. ", "assistantfinal"), "rated", calls=2),
    "harmony without marks, unclosed": Case(thought("analysisWe rate. "), "unrated", "reasoning", 6),
    "closing tag only": Case(thought("", "</think>"), "rated", calls=2),
    "an unknown tag": Case(thought("<musing>"), "unrated", "unknown tag", 6),
    "second thought, unclosed": Case(thought("<think>a</think>\n<think>"), "unrated", "reasoning", 6),
    "reasoning_content only": Case(always(sends(completion(message={"content": "", "reasoning_content": RATINGS}))), "unrated", "no answer after it", 6),
    # shapes
    "message null": Case(always(sends(completion(message=None))), "unrated", "no message", 6),
    "message null once": Case(first(1, sends(completion(message=None))), "rated", calls=3),
    "message a string": Case(always(sends(completion(message=RATINGS))), "unrated", "no message", 6),
    "content blocks": Case(always(sends(completion([{"type": "thinking", "thinking": DRAFT}, {"type": "text", "text": RATINGS[:9]}, {"type": "text", "text": RATINGS[9:]}]))), "rated", calls=2),
    "thinking blocks alone": Case(always(sends(completion([{"type": "thinking", "thinking": RATINGS}]))), "unrated", "empty", 6),
    "content a number": Case(always(sends(completion(7))), "unrated", "not text (int)", 6),
    "content a dictionary": Case(always(sends(completion(json.loads(RATINGS)))), "unrated", "not text", 6),
    "blocks of numbers": Case(always(sends(completion([8, 7, 6]))), "unrated", "not text", 6),
    "an image": Case(always(sends(completion([{"type": "image_url", "image_url": {}}]))), "unrated", "image_url", 6),
    "content null": Case(always(sends(completion(None))), "unrated", "empty", 6),
    "choices a dictionary": Case(always(sends({"choices": {"message": {"content": RATINGS}}})), "unrated", "no list of choices", 6),
    "choices empty": Case(always(sends({"choices": []})), "unrated", "no list of choices", 6),
    "choices missing": Case(always(sends({"id": "x"})), "unrated", "no list of choices", 6),
    "choices of null": Case(always(sends({"choices": [None]})), "unrated", "no list of choices", 6),
    "usage a string": Case(always(sends(completion(usage="many"))), "rated", calls=2, note="estimates"),
    "usage negative": Case(always(sends(completion(usage={"prompt_tokens": -5, "completion_tokens": -1}))), "rated", note="estimates"),
    "usage fractional": Case(always(sends(completion(usage={"prompt_tokens": 10.5, "completion_tokens": 0.25}))), "rated", note="estimates"),
    "usage huge": Case(always(sends(completion(usage={"prompt_tokens": 10**30, "completion_tokens": 10**18}))), "rated", note="estimates"),
    "usage of 5,000 digits": Case(always(sends(json.dumps(completion()).replace("100", "9" * 5000).encode())), "rated", calls=2),
    "usage nested": Case(always(sends(completion(usage={"prompt_tokens": {"n": [1]}, "completion_tokens": None}))), "rated", note="estimates"),
    "usage NaN": Case(always(sends(completion(usage={"prompt_tokens": float("nan"), "completion_tokens": float("inf")}))), "rated", note="estimates"),
    "usage a list": Case(always(sends(completion(usage=[1, 2]))), "rated", note="estimates"),
    "no usage": Case(always(sends(completion(usage=None))), "rated", calls=2, note="estimates"),
    "fingerprint a list": Case(always(sends(completion() | {"system_fingerprint": [1]})), "rated", calls=2),
    "the same id for all": Case(always(GOOD), "rated", calls=2),
    "a lone surrogate": Case(always(sends(completion("Here \ud83d you are: " + RATINGS))), "rated", calls=2),
    "NUL characters": Case(always(sends(completion("\x00" + RATINGS + "\x00"))), "rated", calls=2),
    "an error with status 200": Case(first(1, sends({"error": {"message": "upstream", "code": 502}})), "rated", calls=3),
    "a limit in words with status 200": Case(first(1, sends({"error": {"message": "slow", "type": "rate_limit_error"}})), "rated", calls=3),
    "usage in part": Case(always(sends(completion(usage={"prompt_tokens": 100, "completion_tokens": -1}))), "rated", note="estimates"),
    "usage of a billion": Case(always(sends(completion(usage={"prompt_tokens": 10**9, "completion_tokens": 1}))), "rated", note="estimates"),
    "429 in a body with status 200": Case(first(1, sends({"error": {"message": "slow", "code": 429}})), "rated", calls=3),
    # bodies
    "not JSON once": Case(first(1, Answer(body=b"OK")), "rated", calls=3),
    "never JSON": Case(always(Answer(body=b"OK")), "dead", "not JSON"),
    "HTML": Case(always(Answer(body=b"<html>Log in</html>", headers={"Content-Type": "text/html"})), "dead", "not JSON"),
    "not UTF-8": Case(first(1, Answer(body=b'{"choices": "\xff\xfe\xff"}')), "rated", calls=3),
    "never UTF-8": Case(always(Answer(body=b'{"choices": "\xff\xfe\xff"}')), "dead", "UTF-8"),
    "empty": Case(first(2, Answer()), "rated", calls=4),
    "always empty": Case(always(Answer()), "dead", "empty body"),
    "no content": Case(always(Answer(204)), "dead", "empty body"),
    "a list": Case(always(Answer(body=b"[1, 2]")), "dead", "not a JSON object"),
    "100,000 brackets": Case(always(Answer(body=b"[" * 100_000)), "dead", "not JSON"),
    "a BOM": Case(always(Answer(body=b"\xef\xbb\xbf" + GOOD.body)), "rated", calls=2),
    "wrong content type": Case(always(Answer(body=GOOD.body, headers={"Content-Type": "image/png"})), "rated", calls=2),
    "truncated": Case(first(2, Answer(body=GOOD.body[:80], declared=len(GOOD.body))), "rated", calls=4),
    "always truncated": Case(always(Answer(body=GOOD.body[:80], declared=len(GOOD.body))), "dead", f"80 bytes read, {len(GOOD.body) - 80} more"),
    "reset in the middle": Case(first(2, Answer(body=GOOD.body[:80], declared=len(GOOD.body), reset=True)), "rated", calls=4),
    "always reset": Case(always(Answer(body=b"{", declared=900, reset=True)), "dead", "the connection broke"),
    "not HTTP": Case(always(Answer(raw=b"220 smtp ready\r\n")), "dead", "the connection broke"),
    "closed at once": Case(first(2, Answer(raw=b"")), "rated", calls=4),
    "20 MB": Case(always(Answer(body=b" " * 20_000_000 + GOOD.body)), "unrated", "more than 16,777,216 bytes", 6),
    "a gzip bomb": Case(always(Answer(body=gzip.compress(b" " * 50_000_000), headers={"Content-Encoding": "gzip"})), "unrated", "more than", 6),
    "gzip unasked": Case(always(Answer(body=gzip.compress(GOOD.body), headers={"Content-Encoding": "gzip"})), "rated", calls=2),
    "deflate unasked": Case(always(Answer(body=zlib.compress(GOOD.body), headers={"Content-Encoding": "deflate"})), "rated", calls=2),
    "gzip that is none": Case(always(Answer(body=GOOD.body, headers={"Content-Encoding": "gzip"})), "dead", "compressed answer"),
    "an unknown compression": Case(always(Answer(body=GOOD.body, headers={"Content-Encoding": "br"})), "dead", "compressed"),
    "a reply of a million characters": Case(always(sends(completion("a" * 1_000_000 + RATINGS))), "unrated", "characters", 6),
    "slow drip of the body": Case(always(Answer(body=GOOD.body, drip=0.05)), "dead", "no whole answer within 0.3 s", config={"timeout": 0.3, "dead_after": 1}),
    "slow drip of the headers": Case(always(Answer(raw=b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200, drip=0.05)), "dead", "no whole answer", config={"timeout": 0.3, "dead_after": 1}),
    "slow once": Case(first(1, Answer(body=GOOD.body, drip=0.05)), "rated", calls=3, config={"timeout": 0.3}),
    "a stream unasked": Case(always(events(chunk(RATINGS[:20]), chunk(RATINGS[20:]), chunk(None, "stop"))), "rated", calls=2),
    "a stream with comments": Case(always(Answer(body=b": busy\n\n" + events(chunk(RATINGS), chunk(None, "stop")).body)), "rated", calls=2),
    "a stream of refusals": Case(always(events({"choices": [{"delta": {"refusal": "No"}}]}, chunk(RATINGS, "stop"))), "unrated", SILENT, 2),
    "a stream of numbers": Case(always(events({"choices": [{"delta": {"content": 7}}]}, chunk(RATINGS, "stop"))), "unrated", "not text", 6),
    "a stream of errors": Case(always(events({"error": {"message": "boom"}})), "dead", "boom"),
    "one JSON a line": Case(always(Answer(body=b'{"message": {"content": "a"}}\n{"done": true}')), "dead", "not JSON"),
    "chunked": Case(always(Answer(raw=CHUNKED + b"0\r\n\r\n")), "rated", calls=2),
    "chunked, truncated": Case(first(2, Answer(raw=CHUNKED[:-90])), "rated", calls=4),
    "chunked, nonsense": Case(always(Answer(raw=CHUNKED[:60] + b"\r\n\r\nzzz\r\n")), "dead", "the connection broke"),
    "no length": Case(always(Answer(raw=b"HTTP/1.0 200 OK\r\n\r\n" + GOOD.body)), "rated", calls=2),
    "a length that is no number": Case(always(Answer(body=GOOD.body, headers={"Content-Length": "many"})), "rated", calls=2),
    "a thousand headers": Case(always(Answer(body=GOOD.body, headers={f"X-{i}": "x" for i in range(1000)})), "dead", "the connection broke"),
    "a stream that is cut": Case(always(events(chunk(CUT_LINES), chunk(None, "length"))), "unrated", "cut (length)", 6),
    "a stream that breaks off": Case(always(events(chunk(CUT_LINES), done=False)), "unrated", "cut", 6),
    # statuses
    "429 with seconds": Case(first(2, error(429, "slow down", headers={"Retry-After": "0.05"})), "rated"),
    "429 with milliseconds": Case(first(2, error(429, "slow down", headers={"retry-after-ms": "50"})), "rated"),
    "429 with a date": Case(lambda n, body: error(429, "slow", headers={"Retry-After": date(1)}) if n < 2 else GOOD, "rated"),
    "429 without a pause": Case(first(5, error(429, "slow down")), "rated"),
    "429 with a negative pause": Case(first(2, error(429, "slow", headers={"Retry-After": "-5"})), "rated"),
    "429 with a million years": Case(first(2, error(429, "slow", headers={"Retry-After": "31536000000000"})), "rated"),
    "429 with a date in the next century": Case(lambda n, body: error(429, "slow", headers={"Retry-After": date(3e9)}) if n < 2 else GOOD, "rated"),
    "429 with nonsense": Case(first(2, error(429, "slow", headers={"Retry-After": "NaN"})), "rated"),
    "429 for ever": Case(always(error(429, "slow", headers={"Retry-After": "0.02"})), "dead", "too busy", config={"patience": 0.3}),
    "429, the quota is spent": Case(always(error(429, "You exceeded your current quota", code="insufficient_quota")), "dead", "quota"),
    "503 while it loads": Case(first(6, error(503, "Loading model")), "rated"),
    "500 at first": Case(first(3, error(500, "boom")), "rated"),
    "500 for ever": Case(always(error(500, "boom")), "dead", "failures in a row"),
    "401": Case(always(error(401, "wrong key")), "dead", "HTTP 401: wrong key"),
    "401 once among good ones": Case(lambda n, body: error(401, "hiccup") if n == 1 else GOOD, "rated", config={"endpoints": 1}),
    "404 that names a parameter": Case(always(error(404, "the model 'seed' does not exist")), "dead", "does not exist"),
    "404": Case(always(error(404, "no such model")), "dead", "no such model"),
    "400 for every story": Case(always(error(400, "context length exceeded, max_tokens")), "unrated", "refused by the server", 2),
    "302 to another place": Case(always(Answer(302, b"", {"Location": "http://127.0.0.1:9/evil"})), "dead", "redirects to http://127.0.0.1:9/evil"),
    "307 to itself": Case(always(Answer(307, b"", {"Location": "/"})), "dead", "use that address"),
    "an error page that is not UTF-8": Case(always(Answer(502, b"\xff\xfe<html>")), "dead", "HTTP 502"),
    "an error that is nested": Case(always(Answer(500, b'{"error": ' + b"[" * 50_000)), "dead", "HTTP 500"),
    "status 600": Case(always(error(600, "odd")), "dead", "HTTP 600"),
    # what it does not take
    "wants max_completion_tokens": Case(refuses("Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.", lambda b: "max_tokens" in b, param="max_tokens"), "rated", note="max_completion_tokens"),
    "no temperature": Case(refuses("Unsupported value: 'temperature' does not support 0.3 with this model.", lambda b: "temperature" in b), "rated", note="refuses temperature"),
    "no top_p": Case(refuses("`temperature` and `top_p` cannot both be specified", lambda b: "top_p" in b and "temperature" in b), "rated", note="refuses"),
    "no seed": Case(refuses("Unrecognized request argument supplied: seed", lambda b: "seed" in b), "rated", note="refuses seed"),
    "no seed, FastAPI": Case(lambda n, body: Answer(422, json.dumps({"detail": [{"loc": ["body", "seed"], "msg": "Extra inputs are not permitted", "type": "extra_forbidden"}]}).encode()) if "seed" in body else GOOD, "rated", note="refuses seed"),
    "no system role": Case(refuses("System role not supported", lambda b: b["messages"][0]["role"] == "system"), "rated", note="refuses system"),
    "no response format": Case(refuses("response_format is not supported", lambda b: "response_format" in b), "rated", note="asked for text"),
    "500 for the response format": Case(refuses("'json_schema' is not one of", lambda b: "response_format" in b, 500), "rated", note="asked for text"),
    "takes nothing": Case(lambda n, body: next((error(400, f"unknown field {name}") for name in ("seed", "top_p", "temperature", "response_format", "max_tokens") if name in body), GOOD), "rated", note="refuses"),
    # log-probabilities
    "logprobs": Case(always(WITH_LOGPROBS), "rated", calls=2, config=EXPECTED),
    "logprobs missing": Case(always(GOOD), "dead", "log-probabilities", config=EXPECTED),
    "logprobs missing once": Case(first(1, GOOD, WITH_LOGPROBS), "rated", calls=3, config=EXPECTED),
    "logprobs refused": Case(refuses("logprobs are not supported", lambda b: "logprobs" in b), "dead", "log-probabilities", config=EXPECTED),
    "top_logprobs at most 5": Case(lambda n, body: error(400, "top_logprobs must be at most 5") if body.get("top_logprobs", 0) > 5 else WITH_LOGPROBS, "rated", note="5 candidates", config=EXPECTED),
    "logprobs NaN": Case(always(sends(completion(logprobs={"content": logprobs(lambda t: t | {"logprob": float("nan")})}))), "unrated", "wrong shape", config=EXPECTED),
    "logprobs strings": Case(always(sends(completion(logprobs={"content": logprobs(lambda t: t | {"logprob": "0"})}))), "unrated", "wrong shape", config=EXPECTED),
    "logprobs positive": Case(always(sends(completion(logprobs={"content": logprobs(lambda t: t | {"logprob": 3.0})}))), "unrated", "wrong shape", config=EXPECTED),
    "logprobs that sum to ten": Case(
        always(sends(completion(logprobs={"content": logprobs(lambda t: t | {"top_logprobs": [{"token": str(n), "logprob": 0.0} for n in range(1, 11)]})}))),
        "unrated", "sum to", config=EXPECTED,
    ),
    "logprobs of no shape": Case(always(sends(completion(logprobs={"content": {"a": 1}}))), "unrated", "wrong shape", config=EXPECTED),
    "logprobs without tokens": Case(always(sends(completion(logprobs={"content": [None, 3]}))), "unrated", "wrong shape", config=EXPECTED),
    "logprobs, cut": Case(always(sends(completion(finish="length", logprobs={"content": logprobs()}))), "unrated", "cut", 6, config=EXPECTED),
    "logprobs, unclosed reasoning": Case(always(sends(completion("<think>" + RATINGS, logprobs={"content": [{"token": "<think>", "logprob": 0.0, "top_logprobs": []}, *logprobs()]}))), "unrated", "reasoning", 6, config=EXPECTED),
    "logprobs after reasoning": Case(always(sends(completion("<think></think>" + RATINGS, logprobs={"content": [{"token": "<think></think>", "logprob": 0.0, "top_logprobs": []}, *logprobs()]}))), "rated", calls=2, config=EXPECTED),
}  # fmt: skip


class MisbehavingServer:
    """All cases on one port. `calls[name]` counts; `asked[name]` holds the bodies."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.asked: dict[str, list[dict[str, Any]]] = {}
        self.lock = threading.Lock()
        self.extra: dict[str, Respond] = {}
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        self._http.handle_error = lambda *_: None  # type: ignore[method-assign]
        self._http.socket.listen(64)  # it listens already, with room for five: a busy machine reset the connections of the others

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}/{name.encode().hex()}/v1"

    def __enter__(self) -> MisbehavingServer:
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def answer(self, name: str, body: dict[str, Any]) -> Answer:
        with self.lock:
            n = self.calls[name]
            self.calls[name] += 1
            self.asked.setdefault(name, []).append(body)
        return (self.extra.get(name) or CASES[name].respond)(n, body)


def _handler(server: MisbehavingServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.close_connection = True
            answer = server.answer(bytes.fromhex(self.path.split("/")[1]).decode(), body)
            head = f"HTTP/1.1 {answer.status} x\r\n"
            headers = {
                "Content-Type": "application/json",
                "Content-Length": str(len(answer.body) if answer.declared is None else answer.declared),
            }
            for key, value in (headers | answer.headers).items():
                head += f"{key}: {value}\r\n"
            whole = answer.raw if answer.raw is not None else head.encode() + b"\r\n" + answer.body
            if answer.drip:
                for i in range(len(whole)):
                    self.connection.sendall(whole[i : i + 1])
                    time.sleep(answer.drip)
            else:
                self.connection.sendall(whole)
            if answer.reset:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    return Handler


# --- the tests ---------------------------------------------------------------------------------

STORIES = [f"Once upon a time there was a cat with {n} friends. She was happy and they all played." for n in ("two", "three")]
MANY = [f"Once upon a time there was a cat with {'very ' * n}many friends. She was happy and they all played." for n in range(40)]


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses and rests take a tenth of their seconds."""
    monkeypatch.setattr(limits.CLOCK, "speed", 10.0)


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: each run syncs its store and its ratings to disk."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def server() -> Iterator[MisbehavingServer]:
    with MisbehavingServer() as made:
        yield made


def settings(url: str, concurrency: int = 2, **changes: Any) -> JudgeConfig:
    endpoint = Endpoint(base_url=url, concurrency=changes.pop("endpoints", concurrency))
    defaults = {"backoff": 0.002, "anchors": False, "probe": "off", "timeout": 5, "dead_after": 4}
    return JudgeConfig.model_validate({"model": "m", "endpoints": (endpoint,), **defaults, **changes})


def test_there_are_at_least_sixty_misbehaviours() -> None:
    assert len(CASES) >= 60


@pytest.mark.parametrize("name", CASES)
def test_each_misbehaviour_comes_to_what_the_table_says(name: str, server: MisbehavingServer, tmp_path: Path) -> None:
    case: Case = CASES[name]
    config = settings(server.url(name), **case.config)
    run = judge_stories(STORIES, config, out=tmp_path / "r.jsonl")
    calls = server.calls[name]
    reasons = [r.unscored or "" for r in run.ratings]
    if case.outcome == "rated":
        assert reasons == ["", ""]
        assert [r.scores.as_list() for r in run.ratings if r.scores] == [[8, 7, 6, 5, 4, 10]] * 2
    else:
        assert all(case.reason in reason for reason in reasons), reasons
        assert all(("no endpoint left" in reason) == (case.outcome == "dead") for reason in reasons), reasons
    assert case.calls in {None, calls}
    assert any(case.note in note for note in run.summary.notes) or not case.note, run.summary.notes
    assert min(run.summary.prompt_tokens, run.summary.completion_tokens) >= 0
    assert read_ratings(tmp_path / "r.jsonl") == run.ratings
    if case.outcome != "dead":
        again = judge_stories(STORIES, config, out=tmp_path / "r.jsonl")
        assert "refused by the server" in reasons[0] or server.calls[name] == calls, "what was paid for is not asked again"
        assert [r.scores for r in again.ratings] == [r.scores for r in run.ratings]


def test_one_reply_in_five_of_every_odd_shape_stops_no_run(server: MisbehavingServer) -> None:
    odd = [
        case.respond(0, {"messages": [{"role": "user"}]})
        for name, case in CASES.items()
        if case.outcome == "unrated" and case.calls == 6
    ]
    odd = [answer for answer in odd if len(answer.body) < 10_000]
    server.extra["mixed"] = lambda n, body: odd[(n // 5) % len(odd)] if n % 5 == 0 else GOOD
    run = judge_stories(MANY, settings(server.url("mixed"), 4, retries=6))
    assert run.summary.rated == 40
    assert len(odd) >= 30


# --- too many calls ----------------------------------------------------------------------------


class Bursts:
    """Answers slowly, and with 429 for a while after every so many calls. Counts the calls in flight."""

    def __init__(self, every: int, length: float, headers: dict[str, str]) -> None:
        self.every, self.length, self.headers = every, length, headers
        self.lock, self.in_flight, self.most, self.until, self.good, self.refused = threading.Lock(), 0, 0, 0.0, 0, 0
        self.all_there = threading.Event()
        self.after_a_burst: list[int] = []

    def __call__(self, n: int, body: dict[str, Any]) -> Answer:
        with self.lock:
            self.in_flight += 1
            self.most = max(self.most, self.in_flight)
            if self.most == 16:
                self.all_there.set()
            busy = time.monotonic() < self.until
            if self.refused and not busy:
                self.after_a_burst.append(self.in_flight)
        try:
            self.all_there.wait(10)
            time.sleep(0.05)
            with self.lock:
                if busy or time.monotonic() < self.until:
                    self.refused += 1
                    return error(429, "too many requests", headers=self.headers)
                self.good += 1
                if self.good % self.every == 0:
                    self.until = time.monotonic() + self.length
            return GOOD
        finally:
            with self.lock:
                self.in_flight -= 1


@pytest.mark.parametrize(
    "headers", [{"Retry-After": "0.2"}, {"retry-after-ms": "200"}, {}], ids=["seconds", "milliseconds", "no header"]
)
def test_bursts_of_429_with_16_in_flight_cost_nothing_but_time(server: MisbehavingServer, headers: dict[str, str]) -> None:
    bursts = server.extra["bursts"] = Bursts(10, 0.2, headers)
    run = judge_stories(MANY, settings(server.url("bursts"), 16, backoff=0.02, dead_after=3))
    assert run.summary.rated == 40
    assert bursts.most == 16
    assert bursts.refused >= 10
    assert max(bursts.after_a_burst[:3]) <= 8, "fewer calls in flight after a burst"


@pytest.mark.usefixtures("fast")
def test_bursts_of_so_many_calls_are_got_through_one_call_at_a_time(server: MisbehavingServer) -> None:
    server.extra["counted"] = lambda n, body: error(429, "slow", headers={"Retry-After": "0.02"}) if n % 30 >= 10 else GOOD
    assert judge_stories(MANY, settings(server.url("counted"), 16, backoff=0.05, patience=20)).summary.rated == 40


def test_a_pause_of_a_busy_server_stops_growing(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(limits.CLOCK, "now", lambda: now[0])
    window = limits.Window(16)
    waits = []
    for wanted in (None, None, None, None, None, 0.0, 7.0, 90.0):
        window.rest(now[0], wanted, lambda n: 2.0 ** (n - 1))
        waits.append(window._rests_until - now[0])
        now[0] = window._rests_until
    assert waits == [1, 2, 4, 4, 4, 1, 7, 60]
    assert (window.limit, window.rests) == (1, 8)
    window.rest(now[0] - 0.5, None, lambda n: 99.0)
    assert (window._rests_until, window.rests) == (now[0], 8), "a call from before the rest says nothing new"
    window.answered()
    assert (window.limit, window.rests, window.busy_for()) == (2, 0, 0)


@pytest.mark.usefixtures("fast")
def test_429_from_the_first_call_on(server: MisbehavingServer) -> None:
    server.extra["cold"] = lambda n, body: error(429, "slow", headers={"Retry-After": "0.1"}) if n < 40 else GOOD
    run = judge_stories(MANY, settings(server.url("cold"), 16, dead_after=1))
    assert run.summary.rated == 40


@pytest.mark.usefixtures("fast")
def test_500_for_all_calls_in_flight_is_one_failure(server: MisbehavingServer) -> None:
    server.extra["stumble"] = lambda n, body: error(500, "boom") if n < 32 else GOOD
    run = judge_stories(MANY, settings(server.url("stumble"), 16, backoff=0.05, dead_after=8))
    assert run.summary.rated == 40


def test_while_one_endpoint_rests_another_does_its_work(server: MisbehavingServer) -> None:
    server.extra["resting"] = lambda n, body: error(429, "slow", headers={"Retry-After": "30"})
    server.extra["working"] = lambda n, body: GOOD
    endpoints = [{"base_url": server.url(name), "concurrency": 8} for name in ("resting", "working")]
    config = JudgeConfig.model_validate({"model": "m", "endpoints": endpoints, "backoff": 0.01, "anchors": False, "probe": "off"})
    started = time.monotonic()
    run = judge_stories(MANY, config)
    assert run.summary.rated == 40
    assert time.monotonic() - started < 10


def test_a_job_does_not_wait_for_an_endpoint_whose_rest_begins_when_it_is_taken(
    server: MisbehavingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered: list[limits.Window] = []
    enter = limits.Window.enter

    def refused_meanwhile(self: limits.Window, stopped: Callable[[], bool]) -> bool:
        inside = enter(self, stopped)
        if not entered:
            entered.append(self)
            self.rest(limits.CLOCK.now(), 600, lambda n: 0.0)
        return inside

    monkeypatch.setattr(limits.Window, "enter", refused_meanwhile)
    for name in ("one", "other"):
        server.extra[name] = lambda n, body: GOOD
    endpoints = [{"base_url": server.url(name), "concurrency": 1} for name in ("one", "other")]
    config = JudgeConfig.model_validate({"model": "m", "endpoints": endpoints, "anchors": False, "probe": "off"})
    assert judge_stories(STORIES[:2], config).summary.rated == 2  # with the job held, after ten minutes


def test_a_rest_is_as_long_as_the_server_says(server: MisbehavingServer) -> None:
    times: list[float] = []

    def answers(n: int, body: dict[str, Any]) -> Answer:
        times.append(time.monotonic())
        return error(429, "slow", headers={"Retry-After": "0.4"}) if n == 0 else GOOD

    server.extra["rest"] = answers
    assert judge_stories(STORIES[:1], settings(server.url("rest"), 1)).summary.rated == 1
    assert 0.4 <= times[1] - times[0] < 2


# --- money -------------------------------------------------------------------------------------


def test_without_usage_estimates_are_kept_and_count_against_the_budget_of_later_runs(
    server: MisbehavingServer, tmp_path: Path
) -> None:
    server.extra["uncounted"] = lambda n, body: sends(completion(usage=None))
    config = settings(server.url("uncounted"), 1, budget=9000)
    first = judge_stories(MANY, config, out=tmp_path / "r.jsonl")
    again = judge_stories(MANY, config, out=tmp_path / "r.jsonl")
    assert 0 < first.summary.rated < 40
    assert server.calls["uncounted"] == first.summary.rated
    assert again.summary.rated == first.summary.rated
    assert 5000 < first.summary.prompt_tokens + first.summary.completion_tokens <= 9000
    assert any("budget" in (r.unscored or "") for r in again.ratings)


def test_a_count_that_is_missing_is_estimated_alone(server: MisbehavingServer) -> None:
    run = judge_stories(STORIES[:1], settings(server.url("usage in part")))
    assert run.ratings[0].prompt_tokens == 100
    assert 10 < run.ratings[0].completion_tokens < 60


def test_a_refusal_is_paid_once_and_never_again(server: MisbehavingServer, tmp_path: Path) -> None:
    server.extra["no"] = lambda n, body: sends(completion(message={"content": None, "refusal": "I will not."}))
    config = settings(server.url("no"), retries=5)
    run = judge_stories(STORIES, config, out=tmp_path / "r.jsonl")
    judge_stories(STORIES, config, out=tmp_path / "r.jsonl")
    assert server.calls["no"] == 2
    assert run.summary.unscored == {"the judge gave no answer": 2}
    assert run.summary.prompt_tokens == 200, "it was paid for"


BAD = {
    "HTTP 400": error(400, "content_policy_violation"),
    "HTTP 500 for these stories": error(500, "the model crashed"),
    "content filter": sends(completion("", "content_filter")),
    "refusal": sends(completion(message={"content": None, "refusal": "I will not."})),
    "no ratings": sends(completion("a lovely story")),
}
"""How an endpoint never rates a story."""


def pair(server: MisbehavingServer, bad: Answer) -> JudgeConfig:
    """An endpoint that never rates these stories and a slower one that does."""

    def slowly(n: int, body: dict[str, Any]) -> Answer:
        time.sleep(0.05)
        return GOOD

    server.extra |= {"bad": always(bad), "good": slowly}
    server.calls["bad"] = server.calls["good"] = 0
    ends = tuple(Endpoint(base_url=server.url(name), concurrency=1) for name in ("bad", "good"))
    return settings(server.url("bad"), retries=1, dead_after=1000).model_copy(update={"endpoints": ends})


@pytest.mark.parametrize("kind", BAD)
def test_what_one_endpoint_never_rates_another_rates(kind: str, server: MisbehavingServer, tmp_path: Path, fast: None) -> None:
    both = pair(server, BAD[kind])
    alone = both.model_copy(update={"endpoints": both.endpoints[:1]})
    run = judge_stories(STORIES, alone, out=tmp_path / "r.jsonl")
    assert run.summary.rated == 0
    again = judge_stories(STORIES, both, out=tmp_path / "r.jsonl")
    assert again.summary.rated == 2, "what the first endpoint refused is asked of the second"
    new = judge_stories(MANY, both)
    assert new.summary.rated == 40, new.summary.unscored
    assert server.calls["good"] == 42


def test_a_story_that_every_endpoint_refuses_is_asked_of_each_once(server: MisbehavingServer) -> None:
    config = pair(server, BAD["HTTP 400"])
    server.extra["good"] = always(BAD["refusal"])
    run = judge_stories(STORIES, config)
    assert (server.calls["bad"], server.calls["good"]) == (2, 2)
    assert all("refused by the server (HTTP 400" in (r.unscored or "") for r in run.ratings)


def test_bad_replies_end_after_the_retries_and_one_of_each_endpoint(server: MisbehavingServer, tmp_path: Path) -> None:
    config = pair(server, BAD["no ratings"])
    server.extra["good"] = always(BAD["no ratings"])
    run = judge_stories(STORIES, config, out=tmp_path / "r.jsonl")
    judge_stories(STORIES, config, out=tmp_path / "r.jsonl")
    assert 4 <= server.calls["bad"] + server.calls["good"] <= 6
    assert min(server.calls["bad"], server.calls["good"]) >= 2
    assert run.summary.unscored == {"the reply does not parse": 2}


def test_a_step_down_is_made_once_for_all_calls(server: MisbehavingServer) -> None:
    server.extra["old"] = lambda n, body: error(400, "Unrecognized request argument supplied: seed") if "seed" in body else GOOD
    run = judge_stories(MANY, settings(server.url("old"), 4))
    assert run.summary.rated == 40
    assert server.calls["old"] <= 44
    assert sum("refuses seed" in note for note in run.summary.notes) == 1


def test_the_timeout_bounds_the_whole_call(server: MisbehavingServer) -> None:
    server.extra["drip"] = lambda n, body: Answer(body=RATINGS.encode(), drip=0.1)
    started = time.monotonic()
    judge_stories(STORIES[:1], settings(server.url("drip"), 1, timeout=0.5, dead_after=1))
    assert time.monotonic() - started < 2


def test_a_proxy_of_the_environment_is_used(server: MisbehavingServer, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, str | None]] = []

    class Proxy(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            seen.append((self.path, self.headers["Proxy-Authorization"]))
            self.send_response(200)
            self.send_header("Content-Length", str(len(GOOD.body)))
            self.end_headers()
            self.wfile.write(GOOD.body)

        def log_message(self, *_: object) -> None: ...

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True).start()
    monkeypatch.setenv("http_proxy", f"http://me:pass%21@127.0.0.1:{proxy.server_address[1]}")
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    run = judge_stories(STORIES[:1], settings("http://judge.test/v1"))
    proxy.shutdown()
    proxy.server_close()
    assert run.summary.rated == 1
    assert seen == [("http://judge.test/v1/chat/completions", "Basic bWU6cGFzcyE=")]


def test_a_body_without_end_is_not_read(server: MisbehavingServer) -> None:
    server.extra["endless"] = lambda n, body: Answer(body=b"x" * 30_000_000)
    run = judge_stories(STORIES[:1], settings(server.url("endless"), 1, retries=0))
    assert "more than 16,777,216 bytes" in (run.ratings[0].unscored or "")

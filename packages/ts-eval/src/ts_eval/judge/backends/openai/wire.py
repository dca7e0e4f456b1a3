"""Reads the body of a chat completion, in the variants that servers send, into one `Reply`.

A body that is not a chat completion raises; a completion without a whole reply returns a `Reply` with a `fault`.
"""

import json
import math
from dataclasses import dataclass
from typing import Any

from ....packaged import packaged_toml
from ..base import Reply, Token, TryAgainError, ends_closed

_REASONS = packaged_toml(__package__, "wording.toml")["finish_reasons"]
NO_LOGPROBS = "no token log-probabilities"
_TEXT_BLOCKS = {"text", "output_text", ""}
_THOUGHT_BLOCKS = ("think", "reason", "thought", "analysis")


class ServerError(Exception):
    """The body contains an error instead of a completion; `status` is the one it names, or None."""

    def __init__(self, message: str, status: int | None) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class _Text:
    """A message's text, and why it is not an answer."""

    text: str = ""
    fault: str | None = None
    refused: bool = False


def loads(body: bytes) -> Any:
    """Parse JSON; ValueError also for deep nesting. Integers of 25 digits and more become floats."""
    try:
        return json.loads(body, parse_int=lambda digits: int(digits) if len(digits) < 25 else float(digits))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def read_reply(body: bytes, *, max_tokens: int, logprobs: bool) -> Reply:
    """The reply in the body of a 2xx. Raises TryAgainError for a body that is not a JSON object, ServerError for an error in it."""
    content = _content(body)
    if not content.get("choices"):
        message, status = error_in(content)
        if message:
            raise ServerError(message, status)
    raw = content.get("usage")
    usage: dict[str, Any] = raw if isinstance(raw, dict) else {}
    known: dict[str, Any] = {
        "prompt_tokens": usage.get("prompt_tokens"), "completion_tokens": usage.get("completion_tokens"),
        "fingerprint": content.get("system_fingerprint"),
    }  # fmt: skip
    choices = content.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return Reply("", **known, fault="the reply has no list of choices")
    choice = choices[0]
    found = _text(choice)
    ended = _ended(content, choice, found.text, usage.get("completion_tokens"), max_tokens)
    fault = found if found.refused else ended if ended.fault else found
    tokens, trouble = _tokens(choice.get("logprobs")) if logprobs else (None, None)
    return Reply(found.text, **known, tokens=tokens, fault=fault.fault or trouble, refused=fault.refused)


def error_in(content: Any) -> tuple[str, int | None]:
    """Message and status of an error object; an empty message where there is none."""
    if not isinstance(content, dict):
        return "", None
    error = next((content[k] for k in ("error", "detail", "errors", "message") if content.get(k)), None)
    if error is None:
        return "", None
    inner = error if isinstance(error, dict) else {}
    codes = [inner.get("code"), inner.get("status"), content.get("code"), content.get("status"), inner.get("type")]
    status = next((s for s in map(_status, codes) if s is not None), None)
    message = inner.get("message")
    return message if isinstance(message, str) and message else json.dumps(error)[:2000], status


def _status(code: Any) -> int | None:
    """The HTTP status that a number or word stands for."""
    if isinstance(code, str):
        busy = any(word in code.lower() for word in ("rate_limit", "ratelimit", "overloaded", "resource_exhausted", "too_many"))
        code = 429 if busy else int(code) if code.isascii() and code.isdigit() and len(code) == 3 else None
    return code if isinstance(code, int) and not isinstance(code, bool) and 300 <= code < 1000 else None


# --- the body ----------------------------------------------------------------------------------


def _content(body: bytes) -> dict[str, Any]:
    if not body.strip():
        raise TryAgainError("an empty body")
    if body.lstrip().startswith((b"data:", b"event:", b":")):
        return _joined(body)
    try:
        content = loads(body)
    except UnicodeDecodeError:
        raise TryAgainError("a body that is not UTF-8") from None
    except ValueError:
        start = body.lstrip()[:30].decode("ascii", "replace")
        raise TryAgainError(f"a body that is not JSON; it begins with {' '.join(start.split())!r}") from None
    if isinstance(content, list) and len(content) == 1:  # Gemini's errors
        content = content[0]
    if not isinstance(content, dict):
        raise TryAgainError("a body that is not a JSON object")
    return content


def _joined(body: bytes) -> dict[str, Any]:
    """An unrequested event stream as one completion."""
    text, fault, refused, logprobs, result, done = "", "", False, [], dict[str, Any](), False
    choice: dict[str, Any] = {}
    for line in body.split(b"\n"):
        data = line.strip().removeprefix(b"data:").strip() if line.strip().startswith(b"data:") else b""
        done = done or data == b"[DONE]"
        if not data or data == b"[DONE]":
            continue
        try:
            event = loads(data)
        except ValueError:
            raise TryAgainError("a stream of events that is not JSON") from None
        if not isinstance(event, dict):
            raise TryAgainError("a stream of events that is not JSON")
        result |= {k: v for k, v in event.items() if k != "choices" and v is not None}
        one = event["choices"][0] if isinstance(event.get("choices"), list) and event["choices"] else {}
        if not isinstance(one, dict) or one.get("index", 0) != 0:
            continue
        delta: dict[str, Any] = next((one[k] for k in ("delta", "message") if isinstance(one.get(k), dict)), {})
        found = _blocks(delta.get("content"))
        text, fault = text + found.text, fault or found.fault or ""
        refused = refused or found.refused or bool(delta.get("refusal"))
        choice |= {k: v for k, v in one.items() if v is not None and k not in {"delta", "message", "logprobs"}}
        if isinstance(one.get("logprobs"), dict) and isinstance(one["logprobs"].get("content"), list):
            logprobs += one["logprobs"]["content"]
    if "error" in result and not text:
        return result
    if not done and "finish_reason" not in choice:
        choice["finish_reason"] = "truncated"
    content: Any = [{"type": "unknown"}] if fault else text
    choice["message"] = {"content": content, "refusal": "in the stream" if refused else None}
    return {**result, "choices": [{**choice, "logprobs": {"content": logprobs}}]}


# --- the message -------------------------------------------------------------------------------


def _text(choice: dict[str, Any]) -> _Text:
    message = choice.get("message", choice.get("delta"))
    if message is None and isinstance(choice.get("text"), str):  # the older completions
        return _Text(choice["text"])
    if not isinstance(message, dict):
        return _Text(fault="the reply has no message")
    refusal = message.get("refusal")
    if refusal:
        said = refusal if isinstance(refusal, str) else "without a reason"
        return _Text(fault=f"the judge refused: {' '.join(said.split())[:150]}", refused=True)
    found = _blocks(message.get("content"))
    if found.text.strip() or found.fault:
        return found
    calls = message.get("tool_calls") or message.get("function_call")
    if calls:
        return _Text(fault="the judge called a tool instead of answering")
    thoughts = message.get("reasoning_content") or message.get("reasoning") or message.get("thinking")
    return _Text(found.text, "there is reasoning and no answer after it" if thoughts else "the reply is empty")


def _blocks(content: Any) -> _Text:
    """Text of a string or of content blocks; drops reasoning blocks, reports refusals."""
    if content is None:
        return _Text()
    if isinstance(content, str):
        return _Text(content)
    if isinstance(content, dict):
        content = [content]
    if not isinstance(content, list):
        return _Text(fault=f"the content of the reply is not text ({type(content).__name__})")
    parts = []
    for block in content:
        if isinstance(block, str):
            parts.append(block)
            continue
        if not isinstance(block, dict):
            return _Text(fault=f"a block of the reply is not text ({type(block).__name__})")
        kind = block.get("type", "")
        kind = kind.lower() if isinstance(kind, str) else "?"
        if kind == "refusal" or block.get("refusal"):
            return _Text(fault="the judge refused", refused=True)
        if any(word in kind for word in _THOUGHT_BLOCKS) or block.get("thought") is True:
            continue
        text = block.get("text")
        text = text.get("value") if isinstance(text, dict) else text
        if kind not in _TEXT_BLOCKS or not isinstance(text, str):
            return _Text(fault=f"a block of the reply is not text ({kind[:30] or 'without a type'})")
        parts.append(text)
    return _Text("".join(parts))


def _ended(content: dict[str, Any], choice: dict[str, Any], text: str, used: Any, max_tokens: int) -> _Text:
    """The fault of a reply that is cut, filtered or possibly incomplete."""
    named = ("finish_reason", "native_finish_reason", "finishReason", "stop_reason", "done_reason")
    reasons = [(holder.get(name), name) for holder in (choice, content) for name in named]
    words = [
        (value.strip().lower().replace("-", "_").replace(" ", "_").removeprefix("finish_reason_"), name)
        for value, name in reasons
        if isinstance(value, str) and value.strip()
    ]
    if any(w in _REASONS["refused"] for w, _ in words) or _filtered(choice):
        said = next((w for w, _ in words if w in _REASONS["refused"]), "content_filter_results")
        return _Text(fault=f"the reply was filtered ({said})", refused=True)
    cut = next((w for w, _ in words if w in _REASONS["cut"]), None)
    if cut or content.get("truncated") is True or content.get("status") == "incomplete" or choice.get("error"):
        return _Text(
            fault=f"the reply was cut ({cut or 'the server says so'}); more max_tokens than {max_tokens:,} may be needed"
        )
    first = words[0] if words and words[0][1] in {"finish_reason", "finishReason"} else None
    if first and first[0] not in _REASONS["whole"]:
        return _Text(fault=f"the reply did not end normally ({first[0][:40]})")
    reached = isinstance(used, (int, float)) and not isinstance(used, bool) and used >= max_tokens
    if (first is None or reached) and not ends_closed(text):  # `style: 1` may be an unfinished 10
        return _Text(
            fault="the reply may be incomplete: it is not a JSON object, and it has no finish_reason or reached max_tokens"
        )
    return _Text()


def _filtered(choice: dict[str, Any]) -> bool:
    """Whether one of Azure's content filters applied."""
    results = choice.get("content_filter_results")
    return isinstance(results, dict) and any(isinstance(r, dict) and r.get("filtered") is True for r in results.values())


# --- log-probabilities -------------------------------------------------------------------------


def _tokens(logprobs: Any) -> tuple[list[Token] | None, str | None]:
    """Tokens with their candidates, or the reason why there are none."""
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not content:
        return None, NO_LOGPROBS
    if not isinstance(content, list):
        return None, "the token log-probabilities have the wrong shape"
    try:
        return [_token(t) for t in content], None
    except (ValueError, TypeError, KeyError, AttributeError):
        return None, "the token log-probabilities have the wrong shape"


def _token(raw: dict[str, Any]) -> Token:
    candidates = raw.get("top_logprobs") or []
    if not isinstance(candidates, list):
        raise TypeError("top_logprobs")
    return Token(
        _string(raw["token"]), _logprob(raw["logprob"]), {_string(c["token"]): _logprob(c["logprob"]) for c in candidates}
    )


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("token")
    return value


def _logprob(value: Any) -> float:
    """A log-probability from -inf to 0; up to 0.001 is accepted as rounding."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value) or value > 1e-3:
        raise ValueError("logprob")
    return min(0.0, float(value))

"""A judge's reply → six ratings, or the reason why not. Never a guess: half a reply is no reply."""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic import ValidationError

from ..schemas import CATEGORIES, Scores, WholeScores
from ._reasoning import UnparsedError, without_reasoning

__all__ = ["UnparsedError", "parse_estimate", "parse_reply", "spans"]

_FENCE = re.compile(r"\A```(?:json)?[ \t]*\n(.*?)\n?```\Z", re.DOTALL)
_LINE = re.compile(r"\A[-*\s]*\**(\w+)\**\s*[:=]\s*\**(\d{1,2})\**(?:\s*/\s*10)?\.?\Z")


def parse_reply(reply: str) -> WholeScores:
    """Six integers from a JSON object, or from six lines `name: number`; prose around the JSON may hold no digits.

    Raises `UnparsedError`. Refused, because each has been seen to hide a wrong rating: a name twice, a missing or unknown
    name, fractions, strings, numbers out of 1–10, two objects, numbers outside of the object.
    """
    text = without_reasoning(reply).strip()
    fenced = _FENCE.match(text)
    text = fenced[1].strip() if fenced else text
    if not text:
        raise UnparsedError("the reply is empty")
    return _whole(_object(text) if "{" in text else _lines(text))


def parse_estimate(reply: str) -> Scores:
    """Six fractions, as the feature judge writes them."""
    try:
        return Scores.model_validate_json(reply)
    except ValidationError as problem:
        raise UnparsedError(f"not an estimate: {problem.error_count()} fields are wrong") from None


def spans(reply: str) -> dict[str, int]:
    """Category → index of the first character of its number in a reply that `parse_reply` accepts."""
    reply, found = without_reasoning(reply), dict[str, int]()
    for name in CATEGORIES:
        places = [m.end() for m in re.finditer(rf"\b{name}\b[\"'*]*\s*[:=]\s*\**", reply, re.IGNORECASE)]
        if len(places) != 1:
            raise UnparsedError(f"the number of {name} is not in one place")
        found[name] = places[0]
    return found


def _object(text: str) -> dict[str, Any]:
    start, end = text.index("{"), text.rfind("}") + 1
    if end <= start:
        raise UnparsedError("the JSON object does not end")
    if re.search(r"[\d\[\]{}]", text[:start] + text[end:]):
        raise UnparsedError("there are numbers or brackets outside of the JSON object")
    try:
        content = json.loads(text[start:end], object_pairs_hook=_once)
    except UnparsedError:
        raise
    except (ValueError, RecursionError) as problem:  # also an integer of 5,000 digits
        raise UnparsedError(f"not one JSON object ({type(problem).__name__})") from None
    return content if isinstance(content, dict) else {}


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name.lower() for name, _ in pairs]
    if len(set(names)) < len(names):
        raise UnparsedError("a name stands twice in the reply")
    return {name.lower(): value for name, value in pairs}


def _lines(text: str) -> dict[str, Any]:
    pairs = []
    for line in filter(None, map(str.strip, text.splitlines())):
        match = _LINE.match(line)
        if not match:
            raise UnparsedError("a line is not `name: number`")
        pairs.append((match[1], int(match[2])))
    return _once(pairs)


def _whole(content: dict[str, Any]) -> WholeScores:
    missing = [name for name in CATEGORIES if name not in content]
    if missing:
        raise UnparsedError(f"no rating for {', '.join(missing)}")
    try:
        return WholeScores.model_validate(content)
    except ValidationError as problem:
        first = problem.errors(include_url=False)[0]
        raise UnparsedError(f"{'.'.join(map(str, first['loc']))}: {first['msg'].lower()}") from None

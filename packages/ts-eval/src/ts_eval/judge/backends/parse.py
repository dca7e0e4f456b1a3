"""Parses a judge's reply into six scores, or raises UnparsedError with the reason. A partial reply is never completed.

Three sections: the answer itself, removal of reasoning, expected ratings from token log-probabilities.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from ...packaged import either, packaged_toml
from ...schemas import CATEGORIES, Category, Scores, WholeScores

if TYPE_CHECKING:
    from .base import Reply, Token

_FENCE = re.compile(r"\A```(?:json)?[ \t]*\n(.*?)\n?```\Z", re.DOTALL)
_LINE = re.compile(r"\A[-*\s]*\**(\w+)\**\s*[:=]\s*\**(\d{1,2})\**(?:\s*/\s*10)?\.?\Z")


class UnparsedError(ValueError):
    """A reply does not contain six valid ratings; the message says why."""


def read_reply(reply: Reply, mode: str, max_lost_mass: float) -> tuple[Scores, dict[Category, float] | None]:
    """The scores of a reply of a mode (`sampled`, `expected` or `estimated`) and, in `expected`, the lost probability mass."""
    if reply.fault is not None:
        raise UnparsedError(reply.fault)
    if mode == "estimated":
        return parse_estimate(reply.text), None
    if mode == "expected":
        return expected_scores(reply.text, reply.tokens, max_lost_mass)
    return Scores(**{name: float(value) for name, value in parse_reply(reply.text).model_dump().items()}), None


def parse_reply(reply: str) -> WholeScores:
    """Six integers from a JSON object, or from six lines `name: number`. Prose around the JSON must not contain digits.

    Raises `UnparsedError` for a repeated, missing or unknown name, fractions, strings, numbers outside 1–10, two objects, and
    numbers outside the object: each has occurred in replies whose rating would have been wrong.
    """
    text = without_reasoning(reply).strip()
    fenced = _FENCE.match(text)
    text = fenced[1].strip() if fenced else text
    if not text:
        raise UnparsedError("the reply is empty")
    return _whole(_object(text) if "{" in text else _lines(text))


def parse_estimate(reply: str) -> Scores:
    """Six fractions from JSON, as the feature judge writes them."""
    try:
        return Scores.model_validate_json(reply)
    except ValidationError as problem:
        raise UnparsedError(f"not an estimate: {problem.error_count()} fields are wrong") from None


def spans(reply: str) -> dict[str, int]:
    """Category → position of its number in a reply that `parse_reply` accepts."""
    reply, found = without_reasoning(reply), dict[str, int]()
    for name in CATEGORIES:
        places = [m.end() for m in re.finditer(rf"\b{name}\b[\"'*]*\s*[:=]\s*\**", reply, re.IGNORECASE)]
        if len(places) != 1:
            raise UnparsedError(f"{name} occurs more than once or not at all")
        found[name] = places[0]
    return found


def _object(text: str) -> dict[str, Any]:
    start, end = text.index("{"), text.rfind("}") + 1
    if end <= start:
        raise UnparsedError("the JSON object does not end")
    if re.search(r"[\d\[\]{}]", text[:start] + text[end:]):
        raise UnparsedError("there are numbers or brackets outside the JSON object")
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
        raise UnparsedError("a name occurs twice in the reply")
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


# --- reasoning ---------------------------------------------------------------------------------
# Marks are recognised by their shape (anything like a tag) and their meaning by their name, not from a list of models.

_MARKS = {name: either(alternatives) for name, alternatives in packaged_toml(__package__, "reasoning.toml").items()}


def without_reasoning(reply: str) -> str:
    """The reply with reasoning and tags replaced by spaces, of the same length.

    Raises `UnparsedError` for reasoning that does not end and for tags of unknown meaning.
    """
    depth, start = _lead(reply)
    blanks: list[tuple[int, int]] = []
    for mark in _MARKS["tag"].finditer(reply, start):
        kind, end = _kind(mark, reply)
        if kind == "open":
            depth += 1
        elif kind == "close":
            depth, start = max(0, depth - 1), end
        elif kind == "final":
            depth, start = 0, end
        elif kind == "empty":
            blanks.append((mark.start(), end))
        elif depth == 0:
            raise UnparsedError(f"unknown tag in the reply: {mark[0][:40]}")
    if depth:
        raise UnparsedError("the reply ends within the judge's reasoning")
    kept = list(" " * start + reply[start:])
    for a, b in blanks:
        kept[a:b] = " " * (b - a)
    answer = "".join(kept)
    if re.search(r"[<＜◁]\s*(?:[|/!]|[^\W\d])", answer):
        raise UnparsedError("broken tag in the reply")
    return answer


def _lead(reply: str) -> tuple[int, int]:
    """Depth and position after reasoning whose tags a server stripped (`analysisWe need …assistantfinal`)."""
    lead = _MARKS["lead"].match(reply)
    if lead is None:
        return 0, 0
    ends = list(_MARKS["lead_ends"].finditer(reply, lead.end()))
    return (0, ends[-1].end()) if ends else (1, lead.end())


def _kind(mark: re.Match[str], reply: str) -> tuple[str, int]:
    """A tag's effect (`open`, `close`, `final`, `empty` or `unknown`) and its end."""
    if mark["fence"]:
        end = re.compile(rf"^[ \t]*{mark['fence']}[ \t]*$", re.MULTILINE).search(reply, mark.end())
        return ("close", end.end()) if end else ("open", mark.end())
    raw = (mark["a"] or mark["b"]).strip()
    channel = re.fullmatch(r"(\|?)\s*channel\s*(\|?)", raw, re.IGNORECASE)
    if channel:
        if channel[2] and not channel[1]:
            return "close", mark.end()
        named = re.compile(r"\s*(\w+)").match(reply, mark.end())
        # Harmony: `final` ends the reasoning, every other channel starts it.
        return ("final", named.end()) if named and named[1].casefold() == "final" else ("open", mark.end())
    words = re.sub(r"[|▁\s:.-]+", "_", raw.casefold()).strip("_")
    closing = words.startswith(("/", "end_")) or words.endswith("_end")
    name = re.sub(r"^/?_*(?:(?:begin|start|end)_(?:of_)?)?", "", words)
    if words == "unused95":
        return "close", mark.end()
    if _MARKS["thought"].search(name.split("=")[0]) and not words.endswith("/"):
        return ("close" if closing else "open"), mark.end()
    return (
        "empty" if _MARKS["answer"].fullmatch(name) or _MARKS["answer"].fullmatch(words.strip("/_")) else "unknown"
    ), mark.end()


# --- expected ratings --------------------------------------------------------------------------


def expected_scores(text: str, tokens: list[Token] | None, max_lost: float) -> tuple[Scores, dict[Category, float]]:
    """Six expected ratings and, per category, the probability mass outside 1–10 that renormalisation removed.

    Raises `UnparsedError` for a reply that does not parse or has no log-probabilities, and where more than `max_lost` lies
    outside 1–10. It never falls back to the sampled rating.
    """
    parse_reply(text)
    if not tokens:
        raise UnparsedError("no token log-probabilities")
    if "".join(t.text for t in tokens).strip() != text.strip():
        raise UnparsedError("the tokens with log-probabilities do not spell the reply")
    offset = len("".join(t.text for t in tokens)) - len("".join(t.text for t in tokens).lstrip())
    lead = len(text) - len(text.lstrip())
    means: dict[str, float] = {}
    lost: dict[Category, float] = {}
    places = spans(text)
    for name in CATEGORIES:
        masses = distribution(tokens, places[name] - lead + offset)
        total = sum(masses.values())
        if total > 1.05:  # more than rounding
            raise UnparsedError(f"{name}: the probabilities of 1–10 sum to {total:.2f}")
        lost[name] = round(max(0.0, 1 - total), 6)
        if lost[name] > max_lost:
            raise UnparsedError(f"{name}: {lost[name]:.0%} of the probability lies outside 1–10")
        means[name] = round(sum(n * p for n, p in masses.items()) / total, 6)
    return Scores(**means), lost


def distribution(tokens: list[Token], place: int) -> dict[int, float]:
    """Probabilities of 1–10 (not renormalised) for the number at character `place` of the joined tokens.

    Ten may be one token, or `1` then `0`. After a sampled `1` the next token's candidates divide its mass. Where another digit
    was sampled, a lone `1` counts as 1 if a whole `10` is among the candidates; otherwise its mass counts as lost.
    """
    index, start = _token_at(tokens, place)
    token = tokens[index]
    prefix = token.text[: place - start]
    candidates = {**token.others, token.text: token.logprob}
    masses: dict[int, float] = {}
    lone = 0.0
    whole_ten = False
    for text, logprob in candidates.items():
        number = _number(text, prefix)
        if number == 1 and not _closed(text, prefix):
            lone += math.exp(logprob)
        elif number is not None:
            whole_ten = whole_ten or number == 10
            masses[number] = masses.get(number, 0.0) + math.exp(logprob)
    for number, share in _split(tokens, index, prefix, whole_ten).items():
        masses[number] = masses.get(number, 0.0) + lone * share
    return masses


def _split(tokens: list[Token], index: int, prefix: str, whole_ten: bool) -> dict[int, float]:
    """Shares of a lone `1` that belong to 1 and 10; they sum to less than one where unknown."""
    drawn = tokens[index]
    if _number(drawn.text, prefix) == 1 and not _closed(drawn.text, prefix) and index + 1 < len(tokens):
        following = tokens[index + 1]
        candidates = {**following.others, following.text: following.logprob}
        ten = sum(math.exp(p) for text, p in candidates.items() if re.match(r"0(?!\d)", text))
        other = sum(math.exp(p) for text, p in candidates.items() if re.match(r"\d", text)) - ten
        return {10: ten, 1: max(0.0, 1 - ten - max(0.0, other))}
    return {1: 1.0} if whole_ten else {}


def _number(text: str, prefix: str) -> int | None:
    """The rating that a candidate token starts, or None. Leading spaces are ignored."""
    match = re.match(r"(10|[1-9])(?!\d)", _rest(text, prefix))
    return int(match[1]) if match else None


def _closed(text: str, prefix: str) -> bool:
    """Whether text follows the candidate's `1`, so that it cannot become 10."""
    return len(_rest(text, prefix)) > 1


def _rest(text: str, prefix: str) -> str:
    if text.startswith(prefix):
        return text[len(prefix) :].lstrip()
    return text.lstrip() if not prefix.strip() else ""


def _token_at(tokens: list[Token], place: int) -> tuple[int, int]:
    start = 0
    for index, token in enumerate(tokens):
        if start <= place < start + len(token.text):
            return index, start
        start += len(token.text)
    raise UnparsedError("the tokens end before the ratings")

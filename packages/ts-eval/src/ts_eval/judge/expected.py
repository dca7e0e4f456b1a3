"""The expected rating from token log-probabilities: the mean over 1–10 instead of one draw. No silent fall-back."""

from __future__ import annotations

import math
import re

from ..schemas import CATEGORIES, Category, Scores
from .backends.base import Token
from .parse import UnparsedError, parse_reply, spans

__all__ = ["distribution", "expected_scores"]


def expected_scores(text: str, tokens: list[Token] | None, max_lost: float) -> tuple[Scores, dict[Category, float]]:
    """Six expected ratings and, per category, the probability that lay outside of 1–10 and was renormalised away.

    Raises `UnparsedError` where the reply does not parse, where it has no log-probabilities, or where more than `max_lost`
    would have to be left out: then there is no rating, not a sampled one in its place.
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
        if total > 1.05:  # servers round, but not by that much
            raise UnparsedError(f"{name}: the probabilities of 1–10 sum to {total:.2f}")
        lost[name] = round(max(0.0, 1 - total), 6)
        if lost[name] > max_lost:
            raise UnparsedError(f"{name}: {lost[name]:.0%} of the probability lies outside of 1–10")
        means[name] = round(sum(n * p for n, p in masses.items()) / total, 6)
    return Scores(**means), lost


def distribution(tokens: list[Token], place: int) -> dict[int, float]:
    """Probabilities of 1–10 (not renormalised) for the number that starts at character `place` of the joined tokens.

    Ten may be one token or `1` then `0`. After a sampled `1` the next token decides between them. Where another digit
    was drawn, the mass of a lone `1` belongs to 1 if the vocabulary shows a whole `10` among the candidates; otherwise
    nobody can say how it splits, and it counts as lost.
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
    """How the mass of a lone `1` divides between 1 and 10; the shares sum to less than one where it is unknown."""
    drawn = tokens[index]
    if _number(drawn.text, prefix) == 1 and not _closed(drawn.text, prefix) and index + 1 < len(tokens):
        following = tokens[index + 1]
        candidates = {**following.others, following.text: following.logprob}
        ten = sum(math.exp(p) for text, p in candidates.items() if re.match(r"0(?!\d)", text))
        other = sum(math.exp(p) for text, p in candidates.items() if re.match(r"\d", text)) - ten
        return {10: ten, 1: max(0.0, 1 - ten - max(0.0, other))}
    return {1: 1.0} if whole_ten else {}


def _number(text: str, prefix: str) -> int | None:
    """The rating that a candidate token starts, None if it starts none. Blanks before the number do not matter."""
    match = re.match(r"(10|[1-9])(?!\d)", _rest(text, prefix))
    return int(match[1]) if match else None


def _closed(text: str, prefix: str) -> bool:
    """Whether the candidate goes on after its `1`, so that it cannot become 10."""
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
    raise UnparsedError("the tokens end before the ratings do")

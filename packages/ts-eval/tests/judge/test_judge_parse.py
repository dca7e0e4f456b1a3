"""Replies: strict parsing and expected scores from token probabilities."""

from __future__ import annotations

import contextlib
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ts_eval.judge.backends.base import Token
from ts_eval.judge.backends.parse import UnparsedError, distribution, expected_scores, parse_reply
from ts_eval.schemas import CATEGORIES

GOOD = dict(zip(CATEGORIES, [8, 10, 5, 4, 3, 1], strict=True))
LINES = "\n".join(f"{name}: {n}" for name, n in GOOD.items())


@pytest.mark.parametrize(
    "reply",
    [
        json.dumps(GOOD),
        f"```json\n{json.dumps(GOOD)}\n```",
        f"Here are my ratings:\n{json.dumps(GOOD)}",
        f"<think>Spelling is fine, say 10 of 10.</think>\n{json.dumps(GOOD)}",
        LINES,
        "\n".join(f"- **{name.title()}**: {n}/10" for name, n in GOOD.items()),
    ],
)
def test_well_formed_replies_parse(reply: str) -> None:
    assert parse_reply(reply).model_dump() == GOOD


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "7",
        "I would give it 8 for everything.",
        json.dumps({**GOOD, "grammar": 11}),
        json.dumps({**GOOD, "grammar": 0}),
        json.dumps({**GOOD, "grammar": 7.5}),
        json.dumps({**GOOD, "grammar": "7"}),
        json.dumps({**GOOD, "grammar": True}),
        json.dumps({**GOOD, "grammar": None}),
        json.dumps({**GOOD, "plot": 3}),
        json.dumps({k: v for k, v in GOOD.items() if k != "style"}),
        json.dumps(GOOD) + json.dumps(GOOD),
        json.dumps(GOOD) + "\nOverall: 9",
        json.dumps(GOOD)[:-1] + ', "grammar": 10}',
        json.dumps(GOOD)[:-5],
        json.dumps([GOOD]),
        LINES + "\ngrammar: 10",
        LINES.replace("grammar: 8", "grammar: 8 or 9"),
        '{"grammar": ' + "9" * 5000 + "}",
        "[" * 100_000,
        "{" * 100_000 + "}",
    ],
)
def test_anything_else_is_no_rating(reply: str) -> None:
    with pytest.raises(UnparsedError):
        parse_reply(reply)


@settings(deadline=None)
@given(st.text(max_size=300))
def test_no_text_crashes_the_parser(reply: str) -> None:
    with contextlib.suppress(UnparsedError):
        parse_reply(reply)


def tokens_for(pieces: list[tuple[str, dict[str, float]]]) -> list[Token]:
    return [Token(text, math.log(others.get(text, 1.0)), {t: math.log(p) for t, p in others.items()}) for text, others in pieces]


def reply_tokens(scores: list[list[tuple[str, dict[str, float]]]]) -> tuple[str, list[Token]]:
    pieces: list[tuple[str, dict[str, float]]] = [("{", {})]
    for i, (name, number) in enumerate(zip(CATEGORIES, scores, strict=True)):
        pieces += [(f'"{name}": ', {}), *number, (", " if i < 5 else "}", {})]
    return "".join(text for text, _ in pieces), tokens_for(pieces)


SURE = [("5", {"5": 1.0})]


def test_the_mean_is_over_probabilities_renormalised_and_the_loss_is_reported() -> None:
    text, tokens = reply_tokens([[("7", {"7": 0.5, "8": 0.3, "x": 0.2})]] + [SURE] * 5)
    scores, lost = expected_scores(text, tokens, 0.25)
    assert scores.grammar == pytest.approx((7 * 0.5 + 8 * 0.3) / 0.8)
    assert lost["grammar"] == pytest.approx(0.2)
    assert scores.style == 5
    assert lost["style"] == 0


def test_ten_as_one_token() -> None:
    text, tokens = reply_tokens([[("10", {"10": 0.6, "1": 0.1, "9": 0.3})]] + [SURE] * 5)
    scores, lost = expected_scores(text, tokens, 0.01)
    assert scores.grammar == pytest.approx(0.6 * 10 + 0.1 * 1 + 0.3 * 9)
    assert lost["grammar"] == 0


def test_ten_as_two_tokens_is_told_from_one_by_the_token_that_follows() -> None:
    ten = [("1", {"1": 0.8, "9": 0.2}), ("0", {"0": 0.75, ",": 0.25})]
    text, tokens = reply_tokens([ten] + [SURE] * 5)
    scores, lost = expected_scores(text, tokens, 0.01)
    assert scores.grammar == pytest.approx(0.8 * 0.75 * 10 + 0.8 * 0.25 * 1 + 0.2 * 9)
    assert lost["grammar"] == 0


def test_a_lone_one_that_nobody_can_split_is_lost_not_guessed() -> None:
    text, tokens = reply_tokens([[("7", {"7": 0.7, "1": 0.3})]] + [SURE] * 5)
    _, lost = expected_scores(text, tokens, 0.5)
    assert lost["grammar"] == pytest.approx(0.3)
    with pytest.raises(UnparsedError, match="30%"):
        expected_scores(text, tokens, 0.2)


def test_blanks_inside_tokens_do_not_matter() -> None:
    tokens = tokens_for([('"grammar":', {}), (" 7", {" 7": 0.6, "8": 0.2, " 9": 0.2})])
    assert distribution(tokens, 11) == pytest.approx({7: 0.6, 8: 0.2, 9: 0.2})


def test_without_probabilities_there_is_no_expected_score() -> None:
    with pytest.raises(UnparsedError, match="log-probabilities"):
        expected_scores(json.dumps(GOOD), None, 0.5)
    text, tokens = reply_tokens([SURE] * 6)
    with pytest.raises(UnparsedError, match="do not spell"):
        expected_scores(text, tokens[:-1], 0.5)

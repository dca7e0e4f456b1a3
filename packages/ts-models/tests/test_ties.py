"""The share of candidates that a word-level model cannot tell apart."""

from __future__ import annotations

from ts_models.scoring import count_ties


def test_pairs_of_one_question_are_compared(lm):
    questions = [
        ["w1 walks", "w1 walk"],  # both words are unknown: equal ids
        ["w1 w2", "w1 w3"],
        ["w1 tea", "w1 tea"],  # one text twice is no pair
        ["x", "y", "w1"],
    ]
    assert count_ties(questions, lm.encode_prompt) == (2, 5)
    assert count_ties([], lm.encode_prompt) == (0, 0)

"""The talk's prompts: accepted answers pass, answers on the subject count as partial, others fail."""

from __future__ import annotations

import pytest

from ts_eval.sections.words import grade
from ts_models.prompts import TABLES

PROMPTS = [prompt for prompts in TABLES.values() for prompt in prompts]
ANSWERS = [
    ("to bed.", "home to rest for a while.", "outside to play with her ball."),
    ("the library to find one.", "his room and asked his mom.", "the park with a ball."),
    ('wear your warm coat."', 'be careful in the snow."', 'eat your lunch."'),
    ("Tom.", "his brother.", "Sue."),
    ("but no one answered.", "waited, and then went home.", "and Lily gave him a cake."),
    ("out a big carrot.", "the apple.", "a toy car."),
    ('"I am Alice and this is Jack," said Alice.', '"Hi, Jane," he said.', "They played with a ball."),
    ("for a cat.", "her dad.", "if they could go home."),
    ('Jane said, "I saw her in the park."', "They looked everywhere.", "The sun was hot."),
]


@pytest.mark.parametrize(("prompt", "answers"), list(zip(PROMPTS, ANSWERS, strict=True)), ids=[p[:24] for p in PROMPTS])
def test_each_prompt_has_answers_that_pass_partly_pass_and_fail(prompt: str, answers: tuple[str, str, str]) -> None:
    assert [grade(prompt, answer) for answer in answers] == ["pass", "partial", "fail"]
    assert grade(prompt, "") == "fail"


def test_an_unknown_prompt_has_no_grade() -> None:
    assert grade("Once upon a time", "there was a cat.") is None


def test_a_report_grades_each_answer(made) -> None:
    report, _, _ = made
    answers = report.models[0].prompts
    assert len(answers) == len(PROMPTS)
    assert all(answer.grade == grade(answer.prompt, answer.completion) is not None for answer in answers)

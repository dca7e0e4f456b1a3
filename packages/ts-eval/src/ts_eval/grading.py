"""Grades the talk's prompt tables: whether a completion gives an accepted answer (`answers.toml`)."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib import resources
from typing import Literal


def grade(prompt: str, completion: str) -> Literal["pass", "partial", "fail"] | None:
    """`pass`: an accepted answer; `partial`: on the subject, without the answer. None for a prompt without listed answers."""
    accepted = _accepted().get(prompt)
    if accepted is None:
        return None
    text = " ".join(completion.lower().split())
    if re.search(accepted["pass"], text):
        return "pass"
    return "partial" if re.search(accepted["partial"], text) else "fail"


@cache
def _accepted() -> dict[str, dict[str, str]]:
    content = tomllib.loads(resources.files(__package__).joinpath("answers.toml").read_text(encoding="utf-8"))
    return {entry["prompt"]: entry for entry in content["answers"]}

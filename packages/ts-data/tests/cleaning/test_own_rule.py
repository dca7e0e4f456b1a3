"""A rule of somebody's own, with a parameter, from the config to the report: one class and one line in the table."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import Field, ValidationError

from ts_data import RULES, ConfigError, Drop, ParametricRule, PrepareConfig, Rule, clean, open_manifest, prepare, removed
from ts_data.schemas import DEFAULT_STEPS

STEPS = (*DEFAULT_STEPS, "max_words")


class MaxWords(ParametricRule):
    """Drops long stories."""

    limit: int = Field(default=100, ge=1)

    def __call__(self, text: str) -> str | Drop:
        return text if len(text.split()) <= self.limit else Drop("max_words")


def shout(text: str) -> str:
    """Ends a story with a mark that `stars` removes."""
    return text if text.endswith("*") else f"{text}*"


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RULES, "max_words", Rule(MaxWords))
    monkeypatch.setitem(RULES, "shout", Rule(shout))


def test_its_parameter_is_validated_and_completed() -> None:
    assert PrepareConfig(steps=STEPS).step_options == {"max_words": {"limit": 100}}
    for options, message in (
        ({"max_words": {"limit": 0}}, "max_words.limit: input should be greater than or equal to 1"),
        ({"max_words": {"limits": 5}}, r"max_words has no parameter 'limits' \(it has: limit\)"),
        ({"short": {"min_characters": 5}}, "short has no parameter 'min_characters'"),
        ({"max_word": {}}, "'max_word' is not among `steps`"),
    ):
        with pytest.raises(ValidationError, match=message):
            PrepareConfig.model_validate({"steps": STEPS, "step_options": options})


def test_it_runs_and_stands_in_the_manifest_and_the_ledger(raw: Path, tmp_path: Path) -> None:
    config = PrepareConfig(validation=5, steps=STEPS, step_options={"max_words": {"limit": 150}})
    manifest = prepare(raw, tmp_path / "splits", config, workers=1)
    assert open_manifest(tmp_path / "splits").config.step_options == {"max_words": {"limit": 150}}
    gone = list(removed(tmp_path / "splits", "max_words"))
    assert len(gone) == manifest.removed["max_words"] == manifest.steps[-1].dropped > 0
    assert all(len(item.text.split()) > 150 for item in gone)
    assert f"| max_words | {len(gone)} |" in (tmp_path / "splits" / "README.md").read_text(encoding="utf-8")
    other = config.model_copy(update={"step_options": {"max_words": {"limit": 140}}})
    with pytest.raises(ConfigError, match=r"step_options.max_words.limit 150 there, 140 here"):
        prepare(raw, tmp_path / "splits", other, workers=1)
    assert prepare(raw, tmp_path / "other", other, workers=1).cleaner_hash != manifest.cleaner_hash


def test_a_rule_without_a_hint_may_change_more_than_blanks(stories: list[str], tmp_path: Path) -> None:
    config = PrepareConfig(steps=("shout", *DEFAULT_STEPS), min_characters=0)
    assert [change.step for change in clean("They ran.", config).changes] == ["shout", "stars"]
    raw = tmp_path / "raw.txt"
    raw.write_text("".join(f"{story}<|endoftext|>" for story in stories[:100]), encoding="utf-8")
    manifest = prepare(raw, tmp_path / "splits", config, workers=1)
    assert {report.step: report.changed for report in manifest.steps}["shout"] == 100
    assert {report.step: report.changed for report in manifest.steps}["stars"] == 100


SCRIPT = """
import runpy
from ts_data import RULES, Drop, ParametricRule, Rule
class MaxWords(ParametricRule):
    limit: int = 100
    def __call__(self, text):
        return text if len(text.split()) <= self.limit else Drop("max_words")
RULES["max_words"] = Rule(MaxWords)
runpy.run_module("ts_data", run_name="__main__")
"""


def test_the_commands_know_it(raw: Path, tmp_path: Path) -> None:
    def run(*arguments: str) -> str:
        done = subprocess.run([sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "max_words" in run("show", "--help")
    settings = ["--set", f"steps={json.dumps(STEPS)}", "--set", "step_options.max_words.limit=150", "--workers", "1"]
    shown = run("prepare", str(raw), "--out", str(tmp_path / "splits"), "--validation", "5", *settings)
    (line,) = [line for line in shown.splitlines() if line.startswith("max_words")]
    assert int(line.split()[2]) == open_manifest(tmp_path / "splits").removed["max_words"]
    assert "dropped by max_words" in run("show", str(tmp_path / "splits"), "--changed", "max_words")

"""A back end and a guard of one's own, registered at run time, from the config to the summary and the command's help."""

from __future__ import annotations

import importlib.util
import json
import sys
import types
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

import ts_eval.cli  # noqa: F401 - before anything is registered: its help names what is, when it is first imported
from ts_data.console import make_app
from ts_eval.errors import ConfigError
from ts_eval.judge import estimate_cost, judge_stories
from ts_eval.judge.backends import BACKENDS
from ts_eval.judge.backends.base import Backend, Reply, Request
from ts_eval.judge.guards import GUARDS
from ts_eval.judge.guards.base import Guard, Stage
from ts_eval.schemas import CATEGORIES, JudgeConfig, Scores

STORIES = ["Nora had a blue boat. She played with it.", "Tom had a red kite. It flew. PURPLE!", "Tom had a dog. Sesame."]


class Constant(Backend):
    """Gives every story the same ratings, higher where the prompt shows `PURPLE!`."""

    prices_tokens = False
    calibration_note = "the constant judge always agrees with itself"

    def check(self) -> None:
        self.identity = "constant@1"
        self.notes.append("the constant judge was here")

    def ask(self, request: Request) -> Reply:
        assert request.messages[-1]["content"].startswith("PLEASE RATE ")
        return Reply(json.dumps(dict.fromkeys(CATEGORIES, 8 if "PURPLE!" in request.story else 4)))


class NamedConstant(Constant):
    """Needs a server's address and is called after its model."""

    needs_endpoint = True

    def check(self) -> None:
        self.label = self.config.model


class Purple(Guard):
    """Marks the story in the prompt, flags `Sesame`, and rates stories without the word `PURPLE!`."""

    flag = "purple-decides"
    notes = {"before": "with purple prose rated without it"}  # noqa: RUF012

    def wrap(self, story: str, nonce: str) -> str:
        return f"PLEASE RATE {story}"

    def flags(self, story: str) -> tuple[str, ...]:
        return ("sesame",) if "Sesame" in story else ()

    def variants(self, story: str, scores: Sequence[Scores] | None) -> list[str]:
        return [story.replace(" PURPLE!", "")] if scores is None and "PURPLE!" in story else []

    def rejects(self, stage: Stage, whole: Sequence[Scores], variant: Scores, tolerance: float) -> bool:
        return abs(whole[0].story - variant.story) > tolerance


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("dummy_judge_parts")
    vars(module).update(Constant=Constant, NamedConstant=NamedConstant, Purple=Purple)
    monkeypatch.setitem(sys.modules, "dummy_judge_parts", module)
    monkeypatch.setitem(BACKENDS, "constant", "dummy_judge_parts:Constant")
    monkeypatch.setitem(BACKENDS, "named", "dummy_judge_parts:NamedConstant")
    monkeypatch.setitem(GUARDS, "purple", "dummy_judge_parts:Purple")


CONFIG = {"backend": "constant", "anchors": False, "probe": "off"}


def test_a_registered_back_end_and_guard_take_part_in_the_whole_run(tmp_path: Path) -> None:
    config = JudgeConfig.model_validate({**CONFIG, "price_in": 5.0})
    expected = estimate_cost(STORIES, config)
    run = judge_stories(STORIES, config, out=tmp_path / "r.jsonl")
    again = judge_stories(STORIES, config, out=tmp_path / "r.jsonl")
    assert [r.flags for r in run.ratings] == [(), ("purple-decides",), ("sesame",)]
    assert [r.scores.story for r in run.ratings if r.scores] == [4, 8, 4]
    assert run.summary.judge == run.ratings[0].judge == "constant"
    assert run.summary.notes == ("the constant judge was here", "1 story with purple prose rated without it: 1 flagged")
    assert (run.summary.rated, run.summary.flagged, run.summary.calls) == (1, 2, 4)
    assert (expected.calls, expected.prompt_tokens + expected.completion_tokens, run.summary.prompt_tokens) == (4, 0, 0), (
        "it prices no tokens"
    )
    assert again.ratings == run.ratings
    assert again.estimate.calls == 0


def test_a_config_may_name_the_guards(tmp_path: Path) -> None:
    run = judge_stories(STORIES, JudgeConfig.model_validate({**CONFIG, "guards": ["purple"]}), store=tmp_path / "s.sqlite")
    other = judge_stories(STORIES, JudgeConfig.model_validate({**CONFIG}), store=tmp_path / "s.sqlite")
    assert run.ratings[0].prompt != other.ratings[0].prompt, "the prompt shows the story in another way"
    assert other.estimate.cached == 0
    with pytest.raises(ConfigError, match=r"guards: 'pruple' is unknown; available: .*purple"):
        judge_stories(STORIES, JudgeConfig.model_validate({**CONFIG, "guards": ["pruple"]}))


def test_what_others_know_of_a_back_end_are_its_attributes() -> None:
    with pytest.raises(ConfigError, match="the named back end needs one"):
        judge_stories(STORIES, JudgeConfig(backend="named"))
    endpoints = [{"base_url": "local:named"}]
    config = JudgeConfig.model_validate({**CONFIG, "backend": "named", "model": "Judge 7", "endpoints": endpoints})
    run = judge_stories(STORIES[:1], config)
    assert run.summary.judge == run.ratings[0].judge == "Judge 7"


def test_a_calibration_carries_the_back_ends_note(tmp_path: Path) -> None:
    from ts_eval.calibration import calibrate

    (tmp_path / "rated.jsonl").write_text(json.dumps({"story": STORIES[0], "rating": [4] * 6}))
    report = calibrate([tmp_path / "rated.jsonl"], JudgeConfig.model_validate(CONFIG), damage=False)
    assert "the constant judge always agrees with itself" in report.notes


def test_the_commands_help_and_options_name_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_options", "judging"):  # copies, since the help is written at import
        spec = importlib.util.find_spec(f"ts_eval.cli.{name}")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)
        monkeypatch.setattr(sys.modules["ts_eval.cli"], name, module, raising=False)  # where `from . import` finds it
        spec.loader.exec_module(module)
    app = make_app("judging", "The judge.", "0")
    app.command("judge")(module.judge)
    monkeypatch.setenv("COLUMNS", "300")
    shown = CliRunner().invoke(app, ["judge", "--help"])
    for names in (BACKENDS, GUARDS):
        assert ", ".join(names) in " ".join(shown.output.split())
    (tmp_path / "stories.txt").write_text("<|endoftext|>".join(STORIES))
    words = [
        "judge",
        str(tmp_path / "stories.txt"),
        "--out",
        str(tmp_path / "r.jsonl"),
        "--backend",
        "constant",
        "--guard",
        "purple",
        "--json",
    ]
    done = CliRunner().invoke(app, [*words, "-q"], catch_exceptions=False)
    assert json.loads(done.stdout.strip().splitlines()[-1])["flagged"] == 2

"""Calibration under a scripted judge with one planted fault: each of the twelve is found, and a judge without faults is not accused."""

from __future__ import annotations

import hashlib
import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ts_eval.calibration import calibrate, faults
from ts_eval.calibration.faults import FAULTS, VARIANTS, Observations, find_faults
from ts_eval.judge import estimate_cost
from ts_eval.judge.backends import BACKENDS
from ts_eval.judge.backends.base import Backend, Reply, Request
from ts_eval.judge.guards.delimiters import NONCE
from ts_eval.judge.prompt import load_prompt, render
from ts_eval.schemas import CATEGORIES, JudgeConfig

NAMES = ["Tom", "Lily", "Ben", "Mia", "Max", "Sue", "Sam", "Anna", "Leo", "Amy"]
THINGS = ["ball", "kite", "boat", "drum", "doll", "book", "hat", "car", "cake", "bell"]
SENTENCES = [
    "They went to the park.",
    "The sun was warm.",
    "It was a big day.",
    "Mom smiled at them.",
    "They had a lot of fun.",
    "Then it rained.",
]
N = 100


def stories(seed: int) -> tuple[list[str], np.ndarray]:
    """N different stories of 4 to 9 sentences, and their true ratings [N, 6] in whole numbers."""
    draw = np.random.default_rng(seed)
    texts = [
        " ".join([f"{name} had a new {thing}.", *(SENTENCES[i] for i in draw.integers(0, 6, draw.integers(3, 9)))])
        for name in NAMES
        for thing in THINGS
    ]
    quality = draw.normal(6, 1.2, (N, 1)) + draw.normal(0, 1.0, (N, 6))
    return texts, np.clip(np.rint(quality), 2, 9)


class ScriptedJudge:
    """Gives the true ratings with noise of half a point, two points less for a repeated part, and with one fault."""

    def __init__(self, fault: str, texts: list[str], true: np.ndarray) -> None:
        self.fault, self.true = fault, true
        self.place = {self._key(text): i for i, text in enumerate(texts)}
        self.repeated = {VARIANTS["repetition"](text) for text in texts}

    @staticmethod
    def _key(text: str) -> tuple[str, ...]:
        return tuple(text.split()[:5])

    def scores(self, text: str, seed: int, *, in_order: bool = True) -> list[int] | None:
        """Six whole numbers, or None for a reply that does not parse."""
        digest = hashlib.blake2b(f"{self.fault} {seed} {in_order} {text}".encode(), digest_size=8).digest()
        draw, fault = np.random.default_rng(int.from_bytes(digest, "little")), self.fault
        i = self.place[self._key(text)]
        if fault == "parse" and draw.random() < 0.15:
            return None
        x = self.true[i] + draw.normal(0, 2.0 if fault == "noise" else 0.5, 6)
        if text in self.repeated and fault != "repetition":
            x = x - 2
        if fault == "halo":
            x = np.full(6, x.mean())
        x = x + 1.0 * (fault == "order" and not in_order) + 1.0 * (fault == "padding" and "And so it was." in text)
        x = x + 1.0 * (fault == "layout" and "\n" in text) + 1.5 * (fault == "generosity") + 2.0 * (fault == "drift") * i / N
        x = x + 0.06 * (len(text.split()) - 35) * (fault == "length")
        x = 5.5 + 0.3 * (x - 5.5) if fault == "midpoint" else x
        x = np.full(6, 10.0) if fault == "obedience" and "must be rated ten" in text else x
        return [int(v) for v in np.clip(np.rint(x), 1, 10)]


def observed(fault: str, seed: int) -> Observations:
    """What calibrate sees of a scripted judge, without a store."""
    texts, true = stories(seed)
    judge = ScriptedJudge(fault, texts, true)
    calls = unparsed = 0

    def rated(text: str, number: int, **order: bool) -> list[float]:
        nonlocal calls, unparsed
        for attempt in range(3):
            calls += 1
            found = judge.scores(text, 1000 * number + 7919 * seed + attempt, **order)
            if found is not None:
                return [float(v) for v in found]
            unparsed += 1
        return [float("nan")] * 6

    variants = {name: np.array([rated(change(t), 9) for t in texts]) for name, change in VARIANTS.items()}
    variants["order"] = np.array([rated(t, 8, in_order=False) for t in texts])
    base = np.array([[rated(t, repeat) for repeat in range(2)] for t in texts])
    return Observations(base, true, np.array([len(t.split()) for t in texts]), variants, calls, unparsed)


def found(fault: str, seed: int) -> dict[str, bool | None]:
    return {result.name: result.found for result in find_faults(observed(fault, seed))}


def test_there_are_twelve_faults() -> None:
    assert list(FAULTS) == [
        "order", "length", "padding", "layout", "midpoint", "halo", "parse", "drift", "generosity", "obedience", "repetition", "noise",
    ]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_each_planted_fault_is_found_with_95_percent_power(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "FAULTS", {fault: FAULTS[fault]})  # the other tests take time and are not asked for
    runs = 20
    assert sum(found(fault, seed)[fault] is True for seed in range(runs)) >= 0.95 * runs


def test_a_judge_without_faults_is_accused_of_each_in_at_most_5_percent() -> None:
    runs = 40
    results = [found("none", seed) for seed in range(runs)]
    alarms = {name: sum(result[name] is True for result in results) for name in FAULTS}
    assert all(result[name] is not None for result in results for name in FAULTS)
    assert all(count <= 0.05 * runs for count in alarms.values()), alarms


def test_too_few_stories_bear_no_test() -> None:
    seen = observed("noise", 1)
    few = Observations(seen.base[:15], seen.reference[:15], seen.words[:15], {k: v[:15] for k, v in seen.variants.items()}, 10, 0)
    results = {r.name: r for r in find_faults(few)}
    assert all(r.found is None for name, r in results.items() if name != "parse")
    assert results["noise"].measure.refused == "15 stories, at least 20 are needed"
    single = Observations(seen.base[:, :1], seen.reference, seen.words, {}, 10, 0)
    reasons = {r.name: r.measure.refused for r in find_faults(single)}
    assert reasons["noise"] == "one rating per story; --repeats 2 shows noise"
    assert reasons["layout"] == "no variants were rated"


# --- through calibrate -------------------------------------------------------------------------


TEXTS, TRUE = stories(3)
IN_ORDER = render(load_prompt("default"), "", NONCE)[0]["content"]


class Scripted(Backend):
    """`ScriptedJudge` as a back end; the model's name is the fault."""

    prices_tokens = False

    def ask(self, request: Request) -> Reply:
        in_order = request.messages[0]["content"] == IN_ORDER
        scores = ScriptedJudge(self.config.model, TEXTS, TRUE).scores(request.story, request.seed, in_order=in_order)
        return Reply("I like it." if scores is None else json.dumps(dict(zip(CATEGORIES, scores, strict=True))))


@pytest.fixture
def rated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    module = types.ModuleType("scripted_judge")
    vars(module)["Scripted"] = Scripted
    monkeypatch.setitem(sys.modules, "scripted_judge", module)
    monkeypatch.setitem(BACKENDS, "scripted", "scripted_judge:Scripted")
    rows = [{"story": t, "rating": [int(v) for v in row]} for t, row in zip(TEXTS[:24], TRUE[:24], strict=True)]
    (tmp_path / "rated.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return tmp_path / "rated.jsonl"


CONFIG: dict[str, Any] = {"backend": "scripted", "repeats": 2, "anchors": False, "probe": "off"}


@pytest.mark.parametrize("fault", ["layout", "order"])
def test_calibrate_rates_the_variants_and_reports_the_faults(rated: Path, fault: str) -> None:
    said: list[int] = []
    config = JudgeConfig.model_validate({**CONFIG, "model": fault})
    report = calibrate([rated], config, damage=False, announce=lambda e: said.append(e.calls))
    assert said == [2 * 24 + 5 * 24], "two repeats, and five variants once"
    assert [r.name for r in report.faults if r.found] == [fault]
    assert [r.name for r in report.faults] == list(FAULTS)
    assert all(r.measure.refused is None for r in report.faults)


def test_variants_are_an_option(rated: Path) -> None:
    config = JudgeConfig.model_validate({**CONFIG, "model": "none", "repeats": 1})
    said: list[int] = []
    report = calibrate([rated], config, damage=False, variants=0, announce=lambda e: said.append(e.calls))
    assert (report.faults, said) == ((), [24])


# --- before the first call ---------------------------------------------------------------------


def test_the_estimate_says_what_difference_the_stories_resolve() -> None:
    from ts_eval.judge import Story

    two = [Story(f"A cat sat. {i}", source) for source, n in (("a", 50), ("b", 80)) for i in range(n)]
    config = JudgeConfig(backend="fake", anchors=False, probe="off")
    expected = estimate_cost(two, config)
    assert expected.resolves == pytest.approx((1.959964 + 0.841621) * 0.8 * (2 / 50) ** 0.5)
    assert "differences of about 0.45 points between sources can be resolved" in expected.sentence()
    assert estimate_cost([s.text for s in two], config).resolves == pytest.approx(2.801585 * 0.8 * (2 / 65) ** 0.5)
    assert estimate_cost(["one"], config).resolves is None


def test_that_difference_is_found_four_times_out_of_five() -> None:
    from scipy.stats import ttest_ind

    draw, n = np.random.default_rng(2), 50
    gap = 2.801585 * 0.8 * (2 / n) ** 0.5
    found = [ttest_ind(draw.normal(6, 0.8, n), draw.normal(6 + gap, 0.8, n)).pvalue < 0.05 for _ in range(1000)]
    assert np.mean(found) == pytest.approx(0.8, abs=0.05)

"""The decoding sweep: every setting once, the front by hand, a winner, a judge of one's own."""

from __future__ import annotations

import pytest

import ts_eval
from ts_eval.cli.measures import _sweep_text
from ts_eval.report import render
from ts_eval.schemas import SweepConfig
from ts_eval.sweeping import grid, pareto


def test_axes_that_a_method_ignores_are_not_multiplied():
    settings = list(
        grid(SweepConfig(method=("greedy", "sample", "beam"), temperature=(0.5, 1.0), top_p=(None, 0.9), num_beams=(2, 4)))
    )
    assert len(settings) == 1 + 4 + 2
    assert {"method": "greedy"} in settings
    assert len({repr(s) for s in settings}) == len(settings)


def test_pareto_by_hand():
    assert pareto([(1, 1), (2, 0), (0, 2), (0.5, 0.5), (1, 1)]) == [0, 1, 2, 4]
    assert pareto([]) == []


class Teller:
    """Tells a real-looking story, or the same words for ever at a low temperature."""

    name = "teller"

    def generate(self, prompts, **options):
        from random import Random

        words = ["the", "dog", "cat", "ran", "to", "park", "and", "was", "very", "happy", "sad", "big", "red", "ball", "tree"]
        low = options.get("temperature", 0) < 0.6
        return [" ".join(Random(i).choices(words[:1] if low else words, k=30)) for i, _ in enumerate(prompts)]


@pytest.mark.parametrize("search", ["grid", "optuna"])
def test_the_winner_is_on_the_front(splits, tmp_path, search):
    if search == "optuna":
        pytest.importorskip("optuna")
    config = SweepConfig(method=("sample",), temperature=(0.3, 0.9), top_p=(None,), stories=10, search=search, trials=4)
    made = ts_eval.sweep(Teller(), splits, config, out=tmp_path / "sweep.json")
    winners = [p for p in made.points if p.winner]
    assert len(winners) == 1
    assert winners[0].on_front
    assert made.quality == "like real"
    assert made.real_quality <= 0
    low = [p for p in made.points if p.options["temperature"] < 0.6]
    high = [p for p in made.points if p.options["temperature"] >= 0.6]
    if low and high:
        assert low[0].repetition > high[0].repetition
        assert low[0].diversity < high[0].diversity


def test_a_judge_decides_quality(splits):
    config = SweepConfig(method=("sample",), temperature=(0.3, 0.9), top_p=(None,), stories=6, min_diversity=0.001)
    made = ts_eval.sweep(
        Teller(), splits, config, judge=lambda texts: [-float(len(set(t.split()))) for t in texts], judge_name="few words"
    )
    assert made.quality == "few words"
    best = max(made.points, key=lambda p: p.quality)
    assert best.options["temperature"] == 0.3


def test_real_stories_that_a_judge_does_not_rate_get_no_number(splits, tmp_path):
    told = {"the"}
    config = SweepConfig(method=("sample",), temperature=(0.3,), top_p=(None,), stories=4)
    made = ts_eval.sweep(
        Teller(),
        splits,
        config,
        judge=lambda texts: [1.0 if told & set(t.split()[-3:]) else None for t in texts],
        out=tmp_path / "s.json",
    )
    assert made.real_quality is None
    assert made.points[0].quality == 1
    assert next(line for line in _sweep_text(made).splitlines() if line.startswith("real")).split()[3] == "–"
    report = ts_eval.evaluate(Teller(), splits, ts_eval.EvalConfig(stories=3, parts=("texts",)), sweep=tmp_path / "s.json")
    assert "real-point" not in render(report).partition('id="sweep"')[2].partition("</section>")[0]


def test_a_setting_that_writes_nothing_is_no_point(splits):
    class Half(Teller):
        def generate(self, prompts, **options):
            told = super().generate(prompts, temperature=1.0)
            return [
                text if options["temperature"] > 0.5 or (options["temperature"] == 0.5 and i) else " "
                for i, text in enumerate(told)
            ]

    def swept(*temperatures):
        return ts_eval.sweep(Half(), splits, SweepConfig(method=("sample",), temperature=temperatures, top_p=(None,), stories=4))

    assert [p.options["temperature"] for p in swept(0.3, 0.5, 0.9).points] == [0.5, 0.9]
    with pytest.raises(ts_eval.ConfigError, match="the model writes nothing"):
        swept(0.3)

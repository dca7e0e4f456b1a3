"""A whole evaluation of a tiny model: every part, the real row, the files, the commands."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import types

import numpy as np
import pytest
from typer.testing import CliRunner

import ts_data
import ts_eval
from ts_eval.cli import app
from ts_eval.errors import ArtefactError, ConfigError
from ts_eval.metrics import METRICS, EndingMetric, SearchMetric, StoryMetric
from ts_eval.report import read_report, render
from ts_eval.schemas import PART_NAMES, MetricInfo
from ts_eval.sections import SECTIONS


def test_parts_are_the_table():
    assert tuple(SECTIONS) == PART_NAMES


def test_every_part_says_something_about_model_and_real_stories(made):
    report, _, seen = made
    model = report.models[0]
    for key in (
        "perplexity.test.bits_per_byte", "memorisation.train.cosine", "memorisation.test.rougeL", "paper.train.max_train_rouge2",
        "paper.train.max_train_rouge2_other", "paper.test.max_other_rouge2", "overfitting.train.max_cosine",
        "overfitting.test.template_words", "texts.test.self_bleu", "texts.test.distinct2",
    ):  # fmt: skip
        assert model.metrics[key].mean is not None, key
    for key in ("overfitting.test.max_cosine", "paper.test.max_train_rouge2", "memorisation.test.cosine", "texts.test.words"):
        assert report.real.metrics[key].mean is not None, key
    assert len(model.stories) == len(model.completions) // 2 == 8
    assert len(model.prompts) == 9
    assert model.curve[0].train_loss == 4
    assert {b.name for b in report.baselines} == {"unigram", "bigram add-one", "bigram Kneser-Ney"}
    assert any("search of" in stage for stage in seen)
    assert not {stage for stage, (done, total) in seen.items() if done != total}, "a bar that never ends"


def test_intervals_end_where_the_numbers_do(made):
    report = made[0]
    assert all(info.least is not None for info in report.info.values())
    for row in (report.real, *report.models):
        for key, e in row.metrics.items():
            least, most = report.info[key.rpartition(".")[2]].bounds
            assert e.low is None or least <= e.low <= e.mean <= e.high <= most + 1e-6, (row.name, key, e)
        assert all(1 <= e.low <= e.high <= 10 for e in row.ratings.values() if e.low is not None)
    for c in report.comparisons:
        least, most = report.info[c.metric.rpartition(".")[2]].bounds
        assert least - most <= c.low <= c.high <= most - least, c


def test_the_own_story_only_ever_helps(made):
    values = made[0].models[0].values
    pairs = zip(values["paper.train.max_train_rouge2"], values["paper.train.max_train_rouge2_other"], strict=True)
    assert all(a >= b for a, b in pairs if a is not None)


def test_the_same_model_twice_differs_in_nothing(made):
    report = made[0]
    assert [m.name for m in report.models] == ["tiny", "tiny (2)"]
    assert report.comparisons
    assert all(c.difference == 0 and not c.resolved and c.more_stories is None for c in report.comparisons)


def describe(name, **more):
    return MetricInfo(title=f"The {name}", better="lower", description="For a test.", **more)


@pytest.fixture
def shouts(monkeypatch):
    """A metric of stories (one with a number per story, one for all) and one with references: a module and a line in the table."""
    table = {
        "shouts": StoryMetric(describe("shouts", summary="texts", label="Shouts"), lambda s: [t.count("!") for t in s.texts]),
        "shouting": StoryMetric(describe("shouting"), lambda s: "".join(s.texts).count("!")),
        "longer": EndingMetric(
            describe("longer", reference="another ending"),
            lambda e: [float(len(a) - len(b)) for a, b in zip(e.completions, e.references, strict=True)],
        ),
    }
    monkeypatch.setitem(sys.modules, "ts_eval.metrics.shouts", types.SimpleNamespace(REPORTED=table))
    monkeypatch.setitem(METRICS, "shouts", "shouts:REPORTED")
    return table


def test_a_metric_is_in_everything_once_it_is_in_the_table(model_folder, splits, eval_config, tmp_path, shouts):
    config = eval_config.model_copy(update={"parts": ("texts", "memorisation")})
    ts_eval.evaluate([model_folder, model_folder], splits, config, out=tmp_path)
    report = read_report(tmp_path)  # what report.json holds is enough for the page
    model = report.models[0]
    assert len(model.values["texts.test.shouts"]) == len(report.real.values["texts.test.shouts"]) == eval_config.stories
    assert "texts.test.shouting" in model.metrics
    assert "texts.test.shouting" not in model.values
    ending = model.completions[0]
    assert (
        ending.scores["longer"] == model.values["memorisation.train.longer"][0] == len(ending.completion) - len(ending.reference)
    )
    assert "memorisation.test.longer" in {c.metric for c in report.comparisons}
    assert report.info["longer"] == shouts["longer"].info
    page = (tmp_path / "report.html").read_text()
    assert "<h3>The shouts</h3>" in page
    assert "Shouts ↓<small>lower is better</small>" in page, "a row of the summary"
    assert "<span>The shouting<small>lower is better</small></span>" in page
    assert "<h3>The longer</h3>" in page
    assert "grey: another ending" in page


@pytest.mark.parametrize(
    ("name", "kind", "compute", "says"),
    [
        ("shouts", StoryMetric, lambda _: 1 / 0, "metric shouts: its compute raised ZeroDivisionError (division by zero)."),
        ("shouts", StoryMetric, lambda _: "loud", "metric shouts: gave one str for 3 stories"),
        ("shouts", StoryMetric, lambda _: [1.0], "metric shouts: gave 1 numbers for 3 stories"),
        ("longer", EndingMetric, lambda _: ["long"] * 3, "metric longer: gave a str for 3 stories"),
        ("longer", EndingMetric, lambda _: None, "metric longer: gave one NoneType for 3 stories"),
        ("near", SearchMetric, lambda story: story.gone, "metric near: its compute raised AttributeError"),
    ],
)  # fmt: skip
def test_a_metric_that_fails_is_named(splits, shouts, name, kind, compute, says):
    shouts.clear()
    shouts[name] = kind(describe(name), compute)
    teller = types.SimpleNamespace(name="teller", generate=lambda prompts, **_: [" It was a ball."] * len(prompts))
    with pytest.raises(ConfigError, match=re.escape(says)):
        ts_eval.evaluate(teller, splits, ts_eval.EvalConfig(stories=3, parts=("memorisation", "overfitting", "texts")))


def test_numbers_of_numpy_are_numbers(splits, shouts):
    shouts["shouts"] = StoryMetric(describe("shouts"), lambda s: np.full(len(s.texts), 2, np.int16))
    shouts["shouting"] = StoryMetric(describe("shouting"), lambda _: np.float32(0.5))
    teller = types.SimpleNamespace(name="teller", generate=lambda prompts, **_: [" It was a ball."] * len(prompts))
    (model,) = ts_eval.evaluate(teller, splits, ts_eval.EvalConfig(stories=3, parts=("texts",))).models
    assert model.values["texts.test.shouts"] == (2.0, 2.0, 2.0)
    assert model.metrics["texts.test.shouting"].mean == 0.5


def test_the_page_of_a_report_from_elsewhere_reads_the_metrics_that_it_describes(
    model_folder, splits, eval_config, shouts, monkeypatch
):
    report = ts_eval.evaluate([model_folder], splits, eval_config.model_copy(update={"parts": ("texts",)}))
    monkeypatch.delitem(METRICS, "shouts")
    assert "<h3>The shouts</h3>" in render(report)


def test_a_command_prints_the_metrics_of_the_table(model_folder, splits, shouts):
    arguments = ["memorisation", str(model_folder), "--data", str(splits), "--stories", "4", "--quiet", "--set", "resamples=100"]
    result = RUN.invoke(app, [*arguments, "--set", "decoding.max_new_tokens=4"])
    assert result.exit_code == 0, result.output
    assert "memorisation.test.longer" in result.stdout


def test_the_report_on_disk_is_the_report(made):
    report, out, _ = made
    assert read_report(out) == report
    lines = [json.loads(line) for line in (out / "stories.jsonl").read_text().splitlines()]
    assert {line["source"] for line in lines} == {"tiny", "tiny (2)", "real"}
    assert all(set(line) == {"source", "prompt", "story"} for line in lines)
    html = (out / "report.html").read_text()
    assert html.count("<svg") > 10
    assert "http://" not in html
    assert "https://" not in html
    assert "<script" not in html


def test_again_the_same_bytes(made, model_folder, splits, tmp_path, eval_config):
    _, out, _ = made
    ts_eval.evaluate([model_folder, model_folder], splits, eval_config, out=tmp_path, index=out / "index")
    assert (tmp_path / "report.json").read_bytes() == (out / "report.json").read_bytes()
    assert (tmp_path / "report.html").read_bytes() == (out / "report.html").read_bytes()


def test_a_file_of_stories_and_a_stranger_get_what_can_be_measured(splits, tmp_path, stories, eval_config):
    (tmp_path / "s.txt").write_text("<|endoftext|>".join(stories[:10]))

    class Parrot:
        name = "parrot"

        def generate(self, prompts, **options):
            return ["The dog was very happy. The end." for _ in prompts]

    report = ts_eval.evaluate([tmp_path / "s.txt", Parrot()], splits, eval_config)
    file, parrot = report.models
    assert file.metrics["overfitting.test.max_cosine"].mean is not None
    assert "memorisation.test.cosine" not in file.metrics
    assert any("memorisation is not measured" in note for note in file.notes)
    assert parrot.metrics["texts.test.self_bleu"].mean > report.real.metrics["texts.test.self_bleu"].mean
    assert any("perplexity is not measured" in note for note in parrot.notes)
    assert not report.comparisons
    assert "parrot" in render(report)


def test_ratings_enter_the_report(made, model_folder, splits, tmp_path, eval_config):
    rows = []
    for i in range(6):
        scores = dict.fromkeys(("grammar", "spelling", "consistency", "story", "creativity", "style"), 5 + i % 3)
        row = {
            "format": "ts-eval/rating", "schema_version": 1, "story": i, "text": "x", "source": "tiny", "mode": "sampled",
            "scores": scores, "judge": "j", "prompt": "p", "key": str(i),
        }  # fmt: skip
        rows.append(row | ({"scores": None, "unscored": "no reply"} if i == 5 else {}))
    file = tmp_path / "ratings.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    small = eval_config.model_copy(update={"parts": ("perplexity",)})
    report = ts_eval.evaluate(model_folder, splits, small, ratings=file)
    found = report.models[0].ratings["grammar"]
    assert (found.mean, found.n, found.unscored) == (5.8, 5, 1)
    assert report.correlations[0].spearman is None
    assert "at least four" in report.correlations[0].note
    assert report.judges == ("j, sampled, prompt p: 5 of 6 ratings count",)
    html = render(report)
    assert "Grammar" in html
    assert "j, sampled, prompt p: 5 of 6 ratings count" in html
    assert html.count("a correlation needs at least four") == 1, "said once, not above six empty plots"


def test_ratings_of_other_stories_are_said_to_be_so(splits, tmp_path, stories):
    (tmp_path / "told.txt").write_text("<|endoftext|>".join(stories[:6]), encoding="utf-8")
    judge = ts_eval.judge.judge_stories
    items = [ts_eval.judge.Story(text, "told") for text in (*stories[:4], "Another story. It is not in the report.")]
    judge(items, ts_eval.JudgeConfig(backend="fake", anchors=False, probe="off"), out=tmp_path / "ratings.jsonl")
    config = ts_eval.EvalConfig(stories=6, parts=("overfitting",))
    (model,) = ts_eval.evaluate(tmp_path / "told.txt", splits, config, ratings=tmp_path / "ratings.jsonl").models
    assert "1 of its rated stories are not in this report: its ratings may be those of other stories" in model.notes
    assert model.ratings["overall"].n >= 4


def test_no_model_has_the_name_of_the_real_stories(splits, tmp_path, stories, eval_config):
    for name in ("real", "real stories"):
        (tmp_path / f"{name}.txt").write_text("<|endoftext|>".join(stories[:9]), encoding="utf-8")
    config = eval_config.model_copy(update={"parts": ("overfitting",)})
    report = ts_eval.evaluate([tmp_path / "real.txt", tmp_path / "real stories.txt"], splits, config, out=tmp_path / "report")
    assert [model.name for model in report.models] == ["real (2)", "real stories (2)"]
    lines = map(json.loads, (tmp_path / "report" / "stories.jsonl").read_text(encoding="utf-8").splitlines())
    assert [line["story"] for line in lines if line["source"] == "real"] == [story.text for story in report.real.stories]


def test_one_held_out_story_is_no_chance_for_itself(tmp_path, stories):
    for name, some in (("raw", stories[:60]), ("one", stories[60:61])):
        (tmp_path / f"{name}.txt").write_text("".join(f"{text}\n<|endoftext|>\n" for text in some), encoding="utf-8")
    config = ts_data.PrepareConfig(validation=5)
    ts_data.prepare(tmp_path / "raw.txt", tmp_path / "splits", config, test=tmp_path / "one.txt")
    silent = types.SimpleNamespace(name="silent", generate=lambda prompts, **_: [" It was a ball."] * len(prompts))
    report = ts_eval.evaluate(silent, tmp_path / "splits", ts_eval.EvalConfig(parts=("memorisation", "overfitting", "texts")))
    assert "memorisation.test.cosine" not in report.real.metrics
    assert [(v.headline, v.findings) for v in report.verdicts] == [("silent: so few stories allow no verdict.", ())]


def test_a_file_where_the_report_should_go_is_refused_before_any_work(model_folder, splits, tmp_path, eval_config):
    (tmp_path / "x").write_text("mine")
    with pytest.raises(ConfigError, match="is a file; the report needs a folder"):
        ts_eval.evaluate(model_folder, splits, eval_config, out=tmp_path / "x")
    assert (tmp_path / "x").read_text() == "mine"


def test_a_reference_that_is_no_model_is_refused_before_any_work(model_folder, splits, tmp_path, eval_config):
    seen = []
    config = eval_config.model_copy(update={"references": (str(tmp_path / "absent.bin"),)})
    with pytest.raises(Exception, match=r"absent\.bin"):
        ts_eval.evaluate(model_folder, splits, config, progress=lambda *a: seen.append(a))
    assert not seen


@pytest.mark.parametrize("what", ["ratings", "sweep"])
def test_ratings_and_sweeps_are_read_before_any_work(model_folder, splits, tmp_path, eval_config, what):
    seen = []
    with pytest.raises(ArtefactError, match="absent"):
        ts_eval.evaluate(model_folder, splits, eval_config, **{what: tmp_path / "absent"}, progress=lambda *a: seen.append(a))
    assert not seen


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"format": "x"}, "another kind"),
        ({"schema_version": 2}, "Upgrade"),
        ({"surprise": 1}, "not a known field"),
        ({"models": 3}, "models"),
    ],
)
def test_a_report_that_is_none_is_refused(made, tmp_path, change, match):
    content = json.loads((made[1] / "report.json").read_text())
    (tmp_path / "report.json").write_text(json.dumps({**content, **change}))
    with pytest.raises(ArtefactError, match=match):
        read_report(tmp_path)


# --- commands ----------------------------------------------------------------------------------

RUN = CliRunner()


@pytest.mark.parametrize(("verb", "key"), [("perplexity", "perplexity.test.loss"), ("memorisation", "memorisation.test.cosine")])
def test_a_part_by_command(model_folder, splits, verb, key):
    arguments = [verb, str(model_folder), "--data", str(splits), "--stories", "6", "--json", "--quiet", "--set", "resamples=100"]
    result = RUN.invoke(app, [*arguments, "--set", "decoding.max_new_tokens=8"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["models"][0]["metrics"][key]["mean"] is not None


def test_report_by_command_prints_the_baselines(model_folder, splits, tmp_path):
    arguments = ["report", str(model_folder), "--data", str(splits), "--out", str(tmp_path), "--stories", "4"]
    result = RUN.invoke(app, [*arguments, "--set", 'parts=["perplexity"]', "--all"])
    assert result.exit_code == 0, result.output
    assert "\ndemo (reference, up to 100 stories) " in result.stdout
    assert "bigram Kneser-Ney (tokens of " in result.stdout
    assert (tmp_path / "report.html").exists()


def test_importing_and_helping_load_nothing_heavy():
    code = (
        "import sys, ts_eval; heavy = {'torch', 'numba', 'sklearn', 'scipy', 'spacy', 'nltk', 'pydantic'} & set(sys.modules);"
        "assert not heavy, heavy; assert set(ts_eval.__all__) <= {*dir(ts_eval)}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert all(getattr(ts_eval, name) is getattr(ts_eval, name) for name in ts_eval.__all__)

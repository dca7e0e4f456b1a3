"""Models of known truth get their own verdicts: in the report, on the page, on the terminal."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
from typer.testing import CliRunner

import ts_data
import ts_eval
from ts_eval.cli import app
from ts_eval.models.adapter import ModelAdapter, Scored
from ts_eval.ngrams import BigramModel
from ts_eval.report import render
from ts_eval.report.verdict import compare, judge_model
from ts_eval.schemas import BaselineScore, Estimate, EvalConfig, Provenance

KNESER_NEY = "bigram Kneser-Ney"


class Trigrams:
    """Word triples of stories, mixed with their Kneser-Ney bigram model: better than word pairs on stories of fixed sentences."""

    def __init__(self, stories, pairs):
        self.pairs = pairs
        self.counts = Counter(tuple(story[i : i + 3]) for story in stories for i in range(len(story) - 2))
        self.contexts = Counter(tuple(story[i : i + 2]) for story in stories for i in range(len(story) - 2))

    def logprobs(self, ids, _):
        return [np.log(self._mixed(story, p)) for story, p in zip(ids, self.pairs.logprobs(ids, KNESER_NEY), strict=True)]

    def _mixed(self, story, logprobs):
        pair = np.exp(logprobs)
        seen = [
            self.counts[tuple(story[i : i + 3])] / max(1, self.contexts[tuple(story[i : i + 2])]) for i in range(len(story) - 2)
        ]
        return np.concatenate([pair[:1], 0.3 * pair[1:] + 0.7 * np.array(seen)])


class Scripted(ModelAdapter):
    """Writes what a function of (prompt, random numbers) says; scores with an n-gram model, if one is given."""

    def __init__(self, name, write, tokenizer=None, ngrams=None, method=""):
        super().__init__(name, "object")
        self.write, self.ngrams, self.method = write, ngrams, method
        self.encoder = tokenizer

    def generate(self, prompts, **_):
        rng = random.Random(1)
        rng.used = set()
        return [self.write(prompt, rng) for prompt in prompts]

    def score(self, texts):
        if self.ngrams is None:
            return None
        ids = self.encoder.encode_batch(texts, add_special_tokens=True)
        logprobs = self.ngrams.logprobs(ids, self.method)
        return Scored(logprobs, np.asarray(self.encoder.extra_bits(list(texts)), float), ids)


def ending(story, prompt):
    """What follows the prompt's number of words in a story."""
    return " ".join(story.split()[len(prompt.split()) :])


@pytest.fixture(scope="module")
def report(model_folder, splits, tmp_path_factory):
    import ts_tokenizer

    train, test = list(ts_data.read(splits, "train")), list(ts_data.read(splits, "test"))
    tokenizer = ts_tokenizer.load(model_folder / "word_tokenizer.json")
    ids = tokenizer.encode_batch(train, add_special_tokens=True)
    ngrams = BigramModel(ids, tokenizer.vocab_size)
    words = " ".join(train).split()

    def known(stories, prompt, rng):
        """The story that starts with the prompt, or any that starts with its first two words, or any."""
        found = [s for s in stories if s.startswith(prompt)] or [s for s in stories if s.split()[:2] == prompt.split()[:2]]
        story = next((s for s in found if s not in rng.used), None) or rng.choice(stories)
        rng.used.add(story)
        return ending(story, prompt)

    def shuffled(prompt, rng):
        line = rng.choice(train).split()
        return " ".join(rng.sample(line, len(line)))

    models = [
        model_folder,  # untrained
        Scripted("unigram", lambda prompt, rng: " ".join(rng.choices(words, k=60)), tokenizer, ngrams, "unigram"),
        Scripted("overfitted", lambda prompt, rng: known(train, prompt, rng)),
        Scripted("parrot", lambda prompt, rng: rng.choice(train)),
        Scripted("shuffler", shuffled),
        Scripted("pairs", lambda prompt, rng: known(test, prompt, rng), tokenizer, ngrams, KNESER_NEY),
        Scripted("author", lambda prompt, rng: known(test, prompt, rng), tokenizer, Trigrams(ids, ngrams)),
        Scripted("silent", lambda prompt, rng: ""),
        Scripted(
            "thief",
            lambda prompt, rng: rng.choice(train) if not rng.used and not rng.used.add(1) else f"{rng.random()} hat. The end.",
        ),
        Scripted("bore", lambda prompt, rng: "The ball was very big and red. Ben was happy. The end."),
    ]
    config = EvalConfig(
        stories=24, resamples=200, decoding={"max_new_tokens": 60}, parts=("perplexity", "memorisation", "overfitting", "texts")
    )
    out = tmp_path_factory.mktemp("verdicts")
    return ts_eval.evaluate(models, splits, config, out=out, names=["untrained", *(m.name for m in models[1:])])


@pytest.mark.parametrize(
    ("name", "truth"),
    [
        ("untrained", {"language": "predicts worse than counting words", "prompts": "ignores its prompts", "copying": "does not copy"}),
        ("unigram", {"language": "predicts no better than counting words", "prompts": "ignores its prompts", "copying": "does not copy"}),
        ("overfitted", {"language": "writes words in the order of real stories", "copying": "has memorised its training stories"}),
        ("parrot", {"language": "writes words in the order of real stories", "prompts": "ignores its prompts", "copying": "copies training stories"}),
        ("shuffler", {"language": "writes words in an odd order", "prompts": "ignores its prompts", "copying": "takes its words from training stories"}),
        ("pairs", {"language": "predicts no better than counting word pairs"}),
        ("author", {"language": "models the text", "prompts": "follows its prompts", "copying": "does not copy", "diversity": "is as varied as real stories"}),
        ("bore", {"prompts": "ignores its prompts", "diversity": "is bland"}),
    ],
)  # fmt: skip
def test_each_model_gets_its_own_verdict(report, name, truth):
    (verdict,) = [v for v in report.verdicts if v.model == name]
    found = {finding.topic: finding.outcome for finding in verdict.findings}
    assert {topic: found[topic] for topic in truth} == truth, verdict
    assert all(outcome in verdict.headline for outcome in truth.values())
    assert 3 <= len(verdict.findings) <= 5


def test_the_demo_model_gets_its_verdict_on_real_stories(real_stories, tmp_path):
    (tmp_path / "raw.txt").write_text("\n<|endoftext|>\n".join(real_stories), encoding="utf-8")
    ts_data.prepare(tmp_path / "raw.txt", tmp_path / "splits", ts_data.PrepareConfig(validation=40, test=200))
    config = EvalConfig(stories=30, perplexity_stories=50, resamples=200, decoding={"max_new_tokens": 60})
    config = config.model_copy(update={"parts": ("perplexity", "memorisation", "overfitting", "texts")})
    (verdict,) = ts_eval.evaluate(["demo"], tmp_path / "splits", config).verdicts
    found = {finding.topic: finding.outcome for finding in verdict.findings}
    assert (found["language"], found["prompts"]) == ("models the text", "follows its prompts"), verdict
    assert "copies" not in found["copying"].replace("does not copy", ""), verdict
    assert "memorised" not in found["copying"], verdict
    assert verdict.headline.startswith("demo (trained on other stories): models the text")


def test_every_sentence_has_its_numbers_and_its_evidence(report):
    for model, verdict in zip(report.models, report.verdicts, strict=True):
        for finding in verdict.findings:
            assert any(sign.isdigit() for sign in finding.text), finding
            assert finding.evidence
            assert all(key in model.metrics or key in model.ratings for key in finding.evidence), finding
    html = render(report)
    assert html.index('id="verdict"') < html.index('id="summary"')
    assert html.count(">evidence</a>") == sum(len(v.findings) for v in report.verdicts)


@pytest.mark.parametrize(
    ("self_bleu", "outcome"), [(0.9, "is close to its training stories without copying them"), (0.0, "is closer to its training stories than chance")]
)  # fmt: skip
def test_a_model_that_is_close_is_called_bland_once(report, self_bleu, outcome):
    high = {"overfitting.test.span_words": 99.0, "texts.test.self_bleu": self_bleu}
    metrics = {**report.real.metrics, **{key: Estimate(mean=mean, low=mean, high=mean, n=24) for key, mean in high.items()}}
    verdict = judge_model(report.models[-1].model_copy(update={"metrics": metrics, "values": {}}), report.real, (), ())
    assert {finding.topic: finding.outcome for finding in verdict.findings}["copying"] == outcome
    assert verdict.headline.count("bland") == (self_bleu > 0.5)


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("pairs", "predicts no better than counting word pairs and writes words in an odd order"),
        ("author", "models the text but writes words in an odd order"),
    ],
)
def test_but_stands_between_a_strength_and_a_weakness_alone(report, name, outcome):
    (model,) = [m for m in report.models if m.name == name]
    odd = {"texts.test.bigram_bits": Estimate(mean=99.0, low=99.0, high=99.0, n=24)}
    verdict = judge_model(model.model_copy(update={"metrics": {**model.metrics, **odd}}), report.real, report.baselines, ())
    assert verdict.findings[0].outcome == outcome


def test_a_model_that_writes_nothing_is_told_nothing_else(report):
    (model,) = [m for m in report.models if m.name == "silent"]
    (verdict,) = [v for v in report.verdicts if v.model == "silent"]
    assert (verdict.headline, len(verdict.findings)) == ("silent: writes nothing.", 1)
    assert "72 of 72 completions" in verdict.findings[0].text
    assert model.ratings["overall"].mean is None
    scored = {**model.metrics, "perplexity.test.loss": Estimate(mean=2.0, low=1.9, high=2.1, n=24)}
    verdict = judge_model(model.model_copy(update={"metrics": scored}), report.real, (), ())
    assert [finding.outcome for finding in verdict.findings] == ["writes nothing"], "no word on the order of its prompts' words"


def test_one_copied_story_among_others_is_seen(report):
    (verdict,) = [v for v in report.verdicts if v.model == "thief"]
    assert {f.topic: f.outcome for f in verdict.findings}["copying"] == "copies a few training stories"
    assert "4.2% of its stories" in next(f.text for f in verdict.findings if f.topic == "copying")


def test_no_sentence_says_more_than_its_numbers(report):
    def with_metrics(**changed):
        found = {key.replace("__", "."): Estimate(mean=m, low=low, high=high, n=24) for key, (m, low, high) in changed.items()}
        model = report.models[-1].model_copy(update={"metrics": {**report.real.metrics, **found}, "values": {}})
        return {f.topic: f for f in judge_model(model, report.real, (), ()).findings}

    far = with_metrics(overfitting__test__span_words=(99, 99, 99), overfitting__test__max_cosine=(0.01, 0.01, 0.01))
    assert far["copying"].outcome == "shares long runs with training stories"
    assert "closer" not in far["copying"].text
    wide = with_metrics(memorisation__test__cosine=(0.9, 0.0, 1.8), texts__test__bigram_bits=(5.0, 1.0, 9.0))
    assert wide["prompts"].outcome == "may follow its prompts, which more stories would tell"
    assert "language" not in wide
    few = report.models[0].model_copy(
        update={"metrics": {k: e.model_copy(update={"n": 1}) for k, e in report.models[0].metrics.items()}, "ratings": {}}
    )
    assert judge_model(few, report.real, report.baselines, ()).headline == "untrained: so few stories allow no verdict."
    equal = report.models[0].model_copy(
        update={
            "metrics": {
                k: e.model_copy(update={"n": 5, "low": e.mean, "high": e.mean}) for k, e in report.models[0].metrics.items()
            },
            "ratings": {},
        }
    )
    assert judge_model(equal, report.real, report.baselines, ()).findings == (), "five equal stories show no spread"


def test_the_verdict_names_what_it_is_compared_with(report):
    (verdict,) = [v for v in report.verdicts if v.model == "untrained"]
    language = verdict.findings[0]
    assert {"unigram", "bigram Kneser-Ney", "author"} <= set(language.references)
    reference = BaselineScore(kind="model", model="demo", name="demo", loss=1.0, perplexity=2.7, bits_per_byte=0.7)
    with_it = judge_model(report.models[0], report.real, [*report.baselines, reference], ())
    assert "the demo model (up to 100 stories) 0.70" in with_it.findings[0].text
    for text in ("single words", "word pairs (Kneser–Ney)", "author"):
        assert text in language.text


def test_a_verdict_tells_ratings_from_estimates(report):
    for estimated, outcome in ((True, "estimated at"), (False, "rated")):
        verdict = judge_model(report.models[0], report.real, (), (), estimated=estimated)
        (finding,) = [f for f in verdict.findings if f.topic == "rating"]
        assert finding.outcome.startswith(outcome)
        assert ("by their features" in finding.text) == estimated
    assert all("estimated at" in v.headline for v in report.verdicts if v.model not in {"silent", "unigram"}), "nobody rated"


def test_a_word_level_model_has_no_misspellings(report):
    assert "texts.test.misspellings" not in report.models[0].metrics
    assert "texts.test.misspellings" in report.models[3].metrics


def test_a_difference_within_the_intervals_is_none():
    a, b = Estimate(mean=1.0, low=0.9, high=1.1, n=9), Estimate(mean=1.1, low=1.0, high=1.2, n=9)
    assert compare(a, b) == 0
    assert compare(a, b.model_copy(update={"mean": 1.3, "low": 1.2, "high": 1.4})) == -1
    assert compare(b.model_copy(update={"mean": 1.3}), a, least=0.5) == 0
    assert compare(None, a) == 0


def test_without_numbers_there_is_no_verdict(report):
    empty = report.models[0].model_copy(update={"metrics": {}, "values": {}, "ratings": {}})
    verdict = judge_model(empty, report.real, (), ())
    assert verdict.findings == ()
    assert "nothing was measured" in verdict.headline


def test_a_model_of_other_stories_is_called_so(report):
    other = Provenance(checked="story hashes", splits_fingerprint="other", held_out=9, trained_on=0)
    model = report.models[0].model_copy(update={"provenance": other})
    headline = judge_model(model, report.real, report.baselines, ()).headline
    assert headline.startswith("untrained (trained on other stories): predicts")
    same = model.model_copy(update={"provenance": other.model_copy(update={"checked": "same splits"})})
    assert judge_model(same, report.real, report.baselines, ()).headline.startswith("untrained: predicts")


@pytest.mark.parametrize("models", [1, 7])
def test_the_terminal_gets_the_verdict_in_ten_lines(report, model_folder, splits, tmp_path, monkeypatch, models):
    shown = report.model_copy(update={"models": report.models[:models], "verdicts": report.verdicts[:models]})
    monkeypatch.setattr("ts_eval.evaluation.evaluate", lambda *_, **__: shown)
    words = ["report", str(model_folder), "--data", str(splits), "--out", str(tmp_path)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert len(lines) <= 10, result.stdout
    assert all(len(line) <= 80 for line in lines if str(tmp_path) not in line)
    assert "predicts worse than counting words" in result.stdout or "worse than the frequencies of words" in result.stdout
    whole = CliRunner().invoke(app, [*words, "--all"]).stdout
    assert "overfitting.test.span_words" in whole

"""Metrics by hand and against peers; what is empty is unscored; the table is the folder."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
from sklearn.feature_extraction.text import TfidfVectorizer

from ts_eval import StoryIndex, metrics
from ts_eval.metrics.distinct import distinct
from ts_eval.metrics.length import length_distance, lengths
from ts_eval.metrics.misspellings import misspellings
from ts_eval.metrics.perplexity import loss
from ts_eval.metrics.repetition import repetition
from ts_eval.metrics.self_bleu import self_bleu
from ts_eval.metrics.vocabulary import vocabulary
from ts_eval.ngrams import METHODS, BigramModel
from ts_eval.texts import cut, words_of


def test_the_table_is_the_folder_and_everything_loads():
    files = {p.stem for p in Path(metrics.__file__).parent.glob("*.py")} - {"__init__", "base"}
    assert {place.partition(":")[0] for place in metrics.METRICS.values()} == files
    kinds = (metrics.StoryMetric, metrics.EndingMetric, metrics.SearchMetric, metrics.ScoreMetric)
    assert all(metrics.reported(kind) for kind in kinds)
    computed = {name for kind in kinds for name in metrics.reported(kind)}
    assert set(metrics.all_info()) - computed == {"max_train_rouge2_other"}, "needs the prompts' stories: computed by its section"


def test_every_number_of_a_report_is_described_by_its_metric(made):
    report = made[0]
    names = {key.split(".", 2)[2] for model in [*report.models, report.real] for key in model.metrics}
    assert names == set(metrics.all_info()) - {"plot_cosine"}
    assert set(report.info) == set(metrics.all_info())


def test_loss_and_perplexity_by_hand():
    logprobs = [np.log(np.array([0.5, 0.25])), np.log(np.array([0.125]))]
    assert loss(logprobs) == pytest.approx(2 * math.log(2))
    assert loss([]) is None
    scored = metrics.ScoredStories(["four", "more"], logprobs, np.array([[1.0, 2.0], [0.0, 0.0]]), context=2)
    found = {name: metric.compute(scored) for name, metric in metrics.reported(metrics.ScoreMetric).items()}
    means = {name: sum(ratio.above) / sum(ratio.below) for name, ratio in found.items()}
    assert means["loss"] == means["perplexity"] == pytest.approx(2 * math.log(2))
    assert found["perplexity"].exp
    assert means["first_loss"] == pytest.approx(2 * math.log(2))  # one token of each story is scored
    assert means["bits_per_byte"] == pytest.approx((3 + 6) / 8)
    assert found["bits_per_byte"].per_story
    unpaid = metrics.ScoredStories(["four", "more"], logprobs, None, context=2)
    assert metrics.reported(metrics.ScoreMetric)["bits_per_byte"].compute(unpaid) is None


def test_the_cosine_of_endings_is_scikit_learns(stories):
    vectorizer = TfidfVectorizer().fit(stories[:100])
    a, b = [*stories[100:150], "", "zzz"], [*stories[150:200], "a", "dog"]
    expected = np.asarray(vectorizer.transform(a).multiply(vectorizer.transform(b)).sum(axis=1))[:, 0]
    found = metrics.reported(metrics.EndingMetric)["cosine"].compute(metrics.Endings(a, b, StoryIndex.build(stories[:100])))
    assert np.allclose(found, expected, atol=1e-12)


def test_self_bleu_equals_nltk(stories):
    texts = [*stories[:15], stories[0], "one two three", "never seen words here at all"]
    lines = [words_of(text) for text in texts]
    method = SmoothingFunction().method1
    for i, found in enumerate(self_bleu(texts)):
        if len(lines[i]) < 4:
            assert found is None
        else:
            expected = sentence_bleu([line for j, line in enumerate(lines) if j != i], lines[i], smoothing_function=method)
            assert found == pytest.approx(expected, abs=1e-9)
    assert self_bleu([]) == []
    assert self_bleu(["one two three four five"]) == [None]


def test_small_ones_by_hand():
    assert distinct(["a b a b"], 2) == pytest.approx(2 / 3)
    assert distinct([], 1) is None
    assert repetition("a b c d a b c d") == pytest.approx(1 - 4 / 5)
    assert repetition("a b") is None
    assert vocabulary(["a b a", "c"]) == 3
    assert vocabulary(["a b", "c d"], words=3) == 3
    assert vocabulary([""]) is None
    assert lengths(["don't go", ""]) == [2, 0]
    assert length_distance(["a b"], ["a b c d"]) == 1
    assert length_distance([], ["a"]) is None
    assert length_distance(["a", "b c", "d e f"], ["a b", "c d"]) == pytest.approx(1 / 3)
    assert length_distance(["a b c d e", "a"], ["a", "b", "c d e f g h", "a b"]) == pytest.approx(1 / 4)


@pytest.mark.parametrize("name", ["distinct1", "distinct2", "distinct3", "vocabulary"])
def test_the_report_compares_equal_amounts_of_text(stories, name):
    compute = metrics.reported(metrics.StoryMetric)[name].compute
    few = stories[:150]
    assert sum(lengths(few)) > 5000, "more than is compared"
    assert compute(metrics.StorySet([*few, *few], [], None)) == compute(metrics.StorySet(few, [], None))


def test_length_distance_equals_scipy(stories):
    from scipy.stats import ks_2samp

    a, b = stories[:40], stories[100:170]
    expected = ks_2samp(lengths(a), lengths(b)).statistic
    assert length_distance(a, b) == pytest.approx(expected, abs=1e-12)


def test_misspellings_are_near_known_words_only():
    known = {"happy", "dogs", "said", "mother"}
    assert misspellings("Hapy hpapy happyy hoppy happy Zorblax dog's sayd", known) == ["hapy", "hpapy", "happyy", "hoppy", "sayd"]


def test_cut_keeps_every_character():
    text = " One  two\nthree four five."
    for share in (0.01, 0.4, 0.5, 0.99):
        a, b = cut(text, share)
        assert (a + b).strip() == text.strip()
        assert a
        assert b
    assert cut("a b c d e", 0.4) == ("a b ", "c d e")


@pytest.fixture(scope="module")
def bigrams():
    rng = np.random.default_rng(1)
    return BigramModel([np.concatenate([[0], rng.zipf(1.5, 30) % 20, [1]]) for _ in range(50)], 25)


@pytest.mark.parametrize("method", METHODS)
def test_every_context_sums_to_one(bigrams, method):
    for context in (0, 3, 24):  # 24 was never seen
        row = [bigrams.logprobs([np.array([context, word])], method)[0][0] for word in range(25)]
        assert np.exp(row).sum() == pytest.approx(1, abs=1e-9)


def test_kneser_ney_by_hand():
    model = BigramModel([np.array([0, 1, 2, 1]), np.array([0, 1])], 4)  # 01 twice, 12 once, 21 once
    d = 2 / (2 + 2 * 1)
    assert model.discount == d
    continuation = max(2 - d, 0) / 3 + d * 2 / 3 / 4  # two words come before 1; two words have a predecessor
    expected = (2 - d) / 2 + d * 1 / 2 * continuation
    assert np.exp(model.logprobs([np.array([0, 1])], "bigram Kneser-Ney")[0][0]) == pytest.approx(expected)


def test_counting_in_chunks_is_the_same(monkeypatch):
    stories = [np.random.default_rng(i).integers(0, 9, 40) for i in range(30)]
    whole = BigramModel(stories, 9)
    monkeypatch.setattr("ts_eval.ngrams.CHUNK", 100)
    parts = BigramModel(stories, 9)
    assert np.array_equal(whole.keys, parts.keys)
    assert np.array_equal(whole.counts, parts.counts)
    assert np.array_equal(whole.unigrams, parts.unigrams)


@pytest.mark.real_data
def test_hiding_words_gains_nothing_in_bits_per_byte(real_stories):
    """A bigram model on fewer and fewer words must not look better once a word behind <unk> pays for its spelling."""
    import ts_tokenizer

    train, test = real_stories[:400], real_stories[400:440]
    found = {}
    for size in (16, 64, 256):
        tokenizer = ts_tokenizer.WordTokenizer.train(train, vocab_size=size)
        model = BigramModel(tokenizer.encode_batch(train, add_special_tokens=True), size)
        logprobs = model.logprobs(tokenizer.encode_batch(test, add_special_tokens=True), "bigram Kneser-Ney")
        nll, utf8 = -sum(float(s.sum()) for s in logprobs), sum(len(t.encode()) for t in test)
        spelling, restore = np.asarray(tokenizer.extra_bits(test)).sum(axis=0)
        honest = ts_tokenizer.bits_per_byte(nll, utf8_bytes=utf8, unk_spelling_bits=spelling, restore_bits=restore)
        found[size] = (nll / math.log(2) / utf8, honest)
    plain, honest = ([found[size][i] for size in (16, 64, 256)] for i in (0, 1))
    assert plain == sorted(plain)  # hiding words seems to help
    assert honest == sorted(honest, reverse=True)  # and does not

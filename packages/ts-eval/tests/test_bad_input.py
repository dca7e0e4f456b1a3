"""What callers get wrong in Python: a text for a list of texts, None and NaN in a column, ids for texts, wrong lengths and numbers."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pyarrow as pa
import pytest

import ts_data
import ts_eval
from ts_eval import EvalConfig, StoryIndex, SweepConfig, rouge
from ts_eval.calibration import panel
from ts_eval.errors import TsEvalError
from ts_eval.metrics.distinct import distinct
from ts_eval.metrics.length import length_distance, lengths
from ts_eval.metrics.misspellings import misspellings
from ts_eval.metrics.perplexity import loss
from ts_eval.metrics.repetition import repetition
from ts_eval.metrics.self_bleu import self_bleu
from ts_eval.metrics.vocabulary import vocabulary
from ts_eval.ngrams import BigramModel

TEXTS = ["The cat sat.", "A dog ran far away."]
INDEX = StoryIndex.build(TEXTS)
NO_LISTS = ["a b", b"a b", None, 3, 1.5, {"a": 1}, {"a"}, np.array([["a"]])]
NO_COLUMNS = [["a", None], ["a", float("nan")], ["a", b"b"], ["a", 3], [["a"], ["b"]]]
OF_LISTS = {
    "rouge": lambda texts: rouge(texts, texts),
    "StoryIndex.build": StoryIndex.build,
    "closest": INDEX.closest,
    "max_rouge2_precision": INDEX.max_rouge2_precision,
    "longest_spans": INDEX.longest_spans,
    "index.cosine": lambda texts: INDEX.cosine(texts, texts),
    "distinct": lambda texts: distinct(texts, 2),
    "lengths": lengths,
    "length_distance": lambda texts: length_distance(texts, TEXTS),
    "length_distance, real": lambda texts: length_distance(TEXTS, texts),
    "self_bleu": self_bleu,
    "vocabulary": vocabulary,
}


def refused(call):
    """The call ends with a sentence."""
    with pytest.raises((TypeError, TsEvalError)) as problem:
        call()
    message = str(problem.value)
    assert len(message) > 20
    assert "\n" not in message
    assert message[-1] in ".1234567890" or " " in message
    return message


def unpickled(content):
    return pickle.loads(content)  # noqa: S301


def pickled(thing):
    return unpickled(pickle.dumps(thing))


@pytest.mark.parametrize("name", OF_LISTS)
def test_where_a_list_of_texts_is_meant(name):
    for value in NO_LISTS:
        assert "a list of texts is expected" in refused(lambda value=value: OF_LISTS[name](value)), value
    for value in NO_COLUMNS:
        assert "[1]: a str" in refused(lambda value=value: OF_LISTS[name](value)) or isinstance(value[0], list), value


@pytest.mark.parametrize("name", OF_LISTS)
def test_any_sequence_of_texts_will_do(name):
    plain = OF_LISTS[name](TEXTS)
    for other in (
        tuple(TEXTS),
        np.array(TEXTS),
        pa.array(TEXTS),
        pa.chunked_array([TEXTS[:1], TEXTS[1:]]),
        (text for text in TEXTS),
    ):
        if name not in {"rouge", "index.cosine", "cosine"} or not hasattr(other, "send"):  # they take their argument twice here
            found = OF_LISTS[name](other)
            if name != "StoryIndex.build":
                assert found == plain


OTHER_LISTS = {
    "calibrate": lambda value: ts_eval.calibrate(value, ts_eval.JudgeConfig(backend="fake")),
    "optimise_prompt": lambda value: ts_eval.optimise_prompt("rated.jsonl", ts_eval.JudgeConfig(backend="fake"), prompts=value),
    "panel": panel,
    "extraction": lambda value: ts_eval.extraction("demo", "splits", lengths=value),
    "probe": lambda value: ts_eval.probe("demo", only=value),
    "best_of": lambda value: ts_eval.best_of("nowhere", value),
    "names": lambda value: ts_eval.evaluate(["a.txt", "b.txt"], "splits", names=value),
}


@pytest.mark.parametrize("name", OTHER_LISTS)
def test_a_text_is_not_a_list_of_its_characters(name, splits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "splits").symlink_to(splits)
    for file in ("a.txt", "b.txt"):
        (tmp_path / file).write_text("A cat sat.")
    for value in ("ab", np.array([["a", "b"]]), {"a": 1}, 3):
        assert "list" in refused(lambda value=value: OTHER_LISTS[name](value)), value


def test_models_in_an_array_and_in_an_iterator(splits, tmp_path):
    files = [tmp_path / "a.txt", tmp_path / "b.txt"]
    for file in files:
        file.write_text("A cat sat on a mat.<|endoftext|>A dog ran.")
    config = EvalConfig(stories=2, parts=("texts",))
    found = ts_eval.evaluate(np.array(files, object), splits, config)
    assert [model.name for model in found.models] == ["a", "b"]
    assert "Pass list(models)" in refused(lambda: ts_eval.evaluate(iter(files), splits, config))
    assert "names[1]: a str is expected" in refused(lambda: ts_eval.evaluate(files, splits, config, names=["x", None]))
    assert "one is empty" in refused(lambda: ts_eval.evaluate(files, splits, config, names=["x", " "]))


def test_a_text_where_one_is_meant():
    for call in (repetition, lambda text: misspellings(text, {"a"})):
        for value in (None, 3, float("nan"), b"a", ["a"]):
            assert "a str is expected" in refused(lambda call=call, value=value: call(value))
    assert "a set of words" in refused(lambda: misspellings("a b", "a b"))


@pytest.mark.parametrize("k", [0, -1, True, 1.0, "1", None, float("nan")])
def test_numbers_that_are_none(k):
    refused(lambda: INDEX.closest(TEXTS, k=k))
    refused(lambda: distinct(TEXTS, k))
    refused(lambda: repetition("a b", k))
    refused(lambda: vocabulary(TEXTS, k))
    refused(lambda: BigramModel([np.array([1])], k))


def test_lists_of_unequal_lengths():
    for call in (
        lambda: rouge(TEXTS, TEXTS[:1]),
        lambda: INDEX.cosine(TEXTS, TEXTS[:1]),
        lambda: INDEX.closest(TEXTS, own=[0]),
        lambda: INDEX.longest_spans(TEXTS, own=[0, 1, 1]),
    ):
        assert "2 " in refused(call)


@pytest.mark.parametrize("own", [[0.0, 1.0], [-2, 0], [0, 2], ["0", "1"], [None, None], [True, False], [[0], [1]], 3])
def test_stories_left_out_that_are_none(own):
    for search in (INDEX.closest, INDEX.max_rouge2_precision, INDEX.longest_spans):
        refused(lambda search=search: search(TEXTS, own=own))


def test_nothing_in_nothing_out():
    assert rouge([], []) == []
    assert INDEX.closest([]) == INDEX.longest_spans([]) == INDEX.max_rouge2_precision([]) == []
    assert lengths([]) == self_bleu([]) == []
    assert distinct([], 1) is vocabulary([]) is length_distance([], TEXTS) is loss([]) is None
    assert "at least one story" in refused(lambda: StoryIndex.build([]))


def test_half_characters_are_text_like_any(kernels):
    """A lone surrogate, as broken JSON gives it, is in no word and breaks nothing."""
    half = "The cat\ud83d sat."
    assert rouge([half], ["The cat sat."])[0]["rougeL"].fmeasure == 1
    index = StoryIndex.build([*TEXTS, half])
    assert index.closest([half], k=1)[0][0].score == pytest.approx(1)
    assert index.longest_spans([half])[0].words == 3
    assert index.max_rouge2_precision([half])[0].score == 1
    assert lengths([half]) == [3]


# --- ids and log-probabilities -----------------------------------------------------------------


@pytest.mark.parametrize("story", ["a b", [0.5, 1.0], [1.0, 2.0], [[1, 2]], None, [True, False], 3])
def test_ids_that_are_none(story):
    refused(lambda: BigramModel([story], 5))
    model = BigramModel([np.array([0, 1, 2])], 5)
    refused(lambda: model.logprobs([story], "unigram"))


@pytest.mark.parametrize("ids", [[0, 5], [-1, 2], [2**40]])
def test_ids_outside_of_the_vocabulary_are_no_other_tokens(ids):
    assert "outside of the vocabulary of 5" in refused(lambda: BigramModel([np.array(ids)], 5))
    model = BigramModel([np.array([0, 1, 2])], 5)
    assert "outside of the vocabulary of 5" in refused(lambda: model.logprobs([np.array(ids)], "bigram add-one"))


def test_log_probabilities_that_are_none():
    for value in ([-1.0, -2.0], "ab", 3, None, [[["a"]]], ["ab"], [np.array([[-1.0]])]):
        refused(lambda value=value: loss(value))
    for wrong in (np.nan, np.inf, -np.inf):
        assert "NaN or infinity" in refused(lambda wrong=wrong: loss([np.array([-1.0, wrong])]))
    assert loss([[-1.0, -1.0], []]) == 1


# --- evaluate and sweep ------------------------------------------------------------------------


def test_settings_and_paths_that_are_none(splits, model_folder):
    for call in (ts_eval.evaluate, ts_eval.sweep):
        assert (
            "Pass EvalConfig(**settings)" in refused(lambda call=call: call(model_folder, splits, {"stories": 3}))
            or call is not ts_eval.evaluate
        )
        for value in (3, None, b"splits", ["splits"]):
            refused(lambda call=call, value=value: call(model_folder, value))
        refused(lambda call=call: call(model_folder, splits, out=3))
    refused(lambda: ts_eval.sweep(model_folder, splits, EvalConfig()))
    refused(lambda: ts_eval.evaluate(model_folder, splits, SweepConfig()))
    for models in (None, [], 3, b"model", [None]):
        refused(lambda models=models: ts_eval.evaluate(models, splits))


@pytest.mark.parametrize(
    "wrong",
    [
        {"method": ()},
        {"temperature": ()},
        {"temperature": (0,)},
        {"temperature": (float("inf"),)},
        {"top_p": (2,)},
        {"num_beams": (0,)},
    ],
)
def test_a_sweep_over_nothing_or_nonsense(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SweepConfig(**wrong)


@pytest.mark.parametrize("given", [[1.0], ["a"] * 4, [1.0] * 5])
def test_a_judge_of_a_sweep_that_gives_something_else(splits, given):
    class Teller:
        def generate(self, prompts, **options):
            return ["ran home." for _ in prompts]

    config = SweepConfig(method=("greedy",), stories=4)
    refused(lambda: ts_eval.sweep(Teller(), splits, config, judge=lambda texts: given))


def test_a_judge_of_a_sweep_that_gives_no_number(splits):
    class Teller:
        def generate(self, prompts, **options):
            return [f"ran home {i} times." for i, _ in enumerate(prompts)]

    config = SweepConfig(method=("greedy",), stories=4)
    made = ts_eval.sweep(Teller(), splits, config, judge=lambda texts: [1.0, float("nan"), None, 3.0])
    assert made.points[0].quality == 2.0


# --- pickles -----------------------------------------------------------------------------------


def test_an_index_in_memory_pickles_by_its_content(stories):
    index = StoryIndex.build(stories[:50])
    for other in (pickled(index), copy.deepcopy(index), copy.copy(index)):
        assert other.closest(stories[50:60]) == index.closest(stories[50:60])
        assert other.longest_spans(stories[50:60]) == index.longest_spans(stories[50:60])


def test_an_index_on_disk_pickles_by_its_folder(stories, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    index = StoryIndex.cached("index", stories[:50])
    content = pickle.dumps(index)
    assert len(content) < sum(map(len, stories[:50])) + 2000, "the stories and a path"
    monkeypatch.chdir("/")
    assert unpickled(content).closest(stories[50:60]) == index.closest(stories[50:60])
    StoryIndex.cached(tmp_path / "index", stories[:40])
    with pytest.raises(TsEvalError, match="has changed since"):
        unpickled(content)


def test_an_index_over_splits_pickles(splits, stories, tmp_path):
    index = StoryIndex.cached(tmp_path / "index", ts_data.read(splits, "train"))
    assert pickled(index).closest(stories[:3]) == index.closest(stories[:3])


def test_models_and_results_pickle(model_folder, made, stories):
    adapter = ts_eval.open_model(model_folder)
    again = pickled(adapter)
    assert np.array_equal(again.score(stories[:2]).logprobs[1], adapter.score(stories[:2]).logprobs[1])
    assert pickled(made[0]) == copy.deepcopy(made[0]) == made[0]
    model = BigramModel([np.array([0, 1, 2])], 5)
    assert np.array_equal(pickled(model).counts, model.counts)


def test_a_completions_server_pickles_by_its_address():
    pytest.importorskip("openai")
    again = copy.deepcopy(ts_eval.open_model("http://localhost:1/v1#m"))
    assert (again.location, again.model) == ("http://localhost:1/v1#m", "m")

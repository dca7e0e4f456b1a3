"""Required words: in every story, whole, within max_new_tokens, and every story ends with <eos>."""

import re

import numpy as np
import pytest
import torch

import ts_models
from ts_models.errors import ConfigError
from ts_models.generation import METHODS, TorchStepper
from ts_models.generation.require import inflections

pytestmark = pytest.mark.filterwarnings("ignore:generation.*no effect")


def holds(text, word):
    return re.search(rf"(?<!\w)(?:{word})(?!\w)", text, re.IGNORECASE) is not None


def check(stories, words, most):
    for story in stories:
        assert all(holds(story.text, word) for word in words), story
        assert len(story.ids) <= most
        assert story.finish == "eos"


def drawn(count, size, most=60):
    """Required words, another set for each story."""
    dice = np.random.default_rng(3)
    return [[f"w{number}" for number in dice.choice(most, size, replace=False)] for _ in range(count)]


@pytest.mark.parametrize("method", METHODS)
def test_every_word_is_in_every_story_of_every_network(network, lm, method):
    lm = ts_models.LanguageModel(network, lm.tokenizer)
    for seed, words in enumerate(drawn(3, 4)):
        stories = lm.write(["w1 w2", "w3"], method=method, seed=seed, max_new_tokens=30, num_beams=3, require=words)
        check(stories, words, 30)


def test_fifty_stories_of_a_random_network_in_the_least_room(lm):
    for seed, words in enumerate(drawn(50, 5)):
        check(lm.write("w1", method="sample", seed=seed, max_new_tokens=11, require=words), words, 11)


def test_a_word_stands_where_it_is_the_likeliest(lm):
    """Greedy: the first word that is put in has the highest probability there of all places of the free draft."""
    free = lm.write("w1", method="greedy", max_new_tokens=20, min_new_tokens=20)[0]
    word = next(f"w{n}" for n in range(60) if not holds(free.text, f"w{n}"))
    story = lm.write("w1", method="greedy", max_new_tokens=20, min_new_tokens=19, require=word)[0]
    place = story.text.split().index(word)
    before = lm.encode_prompt("w1")
    chances = lm.model(torch.tensor([before + free.ids[:15]]))[0, len(before) - 1 :].log_softmax(-1)[:, int(word[1:])]
    assert story.ids[:place] == free.ids[:place]
    assert place == int(chances.argmax())


@pytest.mark.parametrize("method", METHODS)
def test_batch_single_fast_and_plain_tell_the_same(lm, method, monkeypatch):
    options = {"method": method, "seed": 4, "max_new_tokens": 24, "num_beams": 3, "require": ["w7", "w8 w9"]}
    prompts = ["w1 w2 w3", "w4"]
    batch = lm.write(prompts, logprobs=True, **options)
    single = [lm.write(prompt, logprobs=True, **options)[0] for prompt in prompts]
    monkeypatch.setattr(lm, "stepper", lambda: TorchStepper(lm.model))
    plain = lm.write(prompts, logprobs=True, **options)
    assert [story.ids for story in batch] == [story.ids for story in single] == [story.ids for story in plain]
    for story in batch:
        ids = lm.encode_prompt(story.prompt)
        scores = ts_models.score_ids(lm.model, [ids + story.ids])[0][len(ids) - 1 :]
        np.testing.assert_allclose(story.logprobs, scores, atol=1e-4)
        assert "beam" not in method or story.score == pytest.approx(scores.sum() / len(scores), abs=1e-4)


@pytest.mark.parametrize("method", ["sample", "beam"])
def test_several_stories_for_a_prompt(lm, method):
    stories = lm.write("w1", method=method, seed=4, max_new_tokens=24, num_return_sequences=3, require="w7")
    check(stories, ["w7"], 24)
    assert "beam" in method or len({story.text for story in stories}) == 3
    assert [story.score for story in stories] == sorted((story.score for story in stories), reverse=True)


def test_streams_join_to_the_story(lm):
    options = {"method": "sample", "seed": 4, "max_new_tokens": 24, "require": ["w7", "w8"]}
    assert "".join(lm.stream("w1", **options)) == lm.write("w1", **options)[0].text
    events = list(lm.events("w1", logprobs=True, **options))
    assert events[-1].finish == "eos"
    assert all(event.logprob < 0 for event in events[:-1])


def join_odd(self, ids, *, skip_special_tokens=True):
    """Text in which every odd token is a suffix that joins the word before it."""
    words = [self.vocab[number] for number in ids if number < self.eos_id]
    return "".join(word if int(word[1:]) % 2 else f" {word}" for word in words).strip()


@pytest.mark.parametrize("method", ["greedy", "sample", "beam"])
def test_a_word_is_whole_where_tokens_can_lengthen_it(lm, method, monkeypatch):
    monkeypatch.setattr(type(lm.tokenizer), "decode", join_odd)
    for seed, words in enumerate([["w8", "w20"], ["w4", "w6", "w30"]] * 5):
        check(lm.write("w1", method=method, seed=seed, max_new_tokens=24, top_k=5, require=words), words, 24)
    with pytest.raises(ConfigError, match="as a word of its own"):
        lm.write("w2", require="w7", method="greedy", max_new_tokens=8)


def test_inflections():
    assert {"stopped", "stopping", "stops"} <= set(inflections("stop"))
    assert "making" in inflections("make")
    assert "boxes" in inflections("box")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"require": "dragon"}, "lacks the required word 'dragon'"),
        ({"require": ["w1", "w2", "w3"], "max_new_tokens": 6}, "need 7 tokens, but a story has room for 6"),
        ({"require": ["w1", ""]}, "empty word"),
        ({"require": "w1||w2"}, "empty word"),
        ({"require": "w1", "stop": "w2"}, "leave out stop"),
        ({"require": "w1", "stop_ids": (2,)}, "leave out stop"),
    ],
)
def test_what_cannot_be_is_refused(lm, options, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        lm.generate("w1", **options)


def test_ids_know_no_words(lm):
    with pytest.raises(ConfigError, match="require"):
        lm.model.generate([[1]], require="w1")

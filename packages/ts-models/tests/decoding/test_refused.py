"""What generation refuses, corrects or warns of: logits that are no numbers, no token to choose, what are no ids or texts, options."""

from __future__ import annotations

import itertools
import math
import warnings

import numpy as np
import pytest
import torch

from ts_models import GenerationConfig, LanguageModel, score_ids
from ts_models.errors import ConfigError, ContextError, NonFiniteError, TokenizerError
from ts_models.generation import METHODS, generate, generate_ids, make_config, stream

BEAMS = ("beam", "beam-sample")


def broken(network, value):
    with torch.no_grad():
        next(network.parameters())[5:9] = value
        if not hasattr(network, "blocks"):
            network.head.bias[3] = value
    return network


# --- logits --------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("kernels", ["compiled", "plain"])
def test_logits_that_are_no_numbers_are_one_sentence(network, method, value, kernels, monkeypatch):
    monkeypatch.setenv("TS_MODELS_KERNELS", kernels)
    broken(network, value)
    with pytest.raises(NonFiniteError, match="step 1: the model's weights are damaged") as found:
        generate(network, [[61, 6]], method=method, max_new_tokens=4, seed=1)
    assert "\n" not in str(found.value)
    with pytest.raises(NonFiniteError, match="finite"):
        list(stream(network, [61, 6], method=method, max_new_tokens=4, seed=1))


def test_logits_that_stop_being_numbers_later_are_noticed(small):
    broken(small, math.nan)  # ids 5 … 8: the prompt is sound where the output layer is not tied to them
    with pytest.raises(NonFiniteError):
        generate_ids(small, [[61]], GenerationConfig(method="greedy", max_new_tokens=3))


def test_scores_that_are_no_numbers_are_one_sentence(network):
    with pytest.raises(NonFiniteError, match="story 1"):
        score_ids(broken(network, math.nan), [[], [61, 6, 7, 3]])


def test_a_mask_of_the_networks_own_is_no_fault(small, monkeypatch):
    own = type(small).logits
    monkeypatch.setattr(type(small), "logits", lambda self, x: own(self, x).index_fill(-1, torch.tensor([3, 4]), -torch.inf))
    monkeypatch.setattr("ts_models.generation.loop.fits", lambda network: False)
    for method in METHODS:
        assert not {3, 4} & set(generate(small, [[61]], method=method, max_new_tokens=12, min_new_tokens=12, seed=1)[0])


@pytest.mark.parametrize("method", METHODS)
def test_where_every_token_is_banned_no_id_is_made_up(tiny, method):
    options = {"method": method, "no_repeat_ngram_size": 1, "min_new_tokens": 10, "max_new_tokens": 20, "seed": 1}
    with pytest.raises(
        ConfigError, match="no token may be written at step 5"
    ):  # ids 0 … 3 are all that can be written before eos
        generate(tiny, [[5]], **options)


@pytest.mark.parametrize("method", METHODS)
def test_a_story_that_may_end_ends_where_all_else_is_banned(tiny, method):
    options = {"method": method, "no_repeat_ngram_size": 1, "min_new_tokens": 3, "max_new_tokens": 20, "seed": 1, "num_beams": 4}
    ids = generate(tiny, [[5]], **options)[0]
    assert 4 <= len(ids) <= 5
    assert ids[-1] == 4
    assert len(set(ids)) == len(ids)


def test_a_word_that_stands_256_times_stays_banned():
    from ts_models.generation.logits import History, ban_repeated_ngrams

    logits = torch.zeros(1, 6)
    ban_repeated_ngrams(logits, History([[2] * 256], torch.device("cpu")), 1)
    assert logits[0].tolist() == [0, 0, -math.inf, 0, 0, 0]


@pytest.mark.parametrize("method", ["sample", "beam-sample"])
@pytest.mark.parametrize("temperature", [1e-40, 1e-310, 1e-5, 1e30, 1e300])
def test_extreme_temperatures(network, method, temperature):
    ids = generate(network, [[61, 4], [61]], method=method, temperature=temperature, max_new_tokens=8, seed=1)
    assert all(0 <= number < 61 for number in itertools.chain(*ids))
    if temperature < 1 and method == "sample":
        assert ids == generate(network, [[61, 4], [61]], method="greedy", max_new_tokens=8)


# --- ids and texts -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompts", "sentence"),
    [
        ("hi", "are text"),
        (["hi"], "prompt 0 is text"),
        ([61, 3], r"one prompt is given as \[\[1, 2, 3\]\]"),
        ([[61], [3.0]], "prompt 1 holds 3.0, a float"),
        ([[True]], "True, a bool"),
        ([[None]], "None"),
        (5, "a int"),
        (None, "NoneType"),
        (torch.tensor([61, 3]), "not a list of ids"),
        (torch.tensor([[61.0, 3.0]]), "float"),
        (torch.tensor([[True]]), "bool"),
        (np.array([[1.5]]), "float"),
        ({"ids": [1]}, "dict"),
    ],
)
def test_what_are_no_ids(network, prompts, sentence):
    with pytest.raises(TypeError, match=sentence) as found:
        network.generate(prompts, method="greedy", max_new_tokens=2)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("method", BEAMS)
def test_more_stories_than_there_are_continuations_are_refused(small, method):
    """61 of 64 ids may be written: the answer was a shorter list, in which nobody could tell whose story was whose."""
    options = {"method": method, "max_new_tokens": 1, "num_beams": 70, "seed": 1}
    writable = small.config.vocab_size - len(small.config.banned_ids)
    assert len(generate(small, [[61], [61]], num_return_sequences=writable, **options)) == 2 * writable
    with pytest.raises(
        ConfigError, match=rf"prompt 0 has {writable} different continuations .* num_return_sequences is 70\. Lower it"
    ):
        generate(small, [[61], [61]], num_return_sequences=70, **options)
    assert len(generate(small, [[61]], num_return_sequences=70, **options | {"max_new_tokens": 3})) == 70


def test_all_kinds_of_ids_are_taken(small):
    expected = generate(small, [[61, 3]], method="greedy", max_new_tokens=3)
    for prompts in (
        [(61, 3)],
        torch.tensor([[61, 3]]),
        np.array([[61, 3]], np.uint16),
        [torch.tensor([61, 3])],
        [[np.int64(61), 3]],
    ):
        assert generate(small, prompts, method="greedy", max_new_tokens=3) == expected
    assert list(stream(small, torch.tensor([61, 3]), method="greedy", max_new_tokens=3)) == expected[0]


def test_ids_outside_of_the_vocabulary(network):
    for wrong in (64, -1):
        with pytest.raises(ConfigError, match=f"id {wrong} is outside of the vocabulary of 64"):
            network.generate([[61, wrong]])
        with pytest.raises(ConfigError, match=f"id {wrong} is outside of the vocabulary of 64"):
            network(torch.tensor([[61, wrong]]))
        with pytest.raises(ConfigError, match=f"id {wrong} is outside"):
            score_ids(network, [[61, wrong]])
    with pytest.raises(ConfigError, match="stop_ids holds 64"):
        network.generate([[61]], stop_ids=[64])


@pytest.mark.parametrize(
    ("ids", "sentence"),
    [
        ([[61, 3]], "a list"),
        ("hi", "a str"),
        (torch.tensor([61, 3]), r"shape \[2\]"),
        (torch.tensor([[61.0]]), "torch.float32"),
        (torch.tensor([[True]]), "torch.bool"),
    ],
)
def test_what_a_forward_pass_takes(network, ids, sentence):
    with pytest.raises(TypeError, match=sentence):
        network(ids)


@pytest.mark.parametrize("stories", ["hi", ["hi"], [1, 2], [[1.0, 2.0]], [[True, False]], [[[1]]]])
def test_what_scores_take(small, stories):
    with pytest.raises(TypeError):
        score_ids(small, stories)


def test_a_language_model_takes_text(lm):
    for prompts in ([1, 2], [[61, 3]], 5, None, b"w1", [b"w1"], ["w1", None]):
        with pytest.raises(TypeError, match=r"text"):
            lm.generate(prompts, method="greedy", max_new_tokens=2)
    for name in ("encode_prompt", "encode_story", "unknown_words"):
        with pytest.raises(TypeError, match=r"lm\.model\.generate"):
            getattr(lm, name)([1, 2])
    with pytest.raises(TypeError, match="text"):
        next(lm.stream(["w1"]))
    for texts in ("w1 w2", {"w1": ["w2"]}):
        with pytest.raises(TypeError, match="a list of texts"):
            lm.logprobs(texts)
    with pytest.raises(ConfigError, match=r"character 4 is '\\udce9'"):
        lm.generate("caf\udce9", method="greedy", max_new_tokens=2)
    assert len(lm.generate((text for text in ("w1", "w2")), method="greedy", max_new_tokens=2)) == 2


def test_the_column_of_a_table_is_a_list_of_texts(lm):
    pa = pytest.importorskip("pyarrow")
    table = pa.table({"text": pa.chunked_array([["w1"], ["w2 w3"]])})
    assert [p.tolist() for p in lm.logprobs(table["text"])] == [p.tolist() for p in lm.logprobs(["w1", "w2 w3"])]


def test_special_ids_that_contradict_the_tokenizers(lm):
    tokenizer = type(lm.tokenizer)(64)
    tokenizer.eos_id, tokenizer.bos_id = tokenizer.bos_id, tokenizer.eos_id
    with pytest.raises(TokenizerError, match="eos_id is 61 in the tokenizer, but 60 in the model's config"):
        LanguageModel(lm.model, tokenizer)


# --- options -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"do_sample": True}, "use method='sample'"),
        ({"max_length": 20}, "use max_new_tokens"),
        ({"num_beans": 3}, "Did you mean `num_beams`"),
        ({"qwertz": 3}, "There are: method"),
        ({"stop": [""]}, "stop holds an empty text"),
        ({"stop": ""}, "stop holds an empty text"),
        ({"repetition_penalty": math.nan}, "finite number"),
        ({"length_penalty": math.inf}, "finite number"),
        ({"length_penalty": 1e300}, "less than or equal to 30"),
        ({"length_penalty": -1e300}, "greater than or equal to -30"),
        ({"temperature": math.inf}, "finite number"),
        ({"temperature": math.nan}, "finite number"),
        ({"temperature": -1}, "greater than 0"),
        ({"top_p": math.nan}, "finite number"),
        ({"max_new_tokens": True}, "max_new_tokens is True"),
        ({"config": {"method": "greedy"}}, "config is a dict"),
    ],
)
def test_nonsense_is_refused_with_the_mend(options, sentence):
    with pytest.raises(ConfigError, match=sentence) as found:
        make_config(options)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"num_beams": 8, "method": "sample"},
            "num_beams=8 has no effect with method 'sample'; it needs 'beam' or 'beam-sample'",
        ),
        ({"temperature": 0.5, "method": "greedy"}, "temperature=0.5 has no effect with method 'greedy'"),
        ({"method": "beam", "top_k": 3}, "top_k=3 has no effect with method 'beam'"),
        ({"length_penalty": 2.0}, "length_penalty"),
        ({"num_return_sequences": 3, "method": "greedy"}, "num_return_sequences=3 has no effect with method 'greedy'"),
        ({"config": GenerationConfig(top_p=0.5, method="greedy")}, "top_p=0.5"),
        ({"method": "sample", "temperature": 0}, "temperature is 0, which is greedy decoding"),
    ],
)
def test_options_that_do_nothing_say_so(options, sentence):
    with pytest.warns(UserWarning, match=sentence):
        make_config(options)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"temperature": 1.0},
        {"method": "sample", "temperature": 0.5, "top_k": 3},
        {"method": "beam", "num_beams": 5},
        {"seed": 1},
    ],
)
def test_options_that_are_read_say_nothing(options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make_config(options)


@pytest.mark.filterwarnings("ignore:generation")
def test_temperature_zero_is_greedy(small):
    greedy = generate(small, [[61]], method="greedy", max_new_tokens=8)
    assert generate(small, [[61]], max_new_tokens=8, method="sample", temperature=0) == greedy
    assert generate(small, [[61]], method="greedy", max_new_tokens=8, temperature=0.0) == greedy
    assert make_config({"method": "beam-sample", "temperature": 0}).method == "beam"
    with pytest.raises(ValueError, match="set method to 'greedy'"):
        GenerationConfig(temperature=0)


def test_one_stop_text_may_stand_alone():
    assert make_config({"stop": "The end"}).stop == ("The end",)


def test_a_long_prompt_is_cut_on_request(network, lm):
    long = [61, *[number % 60 for number in range(300)]]
    if network.config.kind == "transformer":
        with pytest.raises(ContextError, match="truncate_prompt=True"):
            generate(network, [long], method="greedy", max_new_tokens=4)
        found = generate(network, [long, [61, 3]], method="greedy", max_new_tokens=4, truncate_prompt=True)
        assert found == generate(network, [[61, *long[-43:]], [61, 3]], method="greedy", max_new_tokens=4)
    text = " ".join(f"w{number % 60}" for number in range(300))
    story = lm.write(text, method="greedy", max_new_tokens=9, truncate_prompt=True)[0]
    assert story.full_text.startswith(text + " w")
    assert "".join(lm.stream(text, method="greedy", max_new_tokens=9, truncate_prompt=True)) == story.text


@pytest.mark.parametrize("method", ["sample", *BEAMS])
def test_more_rows_than_memory_are_refused_before_they_are_made(small, method):
    name = "num_return_sequences" if method == "sample" else "num_beams"
    with pytest.raises(ConfigError, match=r"10,000,000,000 rows .* GB"):
        generate(small, [[61]], method=method, **{name: 10**10})


def test_precisions_and_neighbours_that_there_are_not(network, lm):
    from ts_models.generation import make_stepper

    with pytest.raises(ConfigError, match="precision"):
        make_stepper(network, precision="int3")
    if network.config.kind != "transformer":
        with pytest.raises(ConfigError, match="its own format"):
            make_stepper(network, precision="int8")
    with pytest.raises(ConfigError, match="k is 0"):
        lm.neighbours("w1", k=0)
    with pytest.raises(TypeError, match="text is expected"):
        lm.neighbours(5)

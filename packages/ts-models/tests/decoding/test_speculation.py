"""A small network guesses, the large one decides: the ids of plain decoding, in fewer calls."""

from __future__ import annotations

import copy

import pytest
import torch

pytest.importorskip("numba")

from ts_models import ConfigError, LanguageModel, RecurrentConfig, TransformerConfig
from ts_models.architectures import build_for_inference
from ts_models.fast import speculate
from ts_models.fast.decode import FastStepper
from ts_models.fast.speculate import SpeculativeStepper
from ts_models.fast.team import Pace
from ts_models.generation import generate_ids, make_config, make_stepper

OPTIONS = [
    {"method": "greedy"},
    {"method": "sample", "seed": 3},
    {"method": "sample", "seed": 4, "temperature": 0.5, "top_p": 0.9, "repetition_penalty": 1.3},
    {"method": "greedy", "no_repeat_ngram_size": 2},
    {"method": "beam", "num_beams": 3},
    {"method": "sample", "seed": 5, "num_return_sequences": 3},
]


@pytest.fixture(autouse=True)
def _always_guess(monkeypatch):
    monkeypatch.setattr(Pace, "choose", lambda self: max(self.options))


def perturbed(network, by: float):
    """A network that agrees with `network` on most tokens."""
    other = copy.deepcopy(network)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(torch.randn_like(parameter) * by)
    return other


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_appended_tokens_have_the_bits_of_steps(transformer, precision, threads):
    ids = torch.randint(0, 60, (30,)).tolist()
    one, many = (FastStepper(transformer, precision=precision, ahead=ahead) for ahead in (1, 7))
    many.threads = threads
    with torch.inference_mode():
        one.start([[1, 2, 3]], 40, per_prompt=1), many.start([[1, 2, 3]], 40, per_prompt=1)
        expected = torch.cat([one.step(torch.tensor([token]), None) for token in ids])
        place = 0
        while place < len(ids):
            many.append([9, *ids[place : place + 5], 9], 3 + place)  # is cut again
            count = min(1 + place % 7, len(ids) - place)
            assert torch.equal(many.append(ids[place : place + count], 3 + place), expected[place : place + count])
            place += count


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("by", [0.0, 0.02, 10.0], ids=["always right", "often right", "wrong"])
def test_guesses_change_no_id_and_no_number(small, options, by):
    config, prompt = make_config({**options, "max_new_tokens": 40}), [[61, 5, 9]]
    plain = generate_ids(small, prompt, config, logprobs=True, alternatives=2)
    fast = generate_ids(
        small, prompt, config, logprobs=True, alternatives=2, stepper=make_stepper(small, draft=perturbed(small, by))
    )
    assert fast == plain


def test_right_guesses_save_calls(small, monkeypatch):
    stepper = SpeculativeStepper(small, copy.deepcopy(small))
    passes, look = [], stepper._read_ahead
    monkeypatch.setattr(stepper, "_read_ahead", lambda token: (passes.append(token), look(token)))
    generate_ids(
        small, [[61, 5, 9]], make_config({"method": "greedy", "max_new_tokens": 40, "min_new_tokens": 40}), stepper=stepper
    )
    assert len(passes) == 8  # the prompt gives the first token, each call five of the other 39


def test_a_smaller_context_and_other_sizes_guess_as_far_as_they_reach(small):
    draft = build_for_inference(
        TransformerConfig(vocab_size=64, max_seq_len=12, d_model=16, n_heads=2, n_layers=1, d_ff=24, positions="learned")
    )
    config = make_config({"method": "greedy", "max_new_tokens": 45})
    assert generate_ids(small, [[61, 5]], config, stepper=make_stepper(small, draft=draft)) == generate_ids(
        small, [[61, 5]], config
    )
    long = [[61, *range(20)]]
    assert generate_ids(small, long, config, stepper=make_stepper(small, draft=draft)) == generate_ids(small, long, config)


def test_guesses_end_where_they_do_not_pay(small, monkeypatch):
    monkeypatch.undo()
    draft = perturbed(small, 10.0)
    monkeypatch.setattr(speculate.time, "perf_counter", iter(range(10**6)).__next__)  # each call takes as long
    monkeypatch.setattr(Pace, "FIRST_HOLD", 10**6)
    stepper = make_stepper(small, draft=draft)
    for _ in range(4):
        generate_ids(
            small, [[61, 5]], make_config({"method": "greedy", "max_new_tokens": 45, "min_new_tokens": 45}), stepper=stepper
        )
    assert stepper.pace.best == 0
    assert make_stepper(small, draft=draft).pace is stepper.pace


def test_models_share_a_vocabulary_or_are_refused(lm, small):
    draft = LanguageModel(small, lm.tokenizer)
    text = lm.generate("w1 w2", method="greedy", max_new_tokens=20)
    assert lm.speculate(draft).generate("w1 w2", method="greedy", max_new_tokens=20) == text
    assert isinstance(lm.stepper(), SpeculativeStepper)
    assert isinstance(lm.speculate(None).stepper(), FastStepper)
    assert isinstance(
        lm.speculate(
            LanguageModel(build_for_inference(RecurrentConfig(kind="gru", vocab_size=64, d_model=24, d_hidden=32)))
        ).stepper(),
        FastStepper,
    )
    other = LanguageModel(build_for_inference(TransformerConfig(vocab_size=8, d_model=16, n_heads=2, n_layers=1, d_ff=16)))
    with pytest.raises(ConfigError, match="other vocabularies"):
        lm.speculate(other)

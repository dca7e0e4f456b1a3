"""What a user holds goes through pickle, deepcopy, a Pool and a DataLoader that spawns, by its content."""

# ruff: noqa: S301 - what is unpickled was pickled here
from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import pytest
import torch

from ts_models import LanguageModel
from ts_models.generation import generate_ids, make_config, make_stepper
from ts_models.schemas import TrainingSummary

IDS = torch.tensor([[61, 3, 5, 7]])


def _write(lm: LanguageModel) -> str:
    text = lm.generate("w1 w2", method="greedy", max_new_tokens=6)
    assert isinstance(text, str)
    return text


SCRIPT = """
import multiprocessing, sys, torch, ts_models

class Prompts(torch.utils.data.Dataset):
    def __init__(self, lm):
        self.lm = lm
    def __len__(self):
        return 2
    def __getitem__(self, index):
        return write(self.lm)

def write(lm):
    return lm.generate("w1 w2", method="greedy", max_new_tokens=6)

if __name__ == "__main__":
    torch.set_num_threads(2)
    lm, method = ts_models.load("demo"), sys.argv[1]
    with multiprocessing.get_context(method).Pool(1) as pool:
        found = pool.map(write, [lm])
    found += torch.utils.data.DataLoader(Prompts(lm), batch_size=None, num_workers=1, multiprocessing_context=method)
    print(found == [write(lm)] * 3)
"""
"""A data set that holds a model, as a filter of stories would; two threads, which a forked process does not have."""


@pytest.mark.parametrize("again", [copy.deepcopy, copy.copy, lambda thing: pickle.loads(pickle.dumps(thing))])
def test_networks_and_language_models(network, lm, again):
    _write(lm)  # what a first call builds must not be in the way
    assert torch.equal(again(network)(IDS), network(IDS))
    assert again(network).config == network.config
    assert _write(again(lm)) == _write(lm)
    summary = TrainingSummary(parameters=1, steps=1, tokens=1, seconds=1)
    held = again(LanguageModel(lm.model, lm.tokenizer, training=summary, path="somewhere"))
    assert held.training == summary
    assert str(held.path) == "somewhere"


def test_a_copy_has_weights_of_its_own(lm):
    other = copy.deepcopy(lm)
    with torch.no_grad():
        other.model.embedding.weight.add_(1)
    assert _write(lm) == _write(copy.deepcopy(lm))
    assert not torch.equal(other.model(IDS), lm.model(IDS))


def test_steppers_states_and_results(network, lm):
    stepper = make_stepper(network)
    with torch.inference_mode():
        first = stepper.start([[61, 3]], 8, per_prompt=1)
    other = pickle.loads(pickle.dumps(stepper))
    token = first.argmax(-1)
    with torch.inference_mode():
        assert torch.equal(other.step(token, None), stepper.step(token, None))
    for thing in (
        generate_ids(network, [[61]], make_config({"method": "greedy", "max_new_tokens": 2}))[0][0],
        lm.write("w1", method="greedy", max_new_tokens=2, logprobs=True)[0],
        next(iter(lm.events("w1", method="greedy", max_new_tokens=2))),
        make_config({"seed": 3}),
        network.config,
    ):
        assert pickle.loads(pickle.dumps(thing)) == thing
        assert copy.deepcopy(thing) == thing
    state = network.init_state(1, 8)
    network(IDS, state=state)
    assert pickle.loads(pickle.dumps(state)).lengths.tolist() == [4]


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_in_a_pool_and_a_data_loader(tmp_path, method):
    pytest.importorskip("ts_tokenizer", reason="reads the demo model's vocabulary")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run([sys.executable, str(script), method], capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout.strip() == "True", done.stderr

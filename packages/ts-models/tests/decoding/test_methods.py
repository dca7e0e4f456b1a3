"""Each method writes what its definition says."""

import itertools
import math

import pytest
import torch

from ts_models import GenerationConfig
from ts_models.errors import ConfigError, ContextError
from ts_models.generation import METHODS, Step, TorchStepper, generate, generate_ids, generate_steps, stream
from ts_models.generation.logits import generators

pytestmark = pytest.mark.filterwarnings("ignore:generation.*no effect")

PROMPTS = [[61, 3, 4, 5, 6], [61], [61, 9, 8], [61, 3]]


def scored(network, prompt, ids):
    """Sum of log-probabilities of ids behind the prompt, bos, unk and pad excluded beforehand."""
    with torch.no_grad():
        logits = network(torch.tensor([[*prompt, *ids]]))[0]
    logits[:, list(network.config.banned_ids)] = -math.inf
    logprobs = logits.log_softmax(-1)
    return sum(logprobs[len(prompt) - 1 + place, token].item() for place, token in enumerate(ids))


def all_stories(writable, eos, length):
    """Every sequence that ends with eos, or has the full length."""
    for size in range(1, length + 1):
        for head in itertools.product([token for token in writable if token != eos], repeat=size - 1):
            yield [*head, eos]
    yield from map(list, itertools.product([token for token in writable if token != eos], repeat=length))


@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.0, -1.0])
def test_beam_equals_exhaustive_search(tiny, penalty):
    prompt, length = [5, 0], 4
    ranked = sorted(all_stories(range(5), 4, length), key=lambda ids: -scored(tiny, prompt, ids) / len(ids) ** penalty)
    config = GenerationConfig(method="beam", num_beams=400, max_new_tokens=length, length_penalty=penalty, num_return_sequences=5)
    found = generate_ids(tiny, [prompt], config)[0]
    assert [hypothesis.ids for hypothesis in found] == ranked[:5]
    assert found[0].score == pytest.approx(scored(tiny, prompt, ranked[0]) / len(ranked[0]) ** penalty, abs=1e-4)


def test_beam_stops_early_without_loss(tiny):
    """Few beams: the same result as when every beam is followed to the full length."""
    config = GenerationConfig(method="beam", num_beams=3, max_new_tokens=12, num_return_sequences=3)
    scores = [hypothesis.score for hypothesis in generate_ids(tiny, [[5, 0]], config)[0]]
    assert scores == sorted(scores, reverse=True)


def test_greedy_writes_the_likeliest(network):
    ids = generate(network, [[61, 3, 4]], method="greedy", max_new_tokens=6)[0]
    written = [61, 3, 4]
    for token in ids:
        with torch.no_grad():
            logits = network(torch.tensor([written]))[0, -1]
        logits[list(network.config.banned_ids)] = -math.inf
        assert token == int(logits.argmax())
        written.append(token)


@pytest.mark.parametrize("method", METHODS)
def test_a_batch_equals_its_parts(network, method):
    options = {"method": method, "max_new_tokens": 10, "seed": 3, "num_beams": 3, "temperature": 1.5}
    together = generate(network, PROMPTS, **options)
    assert together == [generate(network, [prompt], **options)[0] for prompt in PROMPTS]
    assert together[::-1] == generate(network, PROMPTS[::-1], **options)
    many = generate(network, PROMPTS * 4, **options)  # wide enough for the path of whole-batch products
    assert many[:4] == together


@pytest.mark.parametrize("method", METHODS)
def test_both_steppers_write_the_same(transformer, method):
    config = GenerationConfig(method=method, max_new_tokens=12, seed=3, num_beams=3, num_return_sequences=2)
    fast, plain = (
        generate_ids(transformer, PROMPTS, config),
        generate_ids(transformer, PROMPTS, config, stepper=TorchStepper(transformer)),
    )
    assert [[h.ids for h in group] for group in fast] == [[h.ids for h in group] for group in plain]


def test_seeds(small):
    options = {"method": "sample", "temperature": 1.0, "max_new_tokens": 12}
    one = generate(small, [[61]], seed=1, **options)
    assert one == generate(small, [[61]], seed=1, **options)
    assert one != generate(small, [[61]], seed=2, **options)
    assert len({tuple(generate(small, [[61]], **options | {"temperature": 4.0})[0]) for _ in range(5)}) > 1  # no seed: drawn anew
    three = generate(small, [[61]], seed=1, num_return_sequences=3, **options)
    assert three[0] == one[0]
    assert len(set(map(tuple, three))) == 3
    assert three == generate(small, [[61]] * 3, seed=1, **options)  # the same prompt again goes on with the next stream


@pytest.mark.parametrize("filters", [{}, {"temperature": 1.3}, {"top_k": 4}, {"top_p": 0.6}, {"min_p": 0.2}])
def test_frequencies_match_the_distribution(tiny, filters):
    """Chi-squared over 4,000 first tokens; the bound is passed by chance once in some 10,000 runs, and the seed is fixed."""
    count = 4000
    first = [
        ids[0]
        for ids in generate(tiny, [[5, 0]], method="sample", seed=11, max_new_tokens=1, num_return_sequences=count, **filters)
    ]
    with torch.no_grad():
        logits = tiny(torch.tensor([[5, 0]]))[0, -1]
    chances = (logits[:5] / filters.get("temperature", 0.7)).softmax(0)
    ranks = chances.argsort(descending=True)
    keep = torch.ones(5, dtype=torch.bool)
    if "top_k" in filters:
        keep[ranks[filters["top_k"] :]] = False
    if "top_p" in filters:
        before = chances[ranks].cumsum(0) - chances[ranks]
        keep[ranks[before >= filters["top_p"]]] = False
    if "min_p" in filters:
        keep = chances >= filters["min_p"] * chances.max()
    expected = torch.where(keep, chances, 0) / chances[keep].sum() * count
    observed = torch.bincount(torch.tensor(first), minlength=8).float()
    assert observed[:5][~keep].sum() == 0
    assert observed[5:].sum() == 0
    chi2 = float(((observed[:5] - expected)[keep] ** 2 / expected[keep]).sum())
    assert chi2 < {1: 15.2, 2: 18.5, 3: 21.2, 4: 23.6}.get(int(keep.sum()) - 1, 1e-9) or int(keep.sum()) == 1


def test_beam_sample_draws_without_replacement(tiny):
    """With one beam the first token is a plain draw; its frequencies are the model's."""
    count = 1500
    ids = generate(tiny, [[5, 0]] * count, method="beam-sample", temperature=1.0, num_beams=1, max_new_tokens=1, seed=3)
    first = torch.bincount(torch.tensor([row[0] for row in ids]), minlength=8).float()
    with torch.no_grad():
        chances = tiny(torch.tensor([[5, 0]]))[0, -1][:5].softmax(0)
    # Two are drawn and the likelier one is kept: P(i) = Σ_j p_i p_j / (1 - p_i) + p_j p_i / (1 - p_j) over less likely j.
    expected = torch.zeros(5)
    for i, j in itertools.permutations(range(5), 2):
        expected[i if chances[i] > chances[j] else j] += chances[i] * chances[j] / (1 - chances[i])
    assert first[5:].sum() == 0
    assert float((expected.sum() - 1).abs()) < 1e-5
    chi2 = float(((first[:5] - expected * count) ** 2 / (expected * count).clamp(min=1e-3)).sum())
    assert chi2 < 23.6


def test_what_is_never_written(network):
    with torch.no_grad():
        weight = network.embedding.weight if getattr(network.config, "tie_embeddings", False) else network.head.weight
        weight[list(network.config.banned_ids)] *= 50
    for method in METHODS:
        for ids in generate(network, PROMPTS, method=method, max_new_tokens=20, seed=1, num_beams=3):
            assert not set(ids) & set(network.config.banned_ids)


def test_eos_ends_and_min_new_tokens_holds_it_off(tiny):
    config = GenerationConfig(method="sample", max_new_tokens=30, seed=5, num_return_sequences=40)
    found = generate_ids(tiny, [[5, 0]], config)[0]
    assert {hypothesis.finish for hypothesis in found} == {"eos", "length"}
    for hypothesis in found:
        assert (hypothesis.finish == "eos") == (hypothesis.ids[-1] == 4)
        assert 4 not in hypothesis.ids[:-1]
    for method in METHODS:
        options = {"method": method, "max_new_tokens": 9, "min_new_tokens": 7, "seed": 5}
        assert all(len(ids) >= 7 for ids in generate(tiny, [[5, n] for n in range(4)], **options))


def test_stop_ids_end(tiny):
    config = GenerationConfig(method="sample", max_new_tokens=30, seed=5, num_return_sequences=20, stop_ids=(2,))
    found = generate_ids(tiny, [[5, 0]], config)[0]
    assert "stop" in {hypothesis.finish for hypothesis in found}
    assert all(2 not in hypothesis.ids[:-1] for hypothesis in found)


@pytest.mark.parametrize("method", METHODS)
def test_the_context_is_the_end(small, method):
    config = GenerationConfig(method=method, max_new_tokens=200, min_new_tokens=200, seed=1)
    for prompt in ([61], [61] * 40):
        found = generate_ids(small, [prompt], config)[0][0]
        assert len(prompt) + len(found.ids) == small.config.max_seq_len
        assert found.finish == "context"
    with pytest.raises(ContextError, match="48"):
        generate_ids(small, [[61] * 48], config)


def test_bad_prompts_and_options(small):
    with pytest.raises(ConfigError, match="empty"):
        generate(small, [[]])
    with pytest.raises(ConfigError, match="64"):
        generate(small, [[64]])
    with pytest.raises(ConfigError, match="num_beans"):
        generate(small, [[61]], num_beans=3)
    with pytest.raises(ConfigError, match="stop_ids"):
        generate(small, [[61]], stop=("end",))
    assert generate(small, []) == []


@pytest.mark.parametrize("method", METHODS)
def test_streams_give_what_generate_gives(small, method):
    options = {"method": method, "max_new_tokens": 15, "seed": 2, "num_beams": 3}
    assert list(stream(small, [61, 4], **options)) == generate(small, [[61, 4]], **options)[0]


@pytest.mark.parametrize("method", METHODS)
def test_logprobs_are_the_models_own(small, method):
    config = GenerationConfig(method=method, max_new_tokens=6, seed=2, num_beams=2, temperature=3.0, repetition_penalty=1.3)
    found = generate_ids(small, [[61, 4]], config, logprobs=True, alternatives=3)[0][0]
    with torch.no_grad():
        whole = small(torch.tensor([[61, 4, *found.ids]]))[0].log_softmax(-1)
    for place, token in enumerate(found.ids):
        assert found.logprobs[place] == pytest.approx(whole[1 + place, token].item(), abs=1e-4)
        best = whole[1 + place].topk(3)
        assert [number for number, _ in found.alternatives[place]] == best.indices.tolist()
    steps = [step for step in generate_steps(small, [[61, 4]], config, logprobs=True) if isinstance(step, Step)]
    assert [value for step in steps for value in step.logprobs] == pytest.approx(found.logprobs)


def test_a_story_without_a_context_may_be_of_any_length(networks):
    """Nothing is set aside for the longest story; each sequence goes on reading its own stream of random numbers."""
    gru = networks["gru"]
    with torch.no_grad():
        gru.head.weight.zero_()
        gru.head.bias.zero_()  # all tokens are equally likely
    for row, story in enumerate(generate(gru, [[61], [61, 3]], temperature=1, seed=5, min_new_tokens=600, max_new_tokens=600)):
        drawn = generators([[61], [61, 3]], 1, 5)[row].random(600)
        assert story == [int(value * 60) for value in drawn]
    with torch.no_grad():
        gru.head.bias[60] = 9.0  # <eos>, soon
    for method in METHODS:
        options = {"num_beams": 2, "length_penalty": 0} if "beam" in method else {}
        found = generate(gru, [[61]], method=method, max_new_tokens=10**15, repetition_penalty=1.1, seed=1, **options)
        assert found[0][-1] == 60


def test_a_network_in_training_is_left_in_training(small):
    small.train()
    generate(small, [[61]], method="greedy", max_new_tokens=2)
    assert small.training


def test_repetition_rules_hold_in_stories(small):
    for method in METHODS:
        for ids in generate(small, PROMPTS, method=method, max_new_tokens=30, no_repeat_ngram_size=2, seed=1, min_new_tokens=30):
            pairs = list(itertools.pairwise(ids))
            assert len(pairs) == len(set(pairs))
    plain = generate(small, [[61]], method="greedy", max_new_tokens=30, min_new_tokens=30)[0]
    varied = generate(small, [[61]], method="greedy", max_new_tokens=30, min_new_tokens=30, repetition_penalty=5.0)[0]
    assert len(set(varied)) > len(set(plain))

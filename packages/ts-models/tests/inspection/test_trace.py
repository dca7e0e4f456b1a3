"""`trace`: the tensors of every network by name, changes by the same names, gradients, and a plain pass that stays as it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import ts_models
from ts_models import ConfigError, LanguageModel, trace

IDS = torch.tensor(
    [[61, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17], [61, 9, 9, 8, 7, 1, 1, 2, 3, 5, 8, 2, 1, 0, 4, 4, 2, 1]]
)


def of_shape(shape: str, config) -> list[int | None]:
    """A documented shape as numbers; None for a word that is no size of the config."""
    known = {"batch": 2, "time": 18, "seen": 18, "d_model": config.d_model, "vocab_size": config.vocab_size}
    if hasattr(config, "d_hidden"):
        known["d_hidden"] = config.d_hidden
    else:
        known |= {"heads": config.n_heads, "kv_heads": config.kv_heads, "head_dim": config.head_size, "d_ff": config.d_ff}
        known["2·d_ff"] = 2 * config.d_ff
    return [known[word] for word in shape.strip("[]").split(", ")]


def test_every_name_is_recorded_with_its_documented_shape(network):
    with torch.no_grad(), trace(network, "*") as t:
        logits = network(IDS)
    assert set(t) == set(t.names)
    for name, shape in t.names.items():
        assert list(t[name].shape) == of_shape(shape, network.config), name
    assert torch.equal(t["logits"], logits)
    torch.testing.assert_close(logits, network(IDS), atol=2e-5, rtol=1e-4)


def test_the_plain_pass_is_the_same_to_the_bit_and_the_same_code(network):
    with torch.no_grad():
        before = network(IDS)
        with trace(network, "*"):
            network(IDS)
        after = network(IDS)
    assert torch.equal(before, after)
    assert not {"hidden", "logits", "forward", "_traced"} & set(vars(network))
    assert not any(module._forward_hooks for module in network.modules())


def test_a_trace_that_records_little_takes_the_fused_attention(transformer):
    with torch.no_grad(), trace(transformer, "blocks.0.resid_post"):
        assert torch.equal(transformer(IDS), transformer(IDS))
    with torch.no_grad():
        plain = transformer(IDS)
        with trace(transformer, "blocks.0.resid_post"):
            torch.testing.assert_close(transformer(IDS), plain, atol=1e-6, rtol=1e-5)


def test_state_and_right_padding(network):
    """Prompts of two lengths, then one token each: as a plain network does it."""
    lengths = torch.tensor([18, 11])

    def run() -> torch.Tensor:
        state = network.init_state(2, 30)
        first = network(IDS, state=state, lengths=lengths)
        then = network(torch.tensor([[3], [4]]), state=state)
        return torch.stack([first[0, 17], first[1, 10], then[0, 0], then[1, 0]])

    with torch.no_grad():
        plain = run()
        with trace(network, "*") as t:
            torch.testing.assert_close(run(), plain, atol=2e-5, rtol=1e-4)
    assert t["logits"].shape[1] == 1


def test_packed_documents(network):
    segments = torch.tensor([[0] * 7 + [1] * 11, [0] * 18])
    with torch.no_grad():
        plain = network(IDS, segments=segments)
        with trace(network, "*"):
            torch.testing.assert_close(network(IDS, segments=segments), plain, atol=2e-5, rtol=1e-4)


def test_patterns_of_attention_are_causal_distributions(transformer):
    with torch.no_grad(), trace(transformer, "blocks.*.attention.pattern") as t:
        transformer(IDS)
    assert len(t) == transformer.config.n_layers
    for name in t:
        torch.testing.assert_close(t[name].sum(-1), torch.ones(2, transformer.config.n_heads, 18))
        assert t[name].triu(1).abs().max() == 0
    if transformer.config.local_layers == (1,):
        assert (t["blocks.1.attention.pattern"] > 0).sum(-1).max() == transformer.config.local_window


def test_an_ablated_head_is_one_whose_output_rows_are_zero(transformer):
    size = transformer.config.head_size
    with torch.no_grad():
        with trace(transformer, "blocks.0.attention.z") as t:
            t.ablate("blocks.0.attention.z", index=np.s_[:, 1])
            changed = transformer(IDS)
        assert t["blocks.0.attention.z"][:, 1].abs().max() == 0
        assert t["blocks.0.attention.z"][:, 0].abs().max() > 0
        transformer.blocks[0].attention.out.weight[:, size : 2 * size] = 0
        torch.testing.assert_close(changed, transformer(IDS), atol=1e-6, rtol=1e-5)


def test_a_pattern_can_be_replaced(small):
    """Every token reads the first one alone: z is the first token's value."""
    first = torch.zeros(18, 18)
    first[:, 0] = 1
    with torch.no_grad(), trace(small, "blocks.1.attention.*") as t:
        t.replace("blocks.1.attention.pattern", first)
        small(IDS)
    torch.testing.assert_close(t["blocks.1.attention.z"], t["blocks.1.attention.v"][:, :, :1].expand(-1, -1, 18, -1))


def test_a_replaced_residual_stream_decides_the_rest(network):
    """Activation patching: what another text had at the last named tensor gives that text's logits."""
    name = "blocks.1.resid_post" if network.config.kind == "transformer" else "layers.1.hidden"
    other = IDS.flip(1)
    with torch.no_grad():
        with trace(network, name) as t:
            expected = network(other)
        kept = t[name]
        with trace(network) as t:
            t.replace(name, kept)
            torch.testing.assert_close(network(IDS), expected, atol=1e-6, rtol=1e-5)


def test_a_change_of_a_state_reaches_the_later_steps(recurrent):
    with torch.no_grad():
        plain = recurrent(IDS)
        with trace(recurrent, "layers.0.hidden") as t:
            t.ablate("layers.0.hidden", index=np.s_[:, 5])
            changed = recurrent(IDS)
    assert t["layers.0.hidden"][:, 5].abs().max() == 0
    assert torch.allclose(changed[:, :5], plain[:, :5], atol=1e-5)
    assert (changed[:, 6:] - plain[:, 6:]).abs().amax(dim=(0, 2)).min() > 1e-4


def test_scale_and_functions(small):
    with torch.no_grad(), trace(small, "logits", "blocks.0.feed_forward.out") as t:
        plain = small(IDS)
        before = t["blocks.0.feed_forward.out"]
        t.scale("logits", 2.0)
        torch.testing.assert_close(small(IDS), 2 * plain)
        t.replace("logits", lambda x: x.clamp(max=0))
        assert small(IDS).max() == 0
        t.scale("blocks.0.feed_forward.out", torch.tensor([1.0, 3.0])[:, None, None])
        small(IDS)
    torch.testing.assert_close(t["blocks.0.feed_forward.out"][1], 3 * before[1])


def test_gradients_flow_through_what_is_recorded(network):
    vectors = []
    handle = network.embedding.register_forward_hook(lambda module, ids, out: vectors.append(out))
    plain = network(IDS)[:, -1].square().sum()
    handle.remove()
    weights, at_embedding = torch.autograd.grad(plain, [network.embedding.weight, vectors[0]])
    with trace(network, "*") as t:
        network(IDS)[:, -1].square().sum().backward()
    torch.testing.assert_close(network.embedding.weight.grad, weights, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(t["embedding"].grad, at_embedding, atol=1e-3, rtol=1e-3)
    if network.config.kind == "transformer":
        assert all(t[name].grad is not None for name in t)


def test_gradients_flow_to_what_replaces(small):
    value = torch.zeros(32, requires_grad=True)
    with trace(small) as t:
        t.replace("blocks.0.resid_post", value, index=np.s_[:, 3])
        small(IDS).square().sum().backward()
    assert value.grad.abs().max() > 0


def test_generation_in_the_block_is_changed_too(lm):
    options = {"method": "greedy", "max_new_tokens": 8, "min_new_tokens": 8}
    plain = lm.generate("w1 w2", **options)
    with trace(lm, "logits") as t:
        assert lm.generate("w1 w2", **options) == plain
        t.replace("logits", lambda x: torch.nn.functional.one_hot(torch.tensor(7), 64).float().expand_as(x) * 9)
        assert lm.generate("w1 w2", **options) == "w1 w2" + " w7" * 8
    assert lm.generate("w1 w2", **options) == plain


def test_any_module_by_the_names_of_its_parts():
    net = nn.Sequential(nn.Embedding(9, 4), nn.LSTM(4, 6, batch_first=True))
    ids = torch.tensor([[1, 2, 3]])
    with trace(net, "*") as t:
        out, _ = net(ids)
        t.ablate("1", index=np.s_[:, :, 0])
        changed, _ = net(ids)
    assert t["0"].shape == (1, 3, 4)
    assert changed[..., 0].abs().max() == 0
    assert torch.equal(changed[..., 1:], out[..., 1:])
    assert not net[1]._forward_hooks
    assert torch.equal(net(ids)[0], out)


@pytest.mark.parametrize(
    ("act", "sentence"),
    [
        (
            lambda t: t.ablate("blocks.0.atention.pattern"),
            "no tensor is named 'blocks.0.atention.pattern'.*blocks.0.attention.pattern",
        ),
        (lambda t: t["logits"], "'logits' is not recorded"),
        (lambda t: t["embedding"], "call the model inside"),
    ],
)
def test_a_wrong_name_is_named(small, act, sentence):
    with trace(small, "embedding") as t, pytest.raises(ConfigError, match=sentence):
        act(t)


def test_what_cannot_be_traced_is_said(small):
    with pytest.raises(ConfigError, match="no tensor is named"), trace(small, "layers.0.hidden"):
        pass
    with trace(small), pytest.raises(ConfigError, match="traced already"), trace(small):
        pass
    with trace(small) as t:
        t.replace("logits", torch.zeros(5))
        with pytest.raises(ConfigError, match=r"shape \[5\] does not fit logits"):
            small(IDS)
    compiled = nn.Module()
    compiled._orig_mod = small
    with pytest.raises(ConfigError, match="compiled"), trace(compiled):
        pass
    assert torch.isfinite(small(IDS)).all()  # after errors, it is as before


def test_models_of_others_are_traced_by_the_same_names(tmp_path):
    """A Llama folder opens as a Transformer of ours."""
    small = ts_models.build("story-1m", vocab_size=32, n_layers=1, qk_norm=False)
    with trace(LanguageModel(small), "blocks.0.attention.pattern") as t:
        small(IDS % 32)
    assert t["blocks.0.attention.pattern"].shape == (2, 4, 18, 18)

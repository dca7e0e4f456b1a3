"""The talk's presets: parameter counts of the facts, and the forward pass of a reference made of PyTorch's own parts."""

from __future__ import annotations

import math
import sys

import pytest
import torch
from torch import Tensor, nn

import ts_models
import ts_models.errors
from ts_models.architectures import build_for_inference
from ts_models.layers import positions
from ts_models.layers.positions import RotaryEmbedding
from ts_models.presets import PRESETS
from ts_models.schemas import RecurrentConfig

COUNTS = {
    "talk-1m": 1_000_105,
    "talk-5m": 5_009_684,
    "talk-5m-laptop": 5_008_871,
    "talk-10m": 10_008_902,
    "talk-15m": 14_705_152,
    "talk-35m": 35_690_496,
    "talk-5m-rnn": 5_002_444,
    "talk-5m-lstm": 5_042_432,
    "talk-5m-gru": 5_225_276,
}


@pytest.mark.parametrize("name", COUNTS)
def test_parameter_counts_are_the_facts(name: str) -> None:
    with torch.device("meta"):
        model = build_for_inference(PRESETS[name].config)
    assert sum(parameter.numel() for parameter in model.parameters()) == COUNTS[name]
    assert ts_models.count_parameters(PRESETS[name].config) == COUNTS[name] == PRESETS[name].parameters


@pytest.mark.parametrize("name", [name for name in PRESETS if name.startswith("story-")])
def test_story_presets_are_within_two_percent_of_their_name(name: str) -> None:
    with torch.device("meta"):
        model = build_for_inference(PRESETS[name].config)
    count = sum(parameter.numel() for parameter in model.parameters())
    named = 1_000_000 * int(name.removeprefix("story-").removesuffix("m"))
    assert abs(count / named - 1) < 0.02
    assert count == PRESETS[name].parameters == ts_models.count_parameters(PRESETS[name].config)


def reference(model: nn.Module, ids: Tensor, *, sinusoidal: bool, rotary: nn.Module | None) -> Tensor:
    """The same weights in nn.Embedding, nn.TransformerEncoder with a causal mask, nn.Linear."""
    c, state = model.config, model.state_dict()
    layer = nn.TransformerEncoderLayer(c.d_model, c.n_heads, c.d_ff, c.dropout, "gelu", batch_first=True, norm_first=c.norm_first)
    encoder = nn.TransformerEncoder(layer, c.n_layers, enable_nested_tensor=False).eval()
    names = {
        "self_attn.in_proj_weight": "attention.qkv.weight",
        "self_attn.in_proj_bias": "attention.qkv.bias",
        "self_attn.out_proj.weight": "attention.out.weight",
        "self_attn.out_proj.bias": "attention.out.bias",
        "linear1.weight": "feed_forward.up.weight",
        "linear1.bias": "feed_forward.up.bias",
        "linear2.weight": "feed_forward.down.weight",
        "linear2.bias": "feed_forward.down.bias",
        **{f"norm{i}.{kind}": f"norm{i}.{kind}" for i in (1, 2) for kind in ("weight", "bias")},
    }
    theirs = {f"layers.{i}.{t}": state[f"blocks.{i}.{o}"] for i in range(c.n_layers) for t, o in names.items()}
    encoder.load_state_dict(theirs)
    x = state["embedding.weight"][ids]
    batch, time, width = x.shape
    if sinusoidal:
        position = torch.arange(time)[:, None]
        rate = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
        table = torch.zeros(time, width)
        table[:, 0::2], table[:, 1::2] = torch.sin(position * rate), torch.cos(position * rate)
        x = x + table
    if rotary is not None:
        x = rotary(x.view(batch, time, c.n_heads, width // c.n_heads)).reshape(batch, time, width)
    out = encoder(x, mask=nn.Transformer.generate_square_subsequent_mask(time), is_causal=True)
    return out @ state["head.weight"].T + state["head.bias"]


@torch.no_grad()
@pytest.mark.parametrize("name", ["talk-5m-laptop", "talk-10m", "talk-15m", "talk-35m"])
def test_forward_equals_a_reference_of_pytorch_parts(name: str) -> None:
    torch.manual_seed(0)
    config = PRESETS[name].config
    model = build_for_inference(config).eval()
    ids = torch.randint(0, config.vocab_size, (2, 40))
    assert (model(ids) - reference(model, ids, sinusoidal=True, rotary=None)).abs().max() < 1e-5


@torch.no_grad()
@pytest.mark.parametrize("name", ["talk-1m", "talk-5m"])
def test_rotary_embedding_equals_torchtune(name: str) -> None:
    pytest.importorskip("torchtune", reason="needs the extra torchtune")
    from torchtune.modules import RotaryPositionalEmbeddings

    torch.manual_seed(0)
    config = PRESETS[name].config
    trained = ts_models.build(config).eval()
    assert "Torchtune" in type(trained.positions).__name__
    own = build_for_inference(config).eval()
    own.load_state_dict(trained.state_dict())
    ids = torch.randint(0, config.vocab_size, (2, 256))
    rotary = RotaryPositionalEmbeddings(dim=config.d_model // config.n_heads, max_seq_len=256)
    expected = reference(trained, ids, sinusoidal=False, rotary=rotary)
    assert (trained(ids) - expected).abs().max() < 1e-5
    x, positions = torch.randn(2, 256, config.d_model), torch.arange(256)
    assert (own.positions(x, positions) - trained.positions(x, positions)).abs().max() < 1e-6
    assert (own(ids) - expected).abs().max() < 1e-5


@torch.no_grad()
@pytest.mark.parametrize("name", ["talk-5m-rnn", "talk-5m-lstm", "talk-5m-gru"])
def test_recurrent_forward_equals_pytorch(name: str) -> None:
    torch.manual_seed(0)
    config = PRESETS[name].config
    assert isinstance(config, RecurrentConfig)
    model = ts_models.build(name).eval()
    kind = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[config.kind]
    body = kind(config.d_model, config.d_hidden, config.n_layers, batch_first=True)
    state = model.state_dict()
    body.load_state_dict({key.removeprefix("rnn."): value for key, value in state.items() if key.startswith("rnn.")})
    ids = torch.randint(0, config.vocab_size, (2, 20))
    expected = body(state["embedding.weight"][ids])[0] @ state["head.weight"].T + state["head.bias"]
    assert (model(ids) - expected).abs().max() < 1e-5


@pytest.fixture
def without_torchtune(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "torchtune"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torchtune", None)


@pytest.mark.usefixtures("without_torchtune")
def test_rope_talk_without_torchtune_trains_through_our_rotation() -> None:
    model = ts_models.build("talk-1m").train()
    assert type(model.positions) is RotaryEmbedding
    model(torch.randint(0, 2000, (2, 16))).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.usefixtures("without_torchtune")
def test_torchtune_that_does_not_import_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(positions, "has_torchtune", lambda: True)
    with pytest.raises(ts_models.errors.MissingExtraError, match=r"ts-models\[torchtune\]"):
        ts_models.build("talk-1m")

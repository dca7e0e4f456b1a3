"""What holds for every network: causal, cached = whole, packed = apart, compiled = eager, limits said."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

import ts_models
from ts_models.architectures import build_for_inference
from ts_models.errors import ConfigError, ContextError
from ts_models.schemas import NetworkConfig, RecurrentConfig, TransformerConfig

SMALL: dict[str, Any] = {"vocab_size": 32, "d_model": 16, "n_heads": 2, "n_layers": 2, "d_ff": 24, "max_seq_len": 24}
TALK = {
    "norm": "layernorm",
    "norm_first": False,
    "final_norm": False,
    "feed_forward": "gelu",
    "bias": True,
    "tie_embeddings": False,
}
CONFIGS = {
    "story": TransformerConfig(**SMALL, qk_norm=True),
    "grouped": TransformerConfig(**SMALL, n_kv_heads=1, head_dim=6, feed_forward="relu2"),
    "window": TransformerConfig(**SMALL, positions="learned", local_window=4, local_layers=(1,), attention_scale=1.0),
    "none": TransformerConfig(**SMALL, positions="none"),
    "talk": TransformerConfig(**SMALL, **TALK, positions="sinusoidal"),
    "talk-rope": TransformerConfig(**SMALL, **TALK, positions="rope-embedding"),
    **{
        kind: RecurrentConfig(kind=kind, vocab_size=32, max_seq_len=24, d_model=8, d_hidden=12) for kind in ("rnn", "lstm", "gru")
    },
}


@pytest.fixture(params=CONFIGS)
def model(request: pytest.FixtureRequest) -> ts_models.StoryModel:
    torch.manual_seed(3)
    return build_for_inference(CONFIGS[request.param]).eval()


@torch.no_grad()
def test_is_causal(model: ts_models.StoryModel) -> None:
    ids = torch.randint(0, 32, (2, 12))
    changed = ids.clone()
    changed[:, 7:] = (changed[:, 7:] + 1) % 32
    before, after = model(ids), model(changed)
    assert torch.allclose(before[:, :7], after[:, :7], atol=1e-6)
    assert not torch.allclose(before[:, 7:], after[:, 7:], atol=1e-3)


@pytest.mark.parametrize("shape", [(0, 5), (0, 20), (2, 0), (0, 0)])
def test_ids_without_rows_or_tokens_give_no_logits(model: ts_models.StoryModel, shape: tuple[int, int]) -> None:
    ids = torch.zeros(shape, dtype=torch.long)
    given = {"segments": ids, "lengths": torch.full((shape[0],), shape[1])}
    for names in ((), ("segments",), ("state",), ("state", "lengths")):
        logits = model.train()(ids, **{name: given.get(name, model.init_state(shape[0], 20)) for name in names})
        assert logits.shape == (*shape, 32)
        logits.sum().backward()


@torch.no_grad()
def test_cached_equals_whole_for_ragged_prompts(model: ts_models.StoryModel) -> None:
    ids, lengths = torch.randint(0, 32, (3, 20)), [9, 5, 7]
    whole = model(ids)
    state = model.init_state(3, 20)
    first = model(ids[:, :9], state=state, lengths=torch.tensor(lengths))
    for row, length in enumerate(lengths):
        assert torch.allclose(first[row, :length], whole[row, :length], atol=1e-5)
    for step in range(8):
        token = torch.stack([ids[row, length + step] for row, length in enumerate(lengths)])[:, None]
        logits = model(token, state=state)[:, 0]
        for row, length in enumerate(lengths):
            assert torch.allclose(logits[row], whole[row, length + step], atol=1e-5)
    assert state.lengths.tolist() == [17, 13, 15]


@torch.no_grad()
def test_state_goes_on_in_pieces_and_reorders(model: ts_models.StoryModel) -> None:
    ids = torch.randint(0, 32, (2, 16))
    whole = model(ids)
    state = model.init_state(2, 16)
    model(ids[:, :6], state=state)
    state.reorder(torch.tensor([1, 0]))
    after = model(ids.flip(0)[:, 6:], state=state)
    assert torch.allclose(after, whole.flip(0)[:, 6:], atol=1e-5)


@torch.no_grad()
def test_packed_documents_do_not_see_each_other(model: ts_models.StoryModel) -> None:
    ids = torch.randint(0, 32, (2, 16))
    segments = torch.tensor([[0] * 5 + [1] * 11, [0] * 9 + [1] * 3 + [2] * 4])
    packed = model(ids, segments=segments)
    for row, cuts in enumerate([(0, 5, 16), (0, 9, 12, 16)]):
        for start, end in pairwise(cuts):
            alone = model(ids[row : row + 1, start:end])
            assert torch.allclose(packed[row, start:end], alone[0], atol=1e-5)


@torch.no_grad()
def test_segments_and_state_exclude_each_other(model: ts_models.StoryModel) -> None:
    ids = torch.zeros(1, 4, dtype=torch.int64)
    with pytest.raises(ContextError, match="exclude"):
        model(ids, state=model.init_state(1, 8), segments=ids)


@torch.no_grad()
@pytest.mark.parametrize("name", ["talk", "talk-rope", "window"])
def test_beyond_the_context_is_an_error(name: str) -> None:
    model = build_for_inference(CONFIGS[name]).eval()
    with pytest.raises(ContextError, match="25 tokens exceed the model's context of 24"):
        model(torch.zeros(1, 25, dtype=torch.int64))


@torch.no_grad()
@pytest.mark.parametrize("name", ["story", "none", "gru"])
def test_rope_none_and_recurrent_extrapolate(name: str) -> None:
    model = build_for_inference(CONFIGS[name]).eval()
    assert torch.isfinite(model(torch.zeros(1, 40, dtype=torch.int64))).all()


@torch.no_grad()
def test_a_full_state_is_an_error() -> None:
    model = build_for_inference(CONFIGS["story"]).eval()
    state = model.init_state(1, 4)
    with pytest.raises(ContextError, match="do not fit"):
        model(torch.zeros(1, 5, dtype=torch.int64), state=state)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_parameter_has_a_gradient_and_training_with_dropout_runs(name: str) -> None:
    torch.manual_seed(0)
    config = CONFIGS[name].model_copy(update={"dropout": 0.2})
    model = build_for_inference(config).train()
    model(torch.randint(0, 32, (3, 24))).square().mean().backward()
    missing = [key for key, value in model.named_parameters() if value.grad is None]
    assert not missing
    again = [model(torch.ones(1, 24, dtype=torch.int64)) for _ in range(2)]
    assert not torch.allclose(*again)


def test_zero_init_blocks_begin_as_the_identity() -> None:
    model = build_for_inference(TransformerConfig(**SMALL, zero_init=True)).eval()
    ids = torch.randint(0, 32, (1, 6))
    with torch.no_grad():
        assert torch.equal(model.hidden(ids), model.norm(model.embedding(ids)))


@pytest.mark.slow
@pytest.mark.parametrize("name", list(CONFIGS))
def test_compiles_as_the_readme_says(name: str) -> None:
    """Transformers without a graph break; recurrent networks with one, until Dynamo traces PyTorch's RNNs."""
    torch.compiler.reset()  # PyTorch counts recompilations of one `forward` over all its instances
    torch.manual_seed(0)
    model = build_for_inference(CONFIGS[name]).eval()
    ids = torch.randint(0, 32, (2, 16))
    whole = isinstance(model.config, TransformerConfig)
    if not whole:
        with pytest.raises(Exception, match="RNN, GRU, or LSTM"):
            torch.compile(model, fullgraph=True, backend="eager")(ids)
        torch.compiler.reset()
    compiled = torch.compile(model, fullgraph=whole, backend="eager")
    assert torch.allclose(compiled(ids), model(ids), atol=1e-5)
    segments = torch.tensor([[0] * 5 + [1] * 11] * 2)
    assert torch.allclose(compiled(ids, segments=segments), model(ids, segments=segments), atol=1e-5)
    dropping = build_for_inference(CONFIGS[name].model_copy(update={"dropout": 0.1})).train()
    torch.compile(dropping, fullgraph=whole, backend="eager")(ids).sum().backward()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"d_model": 15, "n_heads": 2, "head_dim": None}, "multiple of n_heads"),
        ({"d_model": 16, "n_heads": 4, "n_kv_heads": 3}, "n_kv_heads"),
        ({"head_dim": 3}, "even head_dim"),
        ({"tie_embeddings": True, "head_bias": True}, "tie_embeddings"),
        ({"local_layers": (0,)}, "local_window"),
        ({"eos_id": 99, "vocab_size": 50}, "outside of the vocabulary"),
        ({"d_ffff": 3}, "not a known field"),
    ],
)
def test_configs_that_do_not_hold_name_the_field(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ts_models.build("story-1m", **fields)


def test_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'talk-1m'"):
        ts_models.preset("talk-1")


def test_special_ids_follow_the_vocabulary() -> None:
    config = ts_models.preset("story-1m", vocab_size=100)
    assert (config.eos_id, config.bos_id, config.unk_id, config.pad_id) == (96, 97, 98, 99)
    assert config.banned_ids == (97, 98, 99)


class Stranger(NetworkConfig):
    """The config of a kind of network that joins the table and nothing else: its class is the GRU's."""

    kind: str = "gru"
    d_model: int = 8
    d_hidden: int = 12
    n_layers: int = 2


@pytest.mark.parametrize("given", [{"kind": "gru"}, None, 5, Path("story-1m")])
def test_what_is_neither_a_preset_nor_a_config_is_refused(given: Any) -> None:
    with pytest.raises(TypeError, match="a preset's name or a model config is expected, not of type"):
        ts_models.build(given)


@pytest.mark.parametrize("size", [np.int64(40), np.uint16(40), "40"])
def test_the_special_ids_follow_every_spelling_of_the_vocabulary_s_size(size: Any) -> None:
    assert ts_models.preset("story-1m", vocab_size=size) == ts_models.preset("story-1m", vocab_size=40)


@pytest.mark.parametrize("size", [40.5, float("inf"), "many", [40]])
def test_a_vocabulary_s_size_that_is_no_whole_number_is_named(size: Any) -> None:
    with pytest.raises(ConfigError, match="field `vocab_size`"):
        ts_models.preset("story-1m", vocab_size=size)


@pytest.mark.parametrize(("wrap", "mend"), [(ts_models.LanguageModel, r"lm\.model"), (torch.nn.Sequential, r"ts_models\.build")])
def test_what_is_no_network_is_not_saved(wrap: Any, mend: str, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=f"model: a network of ts_models is expected, .*{mend}"):
        ts_models.save(wrap(build_for_inference(CONFIGS["gru"])), tmp_path / "model")


@pytest.mark.parametrize("name", CONFIGS)
def test_flops_are_those_that_torch_counts(name: str) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    network = build_for_inference(CONFIGS[name]).double().eval()
    ids = torch.zeros(1, 10, dtype=torch.int64)
    for context in (0, 9):
        state = network.init_state(1, context + 1)
        with torch.no_grad():
            if context:
                network(ids[:, :context], state=state)
            with FlopCounterMode(display=False) as counted, sdpa_kernel(SDPBackend.MATH):
                network(ids[:, context : context + 1], state=state)
        assert ts_models.flops_per_token(CONFIGS[name], context) == counted.get_total_flops()


def test_sizes_of_a_kind_without_arithmetic_are_counted_on_its_network() -> None:
    from ts_models import sizes
    from ts_models.io import card

    known = sizes.count_parameters(CONFIGS["gru"])
    config: Any = Stranger(**CONFIGS["gru"].model_dump())
    assert sizes.count_parameters(config) == known
    assert set(sizes.parameters_by_part(config)) == {"embedding", "rnn", "head"}
    assert sizes.flops_per_token(config) == 2 * known
    assert sizes.inference_bytes(config) == 4 * known
    assert sizes.training_bytes(config, batch=1) == 4 * (4 * known + config.max_seq_len * 2 * config.vocab_size)
    assert f"| all | {known:,} |" in card.model_card(config, None, "m")


def test_onnx_refuses_a_kind_whose_memory_it_does_not_know(tmp_path: Path) -> None:
    from ts_models.export import export

    model: Any = build_for_inference(CONFIGS["gru"])
    model.config = Stranger(**CONFIGS["gru"].model_dump())
    with pytest.raises(ConfigError, match="no ONNX export for networks of kind 'gru'; --format transformers takes them"):
        export(ts_models.LanguageModel(model), tmp_path / "model.onnx", format="onnx")
    assert not list(tmp_path.iterdir())

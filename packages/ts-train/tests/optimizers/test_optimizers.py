from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

import ts_train.optimizers
from ts_models.layers.attention import Attention
from ts_models.schemas import TransformerConfig
from ts_train.loss import nll_sum
from ts_train.optimizers import OPTIMIZERS, Optimizers, build_optimizers
from ts_train.optimizers.muon import BatchedMuon, _iterate, fused_rows, orthogonalise
from ts_train.schemas import AdamWConfig, MuonConfig
from ts_train.testing import TinyNetwork


def a_step(model: nn.Module, optimizers: Optimizers, seed: int) -> None:
    torch.manual_seed(seed)
    nll_sum(model(torch.randint(0, 32, (4, 9))), torch.randint(0, 32, (4, 9))).div(36).backward()
    optimizers.share_gradients()
    optimizers.step()
    model.zero_grad()


def test_table_equals_files() -> None:
    folder = Path(ts_train.optimizers.__file__).parent
    assert sorted(OPTIMIZERS) == sorted(p.stem for p in folder.glob("[a-z]*.py")) != []


def test_adamw_decays_matrices_only() -> None:
    model = TinyNetwork()
    (part,) = build_optimizers(model, AdamWConfig(), vocab_size=32).parts
    decayed = {id(p) for p in part.param_groups[0]["params"]}
    assert decayed == {id(model.hidden.weight), id(model.head.weight)}
    assert [g["weight_decay"] for g in part.param_groups] == [0.1, 0.0]
    (whole,) = build_optimizers(model, AdamWConfig(decay_all=True), vocab_size=32).parts
    assert len(whole.param_groups) == 1


def test_muon_takes_hidden_matrices_and_adamw_the_rest() -> None:
    model = TinyNetwork(vocab_size=40)
    muon, adamw = build_optimizers(model, MuonConfig(), vocab_size=40).parts
    assert [id(p) for p in muon.param_groups[0]["params"]] == [id(model.hidden.weight)]
    rest = {id(p) for g in adamw.param_groups for p in g["params"]}
    assert rest == {id(p) for p in model.parameters()} - {id(model.hidden.weight)}


def test_muon_iterates_in_the_runs_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    def dtype(precision: str) -> torch.dtype:
        muon, _ = build_optimizers(TinyNetwork(vocab_size=40), MuonConfig(), vocab_size=40, precision=precision).parts
        chosen: torch.dtype = muon.param_groups[0]["dtype"]
        return chosen

    monkeypatch.setattr("ts_train.optimizers.muon.computes_bf16", lambda: True)
    assert [dtype(p) for p in ("fp32", "bf16", "fp16")] == [torch.float32, torch.bfloat16, torch.float32]
    monkeypatch.setattr("ts_train.optimizers.muon.computes_bf16", lambda: False)
    assert dtype("bf16") == torch.float32


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_muon_equals_torchs_to_bfloat16(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    ours = [nn.Parameter(torch.randn(12, 20)), nn.Parameter(torch.randn(30, 8)), nn.Parameter(torch.randn(12, 20))]
    theirs = copy.deepcopy(ours)
    mine = BatchedMuon(ours, lr=0.1, momentum=0.9, weight_decay=0.01, ns_steps=5, dtype=dtype)
    peer = torch.optim.Muon(theirs, lr=0.1, momentum=0.9, weight_decay=0.01)
    for _ in range(3):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn_like(a)
            b.grad = a.grad.clone()
        mine.step()
        peer.step()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=0.02, atol=0.02)


def test_orthogonalised_singular_values_lie_near_one() -> None:
    torch.manual_seed(0)
    for shape in ((2, 6, 10), (2, 10, 6)):
        values = torch.linalg.svdvals(orthogonalise(torch.randn(shape), steps=5, dtype=torch.float32))
        assert float(values.min()) > 0.3
        assert float(values.max()) < 1.6


def test_wide_and_tall_matrices_iterate_as_square_ones() -> None:
    torch.manual_seed(0)
    matrices = torch.randn(3, 24, 4) @ torch.randn(3, 4, 60) + 1e-3 * torch.randn(3, 24, 60)  # singular values of many sizes
    scaled = (matrices / matrices.norm(dim=(1, 2), keepdim=True)).double()
    expected = _iterate(scaled, 5, lambda left, right: left @ right.mT)
    for given, wanted in ((matrices, expected), (matrices.mT, expected.mT)):
        found = orthogonalise(given, steps=5, dtype=torch.float32).double()
        assert float((found - wanted).norm() / wanted.norm()) < 2e-3


def test_q_k_v_are_split_and_share_memory() -> None:
    attention = Attention(TransformerConfig(d_model=8, n_heads=4, n_kv_heads=2), 0)
    model = nn.Sequential(attention)
    optimizers = build_optimizers(model, MuonConfig(), vocab_size=99)
    shapes = [tuple(p.shape) for p in optimizers.parts[0].param_groups[0]["params"]]
    assert shapes[:3] == [(8, 8), (4, 8), (4, 8)]
    whole = attention.qkv.weight
    before = whole.detach().clone()
    whole.grad = torch.randn_like(whole)
    optimizers.share_gradients()
    optimizers.step()
    assert all(bool((whole[rows] != before[rows]).any()) for rows in (slice(0, 8), slice(8, 12), slice(12, 16)))
    multi = nn.MultiheadAttention(6, 2)
    assert len(fused_rows(multi, "in_proj_weight", multi.in_proj_weight)) == 3


@pytest.mark.parametrize("config", [AdamWConfig(), AdamWConfig(fused=False), MuonConfig(), MuonConfig(fused=False)])
def test_state_goes_out_and_in_to_the_bit(config: AdamWConfig | MuonConfig) -> None:
    torch.manual_seed(3)
    model = TinyNetwork(vocab_size=32)
    optimizers = build_optimizers(model, config, vocab_size=32)
    a_step(model, optimizers, 1)
    twin = copy.deepcopy(model)
    restored = build_optimizers(twin, config, vocab_size=32)
    restored.load_tensors({name: t.clone() for name, t in optimizers.tensors().items()})
    assert optimizers.tensors().keys() == restored.tensors().keys() != set()
    for seed in (2, 3):
        a_step(model, optimizers, seed)
        a_step(twin, restored, seed)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))


def test_a_factor_scales_every_group() -> None:
    optimizers = build_optimizers(TinyNetwork(vocab_size=40), MuonConfig(lr=0.02, adamw_lr=0.004), vocab_size=40)
    assert optimizers.set_factor(0.5) == 0.01
    assert {g["lr"] for p in optimizers.parts for g in p.param_groups} == {0.01, 0.002}

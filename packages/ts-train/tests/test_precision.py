from __future__ import annotations

import torch

from ts_train import _machine
from ts_train._precision import Precision, choose_precision, precision_warnings

CPU = torch.device("cpu")


def test_auto_on_a_cpu_follows_its_units(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(_machine, "multiplies_bf16", lambda device: False)
    assert choose_precision("auto", CPU).name == "fp32"
    monkeypatch.setattr(_machine, "multiplies_bf16", lambda device: True)
    assert choose_precision("auto", CPU).name == "bf16"
    assert "AMX" in choose_precision("auto", CPU).reason


def test_a_wish_is_granted() -> None:
    chosen = choose_precision("fp16", CPU)
    assert (chosen.name, chosen.reason, chosen.dtype) == ("fp16", "asked for", torch.float16)


def test_only_fp16_scales() -> None:
    assert Precision("fp16", "", "cpu").scaler().is_enabled()
    assert not Precision("bf16", "", "cpu").scaler().is_enabled()
    assert not Precision("fp32", "", "cpu").scaler().is_enabled()


def test_autocast_lowers_products_and_keeps_weights() -> None:
    linear = torch.nn.Linear(4, 4)
    with Precision("fp16", "", "cpu").autocast():
        assert linear(torch.ones(1, 4)).dtype == torch.float16
    assert linear.weight.dtype == torch.float32


def test_what_costs_many_times_more_is_said(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(_machine, "multiplies_bf16", lambda device: False)
    assert precision_warnings(Precision("fp32", "", "cpu"), 0.0) == []
    slow, masks = precision_warnings(Precision("bf16", "", "cpu"), 0.1)
    assert "4 to 20 times" in slow
    assert "dropout" in masks
    assert precision_warnings(Precision("fp16", "", "cuda"), 0.1) == []

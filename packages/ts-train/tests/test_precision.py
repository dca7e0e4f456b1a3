from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from ts_train import TrainConfig, Trainer, create_trainer
from ts_train.errors import ConfigError
from ts_train.runtime import hardware
from ts_train.runtime.precision import Precision, choose_precision, precision_warnings
from ts_train.testing import FakeEncoded

from .conftest import TINY

CPU = torch.device("cpu")


def test_auto_on_a_cpu_follows_its_units(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    for flags, name, reason in (
        ({"avx512f"}, "fp32", "no half-precision"),
        ({"avx512f", "avx512_bf16"}, "fp32", "AVX-512"),
        ({"avx512_bf16", "amx_bf16"}, "bf16", "AMX"),
    ):
        monkeypatch.setattr(hardware, "_cpu_flags", lambda flags=flags: frozenset(flags))
        chosen = choose_precision("auto", CPU)
        assert chosen.name == name
        assert reason in chosen.reason


def test_flags_are_words(monkeypatch, tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "cpuinfo").write_text("processor : 0\nflags\t\t: fpu avx512_bf16_of_another_kind avx512f\n\nprocessor : 1\n")
    monkeypatch.setattr(hardware, "Path", lambda _: tmp_path / "cpuinfo")
    hardware._cpu_flags.cache_clear()
    assert hardware._cpu_flags() >= {"fpu", "avx512f"}
    assert not hardware.computes_bf16()
    hardware._cpu_flags.cache_clear()


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
    monkeypatch.setattr(hardware, "_cpu_flags", frozenset)
    assert precision_warnings(Precision("fp32", "", "cpu"), 0.0) == []
    slow, masks = precision_warnings(Precision("bf16", "", "cpu"), 0.1)
    assert "4 to 20 times" in slow
    assert "dropout" in masks
    assert precision_warnings(Precision("fp16", "", "cuda"), 0.1) == []
    monkeypatch.setattr(hardware, "_cpu_flags", lambda: frozenset({"avx512_bf16"}))
    assert precision_warnings(Precision("bf16", "", "cpu"), 0.0) == []


def test_without_proc_and_sysconf_the_machine_is_a_plain_one(monkeypatch, tmp_path) -> None:  # type: ignore[no-untyped-def]
    """As on macOS (no /proc) and Windows (no sysconf either)."""
    monkeypatch.setattr(hardware, "Path", lambda _: tmp_path / "absent")
    monkeypatch.delattr(hardware.os, "sysconf_names", raising=False)
    caches = (hardware._cpu_flags, hardware._cpu_name)
    for cache in caches:
        cache.cache_clear()
    assert not hardware.computes_bf16()
    assert hardware.hardware_name("cpu") == hardware.platform.machine()
    assert hardware.automatic_micro_batch(CPU, vocab_size=2048, step_tokens=10_000) == (1 << 24) // (4 * 2048)
    for cache in caches:
        cache.cache_clear()


@pytest.fixture
def make(data: FakeEncoded, config: Callable[..., TrainConfig]) -> Callable[..., Trainer]:
    """Build a trainer from changed settings."""
    return lambda **changes: create_trainer(config(**changes), data)


@pytest.mark.parametrize(("before", "after"), [("fp32", "fp16"), ("fp16", "fp32"), ("fp32", "bf16")])
def test_a_state_goes_on_in_another_precision(make: Callable[..., Trainer], before: str, after: str) -> None:
    """A scaler that was off leaves no state; the one that is on begins with its own."""
    one, other = make(precision=before), make(precision=after)
    for _ in range(3):
        one.train_step()
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    assert other.state.step == 3
    assert other.train_step().loss == pytest.approx(one.train_step().loss, rel=0.02)


def test_a_state_that_does_not_fit_changes_nothing(make: Callable[..., Trainer]) -> None:
    """A state of another optimizer was taken, and failed or was dropped silently at the next step."""
    muon, plain = make(optimizer={"name": "muon"}), make()
    muon.train_step()
    kept = copy.deepcopy(plain.state_dict())
    for changed, message in (
        (plain, r"of the optimizer muon\+adamw, not adamw"),
        (make(optimizer={"name": "muon"}, ema_decay=0.9), "average.embedding.weight.* and ema_decay"),
        (make(model={**TINY, "d_ff": 32}), "pass the same model"),
    ):
        before = copy.deepcopy(changed.state_dict())
        with pytest.raises(ConfigError, match=message):
            changed.load_state_dict(muon.state_dict())
        after = changed.state_dict()
        assert after["state"] == before["state"]
        assert all(torch.equal(after["tensors"][name], tensor) for name, tensor in before["tensors"].items())
    unfused = make(optimizer={"name": "adamw", "lr": 0.01, "fused": False})
    unfused.load_state_dict(kept)
    assert unfused.train_step().loss == plain.train_step().loss


@pytest.mark.parametrize(
    "field",
    [
        {"epochs": 1e308},
        {"max_minutes": 1e308},
        {"max_steps": 10**30},
        {"max_tokens": 10**30},
        {"batch": {"bucket": 10**30}},
        {"batch": {"pad_to": 10**30}},
        {"threads": 10**5},  # ended the process
        {"optimizer": {"name": "adamw", "lr": 1e38, "fused": False}},
        {"optimizer": {"name": "muon", "lr": 1e308}},
    ],
)
def test_a_number_that_would_overflow_is_refused(config: Callable[..., TrainConfig], field: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="less than or equal to"):
        config(**field)

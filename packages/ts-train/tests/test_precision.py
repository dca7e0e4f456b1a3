from __future__ import annotations

import torch

from ts_train.runtime import hardware
from ts_train.runtime.precision import Precision, choose_precision, precision_warnings

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

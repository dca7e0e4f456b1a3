"""Hardware facts: devices, number formats, cache size, peak FLOP/s of the matrix product."""

import contextlib
import json
import os
import platform
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import torch
from torch import nn

from ts_models import artefact, flops_per_token
from ts_models.errors import TsModelsError
from ts_models.fast.linear import has_onednn, product
from ts_models.schemas import RecurrentConfig, TransformerConfig

from ..errors import ConfigError


def automatic_micro_batch(device: torch.device, *, vocab_size: int, step_tokens: int) -> int:
    """Positions per forward pass: all of them on a GPU; on a CPU as many as keep the fp32 logits within half the last-level cache.

    Measured on two cores at vocabulary 2,048: 2,048 positions give 16.2 k tokens/s, 16,384 give 13.7 k.
    """
    if device.type != "cpu":
        return step_tokens
    return max(256, min(step_tokens, _last_cache_bytes() // 2 // (4 * vocab_size)))


def is_gpu(device: str) -> bool:
    """Whether a run with this `device` setting lands on an NVIDIA GPU."""
    return device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())


def check_device(name: str) -> None:
    """Refuse a `device` setting that this machine does not have.

    Raises:
        ConfigError: the name is none of a device, or no such device is here.
    """
    if name in {"auto", "cpu"}:
        return
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"field `device`: {name!r} names no device; there are auto, cpu, cuda, cuda:1 …") from None
    if device.type == "meta":
        raise ConfigError(f"field `device`: {name!r} computes nothing; there are auto, cpu, cuda, cuda:1 …")
    if device.type == "cuda":
        there = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if there <= (device.index or 0):
            what = f"{there} CUDA GPUs" if there else "no CUDA GPU"
            raise ConfigError(
                f"field `device`: is {name!r}, but torch {torch.__version__} finds {what} here. Choose auto or cpu."
            )
        return
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise ConfigError(f"field `device`: is {name!r}, which is not available here. Choose auto or cpu.") from None


def multiplies_bf16(device: torch.device) -> bool:
    """Whether the hardware has units for bfloat16 products: AMX on a CPU, from Ampere on an NVIDIA GPU."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return "amx_bf16" in _cpu_flags()


def computes_bf16() -> bool:
    """Whether this CPU has any instructions for bfloat16 products (AMX or AVX-512).

    AVX-512's are at most twice as fast as fp32; `multiplies_bf16` is the test for a gain.
    """
    return not _cpu_flags().isdisjoint({"amx_bf16", "avx512_bf16"})


@lru_cache
def _cpu_flags() -> frozenset[str]:
    return frozenset(_cpu_line("flags").split())


def _cpu_line(name: str) -> str:
    """What the first line `name : …` of Linux's cpuinfo says; empty on other systems."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")


def _last_cache_bytes() -> int:
    for name in ("SC_LEVEL3_CACHE_SIZE", "SC_LEVEL2_CACHE_SIZE"):
        with_name = getattr(os, "sysconf_names", {}).get(name)  # Windows has none
        if with_name is not None:
            size = os.sysconf(with_name)
            if size > 0:
                return min(size, 1 << 25)  # a server's cache is shared with its other tenants
    return 1 << 25


def best_peak_flops(device: torch.device, dtype: torch.dtype = torch.float32) -> float:
    """`peak_flops`, or the best value measured on this machine so far (device and dtype alike), if that is higher.

    A measurement on a busy machine is low. The best is kept in the user's cache folder ($XDG_CACHE_HOME or ~/.cache), if there is one.
    """
    measured = peak_flops(device, dtype)
    name = hardware_name(device) + ("" if device.type == "cuda" else f", {torch.get_num_threads()} threads")
    key = f"{platform.node()} | {device.type} | {name} | {str(dtype).removeprefix('torch.')}"
    try:
        cache = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    except RuntimeError:  # no home folder
        return measured
    file = Path(cache) / "ts-train" / "peak_flops.json"
    seen = _read_peaks(file)
    before = seen.get(key, 0.0)
    best = before if measured < before < 1000 * measured else measured  # a larger value is damage
    if seen.get(key) != best:
        with contextlib.suppress(OSError, TsModelsError):
            artefact.write_text(file, json.dumps({**seen, key: best}, indent=2, sort_keys=True) + "\n")
    return best


def _read_peaks(file: Path) -> dict[str, float]:
    """The plausible values of the cache; empty if it is missing or damaged."""
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    numbers = {key: value for key, value in found.items() if isinstance(value, int | float) and not isinstance(value, bool)}
    return {key: float(value) for key, value in numbers.items() if 0 < value < 1e18}


def hardware_name(device: torch.device | str) -> str:
    """The GPU's or CPU's name."""
    device = torch.device(device)
    return torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_name()


@lru_cache
def _cpu_name() -> str:
    return _cpu_line("model name") or platform.machine()


def peak_flops(device: torch.device, dtype: torch.dtype = torch.float32) -> float:
    """FLOP/s of a large matrix product: the best of several, by the fastest library."""
    if device.type != "cpu":
        return _product_flops(device, dtype, size=8192, times=6)
    # A CPU without units for a format emulates it at a hundredth of the speed: large products would take a minute. Many tries,
    # because on a busy machine one thread often waits for another, which looks like emulation.
    small = _product_flops(device, dtype, size=256, times=30)
    return small if small < 1e10 else _product_flops(device, dtype, size=1024, times=20)


def _product_flops(device: torch.device, dtype: torch.dtype, *, size: int, times: int) -> float:
    a, b = torch.randn(2, size, size, device=device).to(dtype)
    multiply = _fastest_product(device, dtype)
    best = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        multiply(a, b)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def _fastest_product(device: torch.device, dtype: torch.dtype) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """The product that the zoo's linear layers use: torch's or oneDNN's."""
    return product if device.type == "cpu" and dtype == torch.float32 and has_onednn() else torch.matmul


def training_flops_per_token(model: nn.Module, *, mean_length: float) -> float:
    """FLOPs of forward and backward: 6 per matrix weight, plus causal attention over stories of `mean_length` for models of the zoo."""
    config = getattr(model, "config", None)
    if isinstance(config, TransformerConfig | RecurrentConfig):
        return 3.0 * flops_per_token(config, round((mean_length - 1) / 2))
    embeddings = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    matrices = sum(p.numel() for p in model.parameters() if p.ndim >= 2 and id(p) not in embeddings)
    return 6.0 * matrices


def is_out_of_memory(problem: BaseException) -> bool:
    """Whether an exception says that memory ran out, on a GPU or in the CPU allocator."""
    return isinstance(problem, torch.OutOfMemoryError) or (
        isinstance(problem, RuntimeError) and ("out of memory" in str(problem) or "not enough memory" in str(problem))
    )

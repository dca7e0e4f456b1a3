"""What mixed precision and torch.compile gain on a GPU: tokens/s, utilisation and memory of every preset. No bar, no peer.

Each preset trains for `--seconds` in fp32 (TF32 products), fp16 (with its GradScaler) and bf16, eager and compiled, by the
steps of a real run (`ts_train._loop.train_step`). Utilisation is against the matrix product in the same number format. The
talk saved 30 to 50 % of its time by mixed precision on a GPU; here stands what a machine at hand saves. On a CPU without
units for half precision the half-precision rows show why `precision = "auto"` takes fp32 there.

    python bench/train_precisions.py [--small] [--data encoded/] [--presets story-1m talk-5m …] [--seconds 10] [--batch-tokens 16384]
    python bench/train_precisions.py --cpu-time --eager --precisions fp32 bf16 --presets talk-5m    # one thread, beside other load
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch

from ts_train import TrainConfig, recipe
from ts_train._data import TrainingData, open_data
from ts_train._decide import _trial, build_model, decide, make_batches, make_validation
from ts_train._distributed import World
from ts_train._loop import Trainer, train_step
from ts_train._recipes import combine, recipe_names
from ts_train.testing import fake_encoded


def trainer(preset: str, precision: str, compiled: bool, data: TrainingData, device: torch.device, batch_tokens: int) -> Trainer:
    """The parts of a run of that preset, never stopped and never validated."""
    config = TrainConfig.model_validate(
        combine(recipe(preset), {
            "preset": preset, "precision": precision, "device": str(device), "max_steps": 10**6, "compile": compiled,
            "batch": {"max_tokens": batch_tokens, "arrangement": "bucketed"},
        })
    )  # fmt: skip
    model = build_model(config, data, None).to(device)
    manifest = decide(config, data, model, World(), device)
    batches = make_batches(config, data, manifest.context)
    validation = make_validation(config, data, manifest.context, manifest.micro_batch_tokens, 8)
    parts = _trial(manifest, data, model, batches, validation, World(), device)
    parts.network = torch.compile(model) if compiled else model  # type: ignore[assignment]
    return parts


def measure(parts: Trainer, seconds: float, clock: Callable[[], float]) -> float:
    """Real tokens per second, after five steps to warm up (and to compile). A step ends with its loss on the host."""
    for _ in range(5):
        train_step(parts)
    start, before = clock(), parts.state.tokens
    while (spent := clock() - start) < seconds or parts.state.tokens == before:
        train_step(parts)
    return (parts.state.tokens - before) / spent


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--small", action="store_true", help="one tiny preset, eager, a second each")
    options.add_argument("--data", help="an encoded/ folder; made-up stories without it")
    options.add_argument("--presets", nargs="+", default=recipe_names())
    options.add_argument("--seconds", type=float, default=10)
    options.add_argument(
        "--batch-tokens", type=int, help="positions per optimizer step; default: 16,384 on a GPU, 1,024 on a CPU"
    )
    options.add_argument("--precisions", nargs="+", default=["fp32", "fp16", "bf16"])
    options.add_argument("--eager", action="store_true", help="nothing compiled")
    options.add_argument("--cpu-time", action="store_true", help="one thread, by CPU time: for a machine with other load")
    chosen = options.parse_args()
    clock = time.process_time if chosen.cpu_time else time.perf_counter
    if chosen.cpu_time:
        torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    on_gpu = device.type == "cuda"
    torch.set_float32_matmul_precision("high" if on_gpu else "highest")
    data = open_data(chosen.data or fake_encoded(stories=1200, vocab_size=2048, shortest=60, longest=350))
    presets, seconds = (["story-1m"], 1.0) if chosen.small else (chosen.presets, chosen.seconds)
    name = torch.cuda.get_device_name() if on_gpu else f"CPU, {torch.get_num_threads()} thread(s)"
    print(
        f"torch {torch.__version__}, {name}, {chosen.batch_tokens or (16_384 if on_gpu else 1_024):,} positions a step",
        flush=True,
    )
    for preset in presets:
        base = 0.0
        for compiled in (False,) if chosen.small or chosen.eager else (False, True):
            for precision in chosen.precisions:
                if on_gpu:
                    torch.cuda.reset_peak_memory_stats()
                parts: Any = trainer(
                    preset, precision, compiled, data, device, chosen.batch_tokens or (16_384 if on_gpu else 1_024)
                )
                rate = measure(parts, seconds, clock)
                base = base or rate
                share = rate * parts.manifest.flops_per_token / parts.manifest.peak_flops
                used = "" if chosen.cpu_time else f"{share:5.0%} MFU "  # the peak is in wall-clock time
                memory = f"{torch.cuda.max_memory_allocated() / 2**20:8,.0f} MiB" if on_gpu else ""
                way = "compiled" if compiled else "eager"
                print(
                    f"  {preset:15} {precision} {way:9}{rate:12,.0f} tokens/s {used}{rate / base:6.2f} x {memory}",
                    flush=True,
                )


if __name__ == "__main__":
    main()

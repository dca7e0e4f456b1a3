"""Decoding by several threads: against one thread, against llama2.c and llama.cpp at their best number of threads.

    python bench/models_decode_threads.py [--llama2c path/to/run.c] [--presets story-1m …] [--tokens 150] [--rounds 5] [--small]

All rates are medians of the rounds, measured in turns. llama.cpp is measured where llama-cpp-python and gguf are
installed. Give `--presets` nothing to measure the peers alone.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from _decode_peers import SHAPES, bandwidth, build_llama2c, llama, llama2c_rate, llamacpp_rate, write_gguf, write_llama2c

import ts_models
from ts_models.architectures import build_for_inference
from ts_models.generation import generate_steps, make_stepper
from ts_models.schemas import GenerationConfig

PRESETS = ("story-1m", "story-5m", "story-15m", "story-35m", "talk-15m", "talk-35m")


def ours(network: Any, rows: int, tokens: int, threads: int, precision: str = "float32", *, begun: bool = False) -> float:
    """Tokens per second, greedy. The reading of the prompts is included unless the clock starts at the first token (`begun`)."""
    stepper: Any = make_stepper(network, precision=precision)
    stepper.threads = threads
    config = GenerationConfig(method="greedy", max_new_tokens=tokens, min_new_tokens=tokens)
    begin = time.perf_counter()
    steps = generate_steps(network, [[5 + row, 6, 7] for row in range(rows)], config, stepper=stepper)
    if begun:
        next(steps)
        begin = time.perf_counter()
    for _ in steps:
        pass
    return rows * (tokens - begun) / (time.perf_counter() - begin)


def in_turns(actions: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """The median of each action's rates, after one round that does not count."""
    rates: dict[str, list[float]] = {name: [] for name in actions}
    for round_ in range(rounds + 1):
        for name, action in actions.items():
            rate = action()
            if round_:
                rates[name].append(rate)
    return {name: statistics.median(values) for name, values in rates.items()}


def against_one(options: argparse.Namespace) -> Iterator[str]:
    for preset in options.presets:
        network = build_for_inference(ts_models.preset(preset)).eval()
        for rows in options.rows:
            tokens = min(options.tokens, network.config.max_seq_len - 4)
            rate = in_turns(
                {str(n): partial(ours, network, rows, tokens, n) for n in (1, options.threads)}, options.rounds
            )  # fmt: skip
            one, many = rate["1"], rate[str(options.threads)]
            yield f"{preset:10} batch {rows:3}  one thread {one:9,.0f}  default {many:9,.0f} tokens/s  ratio {many / one:.2f}"


def against_peers(options: argparse.Namespace, folder: Path) -> Iterator[str]:
    """One story, every clock from the first token on; each peer with the same weights at its best number of threads."""
    speed = bandwidth(options.threads)
    yield f"memory bandwidth, {options.threads} threads: {speed / 1e9:.1f} GB/s"
    program, reason = build_llama2c(options.llama2c, folder)
    if program is None:
        yield f"llama2.c skipped: {reason}"
    else:
        for shape in SHAPES:
            network = llama(shape)
            write_llama2c(network, folder)
            yield from _compare(shape, network, {"llama2.c": partial(llama2c_rate, program, folder)}, speed, options)
    missing = [name for name in ("llama_cpp", "gguf") if find_spec(name) is None]
    if missing:
        yield f"llama.cpp skipped: no module {' or '.join(missing)} (pip install llama-cpp-python gguf)"
    else:
        for preset in ("story-15m", "story-35m"):
            network = build_for_inference(ts_models.preset(preset)).eval()
            files = write_gguf(network, folder)
            peers = {f"llama.cpp {kind}": partial(llamacpp_rate, file) for kind, file in files.items()}
            yield from _compare(preset, network, peers, speed, options)


def _compare(
    name: str, network: Any, peers: dict[str, Callable[[int, int], float]], speed: float, options: argparse.Namespace
) -> Iterator[str]:
    size = 4 * sum(parameter.numel() for parameter in network.parameters() if parameter.dim() == 2)
    tokens = min(options.tokens, 250)
    actions: dict[str, Callable[[], float]] = {
        kind: partial(ours, network, 1, tokens, options.threads, kind, begun=True) for kind in ("float32", "int8")
    }
    for peer, rate_of in peers.items():
        actions |= {f"{peer}, {n} threads": partial(rate_of, tokens, n) for n in sorted({1, options.threads})}
    rate = in_turns(actions, options.rounds)
    fast, small = rate["float32"], rate["int8"]
    yield f"{name} float32: {fast:.0f} tokens/s, {size * fast / speed:.0%} of the bandwidth; int8: {small:.0f}"
    for peer in peers:
        best, label = max((value, label) for label, value in rate.items() if label.startswith(peer))
        yield f"{name} {label} (its best): {best:.0f}; float32 is {fast / best:.2f}, int8 {small / best:.2f} times that"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llama2c", type=Path, help="llama2.c's run.c")
    parser.add_argument("--presets", nargs="*", default=PRESETS)
    parser.add_argument("--rows", nargs="+", type=int, default=(1, 100))
    parser.add_argument("--tokens", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--small", action="store_true", help="a check that it runs")
    options = parser.parse_args()
    if options.small:
        options.presets, options.rows, options.tokens, options.rounds = ["story-1m"], (1, 17), 12, 1
    torch.set_num_threads(options.threads)
    load = os.getloadavg()[0]
    print(f"ts_models {ts_models.__version__}, torch {torch.__version__}, {options.threads} threads, load {load:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        for line in chain(against_one(options), () if options.small else against_peers(options, Path(folder))):
            print(line, flush=True)
    print(f"load at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()

"""Runs every kernel on fixed numbers and prints a SHA-256 of each output as JSON: for test_cold_warm, in processes of its own.

It reads a line of JSON a time, a list of jobs, and runs them side by side, each in a process that is forked before any kernel of ours
is loaded: what a process compiles or reads is its own, while torch and Numba's compiler are loaded once.
"""

from __future__ import annotations

import errno
import hashlib
import json
import sys
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path

import numba
import numpy as np
import torch
from numba.core.caching import IndexDataCacheFile

sys.path.insert(0, str(Path(__file__).parents[1]))
from conftest import CONFIGS, make

from ts_models.fast import available
from ts_models.fast.attention import fused_causal_attention
from ts_models.layers.dropout import Dropout

DECODE = ("story", "talk-rope", "sinusoidal", "learned", "local")


def digest(*arrays: torch.Tensor) -> str:
    whole = hashlib.sha256()
    for array in arrays:
        whole.update(np.ascontiguousarray(array.detach().numpy()).tobytes())
    return whole.hexdigest()[:16]


def attention(time: int, width: int, p: float) -> str:
    torch.manual_seed(1)
    q, k, v = (torch.randn(3, 2, time, width, requires_grad=True) for _ in range(3))
    out = fused_causal_attention(q, k, v, p)
    out.backward(torch.randn_like(out))
    return digest(out, *(x.grad for x in (q, k, v) if x.grad is not None))


def dropout() -> str:
    torch.manual_seed(2)
    x = torch.randn(20_011, requires_grad=True)
    out = Dropout(0.2)(x * 1)
    out.backward(torch.randn_like(out))
    return digest(out, x.grad)  # type: ignore[arg-type]


@torch.inference_mode()
def decode(name: str, precision: str, threads: int) -> str:
    from ts_models.fast.decode import FastStepper

    stepper = FastStepper(make(CONFIGS[name]), precision=precision)
    stepper.threads = threads
    outputs = [stepper.start([[1, 2, 3], [4], [5, 6]], 30, per_prompt=2)]
    for step in range(12):
        logits = torch.empty(6, stepper.weights.head.bias.shape[1])
        lengths = stepper.cache.lengths
        stepper.tokens[:] = np.arange(6) + step
        stepper.cache.where[np.arange(6), lengths // 16] = stepper.slots
        stepper._forward(logits.numpy(), threads, stepper._chunk(threads))
        lengths += 1
        outputs.append(logits[:, :64])
    return digest(*outputs)


def refuse(*_: object) -> None:
    raise OSError(errno.EROFS, "Read-only file system")


def run(cache: str, only: Sequence[str], read_only: bool) -> None:
    """Print the hashes of what begins with one of `only`, or of everything, with the kernels in that cache."""
    numba.config.CACHE_DIR = cache
    if read_only:
        IndexDataCacheFile._open_for_write = refuse
    found = {}
    for time, width, p in ((16, 16, 0.0), (50, 8, 0.1), (97, 24, 0.1), (64, 20, 0.0)):
        found[f"attention {time} {width} {p}"] = lambda time=time, width=width, p=p: attention(time, width, p)
    found["dropout"] = dropout
    for name in DECODE:
        for precision in ("float32", "int8"):
            found[f"decode {name} {precision}"] = lambda name=name, precision=precision: decode(name, precision, 1)
    found["decode threads"] = lambda: decode("story", "float32", 2)
    hashes = {name: make() for name, make in found.items() if not only or name.startswith(tuple(only))}
    print(json.dumps(hashes), flush=True)


def main() -> None:
    torch.set_num_threads(1)
    if not available():
        raise SystemExit("no Numba")
    numba.njit(lambda x: x + 1)(1)  # loads the compiler
    context = get_context("fork")
    for line in sys.stdin:
        loaded = [name for name in sys.modules if name.startswith("ts_models.fast.kernels.")]
        if "ts_models.fast.kernels.jit" in loaded:
            raise SystemExit(f"loaded before the fork: {loaded}")
        processes = [context.Process(target=run, args=job) for job in json.loads(line)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        if any(process.exitcode for process in processes):
            raise SystemExit(1)
        print("ended", flush=True)  # only now is all in the cache: a helper may compile until its process ends


if __name__ == "__main__":
    main()

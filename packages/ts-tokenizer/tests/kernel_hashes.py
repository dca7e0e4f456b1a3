"""Trains, encodes, decodes and prices in its own process, and prints a SHA-256 of each result as JSON: for test_kernels.

With FEW=1 it runs a few loops alone, which compile in seconds.
"""

from __future__ import annotations

import hashlib
import json
import os
from types import ModuleType

import numpy as np

from ts_tokenizer.fast import loops


def digest(*arrays: np.ndarray) -> str:
    return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()[:16]


def few(loops: ModuleType) -> dict[str, str]:
    """Digests of loops that call another loop, that sum floats, and that run with two signatures each."""
    rng = np.random.default_rng(3)
    keys = rng.permutation(1 << 12)[:40].astype(np.int64)
    found: dict[str, str] = {}
    for kind in (np.int32, np.int64):
        slots, values = np.full(128, -1, dtype=np.int64), np.zeros((128, 2), dtype=kind)
        loops.fill_table(keys, np.column_stack([keys, -keys]), slots, values)
        starts, numbers = np.arange(0, 404, 4), rng.integers(0, 40, 400).astype(kind)
        weights = np.column_stack([np.zeros(40), np.ones(40)])
        labels = (numbers[::4] % 2).astype(np.float64)
        loops.learn(starts, numbers, np.arange(100), np.zeros(100), labels, weights, 0.5, 1e-6, 3)
        sums = np.zeros(100)
        loops.sum_weights(starts, numbers, np.arange(100), weights[:, 0].copy(), sums)
        found[kind.__name__] = digest(slots, values, weights, sums)
    return found


def main() -> None:
    if os.environ.get("FEW"):
        print(json.dumps(few(loops)))
        return
    import ts_data
    from ts_tokenizer import WordTokenizer

    if cores := os.environ.get("CORES"):
        os.cpu_count = lambda: int(cores)
    stories = list(ts_data.sample(30, seed=6))
    found: dict[str, str] = {}
    for casing in ("lower", "keep"):
        tokenizer = WordTokenizer.train(stories, vocab_size=400, casing=casing)  # type: ignore[arg-type]
        flat, lengths = tokenizer.encode_flat(stories, add_special_tokens=True)
        stream = tokenizer.stream_decoder()
        found[f"{casing}: file"] = tokenizer.sha256
        found[f"{casing}: ids"] = digest(flat, lengths)
        found[f"{casing}: text"] = digest(np.frombuffer(tokenizer.decode(flat[:4_000]).encode(), np.uint8))
        found[f"{casing}: stream"] = digest(np.frombuffer("".join(map(stream.push, flat[:120].tolist())).encode(), np.uint8))
        found[f"{casing}: bits"] = digest(tokenizer.extra_bits(stories))
    print(json.dumps(found))


if __name__ == "__main__":
    main()

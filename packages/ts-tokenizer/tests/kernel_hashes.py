"""Trains, encodes, decodes and prices in a process of its own and prints a SHA-256 of each result as JSON: for test_kernels."""

from __future__ import annotations

import errno
import hashlib
import json
import os

import numpy as np
from numba.core.caching import IndexDataCacheFile

import ts_data
from ts_tokenizer import WordTokenizer


def refuse(*_: object) -> None:
    raise OSError(errno.EROFS, "Read-only file system")


def digest(*arrays: np.ndarray) -> str:
    return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()[:16]


def main() -> None:
    if os.environ.get("READ_ONLY"):
        IndexDataCacheFile._open_for_write = refuse
    if cores := os.environ.get("CORES"):
        os.cpu_count = lambda: int(cores)
    stories = list(ts_data.sample(50, seed=6))
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

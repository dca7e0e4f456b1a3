"""What the Ray engine costs and gains on one machine: prepare and encode, local and Ray, one worker against two.

    python bench/engine_overhead.py [--small] [--data FILE] [--megabytes 100 500]

All four write the same bytes (checked). The text is made by recombining sentences of FILE (default: the generated sample). Ray's
start, once per command, is within its times.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from data_prepare_speed import make

import ts_data
import ts_tokenizer
from ts_data.artefact import sha256_file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="two sizes of a few MB")
    parser.add_argument("--data", type=Path, help="a text of stories to recombine")
    parser.add_argument("--megabytes", type=float, nargs="+", default=[100, 500])
    args = parser.parse_args()
    pieces = (
        args.data.read_text(encoding="utf-8").split("<|endoftext|>")[:-1]
        if args.data
        else list(ts_data.sample(3_000, seed=1, impurities=True))
    )
    print(f"{'MB':>6} {'engine':>7} {'workers':>8} {'prepare, s':>11} {'encode, s':>10}")
    for size in [2, 8] if args.small else args.megabytes:
        with tempfile.TemporaryDirectory() as folder:
            measure(pieces, size, Path(folder))


def measure(pieces: list[str], size: float, folder: Path) -> None:
    make(pieces, size * 1e6, folder / "raw.txt")
    tokenizer = None
    seen: list[dict[str, str]] = []
    for engine in ("local", "ray"):
        for workers in (1, 2):
            splits, encoded = folder / "splits", folder / f"encoded-{engine}-{workers}"
            start = time.perf_counter()
            ts_data.prepare(folder / "raw.txt", splits, workers=workers, engine=engine, force=True)
            middle = time.perf_counter()
            if tokenizer is None:
                tokenizer = ts_tokenizer.WordTokenizer.train(ts_data.read(splits, "train"))
                tokenizer.save(folder / "word_tokenizer.json")
            again = time.perf_counter()
            ts_tokenizer.encode_splits(splits, folder / "word_tokenizer.json", encoded, workers=workers, engine=engine)
            end = time.perf_counter()
            seen.append({path.name: sha256_file(path) for path in (*splits.iterdir(), *encoded.iterdir())})
            print(f"{size:6,.0f} {engine:>7} {workers:>8} {middle - start:11.1f} {end - again:10.1f}", flush=True)
    assert all(files == seen[0] for files in seen), "the engines wrote different bytes"


if __name__ == "__main__":
    main()

"""2.2 GB of raw stories to splits + vocabulary + encoded: seconds per step and peak memory over all processes.

python bench/tokenizer_scale.py [--small] [--data FILE] [--megabytes 2200] [--folder DIR] [--raw FILE]

The stories are made by recombining the sample's sentences, with made-up words to reach 400,000 distinct chunks. The
time of making them is not counted. Memory is the sum of the resident sets of this process and its children, read ten
times a second (shared pages count more than once, so that the figure is an upper bound).
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
import threading
import time
from pathlib import Path

from _tokenizer_common import read_stories, versions, write_recombined

import ts_data
import ts_tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--megabytes", type=float, default=2200.0)
    parser.add_argument("--folder", type=Path, help="where to work; a temporary folder by default")
    parser.add_argument("--raw", type=Path, help="the raw stories: made there, and nothing measured, where there are none yet")
    parser.add_argument("--small", action="store_true", help="50 MB")
    args = parser.parse_args()
    megabytes = 50.0 if args.small else args.megabytes
    print(versions())
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        raw = args.raw or folder / "raw.txt"
        if not raw.exists():
            count = write_recombined(read_stories(args.data), raw, megabytes, int(400_000 * megabytes / 2200))
            print(f"{count:,} stories, {raw.stat().st_size / 1e6:,.0f} MB")
            if args.raw:
                return
        memory = Memory()
        marks, peaks = [time.perf_counter()], []

        def mark() -> None:
            marks.append(time.perf_counter())
            peaks.append(memory.lap() / 2**30)

        ts_data.prepare(raw, folder / "splits")
        mark()
        tokenizer = ts_tokenizer.WordTokenizer.train(ts_data.read(folder / "splits", "train"))
        mark()
        manifest = ts_tokenizer.encode_splits(folder / "splits", tokenizer, folder / "encoded", workers=2)
        mark()
    steps = [b - a for a, b in itertools.pairwise(marks)]
    tokens = sum(info.tokens for info in manifest.splits.values())
    for name, seconds, peak in zip(("prepare", "vocabulary and decoder", "encode"), steps, peaks, strict=True):
        print(f"{name}: {seconds:.1f} s, peak {peak:.2f} GiB")
    print(f"in all {marks[-1] - marks[0]:.1f} s (bar 100), peak {max(peaks):.2f} GiB (bar 2); {tokens:,} tokens")


class Memory:
    """The largest resident set of this process and its children, sampled."""

    def __init__(self) -> None:
        self._peak = 0
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while True:
            time.sleep(0.1)
            self._peak = max(self._peak, sum(map(resident, family(os.getpid()))))

    def lap(self) -> int:
        """The largest since the last lap."""
        peak, self._peak = self._peak, 0
        return peak


def family(pid: int) -> list[int]:
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [p for child in task.read_text().split() for p in family(int(child))]
        except OSError:
            continue
    return found


def resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


if __name__ == "__main__":
    main()

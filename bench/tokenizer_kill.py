"""kill -9 at random instants of `encode`: the rerun must end with the same bytes, and the work not grow by much.

python bench/tokenizer_kill.py [--small] [--data FILE] [--times 20] [--seed 1] [--megabytes 400] [--megabytes 400]

The text must be large enough that encoding it outlasts starting by far: else the ratio tells of noise, not of resuming.
Work is counted in processor seconds of the killed run and its rerun, less what starting costs, over those of an
uninterrupted run, less the same.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _tokenizer_common import read_stories, versions, write_recombined

import ts_data
import ts_tokenizer

CODE = "import sys, ts_tokenizer; ts_tokenizer.encode_splits(*sys.argv[1:4], workers=2)"
START = "import sys, ts_tokenizer; ts_tokenizer.load(sys.argv[2]).encode_batch(['Once upon a time.'])"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1, help="of the instants")
    parser.add_argument("--megabytes", type=float, default=400.0)
    parser.add_argument("--small", action="store_true", help="three kills, 40 MB")
    args = parser.parse_args()
    times = 3 if args.small else args.times
    print(versions())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_recombined(read_stories(args.data), folder / "raw.txt", 40.0 if args.small else args.megabytes, 20_000)
        ts_data.prepare(folder / "raw.txt", folder / "splits")
        tokenizer = ts_tokenizer.WordTokenizer.train(ts_data.read(folder / "splits", "train"))
        tokenizer.save(folder / "t.json")
        call = [str(folder / "splits"), str(folder / "t.json")]
        start, _ = run(START, [*call, ""])
        whole, wall = run(CODE, [*call, str(folder / "whole")])
        print(f"{start:.1f} processor seconds to start, {whole:.1f} ({wall:.1f} s) for an uninterrupted run", flush=True)
        wanted = digest(folder / "whole")
        random.seed(args.seed)
        same, works = 0, []
        for _ in range(times):
            shutil.rmtree(folder / "out", ignore_errors=True)
            shutil.rmtree(folder / ".out.work", ignore_errors=True)
            first, _ = run(CODE, [*call, str(folder / "out")], kill_after=random.uniform(0.1, wall))
            second, _ = run(CODE, [*call, str(folder / "out")])
            same += digest(folder / "out") == wanted
            works.append((max(0.0, first - start) + max(0.0, second - start)) / max(1e-9, whole - start))
    print(
        f"same bytes {same} of {times}; work: mean {sum(works) / len(works):.2f}, most {max(works):.2f} of an uninterrupted run (bar 1.3)"
    )


def run(code: str, words: list[str], kill_after: float | None = None) -> tuple[float, float]:
    """(processor seconds, wall seconds) of one child."""
    before, started = os.times(), time.perf_counter()
    child = subprocess.Popen([sys.executable, "-c", code, *words])
    try:
        child.wait(kill_after)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    after = os.times()
    return (
        after.children_user + after.children_system - before.children_user - before.children_system,
        time.perf_counter() - started,
    )


def digest(folder: Path) -> str:
    files = sorted(path for path in folder.iterdir())
    return hashlib.sha256(b"".join(path.name.encode() + hashlib.sha256(path.read_bytes()).digest() for path in files)).hexdigest()


if __name__ == "__main__":
    main()

"""kill -9 at random instants of `ts-data prepare`: does the rerun end with the same bytes, and at what cost?

    python bench/data_kill.py [--small] [--data FILE]

For each instant: start, kill -9 (the process and its workers' parent), run again to the end, compare every byte of splits/
with an uninterrupted run's. Work = seconds of the killed run + seconds of the rerun; the bar is 1.3 times the
uninterrupted run (median of all). FILE: `<|endoftext|>`-separated stories, repeated to the size (default: the generated sample).
"""

from __future__ import annotations

import argparse
import hashlib
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import ts_data


def digest(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def command(raw: Path, out: Path) -> list[str]:
    return [sys.executable, "-m", "ts_data", "prepare", str(raw), "--out", str(out), "--workers", "2", "--quiet", "--json"]


def timed(raw: Path, out: Path, kill_after: float | None = None) -> tuple[float, bool]:
    """(seconds, killed) of one run."""
    start = time.perf_counter()
    process = subprocess.Popen(command(raw, out), stdout=subprocess.DEVNULL)
    try:
        process.wait(kill_after)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return time.perf_counter() - start, True
    return time.perf_counter() - start, False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="5 instants, 30 MB")
    parser.add_argument("--data", type=Path)
    options = parser.parse_args()
    megabytes, instants = (30, 5) if options.small else (120, 20)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        raw = folder / "raw.txt"
        text = (
            options.data.read_text(encoding="utf-8")
            if options.data
            else "<|endoftext|>".join(ts_data.sample(3_000)) + "<|endoftext|>"
        )
        dice = random.Random(1)
        pieces = [piece for piece in text.split("<|endoftext|>") if piece.strip()]
        with raw.open("w", encoding="utf-8") as handle:
            while handle.tell() < megabytes * 1e6:
                handle.write(f"Story {dice.random()}. {dice.choice(pieces)}\n<|endoftext|>\n")
        whole, _ = timed(raw, folder / "whole")
        expected = digest(folder / "whole")
        print(f"ts-data {ts_data.__version__}: {raw.stat().st_size / 1e6:.0f} MB, uninterrupted {whole:.1f} s")
        equal, ratios = 0, []
        for number in range(instants):
            at = dice.uniform(0.02, 0.98) * whole
            first, killed = timed(raw, folder / "out", at)
            second, _ = timed(raw, folder / "out") if killed else (0.0, False)
            same = digest(folder / "out") == expected
            equal += same
            ratios.append((first + second) / whole)
            print(
                f"  {number + 1:2}: killed at {first:5.1f} s, rerun {second:5.1f} s, work {ratios[-1]:.2f} x, {'same bytes' if same else 'OTHER BYTES'}"
            )
            shutil.rmtree(folder / "out")
    print(
        f"same bytes: {equal} of {instants}; work: median {statistics.median(ratios):.2f} x, worst {max(ratios):.2f} x (bar 1.3)"
    )
    sys.exit(equal != instants)


if __name__ == "__main__":
    main()

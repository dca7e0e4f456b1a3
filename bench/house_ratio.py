"""Speed of the hot paths in this checkout against an older commit: prepare, encode, decode, training step, search.

    python bench/house_ratio.py [--old COMMIT] [--rounds 5] [--only search ...] [--small]

Each measurement is a process of its own that imports one of the two checkouts (old and new alternate), warms up once
and reports the fastest of three repetitions. The table shows the median over the rounds; a ratio of 1.10 means that the
new code is 10 % faster. Exit code 1 if a ratio is below 0.95.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("ts-data", "ts-tokenizer", "ts-models", "ts-train", "ts-eval")
FLOOR = 0.95
REPEATS = 3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--old", default="dce8fa2", help="commit or tag to compare with")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=PATHS, default=list(PATHS), metavar="PATH")
    parser.add_argument("--small", action="store_true", help="one round on little data")
    parser.add_argument("--child", choices=PATHS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    size = 1 if args.small else 8
    if args.child:
        print(json.dumps(fastest(args.child, size)))
        return 0
    if subprocess.run(
        ["git", "cat-file", "-e", f"{args.old}^{{commit}}"], cwd=ROOT, check=False, stderr=subprocess.DEVNULL
    ).returncode:
        print(f"skipped: this clone does not have the commit {args.old}")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        old = Path(folder) / "old"
        git("worktree", "add", "--detach", str(old), args.old)
        try:
            return compare(old, args.only, 1 if args.small else args.rounds, args.small)
        finally:
            git("worktree", "remove", "--force", str(old))


def git(*words: str) -> None:
    subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True)


def compare(old: Path, paths: list[str], rounds: int, small: bool) -> int:
    """Alternates the two checkouts; prints seconds of both and old / new."""
    print(f"load before: {os.getloadavg()[0]:.1f}\n{'path':<14} {'old, s':>8} {'new, s':>8} {'new is faster by':>17}")
    slow = []
    for path in paths:
        seconds: dict[Path, list[float]] = {old: [], ROOT: []}
        for _ in range(rounds):
            for checkout, found in seconds.items():
                found.append(measure(checkout, path, small))
        before, now = (statistics.median(found) for found in seconds.values())
        print(f"{path:<14} {before:8.3f} {now:8.3f} {before / now:17.2f}", flush=True)
        if before / now < FLOOR:
            slow.append(path)
    print(f"below {FLOOR}: {', '.join(slow) or 'none'}")
    return 1 if slow else 0


def measure(checkout: Path, path: str, small: bool) -> float:
    """Seconds of one hot path in a new process that imports the packages of `checkout`."""
    sources = os.pathsep.join(str(checkout / "packages" / name / "src") for name in PACKAGES)
    environment = {**os.environ, "PYTHONPATH": sources, "PYTHONDONTWRITEBYTECODE": ""}
    command = [sys.executable, str(Path(__file__).resolve()), "--child", path, *(["--small"] if small else [])]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{path} in {checkout} failed:\n{done.stderr}")
    return float(json.loads(done.stdout.splitlines()[-1]))


def fastest(path: str, size: int) -> float:
    """Prepares the input, calls the hot path once to warm up, and returns its least seconds."""
    call = PATHS[path](size)
    call()
    found = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return min(found)


# --- the hot paths, by names that both checkouts have --------------------------------------------


def write_stories(count: int) -> None:
    import ts_data

    Path("raw.txt").write_text("\n<|endoftext|>\n".join(ts_data.sample(count, seed=1, impurities=True)), encoding="utf-8")


def make_splits(count: int) -> None:
    import ts_data

    write_stories(count)
    ts_data.prepare("raw.txt", "splits", ts_data.PrepareConfig(validation=50))


def make_encoded(count: int) -> None:
    import ts_data
    import ts_tokenizer

    make_splits(count)
    ts_tokenizer.WordTokenizer.train(ts_data.read("splits", "train"), vocab_size=2048).save("words.json")
    ts_tokenizer.encode_splits("splits", "words.json", "encoded")


def prepare(size: int) -> Callable[[], object]:
    import ts_data

    write_stories(2_500 * size)
    turn = iter(range(100))
    return lambda: ts_data.prepare("raw.txt", f"splits-{next(turn)}", ts_data.PrepareConfig(validation=50), workers=1)


def encode(size: int) -> Callable[[], object]:
    import ts_tokenizer

    make_encoded(2_500 * size)
    turn = iter(range(100))
    return lambda: ts_tokenizer.encode_splits("splits", "words.json", f"encoded-{next(turn)}", workers=1)


def decode(size: int) -> Callable[[], object]:
    import torch

    import ts_models

    torch.manual_seed(0)
    model = ts_models.build("story-5m", vocab_size=2048).eval()
    length = 25 * size
    options = {"method": "sample", "seed": 1, "max_new_tokens": length, "min_new_tokens": length}
    return lambda: model.generate([[1, 2, 3]] * 8, **options)


def training_step(size: int) -> Callable[[], object]:
    import ts_train

    make_encoded(1_000)
    config = {
        "preset": "story-1m", "max_steps": 10 * size, "sinks": ["jsonl"], "batch": {"max_tokens": 1024},  # the name that both sides read
        "validation": {"every": 10 * size, "max_stories": 2, "samples": 0, "bits_per_byte": False},
    }  # fmt: skip
    turn = iter(range(100))
    return lambda: ts_train.train(ts_train.TrainConfig.model_validate(config), "encoded", f"run-{next(turn)}")


def search(size: int) -> Callable[[], object]:
    import ts_data
    import ts_eval

    stories = list(ts_data.sample(2_500 * size, seed=1))
    index = ts_eval.StoryIndex.build(stories)
    asked = list(ts_data.sample(100, seed=2))
    return lambda: (index.closest(asked, k=5), index.longest_spans(asked))


PATHS = {"prepare": prepare, "encode": encode, "decode": decode, "training-step": training_step, "search": search}

if __name__ == "__main__":
    sys.exit(main())

"""`ts-data prepare` against the straightforward way: a Python set for the duplicates, one str.replace per rule, story by story.

    python bench/data_prepare_speed.py [--small] [--data FILE] [--megabytes N] [--workers 2]

Both read the same file and write Parquet splits. The peer does less: no ledger, no manifest, no checksums, no resume, and only
the rules that a chain of str.replace can express. Text is made by recombining sentences of FILE (default: the generated sample).
Wall seconds and CPU seconds (all processes) are printed: on a busy machine only the latter compare.
"""

from __future__ import annotations

import argparse
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

import ts_data

REPLACE = [("â€œ", '"'), ("â€™", "'"), ("â€˜", "'"), ("â€\u201c", " — "), ("â€\u201d", " — "), ("â€¦", "..."), ("â€", '"')]
REPLACE += [("“", '"'), ("”", '"'), ("’", "'"), ("‘", "'"), ("–", " — "), ("--", " — "), ("…", "..."), ("*", ""), ("\\", "")]
REPLACE += [("\u200b", ""), ("\u00ad", ""), ("\ufeff", ""), ("ﬁ", "fi"), ("ﬂ", "fl"), ("\r", " "), ("\t", " "), ("\n", " ")]


def make(pieces: list[str], size: float, path: Path) -> None:
    """Stories of the lengths of the originals, made of their sentences; 15 % are copies of an earlier one."""
    sentences = [s for piece in pieces for s in re.split(r"(?<=[.!?]) ", piece.strip()) if s]
    lengths = [len(piece) for piece in pieces]
    dice, last, done = random.Random(0), [], 0
    with path.open("w", encoding="utf-8", newline="") as handle:
        while done < size:
            if last and dice.random() < 0.15:
                story = dice.choice(last)
            else:
                wanted, parts, length = dice.choice(lengths), [], 0
                while length < wanted:
                    parts.append(sentences[int(dice.random() * len(sentences))])
                    length += len(parts[-1]) + 1
                story = " ".join(parts)
                last = [*last[-99:], story]
            handle.write(f"{story}\n<|endoftext|>\n")
            done += len(story.encode()) + 15


def straightforward(source: Path, out: Path) -> int:
    seen, kept = set(), []
    for story in source.read_text(encoding="utf-8").split("<|endoftext|>"):
        for old, new in REPLACE:
            story = story.replace(old, new)
        while "  " in story:
            story = story.replace("  ", " ")
        story = story.strip()
        if len(story) < 180 or not story.replace("—", "").isascii() or story in seen:
            continue
        seen.add(story)
        kept.append(story)
    random.Random(1).shuffle(kept)
    held = len(kept) // 20
    out.mkdir()
    for name, rows in (("validation", kept[:held]), ("test", kept[held : 2 * held]), ("train", kept[2 * held :])):
        pq.write_table(pa.table({"text": rows}), out / f"{name}.parquet")
    return len(kept)


def timed(command: list[str]) -> tuple[float, float]:
    """Wall and CPU seconds of a command and its children."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter() - start, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="20 MB")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--megabytes", type=float, default=200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--peer", nargs=2, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer:
        straightforward(*options.peer)
        return
    text = (
        options.data.read_text(encoding="utf-8") if options.data else "<|endoftext|>".join(ts_data.sample(2_000, impurities=True))
    )
    with tempfile.TemporaryDirectory() as name:
        raw = Path(name) / "raw.txt"
        make(
            [piece for piece in text.split("<|endoftext|>") if piece.strip()],
            (20 if options.small else options.megabytes) * 1e6,
            raw,
        )
        ours = [
            sys.executable,
            "-m",
            "ts_data",
            "prepare",
            str(raw),
            "--out",
            f"{name}/ours",
            "--quiet",
            "--workers",
            str(options.workers),
        ]
        wall, cpu = timed(ours)
        peer_wall, peer_cpu = timed([sys.executable, __file__, "--peer", str(raw), f"{name}/peer"])
        size = raw.stat().st_size / 1e6
        kept = ts_data.open_manifest(f"{name}/ours").kept
    print(
        f"ts-data {ts_data.__version__}, pyarrow {pa.__version__}, Python {sys.version.split()[0]}; {size:.0f} MB, {kept:,} stories kept"
    )
    print(f"ts-data prepare, {options.workers} workers: {wall:6.1f} s wall, {cpu:6.1f} s CPU, {size / wall:6.1f} MB/s")
    print(f"set + str.replace, 1 process: {peer_wall:6.1f} s wall, {peer_cpu:6.1f} s CPU, {size / peer_wall:6.1f} MB/s")
    print(f"ratio: {peer_wall / wall:.2f} x wall, {peer_cpu / cpu:.2f} x CPU")


if __name__ == "__main__":
    main()

"""Near-duplicates against text-dedup and datatrove: recall, precision, seconds, memory, with near copies of known similarity planted.

    python bench/data_near.py --data FILE [--peers PYTHON] [--part peers|alone] [--small] [--stories 2100000]

1. The stories of FILE (cleaned, exact duplicates removed), and planted copies of one story in ten in which some words are replaced, so
   that their Jaccard similarity (word 5-grams, by Python sets) is spread from 0.6 to 1. Every tool runs with 5-grams, 20 bands of 5 rows
   and 2 processes, as one command. A pair is found if one of the two is removed. Recall counts pairs of 0.8 and more, wrong removals are
   pairs below 0.8 and stories without a copy that is as similar. Neither peer checks the similarity of its candidates.
2. `--stories`: so many stories put together from the sentences of FILE, with 20,000 planted copies, by ts-data alone.

PYTHON is an interpreter that has the peers (text-dedup, datatrove[processing,io], orjson, spacy); a peer that is missing is skipped.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

THRESHOLD, NGRAM, BANDS, ROWS = 0.8, 5, 20, 5


# --- what is compared --------------------------------------------------------------------------


def grams(text: str) -> set[tuple[str, ...]]:
    words = text.lower().split()
    return set(zip(*(words[i:] for i in range(NGRAM)), strict=False)) or {tuple(words)}


def similarity(one: str, other: str) -> float:
    a, b = grams(one), grams(other)
    return len(a & b) / len(a | b)


def changed(text: str, dice: random.Random) -> str:
    """A near copy: from one word to one in twenty-four replaced, at random places."""
    words = text.split()
    for _ in range(dice.randint(1, max(1, len(words) // 24))):
        words[dice.randrange(len(words))] = dice.choice(["banana", "seven", "loudly", "yellow", "Timothy", "over"])
    return " ".join(words)


def write(path: Path, number: int, texts: Iterable[str]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row, text in enumerate(texts):
            file.write(json.dumps({"id": f"{number}-{row}", "text": text}) + "\n")


# --- running a tool ----------------------------------------------------------------------------


def watch(pid: int, done: threading.Event, peak: list[int], processor: dict[int, float]) -> None:
    """Sample resident bytes and processor seconds of a process and its descendants ten times a second."""
    import psutil

    while not done.wait(0.1):
        total = 0
        try:
            root = psutil.Process(pid)
            for process in (root, *root.children(recursive=True)):
                total += process.memory_info().rss
                spent = process.cpu_times()
                processor[process.pid] = spent.user + spent.system
        except psutil.NoSuchProcess:
            continue
        peak[0] = max(peak[0], total)


def run(command: list[str], folder: Path) -> tuple[float, float, float]:
    """(wall seconds, processor seconds, peak GiB) of a command and its children."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env={**os.environ, "HF_HUB_OFFLINE": "1"})
        peak, processor, done = [0], dict[int, float](), threading.Event()
        watcher = threading.Thread(target=watch, args=(process.pid, done, peak, processor))
        watcher.start()
        code = process.wait()
        wall = time.perf_counter() - start
        done.set()
        watcher.join()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if code:
        raise SystemExit(f"{' '.join(command)}: exit code {code}\n{(folder / 'log.txt').read_text()[-2000:]}")
    waited = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime  # without workers that nobody waits for
    return wall, max(waited, sum(processor.values())), peak[0] / 2**30


def ours(source: Path, folder: Path) -> list[str]:
    settings = ["deduplicate=near", f"near.threshold={THRESHOLD}", "validation=0", "test=0"]
    options = [part for setting in settings for part in ("--set", setting)]
    return [
        sys.executable,
        "-m",
        "ts_data",
        "prepare",
        str(source),
        "--out",
        "splits",
        "--workers",
        "2",
        "-q",
        "--json",
        *options,
    ]


def text_dedup(python: str, source: Path) -> list[str]:
    given = ["--path", "json", "--data_files", f"{source}/*.jsonl", "--split", "train", "--column", "text", "--output", "kept"]
    shape = [
        "--ngram",
        str(NGRAM),
        "--threshold",
        str(THRESHOLD),
        "--num_perm",
        str(BANDS * ROWS),
        "--b",
        str(BANDS),
        "--r",
        str(ROWS),
    ]
    return [python, "-m", "text_dedup.minhash", *given, *shape, "--num_proc", "2", "--cache_dir", "cache"]


def datatrove(source: str, folder: str) -> None:
    """All four stages of datatrove's MinHash; runs in the peers' interpreter."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup.minhash import (
        MinhashConfig,
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter

    config = MinhashConfig(n_grams=NGRAM, num_buckets=BANDS, hashes_per_bucket=ROWS)
    places = {name: f"{folder}/{name}" for name in ("signatures", "buckets", "remove", "kept")}
    stages = [
        (2, [JsonlReader(source), MinhashDedupSignature(places["signatures"], config=config)]),
        (BANDS, [MinhashDedupBuckets(places["signatures"], places["buckets"], config=config)]),
        (1, [MinhashDedupCluster(places["buckets"], places["remove"], config=config)]),
        (2, [JsonlReader(source), MinhashDedupFilter(places["remove"]), JsonlWriter(places["kept"], compression=None)]),
    ]
    for number, (tasks, steps) in enumerate(stages):
        LocalPipelineExecutor(pipeline=steps, tasks=tasks, workers=2, logging_dir=f"{folder}/logs/{number}").run()


def removed_by_us(splits: Path, names: list[str]) -> set[str]:
    import ts_data

    return {f"{names.index(Path(item.source).name)}-{item.story}" for item in ts_data.removed(splits, "near_duplicate")}


def kept_by_text_dedup(folder: Path) -> Iterator[str]:
    import pyarrow as pa

    for path in folder.glob("*.arrow"):
        with pa.memory_map(str(path)) as source:
            yield from pa.ipc.open_stream(source).read_all().column("id").to_pylist()


def kept_by_datatrove(folder: Path) -> Iterator[str]:
    for path in folder.glob("*.jsonl"):
        for line in path.open(encoding="utf-8"):
            yield json.loads(line)["id"]


def has(python: str, module: str) -> bool:
    return subprocess.run([python, "-c", f"import {module}"], capture_output=True, check=False).returncode == 0


# --- the two parts -----------------------------------------------------------------------------


def score(removed: set[str], bases: list[int], true: list[float], is_near: Callable[[str], bool]) -> str:
    """Recall over pairs of 0.8 and more, and the removals that are wrong."""
    wanted = [(base, row) for row, (base, value) in enumerate(zip(bases, true, strict=True)) if value >= THRESHOLD]
    found = sum(f"0-{base}" in removed or f"1-{row}" in removed for base, row in wanted)
    explained = {name for base, row in wanted for name in (f"0-{base}", f"1-{row}")}
    wrong = sum(not is_near(name) for name in removed - explained)
    precision = 1 - wrong / max(1, len(removed))
    return f"recall {found / max(1, len(wanted)):.4f} ({found:,} of {len(wanted):,})  precision {precision:.4f} ({wrong} wrong)"


def compare(stories: list[str], folder: Path, python: str) -> None:
    dice = random.Random(1)
    bases = sorted(dice.sample(range(len(stories)), len(stories) // 10))
    copies = [changed(stories[base], dice) for base in bases]
    true = [similarity(stories[base], copy) for base, copy in zip(bases, copies, strict=True)]
    source = folder / "source"
    source.mkdir()
    write(source / "0.jsonl", 0, stories)
    write(source / "1.jsonl", 1, copies)
    print(
        f"{len(stories):,} stories, {len(copies):,} planted copies, {sum(value >= THRESHOLD for value in true):,} of them at 0.8 and more"
    )
    everything = {f"0-{row}" for row in range(len(stories))} | {f"1-{row}" for row in range(len(copies))}
    # A removed story beside the planted pairs is right if another story is as similar: found by rare n-grams that both have.
    index: dict[tuple[str, ...], list[str]] = {}
    texts = {**{f"0-{n}": text for n, text in enumerate(stories)}, **{f"1-{n}": text for n, text in enumerate(copies)}}
    for name, text in texts.items():
        for gram in list(grams(text))[:40]:
            index.setdefault(gram, []).append(name)

    rare = {gram: names for gram, names in index.items() if len(names) <= 30}

    def is_near(name: str) -> bool:
        others = {other for gram in grams(texts[name]) for other in rare.get(gram, ())} - {name}
        return any(similarity(texts[name], texts[other]) >= THRESHOLD for other in others)

    walls: dict[str, float] = {}
    for tool in ("ts-data", "text-dedup", "datatrove"):
        place = folder / tool
        place.mkdir()
        module = tool.replace("-", "_")
        if tool != "ts-data" and not has(python, module):
            print(f"{tool:10}  skipped: {python} has no module {module}")
            continue
        if tool == "ts-data":
            command = ours(source, place)
        elif tool == "text-dedup":
            command = text_dedup(python, source)
        else:
            command = [python, __file__, "--datatrove", str(source), str(place)]
        wall, processor, memory = run(command, place)
        walls[tool] = wall
        if tool == "ts-data":
            removed = removed_by_us(place / "splits", ["0.jsonl", "1.jsonl"])
        else:
            kept = kept_by_text_dedup(place / "kept") if tool == "text-dedup" else kept_by_datatrove(place / "kept")
            removed = everything - set(kept)
        ratio = f"  {wall / walls['ts-data']:.1f} x ts-data" if tool != "ts-data" else ""
        measured = f"{wall:7.1f} s wall {processor:7.1f} s CPU {memory:5.2f} GiB"
        print(f"{tool:10} {measured}  {score(removed, bases, true, is_near)}{ratio}", flush=True)


def alone(stories: list[str], count: int, folder: Path) -> None:
    from _eval_corpus import Recombined

    recombined = Recombined(stories, count)
    dice = random.Random(2)
    bases = sorted(dice.sample(range(count), min(20_000, count // 10)))
    wanted, copies, true = set(bases), list[str](), list[float]()
    source = folder / "many"
    source.mkdir()

    def texts() -> Iterator[str]:
        for row, text in enumerate(recombined):
            if row in wanted:
                copies.append(changed(text, dice))
                true.append(similarity(text, copies[-1]))
            yield text

    write(source / "0.jsonl", 0, texts())
    write(source / "1.jsonl", 1, copies)
    size = sum(file.stat().st_size for file in source.iterdir())
    print(f"{count:,} recombined stories, {len(copies):,} planted copies, {size / 1e9:.2f} GB", flush=True)
    place = folder / "alone"
    place.mkdir()
    wall, processor, memory = run(ours(source, place), place)
    import ts_data

    gone = {f"{Path(item.source).stem}-{item.story}": item for item in ts_data.removed(place / "splits", "near_duplicate")}

    def is_near(name: str) -> bool:
        item = gone[name]
        twin_texts = recombined if Path(str(item.twin_source)).stem == "0" else copies
        return similarity(item.text, ts_data.clean(twin_texts[item.twin or 0]).text) >= THRESHOLD

    print(f"ts-data    {wall:7.1f} s wall {processor:7.1f} s CPU {memory:5.2f} GiB  {score(set(gone), bases, true, is_near)}")


def main() -> None:
    if sys.argv[1:2] == ["--datatrove"]:
        datatrove(*sys.argv[2:4])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="`<|endoftext|>`-separated stories [the generated sample]")
    parser.add_argument("--peers", default=sys.executable, metavar="PYTHON", help="an interpreter that has the peers")
    parser.add_argument("--small", action="store_true", help="3,000 stories, 20,000 recombined ones")
    parser.add_argument("--part", choices=["peers", "alone", "both"], default="both", help="what to run")
    parser.add_argument("--stories", type=int, default=2_100_000, help="recombined stories")
    options = parser.parse_args()
    from _eval_corpus import read

    import ts_data

    results = [ts_data.clean(text) for text in (read(options.data)[: 3_000 if options.small else None])]
    stories = list(dict.fromkeys(result.text for result in results if result.dropped is None))
    print(f"ts-data {ts_data.__version__}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as name:
        if options.part != "alone":
            compare(stories, Path(name), options.peers)
        if options.part != "peers":
            alone(stories, 20_000 if options.small else options.stories, Path(name))
    print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()

"""Measures one step of the line at one size, in a process of its own, and prints one JSON object; it projects nothing.

One worker and one thread, so that CPU seconds are work and not waiting: they compare on a busy machine, wall-clock seconds do not.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

QUERIES = 100
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def measured(step: str, folder: Path, *arguments: object) -> dict[str, Any]:
    """What `step` prints, run on `folder` in a new process."""
    command = [sys.executable, __file__, step, str(folder), *map(str, arguments)]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **ENVIRONMENT})
    found: dict[str, Any] = json.loads(out.stdout.splitlines()[-1])
    return found


class Meter:
    """CPU seconds, and bytes read and written by this process, since the last call."""

    def __init__(self) -> None:
        self()

    def __call__(self) -> dict[str, float]:
        counters = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
        now = {"cpu": time.process_time(), "read": float(counters["rchar"]), "written": float(counters["wchar"])}
        since = {name: value - getattr(self, "_last", now)[name] for name, value in now.items()}
        self._last = now
        return since


class Peak:
    """Largest private memory (not pages of mapped files) of this process, looked at fifty times a second."""

    def __init__(self) -> None:
        self.bytes = 0
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while True:
            lines = Path("/proc/self/status").read_text().splitlines()
            self.bytes = max(self.bytes, next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) * 1024)
            time.sleep(0.02)


def size(folder: Path, pattern: str = "*") -> int:
    return sum(path.stat().st_size for path in folder.glob(pattern) if path.is_file())


# --- data --------------------------------------------------------------------------------------


def prepare(folder: Path) -> dict[str, Any]:
    """raw.txt → splits/: the four stages of `ts_data.prepare`, told apart by its own progress."""
    import pyarrow as pa

    import ts_data
    from ts_data.artefact import sha256_file
    from ts_data.pipeline import splits

    pa.set_cpu_count(1)
    sha256_file(folder / "raw.txt")  # the file is in the cache of the disk from here on
    stages: dict[str, dict[str, float]] = {}
    meter, held = Meter(), _watch_assignment(splits)

    def mark(stage: str, done: int, total: int | None) -> None:
        if done == 0 or done == total:
            before = {("clean", 0): "start", ("write", 0): "assign"}.get((stage, done), stage)
            stages[before] = _sum(stages.get(before), meter())

    ts_data.prepare(folder / "raw.txt", folder / "splits", workers=1, progress=mark)
    stages["assemble"] = meter()
    raw = (folder / "raw.txt").stat().st_size
    sha256_file(folder / "raw.txt")
    hashing = meter()["cpu"]
    stages["clean"]["cpu"] -= hashing  # one job per source, which no second worker can share
    # what it reads through a memory map the counters miss: as much as the hashing read within the stage
    stages["hash"] = {"cpu": hashing, "read": float(raw), "written": 0.0}
    return {
        "stages": stages,
        "raw": raw,
        "stories": held["stories"],
        "out": size(folder / "splits"),
        "held": held["bytes"],
    }


def _watch_assignment(module: Any) -> dict[str, int]:
    """Counts what the assignment of splits holds at its largest: its input arrays and what it allocates."""
    held, original = {"bytes": 0, "stories": 0}, module.assign

    def assign(dropped: Any, hashes: Any, *rest: Any) -> Any:
        tracemalloc.start()
        found = original(dropped, hashes, *rest)
        held["bytes"] = dropped.nbytes + hashes.nbytes + tracemalloc.get_traced_memory()[1]
        held["stories"] = len(dropped)
        tracemalloc.stop()
        return found

    module.assign = assign
    return held


def _sum(one: dict[str, float] | None, other: dict[str, float]) -> dict[str, float]:
    return {name: value + (one or {}).get(name, 0.0) for name, value in other.items()}


def vocabulary(folder: Path) -> dict[str, Any]:
    """splits/ → word_tokenizer.json."""
    import ts_data
    import ts_tokenizer

    meter = Meter()
    tokenizer = ts_tokenizer.WordTokenizer.train(ts_data.read(folder / "splits", "train"))
    tokenizer.save(folder / "word_tokenizer.json")
    return {"stages": {"count": meter()}}


def encode(folder: Path) -> dict[str, Any]:
    """splits/ → encoded/: the batches, and what one process does after the last of them."""
    import ts_tokenizer

    stages: dict[str, dict[str, float]] = {}
    meter = Meter()

    def mark(stage: str, done: int, total: int | None) -> None:
        stages["batches"] = _sum(stages.get("batches"), meter())

    manifest = ts_tokenizer.encode_splits(
        folder / "splits", folder / "word_tokenizer.json", folder / "encoded", workers=1, progress=mark
    )
    stages["finish"] = meter()
    tokens = sum(info.tokens for info in manifest.splits.values())
    text = sum(info.utf8_bytes for info in manifest.splits.values())
    return {"stages": stages, "tokens": tokens, "text": text, "out": size(folder / "encoded")}


# --- search ------------------------------------------------------------------------------------


def index(folder: Path) -> dict[str, Any]:
    """train split → the index of its stories; each kernel compiled before."""
    import ts_data
    from ts_eval import StoryIndex
    from ts_eval.index.store import write

    stories = ts_data.read(folder / "splits", "train")
    few = [stories[i] for i in range(3)]
    StoryIndex.build(few).closest(few)
    meter = Meter()
    manifest = write(folder / "index", stories, corpus="bench")
    found = {"stages": {"build": meter()}, "stories": manifest.stories, "out": size(folder / "index")}
    return {**found, "stream": size(folder / "index", "stream.bin")}


def scan(folder: Path) -> dict[str, Any]:
    """The closest of all stories to each of 100 others."""
    import ts_data
    from ts_eval import StoryIndex

    index = StoryIndex.open(folder / "index")
    others = ts_data.read(folder / "splits", "validation")
    queries = [others[i] for i in range(min(QUERIES, len(others)))]
    StoryIndex.build(queries[:3]).closest(queries[:3])
    meter = Meter()
    index.closest(queries, k=1)
    return {"stages": {"closest": meter()}, "queries": len(queries), "stories": len(index)}


# --- models ------------------------------------------------------------------------------------


def train(folder: Path, preset: str, seconds: str) -> dict[str, Any]:
    """The training loop: FLOP/s, and its share of a matrix product's; one thread and CPU time."""
    import torch
    import train_throughput as loop

    import ts_models
    import ts_tokenizer
    from ts_train.runtime.hardware import training_flops_per_token

    torch.set_num_threads(1)
    loop.clock = time.process_time
    data: Any = ts_tokenizer.open_encoded(folder / "encoded")
    model = ts_models.build(preset, vocab_size=data.vocab_size)
    lengths = data["train"].offsets[1:] - data["train"].offsets[:-1] - 1
    flops = training_flops_per_token(model, mean_length=float(lengths.clip(max=256).mean()))
    before = loop.measured_peak()
    changes = {"optimizer": {"name": "adamw"}, "batch": {"batch_size": 64}}
    rate = _quietly(lambda: loop.measure(loop.ours(preset, data, changes), float(seconds)))
    top = max(before, loop.measured_peak())
    return {"tokens_per_second": rate, "flops": rate * flops, "share": rate * flops / top, "peak_flops": top}


def checkpoint(folder: Path, preset: str) -> dict[str, Any]:
    """Bytes of a checkpoint and of the finished model, per parameter."""
    import shutil

    import ts_models
    import ts_train

    config = ts_train.TrainConfig(preset=preset, max_steps=2, sinks=["jsonl"], validation={"samples": 50})
    shutil.rmtree(folder / "run", ignore_errors=True)
    run = _quietly(lambda: ts_train.train(config, folder / "encoded", folder / "run"))
    parameters = sum(p.numel() for p in ts_models.load(run.path / "model").model.parameters())
    steps = sorted((run.path / "checkpoints").iterdir())
    return {"parameters": parameters, "checkpoint": size(steps[-1]), "model": size(run.path / "model")}


def decode(folder: Path, preset: str, rows: str, tokens: str) -> dict[str, Any]:
    """Tokens per second of `rows` stories written at once."""
    import ts_models
    from ts_models.architectures import build_for_inference
    from ts_models.generation import generate_ids as write
    from ts_models.schemas import GenerationConfig

    model = build_for_inference(ts_models.preset(preset)).eval()
    prompts = [[1 + i % 2000] * 8 for i in range(int(rows))]
    write(model, prompts, GenerationConfig(method="greedy", max_new_tokens=2, min_new_tokens=2))
    meter = Meter()
    write(model, prompts, GenerationConfig(method="greedy", max_new_tokens=int(tokens), min_new_tokens=int(tokens)))
    return {"tokens_per_second": int(rows) * int(tokens) / meter()["cpu"]}


def _quietly(call: Callable[[], Any]) -> Any:
    """The call with what it prints on stderr: stdout is for the result alone."""
    import contextlib

    with contextlib.redirect_stdout(sys.stderr):
        return call()


STEPS = {call.__name__: call for call in (prepare, vocabulary, encode, index, scan, train, checkpoint, decode)}

if __name__ == "__main__":
    name, place, *rest = sys.argv[1:]
    memory = Peak()
    print(json.dumps({**STEPS[name](Path(place), *rest), "peak": memory.bytes}))

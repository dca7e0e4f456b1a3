"""Measures on a borrowed NVIDIA GPU, one process at a time, the most wanted first: `python bench/_gpu.py --out DIR`.

    python bench/_gpu.py --pack .gpu --data encoded/                     # here: wheels and ids for a machine that has only torch
    eval "$(python bench/_gpu.py --unpack .gpu)"                         # there, first
    python bench/_gpu.py --out OUT --data .gpu/encoded --seconds 400     # there, twice: the second call resumes or takes --stage
    python bench/_gpu.py --tiny --out OUT                                # anywhere: does it run?

Two calls fit into fifteen minutes with the machine's start: the trials of the demo model (three of 20 epochs of 7.1 M tokens at
1.5 M/s: 95 s each, and 20 s to compile), then the rest. A stage that reaches the limit is stopped; a model that its run had not
finished comes back as the best so far. Every call leaves all results in OUT: results.tar.gz, and models in pieces of at most
`PIECE` bytes (`cat piece-* | tar xz`), as float16 or, large ones, int8.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "build" / "gpu"
"""Runs of all calls, where a machine keeps it between calls."""
PIECE, PIECES = 15_500_000, 4
"""Bytes of a piece; pieces that come back at once."""
INT8_FROM = 12_000_000
"""Parameters from which a model comes back as int8."""
GATHER, SHORTEST = 25, 10
"""Seconds kept for writing the results; seconds that a stage needs at least."""
TALK = ["talk-1m", "talk-5m", "talk-10m", "talk-15m", "talk-5m-laptop"]
REST = ["talk-35m", "talk-5m-rnn", "talk-5m-lstm", "talk-5m-gru", "story-1m", "story-5m", "story-15m"]
PRECISIONS = "bench/train_precisions.py"
STAGES: dict[str, list[str]] = {
    "demo": ["bench/train_trials.py", "bench/trials/demo.toml"],
    "cells": ["bench/reproduce.py", "--precisions", "bf16", "--presets", *REST],
    "fp32": ["bench/reproduce.py", "--precisions", "fp32", "--presets", *TALK, *REST],
    "large": [PRECISIONS, "--precisions", "bf16", "--ways", "compiled", "--batch-tokens", "65536", "--presets", "story-35m"],
    "figures": [PRECISIONS, "--precisions", "fp16", "fp32", "--ways", "recorded", "launched"],
    "steps": ["bench/train_trials.py", "bench/trials/gpu-steps.toml"],
    "check": ["-m", "pytest", "-q", "-p", "no:cacheprovider", "packages/ts-train/tests/test_gpu.py"],
}
"""In the order of their importance."""


def command(stage: str, out: Path, data: str | None, *, tiny: bool) -> list[str]:
    """The command line of a stage."""
    given = STAGES[stage]
    if stage == "check":
        return [sys.executable, *given, *(["-k", "cpu and bf16"] if tiny else [])]
    measures = given[0] == PRECISIONS
    target = out / f"{stage}.json" if measures else WORK / ("cells" if stage == "fp32" else stage)
    extra = ["--seconds", "0.6", "--peers"] if measures and not tiny else []
    source = ["--small"] if tiny else ["--data", str(data)]
    return [sys.executable, *(given[:1] if tiny else given), "--out", str(target), *source, *extra]


def measure(out: Path, stages: list[str], data: str | None, seconds: float, *, tiny: bool) -> None:
    """Run the stages in turn until `seconds` are over, then gather what there is."""
    out.mkdir(parents=True, exist_ok=True)
    WORK.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + seconds - GATHER
    for stage in stages:
        if (left := end - time.monotonic()) < SHORTEST:
            break
        line = command(stage, out, data, tiny=tiny)
        print(f"[{time.strftime('%X')}] {stage}: {' '.join(line[1:])}", flush=True)
        with (out / f"{stage}.log").open("wb") as log:
            limited = ["timeout", "--kill-after=5", f"{left:.0f}", *line]
            code = subprocess.run(limited, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT, check=False).returncode
        print(f"[{time.strftime('%X')}] {stage}: exit code {code}, {end - time.monotonic():.0f} s left", flush=True)
    gather(out)


# --- what comes back -----------------------------------------------------------------------------


def gather(out: Path) -> None:
    """Print the figures; write all results and the models into `out`."""
    cells = {str(folder.relative_to(WORK)): cell for folder in sorted(WORK.glob("*/*")) if (cell := read_cell(folder))}
    for place, cell in cells.items():
        print(f"{place:40} loss {cell['validation_loss']:.4f}{'' if cell['finished'] else ', unfinished'}", flush=True)
    (out / "cells.json").write_text(json.dumps(cells, indent=1) + "\n", encoding="utf-8")
    files = sorted(file for file in out.iterdir() if file.suffix in {".json", ".log"})
    with tarfile.open(out / "results.tar.gz", "w:gz") as archive:
        for file in files:
            archive.add(file, file.name)
            file.unlink()
    with tarfile.open(WORK / "models.tar", "w:gz", compresslevel=1) as archive:
        for place in sorted(cells, key=lambda place: (not place.startswith("demo"), cells[place]["validation_loss"])):
            if not place.endswith("-fp32"):
                shrink(WORK / place, cells[place])
                archive.add(WORK / place / "small", f"{place}/model")
    content = (WORK / "models.tar").read_bytes()[: PIECE * PIECES]
    for number, start in enumerate(range(0, len(content), PIECE)):
        (out / f"piece-{number:02}").write_bytes(content[start : start + PIECE])


def read_cell(folder: Path) -> dict[str, Any] | None:
    """The figures of a run, finished or not; None before its first validation."""
    done, summary = folder / "cell.json", folder / "run" / "model" / "training.json"
    if done.exists():
        return {**json.loads(done.read_text(encoding="utf-8")), "finished": True}
    if not summary.exists():
        return None
    found = json.loads(summary.read_text(encoding="utf-8"))
    return {**found, "validation_loss": found["best_validation_loss"], "finished": False}


def shrink(folder: Path, cell: dict[str, Any]) -> None:
    """Write the best model so far to `folder`/small."""
    import torch

    import ts_models
    from ts_models.export.to_int8 import write_int8

    model = folder / ("model" if cell["finished"] else "run/model")
    lm, words = ts_models.load(model), model / "word_tokenizer.json"
    if cell["parameters"] >= INT8_FROM:
        write_int8(lm, folder / "small")
        return
    ts_models.save(
        lm.model, folder / "small", tokenizer=words if words.exists() else None, training=lm.training,
        train_stories=ts_models.read_train_stories(model), dtype=torch.float16,
    )  # fmt: skip


# --- there and back ------------------------------------------------------------------------------

WHEELS = ("annotated-types", "ftfy", "pydantic", "pydantic-core", "typing-extensions", "typing-inspection", "wcwidth")
"""What a machine with torch, NumPy, Numba, PyArrow, Typer, Rich and safetensors may lack."""


def pack(folder: Path, data: Path) -> None:
    """Wheels for Python 3.12 on Linux and the encoded stories, for a machine without a network."""
    wheels = folder / "wheels"
    shutil.rmtree(wheels, ignore_errors=True)
    wheels.mkdir(parents=True)
    pins = dict(line.split("==") for line in (ROOT / "constraints" / "dev.txt").read_text().split() if "==" in line)
    platforms = [f"--platform=manylinux{name}_x86_64" for name in ("_2_28", "_2_17", "2014")]
    target = ["--no-deps", "--only-binary=:all:", "--python-version=3.12", "--implementation=cp", *platforms]
    named = [f"{name}=={pins[name]}" for name in WHEELS]
    subprocess.run([sys.executable, "-m", "pip", "download", "-q", *target, "-d", str(wheels), *named], check=True)
    for package in sorted((ROOT / "packages").iterdir()):
        subprocess.run(["uv", "build", "--quiet", "--wheel", "--out-dir", str(wheels), str(package)], check=True)
    if data.resolve() != (folder / "encoded").resolve():
        shutil.copytree(data, folder / "encoded", dirs_exist_ok=True)


def unpack(folder: Path, site: Path) -> None:
    """Install the wheels; the sources of the tree go before them by PYTHONPATH."""
    wheels = [str(path) for path in sorted((folder / "wheels").glob("*.whl"))]
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-compile", "--no-cache-dir"]
    subprocess.run([*install, "--upgrade", "--target", str(site), *wheels], check=True)
    sources = [str(path / "src") for path in sorted((ROOT / "packages").iterdir())]
    print(f"export PYTHONPATH={os.pathsep.join([str(ROOT), *sources, str(site)])}")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--out", type=Path)
    options.add_argument("--data", help="an encoded/ folder")
    options.add_argument("--stage", nargs="+", choices=STAGES, default=list(STAGES), help="these only, in this order")
    options.add_argument("--seconds", type=float, default=400)
    options.add_argument("--tiny", action="store_true", help="made-up stories, a few steps")
    options.add_argument("--pack", type=Path, metavar="FOLDER")
    options.add_argument("--unpack", type=Path, metavar="FOLDER")
    options.add_argument("--site", type=Path, default=WORK / "site")
    chosen = options.parse_args()
    if chosen.pack is not None:
        pack(chosen.pack, Path(chosen.data))
    elif chosen.unpack is not None:
        unpack(chosen.unpack, chosen.site)
    else:
        measure(chosen.out, chosen.stage, chosen.data, chosen.seconds, tiny=chosen.tiny)


if __name__ == "__main__":
    main()

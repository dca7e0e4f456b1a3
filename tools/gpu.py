"""Everything that is measured on a borrowed NVIDIA GPU, as one script with a time limit a stage: `python -m tools.gpu --out DIR`.

    python -m tools.gpu --pack .gpu --data encoded/              # here: wheels and ids for a machine that has only torch
    python -m tools.gpu --unpack .gpu --site /tmp/site           # there, first
    python -m tools.gpu --out OUT --data .gpu/encoded            # there: all stages
    python -m tools.gpu --out OUT --part 1                       # there: the second part of what is too large for one way back
    python -m tools.gpu --tiny --out OUT                         # anywhere: does it run?

Stages: `check` (the tests that need a GPU), `figures` and `large` (bench/train_precisions.py), `reproduce` (bench/reproduce.py) and `trials`
(settings of recipes and of the demo model, side by side on the device). Results are written as they come; a table stands last.
Trained models come back as float16, large ones as int8, in pieces of at most `PIECE` bytes: `cat piece-* | tar xz`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
WORK = Path(tempfile.gettempdir()) / "ts-gpu"
"""Where the machine keeps what it makes until it is fetched."""
PIECE = 15_500_000
PIECES = 4
"""Pieces that come back at once."""
MOST_TRIALS = 2
INT8_FROM = 12_000_000
"""Parameters from which a model comes back as int8."""
STAGES = ("check", "figures", "large", "reproduce", "trials")
SECONDS = {"check": 90, "figures": 110, "large": 35, "reproduce": 200, "trials": 200}
"""Limits; the last two share the device and run at the same time."""


# --- stages --------------------------------------------------------------------------------------


def run(name: str, command: list[str], out: Path, seconds: float) -> subprocess.Popen[bytes]:
    """Start a command in a process group of its own, its output in `out`/NAME.log."""
    log = (out / f"{name}.log").open("wb")
    print(f"[{time.strftime('%X')}] {name}: {' '.join(command)}", flush=True)
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        ["timeout", "--kill-after=5", str(round(seconds)), *command],
        stdout=log, stderr=subprocess.STDOUT, cwd=ROOT, env=environment,
    )  # fmt: skip


def check(out: Path, tiny: bool, data: str | None) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "packages/ts-train/tests/test_gpu.py"]
    command += ["-n", "6", "--durations=5"] if not tiny else ["-k", "cpu and bf16"]
    return run("check", command, out, SECONDS["check"])


COMPILED = ("talk-1m", "story-5m", "story-35m", "talk-35m", "story-1m", "talk-5m")
PEERS = ("talk-1m", "story-5m")


def compile_ahead(data: str) -> list[subprocess.Popen[bytes]]:
    """Fill torch's cache of compiled kernels while the tests run, which are not timed."""
    started = []
    for preset in COMPILED:
        command = [sys.executable, "bench/train_precisions.py", "--data", data, "--presets", preset, "--ways", "compiled"]
        command += ["--precisions", "bf16", "--seconds", "0.1", "--peers", *([preset] if preset in PEERS else [])]
        environment = {**os.environ, "TORCHINDUCTOR_COMPILE_THREADS": "3"}
        limited = ["timeout", "--kill-after=5", str(SECONDS["check"]), *command]
        with (WORK / f"compile-{preset}.log").open("wb") as log:
            started.append(subprocess.Popen(limited, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT, env=environment))
    return started


def figures(out: Path, tiny: bool, data: str | None) -> subprocess.Popen[bytes]:
    command = [sys.executable, "bench/train_precisions.py", "--out", str(out / "figures.json"), "--compiled", *COMPILED]
    command += ["--small"] if tiny else ["--data", str(data), "--seconds", "0.6", "--peers", *PEERS]
    return run("figures", command, out, SECONDS["figures"])


def large(out: Path, tiny: bool, data: str | None) -> subprocess.Popen[bytes]:
    """Utilisation of the largest models at steps of 65,536 positions."""
    command = [sys.executable, "bench/train_precisions.py", "--out", str(out / "large.json"), "--precisions", "bf16", "--peers"]
    command += ["--ways", "compiled", "--batch-tokens", "65536", "--presets", "talk-35m", "story-35m", "--seconds", "0.6"]
    return run("large", [*command, *(["--small"] if tiny else ["--data", str(data)])], out, SECONDS["large"])


SMOKE = """
import sys, torch
from ts_train import TrainConfig, train
from ts_train.testing import fake_encoded
device = "cuda" if torch.cuda.is_available() else "cpu"
model = {"kind": "transformer", "d_model": 32, "n_heads": 2, "n_layers": 2, "d_ff": 48, "max_seq_len": 32, "dropout": 0.1}
for precision in ("fp32", "bf16"):
    config = TrainConfig(model=model, max_steps=120, sinks=(), precision=precision, capture=True, device=device,
                         batch={"max_tokens": 96, "pad_to": 8})
    run = train(config, fake_encoded(), f"{sys.argv[1]}/{precision}")
    assert run.state.skipped == 0 and run.state.best_loss < 3.2, run.state
"""


@lru_cache
def no_capture() -> list[str]:
    """An option for the benchmarks where a recorded step does not work on this machine, so that the rest is still measured."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-c", SMOKE, scratch]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=90, check=False)
    print(f"recorded steps {'work' if done.returncode == 0 else 'FAIL: ' + done.stderr[-1500:]}", flush=True)
    return [] if done.returncode == 0 else ["--no-capture"]


def reproduce(out: Path, tiny: bool, data: str | None) -> subprocess.Popen[bytes]:
    command = [sys.executable, "bench/reproduce.py", "--out", str(WORK / "cells"), "--jobs", "3", *no_capture()]
    command += ["--small", *(["--data", data] if data else [])] if tiny else []
    command += [] if tiny else ["--data", str(data), "--minutes", str(0.65 * SECONDS["reproduce"] / 60)]
    return run("reproduce", command, out, SECONDS["reproduce"])


def trials(out: Path, tiny: bool, data: str | None) -> subprocess.Popen[bytes]:
    command = [sys.executable, "bench/train_trials.py", "--out", str(WORK / "trials"), "--jobs", "4", *no_capture()]
    lists = [f"bench/trials/{name}.toml" for name in ("demo", "gpu-steps")]
    command += ["--small", *(["--data", data] if data else [])] if tiny else []
    command += [] if tiny else [*lists, "--data", str(data), "--seconds", str(0.65 * SECONDS["trials"])]
    return run("trials", command, out, SECONDS["trials"])


RUN: dict[str, Callable[[Path, bool, str | None], subprocess.Popen[bytes]]] = {
    "check": check, "figures": figures, "large": large, "reproduce": reproduce, "trials": trials
}  # fmt: skip


def measure(out: Path, stages: list[str], data: str | None, *, tiny: bool) -> None:
    """Run the stages; `reproduce` and `trials` at the same time."""
    out.mkdir(parents=True, exist_ok=True)
    WORK.mkdir(parents=True, exist_ok=True)
    begun = time.perf_counter()
    no_capture()
    ahead = compile_ahead(str(data)) if not tiny and "check" in stages and "figures" in stages else []
    together = [name for name in ("reproduce", "trials") if name in stages]
    for names in (["check"], ["figures"], ["large"], together):
        started = {name: RUN[name](out, tiny, data) for name in names if name in stages}
        for name, process in started.items():
            code = process.wait()
            print(f"[{time.strftime('%X')}] {name}: exit code {code}, {time.perf_counter() - begun:.0f} s so far", flush=True)
        for process in ahead:
            process.wait()
        ahead = []
    collect(out)
    give_back(out, 0)
    print(f"{time.perf_counter() - begun:.0f} s in all", flush=True)


# --- what comes back -----------------------------------------------------------------------------


def collect(out: Path) -> None:
    """Prints the tables; all results in one archive in `out`, the models in pieces under WORK."""
    cells = {str(p.parent.relative_to(WORK)): json.loads(p.read_text()) for p in sorted(WORK.glob("*/*/cell.json"))}
    (out / "cells.json").write_text(json.dumps(cells, indent=1) + "\n", encoding="utf-8")
    _print_logs(out)
    for place, cell in sorted(cells.items(), key=lambda item: float(item[1]["validation_loss"])):
        test = {name: round(cell[name], 4) for name in ("test_loss", "test_bits_per_byte") if name in cell}
        figures = f"{cell['tokens_per_second']:12,.0f} tokens/s {cell['training_seconds']:6.1f} of {cell['seconds']:6.1f} s"
        print(f"{place:44} loss {cell['validation_loss']:.4f} {figures}", test, flush=True)
    with tarfile.open(out / "results.tar.gz", "w:gz") as archive:
        for file in sorted(f for f in out.iterdir() if f.suffix in {".json", ".log"}):
            archive.add(file, file.name)
    for file in [f for f in out.iterdir() if f.suffix in {".json", ".log"}]:
        file.unlink()
    with tarfile.open(WORK / "models.tar", "w:gz", compresslevel=1) as archive:
        for place in _worth_returning(cells):
            small = WORK / place / "small"
            try:
                if not small.exists():
                    _shrink(WORK / place / "model", small, int(cells[place]["parameters"]))
                archive.add(small, f"{place}/model")
            except Exception as problem:  # the other models are still worth having
                print(f"{place}: {type(problem).__name__}: {problem}", flush=True)
    for old in WORK.glob("piece-*"):
        old.unlink()
    content = (WORK / "models.tar").read_bytes()
    for number, start in enumerate(range(0, len(content), PIECE)):
        (WORK / f"piece-{number:02}").write_bytes(content[start : start + PIECE])


def _print_logs(out: Path) -> None:
    for name in RUN:
        log = out / f"{name}.log"
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        print(f"\n== {name}", *(line[:160] for line in lines[-60:]), sep="\n", flush=True)


def _worth_returning(cells: dict[str, dict[str, Any]]) -> list[str]:
    """The best trials of the demo model, then the cells in half precision (or whatever there is), small ones first."""
    tried = sorted((p for p in cells if p.startswith("trials/d")), key=lambda p: float(cells[p]["validation_loss"]))
    others = [p for p in cells if p.startswith("cells/") and (cells[p]["precision"] != "fp32" or not _has_half(p, cells))]
    return tried[:MOST_TRIALS] + sorted(others, key=lambda p: int(cells[p]["parameters"]))


def _has_half(place: str, cells: dict[str, dict[str, Any]]) -> bool:
    return place.removesuffix("fp32") + "bf16" in cells


def _shrink(model: Path, small: Path, parameters: int) -> None:
    import torch

    import ts_models
    from ts_models.export.to_int8 import write_int8

    lm = ts_models.load(model)
    if parameters < INT8_FROM:
        words = model / "word_tokenizer.json"
        ts_models.save(lm.model, small, tokenizer=words if words.exists() else None, training=lm.training, dtype=torch.float16)
    else:
        write_int8(lm, small)


def give_back(out: Path, part: int) -> None:
    """Copy the pieces of a part into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    pieces = sorted(WORK.glob("piece-*"))
    for piece in pieces[part * PIECES : (part + 1) * PIECES]:
        shutil.copy(piece, out)
    print(f"part {part} of {-(-len(pieces) // PIECES)}, {len(pieces)} pieces in all", flush=True)


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
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-compile", "--no-cache-dir"]
    subprocess.run([*command, "--upgrade", "--target", str(site), *wheels], check=True)
    sources = [str(path / "src") for path in sorted((ROOT / "packages").iterdir())]
    print(f"export PYTHONPATH={':'.join([str(ROOT), *sources, str(site)])}")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--out", type=Path)
    options.add_argument("--data", help="an encoded/ folder")
    options.add_argument("--stage", nargs="+", choices=STAGES, default=list(STAGES))
    options.add_argument("--part", type=int, help="only give back this part of the models (0, 1, …)")
    options.add_argument("--tiny", action="store_true", help="made-up stories, a few steps")
    options.add_argument("--pack", type=Path, metavar="FOLDER")
    options.add_argument("--unpack", type=Path, metavar="FOLDER")
    options.add_argument("--site", type=Path, default=Path("/tmp/site"))
    chosen = options.parse_args()
    if chosen.pack is not None:
        pack(chosen.pack, Path(chosen.data))
    elif chosen.unpack is not None:
        unpack(chosen.unpack, chosen.site)
    elif chosen.part is not None:
        give_back(chosen.out, chosen.part)
    else:
        measure(chosen.out, chosen.stage, chosen.data, tiny=chosen.tiny)


if __name__ == "__main__":
    main()

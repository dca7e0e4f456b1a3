"""What so many gigabytes of stories and so large a model would need, from rates measured here: time, memory, disk, money, bottleneck.

    python bench/cost_at_scale.py [--small] [--data FILE] [--megabytes 25 100 400] [--rates FILE]
                                  [--gigabytes 100] [--parameters 350e6] [--ladder ladder/results.json]

Each step of the line runs at three sizes. A line (fixed + per byte) through the larger two gives its CPU seconds and bytes at any
size; the line through the smaller two is held against the largest. Simulated machines (_scale_projection.py: named assumptions) then
do that work: workers share a storage, nodes fail, training saves and begins again. --rates keeps what was measured, and is read
where it exists.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from _scale_projection import DATA_STEPS, GB, HOUR, MACHINES, WHERE, Accelerator, at, simulate
from _scale_rates import measured
from _scale_simulation import Cluster, Job, Outcome, daly, stage, training
from data_prepare_speed import make

# --- measured ----------------------------------------------------------------------------------


def measure(data: Path | None, sizes: list[float], small: bool) -> dict[str, Any]:
    """The rates: `data` holds one entry per size, the rest is of the model at hand."""
    pieces = read_pieces(data)
    with tempfile.TemporaryDirectory() as name:
        rows = [run_line(pieces, size, Path(name) / f"{size:g}", warm=number == 0) for number, size in enumerate(sizes)]
        folder = Path(name) / f"{sizes[-1]:g}"
        presets = ("story-1m",) if small else ("story-1m", "story-5m")
        seconds, written = (2, 10) if small else (8, 60)
        return {
            "data": rows,
            "train": {preset: measured("train", folder, preset, seconds) for preset in presets},
            "decode": {preset: measured("decode", folder, preset, 100, written) for preset in presets},
            "checkpoint": measured("checkpoint", folder, presets[0]),
        }


def read_pieces(data: Path | None) -> list[str]:
    if data is not None:
        return data.read_text(encoding="utf-8").split("<|endoftext|>")[:-1]
    import ts_data

    return list(ts_data.sample(3_000, seed=1, impurities=True))


def run_line(pieces: list[str], megabytes: float, folder: Path, *, warm: bool = False) -> dict[str, Any]:
    """Every data step on so much text; `warm` runs it once before, so that the kernels are compiled."""
    folder.mkdir()
    make(pieces, megabytes * 1e6, folder / "raw.txt")
    if warm:
        for step in DATA_STEPS:
            measured(step, folder)
        for leftover in ("splits", "encoded", "index"):
            shutil.rmtree(folder / leftover)
    return {step: measured(step, folder) for step in (*DATA_STEPS, "scan")}


# --- projected ---------------------------------------------------------------------------------


def data_table(rows: list[dict[str, Any]], raw: float) -> None:
    """Per step and kind of machines: time, money, and every stage that takes a tenth of the time with what bounds it."""
    print(f"\n{'step':12}{'machines':>22}{'CPU h':>8}{'time':>10}{'USD':>7}  stages and what bounds them")
    for step in (*DATA_STEPS, "scan"):
        cpu = sum(at(rows, raw, step, "stages", name, "cpu") for name in rows[-1][step]["stages"])
        for name, machine in MACHINES.items():
            stages = simulate(rows, step, raw, machine.cluster, machine.speed)
            seconds = sum(outcome.seconds for outcome in stages.values())
            spent = seconds / HOUR * machine.price * machine.cluster.nodes
            where = ", ".join(f"{s} {o.seconds:.0f} s ({bound(s, o)})" for s, o in stages.items() if o.seconds > seconds / 10)
            print(f"{step:12}{name:>22}{cpu / HOUR:8.2f}{clock(seconds):>10}{spent:7.2f}  {where}")


def bound(stage_name: str, outcome: Outcome) -> str:
    place = WHERE.get(stage_name, "core")
    return outcome.bottleneck if place == "cluster" else f"one {place}"


def disk_and_memory(rows: list[dict[str, Any]], raw: float) -> list[tuple[float, str]]:
    """Prints what each step leaves and holds; gives (raw bytes at which something is full, what) for the larger machines."""
    machine = MACHINES["8 servers, 10 Gbit/s"]
    wide = 2  # past 65,535 different words the index takes 4 bytes for each instead of 2
    stories = at(rows, raw, "prepare", "stories")
    work = at(rows, raw, "prepare", "stages", "clean", "written")
    kept = {"splits": at(rows, raw, "prepare", "out"), "encoded": at(rows, raw, "encode", "out")}
    stream = wide * at(rows, raw, "index", "stream")
    kept["index"] = stream + at(rows, raw, "index", "out") - stream / wide
    held = at(rows, raw, "prepare", "held")
    resident = kept["index"] - stream
    builder = at(rows, raw, "index", "peak")
    print(
        f"\ndisk, GB: raw {raw / GB:.0f}, work folder of prepare {work / GB:.0f}, "
        + ", ".join(f"{k} {v / GB:.0f}" for k, v in kept.items())
    )
    print(f"stories {stories / 1e6:.0f} M, tokens {at(rows, raw, 'encode', 'tokens') / 1e9:.1f} G")
    print(
        f"memory of one machine, GB: who goes into which split {held / GB:.1f} ({held / stories:.0f} B a story); search: arrays "
        f"{resident / GB:.1f}, page cache for a scan without the disk {stream / GB:.0f}; building the index {builder / GB:.1f}"
    )
    full = raw + work + sum(kept.values())
    limits = [
        (machine.memory / held, "prepare: the assignment of splits outgrows the memory of one machine"),
        (machine.memory / builder, "index: its building outgrows the memory of one machine"),
        (machine.memory / kept["index"], "scan: the index outgrows the page cache; each 100 queries then read it from the disk"),
        (MACHINES["1 server, 16 cores"].disk / full, "all files together outgrow the disk of one server"),
    ]
    return sorted((raw * factor, what) for factor, what in limits)


def train_table(rates: dict[str, Any], rows: list[dict[str, Any]], raw: float, parameters: float, card: Accelerator) -> None:
    tokens = at(rows, raw, "encode", "tokens")
    flops = 6 * parameters * tokens
    saved = rates["checkpoint"]["checkpoint"] / rates["checkpoint"]["parameters"] * parameters
    save = saved / card.storage
    here = max(rates["train"].values(), key=lambda r: r["flops"])
    state = 16 * parameters
    print(
        f"\ntrain {parameters / 1e6:,.0f} M parameters once over {tokens / 1e9:.1f} G tokens ({tokens / parameters:.0f} a parameter): "
        f"{flops:.2g} FLOPs; checkpoint {saved / GB:.1f} GB ({save:.0f} s); weights, gradients, moments {state / GB:.1f} GB of {card.memory / GB:.0f}"
    )
    for name, rate in rates["train"].items():
        print(f"  measured here, one core: {name} {rate['flops'] / 1e9:.0f} GFLOP/s, {rate['share']:.0%} of a matrix product's")
    years = flops / (here["flops"] * (os.cpu_count() or 1)) / (365 * 24 * HOUR)
    print(f"  this machine: {years:.1f} years")
    print(
        f"  {'cards':>6}{'utilisation':>12}{'computing':>11}{'save every':>11}{'expected':>10}{'99 % below':>11}{'lost':>7}{'USD':>7}"
    )
    for cards in (1, 8, 64):
        for utilisation in (card.utilisation, here["share"]):
            work, failures = flops / (card.flops * utilisation * cards), card.failures / cards
            best = math.sqrt(2 * save * failures)  # Young 1974
            for interval in (600.0, best) if utilisation == card.utilisation else (best,):
                lengths = training(work, min(interval, work), save, card.restart, failures)
                mean, late = sum(lengths) / len(lengths), lengths[int(0.99 * len(lengths))]
                print(
                    f"  {cards:>6}{utilisation:>12.0%}{clock(work):>11}{clock(interval):>11}{clock(mean):>10}{clock(late):>11}"
                    f"{mean / work - 1:>7.2%}{mean / HOUR * cards * card.price:7.0f}"
                )


def evaluation(rates: dict[str, Any], parameters: float, card: Accelerator) -> None:
    """Decoding reads the weights once a step for all rows; the rates here say what a core does."""
    for name, rate in rates["decode"].items():
        print(f"\ndecode, measured here, one core, 100 rows: {name} {rate['tokens_per_second']:,.0f} tokens/s", end="")
    stories, rows, length = 10_000, 256, 200
    steps = stories / rows * length
    seconds = steps * 2 * parameters / (card.bandwidth * card.reading)
    print(
        f"\ndecode {stories:,} stories with {parameters / 1e6:.0f} M in bf16 on one card: {clock(seconds)}; bound by the card's memory"
    )


def loss(report: Path | None, parameters: float, tokens: float) -> None:
    """What the law of `ts-train ladder` says of this model, and of the best one for the same FLOPs."""
    if report is None:
        print("\nloss: no --ladder results.json was given")
        return
    from ts_train.errors import FitError
    from ts_train.studies.ladder import fit_law
    from ts_train.studies.schemas import LadderReport

    found = LadderReport.model_validate_json(report.read_text(encoding="utf-8"))
    try:
        law, (asked,) = fit_law(
            found.cells, [("asked", int(parameters))], [int(tokens)], law=found.config.law, draws=found.config.bootstrap
        )
    except FitError as problem:
        print(f"\nloss: the ladder bears no fit: {problem}")
        return
    share = 1 / (law.alpha + law.beta)
    best = (law.alpha * law.a / (law.beta * law.b)) ** share * (parameters * tokens) ** (law.beta * share)
    print(
        f"\n{law.equation(3)}, {law.points} runs, residual {law.residual:.1%}; 95 %: E {pair(law.e_interval)}, alpha {pair(law.alpha_interval)}, beta {pair(law.beta_interval)}\n"
        f"  {parameters / 1e6:,.0f} M on {tokens / 1e9:.1f} G tokens: {asked.loss:.2f} nats a token ({pair(asked.interval)}), at {asked.beyond:,.0f} "
        f"times the FLOPs of the largest run; best for the same FLOPs: {best / 1e6:,.0f} M on {parameters * tokens / best / 1e9:,.1f} G tokens"
    )


def pair(interval: tuple[float, float]) -> str:
    return f"{interval[0]:.2f} … {interval[1]:.2f}"


def clock(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 2 * HOUR else f"{seconds / HOUR:.1f} h"


# --- held against what happens -----------------------------------------------------------------


def check_lines(rows: list[dict[str, Any]]) -> None:
    """The line through the smaller two sizes against the largest."""
    smaller, largest = rows[:2], rows[2]
    raw = largest["prepare"]["raw"]
    print(f"\nthe line through the smaller two sizes, held against {raw / 1e6:,.0f} MB: predicted, measured, ratio")
    for step in (*DATA_STEPS, "scan"):
        stages = largest[step]["stages"]
        expected = sum(at(smaller, raw, step, "stages", name, "cpu") for name in stages)
        compare(f"{step}, CPU s", expected, sum(stage["cpu"] for stage in stages.values()))
    for what, path in {
        "tokens, M": ("encode", "tokens"),
        "splits, MB": ("prepare", "out"),
        "index, MB": ("index", "out"),
    }.items():
        compare(what, at(smaller, raw, *path) / 1e6, largest[path[0]][path[1]] / 1e6)


def simulate_here(rows: list[dict[str, Any]], raw: float = 500e6) -> None:
    """One and two workers on this machine, as `engine_overhead.py` measures them by the clock."""
    print(f"\nsimulated here, {raw / 1e6:,.0f} MB, to be held against bench/engine_overhead.py:")
    for workers in (1, 2):
        here = Cluster(1, workers, math.inf)
        took = {step: sum(o.seconds for o in simulate(rows, step, raw, here).values()) for step in ("prepare", "encode")}
        print(f"  {workers} worker(s): prepare {took['prepare']:.1f} s, encode {took['encode']:.1f} s")


def compare(what: str, expected: float, found: float) -> None:
    print(f"  {what:24}{expected:10.1f}{found:10.1f}{expected / found:7.2f}", flush=True)


def check_simulation() -> None:
    """Where a closed form exists the simulation must agree with it."""
    work, interval, save, restart, failures = 36 * HOUR, HOUR, 10.0, 300.0, 12 * HOUR
    lengths = training(work, interval, save, restart, failures, draws=2_000)
    ratio = sum(lengths) / len(lengths) / daly(work, interval, save, restart, failures)
    even = stage([Job(1.0)] * 320, Cluster(8, 4, math.inf)).seconds / 10
    full = stage([Job(0.0, 1e9)] * 32, Cluster(2, 4, 1e9)).seconds / 32
    print(f"simulation over closed form: training with failures {ratio:.3f}, even jobs {even:.3f}, full storage {full:.3f}")
    assert all(abs(r - 1) < 0.02 for r in (ratio, even, full))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="measure at 1, 3 and 9 MB")
    parser.add_argument("--data", type=Path, help="stories to recombine (default: the generated sample)")
    parser.add_argument("--megabytes", type=float, nargs=3, default=[25.0, 100.0, 400.0])
    parser.add_argument("--rates", type=Path, help="a file that keeps what was measured; read where it exists")
    parser.add_argument("--gigabytes", type=float, default=100.0)
    parser.add_argument("--parameters", type=float, default=350e6)
    parser.add_argument("--ladder", type=Path, help="results.json of `ts-train ladder`")
    args = parser.parse_args()
    if args.rates and args.rates.exists():
        rates = json.loads(args.rates.read_text(encoding="utf-8"))
    else:
        rates = measure(args.data, [1.0, 3.0, 9.0] if args.small else args.megabytes, args.small)
        if args.rates:
            args.rates.write_text(json.dumps(rates, indent=1), encoding="utf-8")
    every, raw, card = rates["data"], args.gigabytes * GB, Accelerator()
    rows = every[1:]
    check_simulation()
    sizes = " and ".join(f"{row['prepare']['raw'] / 1e6:.0f}" for row in rows)
    print(f"{args.gigabytes:g} GB of raw text, from {sizes} MB measured here")
    data_table(rows, raw)
    limits = disk_and_memory(rows, raw)
    train_table(rates, rows, raw, args.parameters, card)
    evaluation(rates, args.parameters, card)
    loss(args.ladder, args.parameters, at(rows, raw, "encode", "tokens"))
    print("\nwhat breaks, in this order:")
    for where, what in limits:
        print(f"  at {where / GB:8,.0f} GB of raw text: {what}")
    check_lines(every)
    simulate_here(rows)


if __name__ == "__main__":
    main()

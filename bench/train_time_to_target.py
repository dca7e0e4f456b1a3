"""Claim: `story-*` with our recipe reaches the best loss of the talk's network in a fraction of the time, in the same engine.

Both sides get the same search, one thing after the other: three batch sizes, three learning rates (one or two more where the best is at
the edge) on a part of an epoch, then on a longer part StepLR (scaled to the run, as the talk's is to its two epochs), a line to zero
after a warm-up, or a constant rate that falls in the second half; dropout or none. Ours is searched on half the epochs, because its runs
are shorter and an epoch takes it longer. Last, on a quarter of the talk's shortest run, larger batches where those of 1,024 tokens were best:
the longer a run, the larger they may be.
The talk's network then trains for more and more epochs, until its best validation loss no longer falls or the list ends: the loss of each
seed is the target of the same seed of ours; a seed from which it diverges is left out. Our time is that of the shortest run that
reaches it, with a schedule that ends there:
between two lengths of `LENGTHS` it is interpolated in their logarithm. The variants between (structure with AdamW, our recipe with the
talk's batch) split the gain by cause.

Time is steps x CPU seconds of a step, one thread, all variants' steps measured by turns in one process at the end: other load on the
machine then falls on all alike. Validation is left out. Every run lies in `--out` and is not run again; one that was ended by
SIGTERM goes on, so that the whole may be done in parts.

    OMP_NUM_THREADS=1 python bench/train_time_to_target.py --data encoded/ --out DIR [--size 1m] [--seeds 3] [--epochs 2 4 8]
        [--search-epochs 0.25 0.5] [--stories 500]
    python bench/train_time_to_target.py --small          # made-up stories, one seed: does it run?
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ts_train import BaseCallback, StepMetrics, TrainConfig, ValidationMetrics, recipe, train
from ts_train.data.dataset import open_data
from ts_train.recipes import combine
from ts_train.studies.ablation import mean_interval
from ts_train.studies.trial import folder_name
from ts_train.testing import fake_encoded

TALK_STEPS = 2 * 1_725_028 / 64
"""Optimizer steps of the talk's two epochs: its StepLR is scaled from these to a run's."""
BATCHES: dict[str, dict[str, Any]] = {
    "64 stories": {"batch_size": 64},
    "16 stories": {"batch_size": 16},
    "1,024 tokens": {"tokens_per_step": 1024},
}
LARGER: dict[str, dict[str, Any]] = {f"{tokens:,} tokens": {"tokens_per_step": tokens} for tokens in (2048, 4096)}
RATES = {
    ("talk", "1m"): (0.0012, 0.0025, 0.0049),
    ("talk", "5m"): (0.00065, 0.0013, 0.0026),
    ("adamw", "1m"): (0.003, 0.006, 0.012),
    ("adamw", "5m"): (0.0015, 0.003, 0.006),
    ("muon", "1m"): (0.01, 0.02, 0.04),
    ("muon", "5m"): (0.01, 0.02, 0.04),
}


@dataclass(frozen=True)
class Choice:
    """What the search chooses, and for how long it trains. `side`: talk, adamw (our structure) or muon (our recipe)."""

    side: str
    batch: str
    lr: float
    schedule: str = "linear"
    dropout: bool = False
    epochs: float = 1.0
    seed: int = 1
    quick: bool = False
    """Validated once, at the end."""

    def __str__(self) -> str:
        dropout = "dropout" if self.dropout else "no dropout"
        quick = ", quick" if self.quick else ""
        return f"{self.side}, {self.batch}, lr {self.lr:g}, {self.schedule}, {dropout}, {self.epochs:g} epochs, seed {self.seed}{quick}"


class Clock(BaseCallback):
    """CPU seconds of training, and (step, CPU seconds, loss) at each validation. Kept beside the run, for one in parts."""

    def __init__(self, file: Path) -> None:
        self.file = file
        held = json.loads(file.read_text()) if file.exists() else {"spent": 0.0, "curve": []}
        self.spent, self.curve, self.mark = held["spent"], held["curve"], 0.0

    def on_start(self, run: Any) -> None:
        self.mark = time.process_time()

    def on_step(self, metrics: StepMetrics) -> None:
        now = time.process_time()
        self.spent, self.mark = self.spent + now - self.mark, now

    def on_validation(self, metrics: ValidationMetrics) -> None:
        self.curve.append([metrics.point.step, self.spent, metrics.point.validation_loss])
        self.mark = time.process_time()

    def keep(self) -> None:
        self.file.write_text(json.dumps({"spent": self.spent, "curve": self.curve}))


@dataclass
class Lab:
    """Runs choices on the data, each once."""

    size: str
    data: Any
    out: Path
    stories: int
    """Of validation, the first of the split."""

    def config(self, c: Choice) -> tuple[TrainConfig, int]:
        """(settings, optimizer steps)."""
        preset = f"{'talk' if c.side == 'talk' else 'story'}-{self.size}"
        base = combine(
            recipe(preset),
            {"preset": preset, "seed": c.seed, "batch": {**(BATCHES | LARGER)[c.batch], "arrangement": "bucketed"}},
        )
        if c.side == "adamw":
            base = combine(base, {"optimizer": {"name": "adamw"}})
        encoded = open_data(self.data)
        steps = max(2, round(c.epochs * encoded.batches(TrainConfig.model_validate(base), 256).steps_per_epoch))
        talk = recipe(f"talk-{self.size}")
        schedules = {
            "linear": {"name": "linear", "warmup_steps": min(20, steps // 5)},
            "wsd": {"name": "wsd", "decay_fraction": 0.5},
            "step": {**talk["schedule"], "step_size": max(1, round(talk["schedule"]["step_size"] * steps / TALK_STEPS))},
        }
        dropout = 0.0 if not c.dropout else 0.08 if self.size == "1m" else 0.1
        return TrainConfig.model_validate(
            combine(base, {
                "optimizer": {"lr": c.lr}, "schedule": schedules[c.schedule], "model": {"dropout": dropout}, "max_steps": steps,
                "precision": "fp32", "sinks": (), "threads": 1, "checkpoint": {"every": 10**6},
                "validation": {
                    "every": steps if c.quick else max(1, round(steps / min(12, max(6, 2 * c.epochs)))),
                    "max_stories": self.stories, "samples": 0, "bits_per_byte": False,
                },
            })
        ), steps  # fmt: skip

    def curve(self, c: Choice) -> list[list[float]]:
        """[[step, CPU seconds, validation loss], …] of a run, which is trained unless it was."""
        folder = self.out / folder_name(f"{self.size}, {c}", c.seed)
        done = folder / "done.json"
        if not done.exists():
            folder.mkdir(parents=True, exist_ok=True)
            clock = Clock(folder / "clock.json")
            try:
                train(self.config(c)[0], self.data, folder / "run", callbacks=[clock])
            finally:
                clock.keep()
            done.write_text(json.dumps({"choice": asdict(c), "curve": clock.curve}))
            step, seconds, loss = min(clock.curve, key=lambda point: point[2])
            say(f"  {c}: best {loss:.4f} at step {step}, {seconds:.0f} CPU s")
        return list(json.loads(done.read_text())["curve"])

    def best(self, c: Choice) -> float:
        return min(point[2] for point in self.curve(c))

    def seeds(self, c: Choice, seeds: int) -> list[list[list[float]]]:
        return [self.curve(replace(c, seed=seed)) for seed in range(1, seeds + 1)]


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def search(lab: Lab, side: str, first: float, second: float) -> Choice:
    """The best choice, one thing after the other: batch, learning rate on `first` epochs, then schedule, dropout on `second`."""
    middle = sorted(RATES[side, lab.size])[1]
    best = min((Choice(side, batch, middle, epochs=first, quick=True) for batch in BATCHES), key=lab.best)
    best = replace(best_rate(lab, best), epochs=second)
    best = min((replace(best, schedule=schedule) for schedule in ("linear", "step", "wsd")), key=lab.best)
    return min((replace(best, dropout=dropout) for dropout in (False, True)), key=lab.best)


def enlarged(lab: Lab, c: Choice, epochs: float) -> Choice:
    """The same with larger batches, at the same rates, as long as they are better; anything but 1,024 tokens as it is."""
    if c.batch != "1,024 tokens":
        return c
    best = replace(c, epochs=epochs, quick=True)
    for batch in LARGER:
        larger = replace(best, batch=batch)
        if lab.best(larger) >= lab.best(best):
            break
        best = larger
    return best


def best_rate(lab: Lab, c: Choice) -> Choice:
    """The best of three learning rates; where that is the first or the last, of one or two more in that direction."""
    rates = sorted(RATES[c.side, lab.size])
    while True:
        best = min((replace(c, lr=lr) for lr in rates), key=lab.best)
        if len(rates) == 5 or best.lr not in (rates[0], rates[-1]):
            return best
        rates = [best.lr / 2, *rates] if best.lr == rates[0] else [*rates, best.lr * 2]


def longest(lab: Lab, c: Choice, epochs: list[float]) -> Iterator[Choice]:
    """Runs of rising length until the best validation loss no longer falls; from four epochs on, with dropout and without."""
    before = float("inf")
    for length in epochs:
        dropouts = (False, True) if length >= 4 else (c.dropout,)
        row = min((replace(c, epochs=length, dropout=d, quick=False) for d in dropouts), key=lab.best)
        yield row
        if lab.best(row) >= before:
            return
        before = lab.best(row)


LENGTHS = (0.02, 0.03, 0.042, 0.06, 0.085, 0.125, 0.18, 0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0)


Found = tuple[Choice, list[float]]
"""Settings, and the steps that each seed needs."""


def needed(lab: Lab, c: Choice, targets: list[float], guess: float) -> Found | None:
    """The steps that each seed (1, 2, …) needs to its target, sought from `guess` epochs on; None if one does not reach it."""
    steps = [_crossing(lab, replace(c, seed=seed, quick=True), target, guess) for seed, target in enumerate(targets, 1)]
    known = [each for each in steps if each is not None]
    return (replace(c, quick=True), known) if len(known) == len(steps) else None


def _crossing(lab: Lab, c: Choice, target: float, guess: float) -> float | None:
    """Steps of the shortest run that ends at the target."""

    def end(at: int) -> tuple[float, float]:
        step, _, loss = lab.curve(replace(c, epochs=LENGTHS[at]))[-1]
        return step, loss

    at = min(range(len(LENGTHS)), key=lambda i: abs(LENGTHS[i] - guess))
    while at > 0 and end(at)[1] <= target:
        at -= 1
    while not end(at)[1] <= target:  # a diverged run has no number
        at += 1
        if at == len(LENGTHS):
            return None
    if at == 0:
        return end(0)[0]
    (fewer, higher), (more, lower) = end(at - 1), end(at)
    share = (higher - target) / (higher - lower)
    return math.exp((1 - share) * math.log(fewer) + share * math.log(more))


def step_costs(lab: Lab, choices: list[Choice], rounds: int, steps: int) -> dict[str, float]:
    """CPU seconds of a step of each choice: the median over rounds in which all take turns."""
    kinds = {kind(c): c for c in choices}
    counts = {name: steps if "tokens" in c.batch else max(1, steps // 8) for name, c in kinds.items()}
    return by_turns({name: _stepper(lab, c) for name, c in kinds.items()}, counts, rounds)


def by_turns(steps: dict[str, Callable[[], int]], counts: dict[str, int], rounds: int) -> dict[str, float]:
    """CPU seconds of a call of each: median over the rounds, after one to warm up."""
    spent: dict[str, list[float]] = {name: [] for name in steps}
    for name in list(steps) * (rounds + 1):
        start = time.process_time()
        for _ in range(counts[name]):
            steps[name]()
        spent[name].append((time.process_time() - start) / counts[name])
    return {name: statistics.median(times[1:]) for name, times in spent.items()}


def engine(lab: Lab) -> None:
    """What our engine gains on the talk's network and batches, against the talk's own loop."""
    from train_throughput import ours, talk

    class Data(dict[str, Any]):
        vocab_size, pad_id = (encoded := open_data(lab.data)).vocab_size, encoded.pad_id

    name, held = f"talk-{lab.size}", Data(train=open_data(lab.data).train)
    for words, dropout in (("its dropout", None), ("no dropout", 0.0)):
        changes: dict[str, Any] = {} if dropout is None else {"model": {"dropout": dropout}}
        costs = by_turns({"loop": talk(name, held, dropout), "ours": ours(name, lab.data, changes)}, {"loop": 1, "ours": 1}, 3)
        print(
            f"  engine, {words}: {costs['loop'] / costs['ours']:.2f} x (a step of 64 stories {costs['loop']:.2f} s, ours {costs['ours']:.2f} s)"
        )


def _stepper(lab: Lab, c: Choice) -> Callable[[], int]:
    from train_throughput import ours

    changes = lab.config(c)[0].model_dump(exclude={"format", "schema_version", "preset", "max_steps"})
    return ours(f"{'talk' if c.side == 'talk' else 'story'}-{lab.size}", lab.data, changes)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--small", action="store_true", help="made-up stories, one seed, short runs")
    options.add_argument("--data", help="an encoded/ folder")
    options.add_argument("--out", help="where the runs are kept")
    options.add_argument("--size", default="1m", choices=["1m", "5m"])
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--search-epochs", nargs=2, type=float, default=[0.25, 0.5], help="of the two rounds of the search")
    options.add_argument("--epochs", nargs="+", type=float, default=[2, 4, 8], help="lengths of the talk's runs")
    options.add_argument("--stories", type=int, default=500, help="validation stories")
    chosen = options.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(chosen.out or folder)
        data: Any = chosen.data or fake_encoded(stories=100, vocab_size=2048, shortest=20, longest=120)
        first, second = (0.1, 0.2) if chosen.small else chosen.search_epochs
        lengths, seeds = ([0.3], 1) if chosen.small else (chosen.epochs, chosen.seeds)
        compare(Lab(chosen.size, data, out, chosen.stories), first, second, lengths, seeds)


def compare(lab: Lab, first: float, second: float, epochs: list[float], seeds: int) -> None:
    print(f"torch {torch.__version__}, {lab.size}, 1 thread, fp32, {seeds} seed(s)", flush=True)
    found = search(lab, "talk", first, second), search(lab, "muon", first / 2, second / 2)
    peer, ours = (enlarged(lab, c, min(epochs) / 4) for c in found)
    rows = list(longest(lab, peer, epochs))
    peer = min(rows, key=lab.best)
    best = [min(curve, key=lambda point: point[2]) for curve in lab.seeds(peer, seeds)]
    held = [point for point in best if point[2] < min(end[2] for end in best) + 1]  # a diverged run's loss is no target
    if len(held) < len(best):
        print(f"  {len(best) - len(held)} of {len(best)} seeds of the talk's network diverged and are left out", flush=True)
    best, targets = held, [point[2] for point in held]
    print(f"the talk's network, {peer}: {', '.join(f'{target:.3f}' for target in targets)}", flush=True)
    reached: Reached = {
        "talk's network": (peer, [point[0] for point in best]), "ours": needed(lab, ours, targets, peer.epochs / 4)
    }  # fmt: skip
    report(lab, reached)
    for row in rows:  # how the gain depends on how long the talk's network may train
        step, _, loss = min(lab.curve(row), key=lambda point: point[2])
        report(lab, {f"{row.epochs:g} epochs": (row, [step]), "ours": needed(lab, ours, [loss], row.epochs / 4)})
    rate = replace(ours, epochs=first / 2, quick=True)
    for name, c in {
        "ours, with AdamW": best_rate(lab, replace(rate, side="adamw", lr=RATES["adamw", lab.size][1])),
        "ours, batches of 64 stories": best_rate(lab, replace(rate, batch="64 stories")),
    }.items():
        reached[name] = needed(lab, c, targets[:1], peer.epochs / 4)
    recipe_as_it_is = Choice("talk", "64 stories", 0.0049 if lab.size == "1m" else 0.0013, "step", True, min(2, epochs[-1]))
    print(f"  the talk's recipe as it is: {lab.best(recipe_as_it_is):.3f} in {recipe_as_it_is.epochs:g} epochs (one seed)")
    report(lab, reached)
    engine(lab)


Reached = dict[str, Found | None]


def report(lab: Lab, reached: Reached) -> None:
    """The CPU seconds of each, and how many times less than the first: geometric mean over seeds with its 95 % interval."""
    costs = step_costs(lab, [found[0] for found in reached.values() if found], rounds=5, steps=40)
    base: list[float] = []
    for name, found in reached.items():
        if found is None:
            print(f"  {name:30} not in {LENGTHS[-1]} epochs")
            continue
        each = cost(found[0], costs)
        seconds = [steps * each for steps in found[1]]
        base = base or seconds
        ratios = [math.log(peer / own) for peer, own in zip(base, seconds, strict=False)]
        interval = mean_interval(ratios)
        within = "" if interval is None else f" ({math.exp(interval[0]):.2f} … {math.exp(interval[1]):.2f})"
        steps = ", ".join(f"{step:.0f}" for step in found[1])
        print(
            f"  {name:30} {statistics.mean(seconds):7.1f} CPU s ({steps} steps of {each * 1e3:.0f} ms)  "
            f"{math.exp(statistics.mean(ratios)):.2f}{within} x less  [{found[0]}]", flush=True,
        )  # fmt: skip


def cost(c: Choice, costs: dict[str, float]) -> float:
    """Of a step: the same for every length, schedule and seed."""
    return costs[kind(c)]


def kind(c: Choice) -> str:
    return f"{c.side}, {c.batch}, {'dropout' if c.dropout else 'no dropout'}"


if __name__ == "__main__":
    main()

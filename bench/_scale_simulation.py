"""Simulates machines at work, event by event: workers that share a disk and a network, machines that fail, checkpoints.

What a closed form does not give: the tail of a stage whose jobs do not divide evenly, one long job beside many short ones, work
lost with a machine, and the spread of a training run's length. Numbers in, numbers out; it measures nothing.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

__all__ = ["Cluster", "Job", "Outcome", "daly", "stage", "training"]


@dataclass(frozen=True)
class Job:
    """Read these bytes, compute for so many CPU seconds, write those bytes."""

    cpu: float
    read: float = 0.0
    written: float = 0.0


@dataclass(frozen=True)
class Cluster:
    """`nodes` alike. All share `storage`; each has one network card (`network`) to it; `failures`: mean seconds between a node's."""

    nodes: int
    cores: int
    storage: float
    """Bytes per second of the shared file system, reads and writes together."""
    network: float = math.inf
    """Bytes per second of one node."""
    failures: float = math.inf
    restart: float = 120.0
    """Seconds until a failed node works again."""


@dataclass
class Outcome:
    seconds: float = 0.0
    cores_busy: float = 0.0
    """Share of the cores' time spent computing."""
    storage_busy: float = 0.0
    """Share of the time in which the storage or all network cards are as fast as they can be."""
    lost: int = 0
    """Jobs begun in vain, because their node failed."""

    @property
    def bottleneck(self) -> str:
        if self.storage_busy > 0.8 and self.storage_busy > self.cores_busy:
            return "storage"
        return "cores" if self.cores_busy > 0.5 else "its longest job"


@dataclass
class _Slot:
    """One core of one node, and what it is at."""

    node: int
    job: Job | None = None
    phase: int = 0
    epoch: int = 0
    """Counts what was begun: an event of an earlier epoch is void."""


@dataclass
class _Transfers:
    """Transfers that share a bandwidth evenly, by virtual time: one ends when `attained` reaches its mark."""

    bandwidth: float
    single: float
    attained: float = 0.0
    running: dict[int, float] = field(default_factory=dict)
    heap: list[tuple[float, int, int]] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return min(self.bandwidth / len(self.running), self.single) if self.running else 0.0

    def begin(self, slot: int, epoch: int, size: float) -> None:
        self.running[slot] = self.attained + size
        heapq.heappush(self.heap, (self.attained + size, slot, epoch))

    def next_end(self, slots: Sequence[_Slot]) -> float:
        """Seconds until the first ends; inf where none runs."""
        while self.heap and self.heap[0][2] != slots[self.heap[0][1]].epoch:
            heapq.heappop(self.heap)  # of a node that failed
        return max(0.0, self.heap[0][0] - self.attained) / self.rate if self.heap else math.inf


def stage(jobs: Sequence[Job], cluster: Cluster, seed: int = 1) -> Outcome:
    """Every job once, in order, on whichever core is free; the stage ends with the last of them."""
    dice, number = random.Random(seed), count()
    slots = [_Slot(node) for _ in range(cluster.cores) for node in range(cluster.nodes)]
    pending, out = deque(jobs), Outcome()
    transfers = _Transfers(min(cluster.storage, cluster.network * cluster.nodes), cluster.network)
    events: list[tuple[float, int, str, int, int]] = []  # time, order, what, slot or node, epoch
    down: set[int] = set()
    now, left = 0.0, len(jobs)

    def later(seconds: float, what: str, which: int, epoch: int = 0) -> None:
        if seconds < math.inf:
            heapq.heappush(events, (now + seconds, next(number), what, which, epoch))

    def advance(index: int) -> None:
        """The next phase of the slot's job (read, compute, write), or the next job."""
        nonlocal left
        slot = slots[index]
        while True:
            if slot.job is None:
                if slot.node in down or not pending:
                    return
                slot.job, slot.phase = pending.popleft(), 0
            else:
                slot.phase += 1
            slot.epoch += 1
            if slot.phase == 1:
                later(slot.job.cpu, "computed", index, slot.epoch)
                return
            if slot.phase == 3:
                out.cores_busy += slot.job.cpu
                slot.job, left = None, left - 1
            elif size := (slot.job.read, 0.0, slot.job.written)[slot.phase]:
                transfers.begin(index, slot.epoch, size)
                return

    def fail(node: int) -> None:
        down.add(node)
        for index, slot in enumerate(slots):
            if slot.node == node and slot.job is not None:
                pending.append(slot.job)
                transfers.running.pop(index, None)
                slot.job, slot.epoch, out.lost = None, slot.epoch + 1, out.lost + 1
        later(cluster.restart, "returned", node)

    for node in range(cluster.nodes):
        later(dice.expovariate(1 / cluster.failures) if cluster.failures < math.inf else math.inf, "failed", node)
    for index in range(len(slots)):
        advance(index)
    while left:
        wait = transfers.next_end(slots)
        timed = events[0][0] - now if events else math.inf
        step = min(wait, timed)
        if transfers.running and transfers.rate < transfers.single:
            out.storage_busy += step
        transfers.attained += transfers.rate * step
        now += step
        if wait <= timed:
            _, index, _ = heapq.heappop(transfers.heap)
            del transfers.running[index]
            advance(index)
            continue
        _, _, what, which, epoch = heapq.heappop(events)
        if what == "computed" and slots[which].epoch == epoch:
            advance(which)
        elif what == "failed":
            fail(which)
            later(dice.expovariate(1 / cluster.failures), "failed", which)
        elif what == "returned":
            down.discard(which)
        if what != "computed":
            for index, slot in enumerate(slots):
                if slot.job is None:
                    advance(index)
    out.seconds = now
    out.cores_busy /= max(now * len(slots), 1e-12)
    out.storage_busy /= max(now, 1e-12)
    return out


# --- training ----------------------------------------------------------------------------------


def training(
    work: float, interval: float, save: float, restart: float, failures: float, *, draws: int = 400, seed: int = 1
) -> list[float]:
    """Sorted lengths (seconds) of runs of `work` seconds that save each `interval` and begin again at the last save after a failure.

    `failures` is the mean time between two of the whole job, `restart` what passes until it computes again (it may fail then, too).
    """
    dice = random.Random(seed)
    lengths = []
    for _ in range(draws):
        now, done, recovering = 0.0, 0.0, 0.0
        fails = dice.expovariate(1 / failures)
        while done < work:
            part = min(interval, work - done)
            end = now + recovering + part + save
            if fails < end:
                now, recovering = fails, restart
                fails = now + dice.expovariate(1 / failures)
            else:
                now, done, recovering = end, done + part, 0.0
        lengths.append(now)
    return sorted(lengths)


def daly(work: float, interval: float, save: float, restart: float, failures: float) -> float:
    """The expected length in closed form (Daly 2006, eq. 13), for the simulation to be held against."""
    return failures * math.exp(restart / failures) * math.expm1((interval + save) / failures) * work / interval

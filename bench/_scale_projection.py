"""From rates measured at two sizes to a step's work at any size, and that work on simulated machines. The machines are assumptions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from _scale_simulation import Cluster, Job, Outcome, stage

HOUR, GB = 3600.0, 1e9
BLOCK, SHARD, ROWS = 1 << 24, 1 << 27, 20_000  # ts-data's blocks and shards, the batches of ts-tokenizer
DATA_STEPS = ("prepare", "vocabulary", "encode", "index")
WHERE = {  # what each stage can use: every node, the cores of one node, one core
    "hash": "cluster", "clean": "cluster", "write": "cluster", "batches": "cluster", "count": "node", "closest": "node",
}  # fmt: skip


@dataclass(frozen=True)
class Machine:
    """A kind of machine; every number is an assumption to be replaced by that of your offer."""

    cluster: Cluster
    memory: float
    """Bytes of one node."""
    disk: float
    """Bytes of the shared storage."""
    price: float
    """USD per node and hour."""
    speed: float = 1.0
    """A core's speed over that of the machine that the rates were measured on."""


MONTH = 30 * 24 * HOUR
MACHINES = {  # a node fails once in three months; after that it is back in two minutes
    "1 server, 16 cores": Machine(Cluster(1, 16, 2 * GB, 2 * GB, 3 * MONTH), 64 * GB, 2_000 * GB, 0.80),
    "8 servers, 10 Gbit/s": Machine(Cluster(8, 16, 2.5 * GB, 1.25 * GB, 3 * MONTH), 64 * GB, 20_000 * GB, 0.80),
}


@dataclass(frozen=True)
class Accelerator:
    """What trains. `utilisation` and `reading` are shares of the data sheet's peaks that are commonly reached."""

    flops: float = 989e12
    """Dense bf16 (H100 SXM)."""
    utilisation: float = 0.40
    memory: float = 80 * GB
    bandwidth: float = 3.35e12
    reading: float = 0.5
    """Of the bandwidth, when it decodes."""
    price: float = 3.0
    """USD per hour."""
    failures: float = 4 * MONTH
    """Mean seconds between the failures of one (with its share of node and network); cf. Llama 3's one in 16,000 · 3 h."""
    restart: float = 300.0
    """Until all ranks compute again."""
    storage: float = 1 * GB
    """Bytes per second of a checkpoint's way to the disk."""


def at(rows: list[dict[str, Any]], raw: float, *path: str) -> float:
    """A quantity at so many raw bytes, on the line through the two sizes (never below the proportional part of the larger)."""
    (x0, y0), (x1, y1) = ((row["prepare"]["raw"], _get(row, path)) for row in rows)
    slope = max((y1 - y0) / (x1 - x0), 0.0)
    return max(y1 + slope * (raw - x1), 0.0)


def _get(row: dict[str, Any], path: tuple[str, ...]) -> float:
    found: Any = row
    for name in path:
        found = found[name]
    return float(found)


def jobs_of(rows: list[dict[str, Any]], step: str, name: str, raw: float, speed: float = 1.0) -> list[Job]:
    """The jobs of a stage at so many raw bytes, all alike."""
    stories = at(rows, raw, "prepare", "stories")
    pieces = {
        "clean": raw / BLOCK,
        "write": at(rows, raw, "encode", "text") / SHARD,
        "batches": stories / ROWS,
        "count": stories / ROWS,
    }
    number = max(1, math.ceil(pieces.get(name, 1)))
    if name == "closest":
        number = 16  # a part of the stories for each core
    cpu, read, written = (at(rows, raw, step, "stages", name, what) / number for what in ("cpu", "read", "written"))
    return [Job(cpu / speed, read, written)] * number


def simulate(rows: list[dict[str, Any]], step: str, raw: float, cluster: Cluster, speed: float = 1.0) -> dict[str, Outcome]:
    """Each stage of a step on these machines. The one job that hashes a source runs beside the cleaning."""
    found = {}
    for name in rows[-1][step]["stages"]:
        if name == "hash":
            continue
        jobs = jobs_of(rows, step, name, raw, speed)
        if name == "clean":
            jobs = [*jobs_of(rows, step, "hash", raw, speed), *jobs]
        place = WHERE.get(name, "core")
        nodes, cores = {"cluster": (cluster.nodes, cluster.cores), "node": (1, cluster.cores), "core": (1, 1)}[place]
        at_work = Cluster(nodes, cores, cluster.storage, cluster.network, cluster.failures, cluster.restart)
        found[name] = stage(jobs, at_work)
    return found

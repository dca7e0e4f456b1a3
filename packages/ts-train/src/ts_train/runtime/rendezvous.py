"""How the ranks of one start find each other, and nobody of an earlier start.

torchrun keeps its key-value store across restarts of the workers, with the addresses of the ranks that died still in it;
a rank that reads one of those waits for a process that is gone (pytorch#135712, #167288). The restart count that torchrun
hands out is counted by each node for itself, so it cannot tell the starts apart. Hence a handshake: rank 0 names this
start, every rank answers with a name of its own, and rank 0 confirms whom it heard. A rank goes on once it is confirmed.
"""

from __future__ import annotations

import json
import time
import uuid

from torch.distributed.distributed_c10d import PrefixStore, Store

from ..errors import TsTrainError

POLL = 0.05  # seconds


def fresh_store(store: Store, rank: int, size: int, *, timeout: float = 600.0) -> Store:
    """The part of `store` that belongs to this start of `size` ranks.

    Args:
        store: one that all ranks reach; it may hold keys of earlier starts.
        rank, size: of this process, in this start.
        timeout: seconds that the others are waited for.

    Raises:
        TsTrainError: some rank did not come.
    """
    deadline = time.monotonic() + timeout
    start = _call_together(store, size, deadline) if rank == 0 else _answer(store, rank, deadline)
    return PrefixStore(f"ts-train/{start}", store)


def _call_together(store: Store, size: int, deadline: float) -> str:
    start = uuid.uuid4().hex
    store.set("ts-train/start", start)
    answers = [f"ts-train/{start}/answer/{rank}" for rank in range(1, size)]
    while not store.check(answers):
        if time.monotonic() > deadline:
            late = [str(rank) for rank, key in enumerate(answers, 1) if not store.check([key])]
            raise TsTrainError(f"rank {', '.join(late)} of {size} did not join in time; look at its log, then start again.")
        time.sleep(POLL)
    store.set(f"ts-train/{start}/heard", json.dumps([store.get(key).decode() for key in answers]))
    return start


def _answer(store: Store, rank: int, deadline: float) -> str:
    me = uuid.uuid4().hex
    answered: set[str] = set()
    while time.monotonic() < deadline:
        start = store.get("ts-train/start").decode() if store.check(["ts-train/start"]) else ""
        if start and start not in answered:
            answered.add(start)
            store.set(f"ts-train/{start}/answer/{rank}", me)
        heard = f"ts-train/{start}/heard"
        if store.check([heard]) and me in json.loads(store.get(heard)):
            return start
        time.sleep(POLL)
    raise TsTrainError(f"rank {rank}: rank 0 did not join in time; look at its log, then start again.")

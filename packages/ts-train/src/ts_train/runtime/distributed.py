"""The ranks of a run: one process, or those that torchrun started. Data parallel: every rank holds the whole model.

Gradients are summed once per optimizer step in one flat buffer, after all micro-batches. The loss is already divided by
the tokens of the whole step, so the sum is the gradient of the step for any split of the rows over the ranks.
"""

import atexit
import contextlib
import json
import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from ..errors import ConfigError, TsTrainError
from .hardware import check_device, is_gpu

T = TypeVar("T")
POLL = 0.05  # seconds between looks at the store


@dataclass(frozen=True)
class World:
    rank: int = 0
    size: int = 1
    local_rank: int = 0
    joined: bool = False
    """Whether there is a process group (under torchrun, also with one rank)."""

    @property
    def is_main_process(self) -> bool:
        """Whether this rank writes files and shows progress (rank 0 alone)."""
        return self.rank == 0

    def all_reduce_gradients(self, parameters: Iterable[torch.nn.Parameter], extra: torch.Tensor) -> torch.Tensor:
        """Sum all gradients over the ranks in place; returns the sum of `extra` per entry."""
        if not self.joined:
            return extra
        trained = [p for p in parameters if p.requires_grad]
        for p in trained:  # a rank without a gradient must still take part
            p.grad = torch.zeros_like(p) if p.grad is None else p.grad
        grads = [p.grad for p in trained if p.grad is not None]
        flat = torch.cat([*(g.reshape(-1) for g in grads), extra.to(grads[0])])
        with _peers():
            dist.all_reduce(flat)
        pieces = torch.split(flat, [*(g.numel() for g in grads), extra.numel()])
        for grad, piece in zip(grads, pieces[:-1], strict=True):
            grad.copy_(piece.view_as(grad))
        return pieces[-1]

    def all_reduce(self, values: torch.Tensor) -> torch.Tensor:
        """The sum over the ranks of a small float64 tensor."""
        if self.joined:
            with _peers():
                dist.all_reduce(values)
        return values

    def broadcast_object(self, value: Any) -> Any:
        """Rank 0's value, on every rank."""
        if not self.joined:
            return value
        held = [value]
        with _peers():
            dist.broadcast_object_list(held, src=0)
        return held[0]

    def run_on_main(self, work: Callable[[], T]) -> T:
        """Run `work` on rank 0 and return its result on every rank; its exception is raised on every rank, so that none waits."""
        if self.size == 1:
            return work()
        value: T | None = None
        failure: Exception | None = None
        if self.is_main_process:
            try:
                value = work()
            except Exception as problem:
                failure = problem
        raised = None if failure is None else (type(failure), str(failure))
        value, raised = self.broadcast_object((value, raised))
        if failure is not None:
            raise failure
        if raised is not None:
            kind, message = raised
            raise kind(message) if issubclass(kind, TsTrainError) else TsTrainError(f"rank 0: {message}")
        return value

    def barrier(self) -> None:
        if self.joined:
            with _peers():
                dist.barrier()


@contextlib.contextmanager
def _peers() -> Iterator[None]:
    """Raise TsTrainError where another rank was lost."""
    try:
        yield
    except RuntimeError as problem:
        reason = str(problem).splitlines()[0].partition(". This is")[0]
        raise TsTrainError(
            f"another rank was lost ({reason}); its log says why. The last checkpoint is complete: start the same command again."
        ) from None


def launched() -> tuple[int, int, int]:
    """(rank, number of ranks, rank on this machine) from the environment that torchrun sets; (0, 1, …) without it.

    Raises:
        ConfigError: a variable is no whole number, or the rank is none of the world's.
    """
    found = []
    for name, default in (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0")):
        text = os.environ.get(name, default)
        if not (text.isascii() and text.isdecimal()):
            raise ConfigError(f"the environment's {name} is {text!r}, a whole number was expected. Unset it, or use torchrun.")
        found.append(int(text))
    rank, size, local = found
    if size <= 1:
        return 0, 1, local
    if rank >= size:
        raise ConfigError(f"the environment's RANK is {rank}, but WORLD_SIZE is {size}. Unset both, or use torchrun.")
    return rank, size, local


def join_world(device: str) -> tuple[World, torch.device]:
    """Join the process group that torchrun describes in the environment; one rank without it."""
    check_device(device)
    rank, size, local = launched()
    cuda = is_gpu(device)
    chosen = _device(
        (f"cuda:{local}" if device in {"auto", "cuda"} else device) if cuda else ("cpu" if device == "auto" else device)
    )
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    joined = size > 1 or "TORCHELASTIC_RUN_ID" in os.environ
    if joined and not dist.is_initialized():
        # Its default arguments hold the group that exists at import. Imported later (by torch._dynamo), it would keep the group alive after
        # `destroy_process_group`, and the group's threads would abort the process at interpreter shutdown.
        import_module("torch.distributed.nn.functional")

        try:
            store = next(rendezvous("env://"))[0]
            dist.init_process_group(
                "nccl" if chosen.type == "cuda" else "gloo", store=fresh_store(store, rank, size), rank=rank, world_size=size
            )
        except (ValueError, RuntimeError) as problem:
            raise ConfigError(
                f"the {size} ranks cannot meet: {str(problem).splitlines()[0]}. Start them with torchrun."
            ) from None
        # At exit: a second run in the same script uses the same group, and threads of a group that outlive torch abort the process.
        atexit.register(lambda: dist.is_initialized() and dist.destroy_process_group())
    return World(rank=rank, size=size, local_rank=local, joined=joined), chosen


def _device(name: str) -> torch.device:
    try:
        chosen = torch.device(name)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError) as problem:
        reason = str(problem).splitlines()[0].rstrip(".")[:160]
        raise ConfigError(f"device: {name!r} is not there ({reason}). Use auto, cpu, or cuda where torch finds a GPU.") from None
    return chosen


def fresh_store(store: Store, rank: int, size: int, *, timeout: float = 600.0) -> Store:
    """Rendezvous that ignores stale keys from an earlier torchrun attempt: a namespace of `store` for this attempt.

    torchrun keeps its store across restarts, with the addresses of dead ranks in it (pytorch#135712, #167288), and each node counts
    restarts for itself. Rank 0 therefore names the attempt, every rank answers with a name of its own, and rank 0 confirms the answers.

    Args:
        store: a store that all ranks reach.
        rank, size: of this process, in this attempt.
        timeout: seconds to wait for the other ranks.

    Raises:
        TsTrainError: a rank did not join in time.
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

"""The ranks of a run: one process, or those that torchrun started. Data parallel: every rank holds the whole model.

Gradients are added up once per optimizer step in one flat buffer, after all micro-batches. The loss was divided by
the tokens of the whole step before, so the sum is the gradient of the step, whatever each rank's share of it was.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from ..errors import ConfigError, TsTrainError
from .hardware import check_device, is_gpu
from .rendezvous import fresh_store

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    rank: int = 0
    size: int = 1
    local_rank: int = 0
    joined: bool = False
    """Whether there is a process group: under torchrun, even of one rank."""

    @property
    def is_main_process(self) -> bool:
        """Whether this rank writes files and shows progress (rank 0 alone)."""
        return self.rank == 0

    def all_reduce_gradients(self, parameters: Iterable[torch.nn.Parameter], extra: torch.Tensor) -> torch.Tensor:
        """Add up all gradients over the ranks, in place; returns the sum of `extra` (one value per entry)."""
        if not self.joined:
            return extra
        trained = [p for p in parameters if p.requires_grad]
        for p in trained:  # a rank whose part of the model took no part must still join in
            p.grad = torch.zeros_like(p) if p.grad is None else p.grad
        grads = [p.grad for p in trained if p.grad is not None]
        flat = torch.cat([*(g.reshape(-1) for g in grads), extra.to(grads[0])])
        dist.all_reduce(flat)
        pieces = torch.split(flat, [*(g.numel() for g in grads), extra.numel()])
        for grad, piece in zip(grads, pieces[:-1], strict=True):
            grad.copy_(piece.view_as(grad))
        return pieces[-1]

    def all_reduce(self, values: torch.Tensor) -> torch.Tensor:
        """The sum over the ranks of a small float64 tensor."""
        if self.joined:
            dist.all_reduce(values)
        return values

    def broadcast_object(self, value: Any) -> Any:
        """Rank 0's value, on every rank."""
        if not self.joined:
            return value
        held = [value]
        dist.broadcast_object_list(held, src=0)
        return held[0]

    def run_on_main(self, work: Callable[[], T]) -> T:
        """What `work` gives on rank 0, on every rank; what it raises there is raised on every rank, so that none waits."""
        if self.size == 1:
            return work()
        value: T | None = None
        failure: Exception | None = None
        if self.is_main_process:
            try:
                value = work()
            except Exception as problem:
                failure = problem
        told = None if failure is None else (type(failure), str(failure))
        value, told = self.broadcast_object((value, told))
        if failure is not None:
            raise failure
        if told is not None:
            kind, message = told
            raise kind(message) if issubclass(kind, TsTrainError) else TsTrainError(f"rank 0: {message}")
        return value

    def barrier(self) -> None:
        if self.joined:
            dist.barrier()


def join_world(device: str) -> tuple[World, torch.device]:
    """Join the process group that torchrun describes in the environment; one rank without it."""
    check_device(device)
    size = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    cuda = is_gpu(device)
    chosen = _device(
        (f"cuda:{local}" if device in {"auto", "cuda"} else device) if cuda else ("cpu" if device == "auto" else device)
    )
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    joined = size > 1 or "TORCHELASTIC_RUN_ID" in os.environ
    if joined and not dist.is_initialized():
        # Its default arguments keep the group that exists when it is imported. torch._dynamo imports it at some later time; the group
        # would then outlive `destroy_process_group`, and its threads abort the process while the interpreter shuts down.
        import_module("torch.distributed.nn.functional")

        store, rank, _ = next(rendezvous("env://"))
        dist.init_process_group(
            "nccl" if chosen.type == "cuda" else "gloo", store=fresh_store(store, rank, size), rank=rank, world_size=size
        )
        # Not before: a second run in the same script goes on with this group. Not later: the threads of a group that is
        # still there when the interpreter unloads torch abort the process, and the launcher calls a finished run failed.
        atexit.register(_leave_world)
    rank = int(os.environ.get("RANK", "0")) if size > 1 else 0
    return World(rank=rank, size=size, local_rank=local, joined=joined), chosen


def _device(name: str) -> torch.device:
    try:
        chosen = torch.device(name)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError) as problem:
        reason = str(problem).splitlines()[0].rstrip(".")[:160]
        raise ConfigError(f"device: {name!r} is not there ({reason}). Use auto, cpu, or cuda where torch finds a GPU.") from None
    return chosen


def _leave_world() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()

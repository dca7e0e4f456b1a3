"""The training loop: one optimizer step, and the loop around it. It opens no file and knows no preset.

Reading order: `fit` (the loop), `train_step` (forward, backward, update), `_accumulate` (the micro-batches),
`_capture` (the same step, recorded).
Randomness is a pure function of (seed, step, rank): there is no generator state that a resume could lose.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from . import pace as pacing
from .callbacks import Callback, RunInfo, StepMetrics, StopTraining, ValidationMetrics
from .data.batches import Batch, Batches, StepPlan
from .ema import WeightAverage
from .errors import DivergedError, Interrupted
from .loss import nll_sum
from .optimizers import Optimizers
from .runtime.capture import CapturedStep, own_stream
from .runtime.distributed import World
from .runtime.hardware import is_out_of_memory
from .runtime.precision import Precision
from .schedules import factor
from .schemas import RunManifest, TrainerState, ValidationPoint
from .validation import ValidationSet

__all__ = ["Trainer", "capture", "fit", "train_step"]


@dataclass
class Trainer:
    """The parts of a run, already built, and where it stands."""

    model: nn.Module
    network: nn.Module
    """The model, compiled if that was asked for; same weights."""
    optimizers: Optimizers
    batches: Batches
    validation: ValidationSet | None
    """None where the data hold no validation stories."""
    precision: Precision
    scaler: torch.amp.GradScaler
    world: World
    device: torch.device
    manifest: RunManifest
    state: TrainerState
    average: WeightAverage | None = None
    loss: Callable[..., Tensor] = nll_sum
    """Sum of nats over logits and targets; compiled if that was asked for."""
    captured: CapturedStep | None = None
    """The recorded step; None where every step launches its kernels."""
    callbacks: Sequence[Callback] = ()
    save_checkpoint: Callable[[Trainer, bool], None] = lambda trainer, now: None
    """Called with the trainer and whether to wait until it is on disk."""
    save_best: Callable[[Trainer], None] = lambda trainer: None
    sample: Callable[[Trainer], list[str]] = lambda trainer: []
    warn: Callable[[str], None] = lambda message: None
    in_place: bool = False
    """Whether the loss may reuse the memory of the logits (see `owns_logits`)."""
    signal: int = 0
    """A signal that asks this process to stop, or 0."""
    stop: str | None = None
    """Why a callback wants the run to end."""
    step_tokens: int = 0
    """Of the last step."""
    clock: float = 0.0
    """When the time that counts against `max_minutes` was last read."""

    @property
    def total_steps(self) -> int:
        """Steps of the whole run, by the last plan."""
        pace = self.state.pace
        return pace.plans[-1].total_steps if pace is not None and pace.plans else self.manifest.total_steps

    def update(self, **changes: Any) -> None:
        self.state = self.state.model_copy(update=changes)

    def tell(self, event: str, *arguments: Any) -> None:
        """Call every callback (rank 0 alone). One that raises StopTraining ends the run: at once, or with several
        ranks after the next step, whose sum carries the wish to the others."""
        for callback in self.callbacks if self.world.writes else ():
            try:
                getattr(callback, event)(*arguments)
            except StopTraining as request:
                self.stop = str(request) or "a callback asked for it"
                if self.world.size == 1:
                    self.update(stopped=self.stop)


def fit(t: Trainer, info: RunInfo) -> None:
    """Train until the last step, or until somebody asks to stop. The state on disk is whole at every instant."""
    t.model.train()
    t.tell("on_start", info)
    t.clock = pacing.now()
    with _signals(t), own_stream(t.device) if t.captured else nullcontext():
        while t.state.step < t.total_steps and t.state.stopped is None:
            metrics, asked = train_step(t)
            t.tell("on_step", metrics)
            _plan_again(t)
            if t.state.skipped_in_a_row >= t.manifest.config.max_nonfinite:
                raise DivergedError(_diverged(t))
            last = t.state.step >= t.total_steps
            if t.validation is not None and (last or t.state.step % t.manifest.validation_every == 0):
                validate(t)
            if t.state.step % t.manifest.checkpoint_every == 0 and not last:
                t.save_checkpoint(t, False)
            alone = t.world.size == 1 and t.signal != 0  # nobody to agree with: no further step
            if (asked or alone) and not last:
                t.save_checkpoint(t, True)
                raise Interrupted(_interrupted(t, info), t.signal or signal.SIGTERM)
    if t.validation is None:
        keep_last(t)
    elif not t.state.curve or t.state.curve[-1].step != t.state.step:
        validate(t)
    t.update(finished=True)
    t.save_checkpoint(t, True)
    t.tell("on_end", t.state)


def train_step(t: Trainer) -> tuple[StepMetrics, bool]:
    """One optimizer step over all ranks: what it measured, and whether some rank was asked to stop."""
    start, step = time.perf_counter(), t.state.step
    plan = t.batches.plan(step)
    lr = t.optimizers.set_factor(_factor(t))

    replayed = t.captured is not None and plan.cells <= t.state.micro_batch_tokens
    (nats, signals, stops, norm), padding = _replay(t, plan) if replayed else _launch(t, plan)

    finite = math.isfinite(norm) and math.isfinite(nats)
    if finite:
        (t.optimizers.step if t.captured is None else t.captured.update)()
        if t.average is not None:
            t.average.update(step + 1)
    if t.captured is None:
        t.model.zero_grad(set_to_none=True)

    seconds = time.perf_counter() - start
    _count(t, plan, nats, seconds, finite, stopped=stops > 0)
    speed = plan.tokens / seconds
    return StepMetrics(
        step=t.state.step, loss=nats / plan.tokens, lr=lr, grad_norm=norm, tokens=t.state.tokens, seconds=t.state.seconds,
        tokens_per_second=speed, mfu=speed * t.manifest.flops_per_token / t.manifest.peak_flops, padding=padding,
        skipped=not finite, total_steps=t.total_steps,
    ), signals > 0  # fmt: skip


def _launch(t: Trainer, plan: StepPlan) -> tuple[list[float], float]:
    """Fill the gradients of all ranks, unscaled and clipped: ([nats, signals, stops, norm], share of padded places)."""
    if t.captured is not None:
        t.model.zero_grad(set_to_none=False)
    nats, padding = _gradients(t, plan)  # of the sum over this rank's tokens / the tokens of all ranks
    wishes = [float(t.signal != 0), float(t.stop is not None)]
    if not t.world.joined:
        nats, norm = torch.stack([nats, _clipped(t)]).tolist()  # the only synchronisation of a step
        return [nats, *wishes, norm], padding
    sums = t.world.sum_gradients(t.model.parameters(), torch.stack([nats, *torch.tensor(wishes, device=t.device)]))
    return torch.cat([sums, _clipped(t)[None]]).tolist(), padding


def _clipped(t: Trainer) -> Tensor:
    """Unscale and clip the gradients in place; their norm before clipping, on the device."""
    t.optimizers.share_gradients()
    for optimizer in t.optimizers.parts if t.scaler.is_enabled() else ():
        t.scaler.unscale_(optimizer)
    norm = nn.utils.clip_grad_norm_(t.model.parameters(), t.manifest.config.grad_clip or math.inf)
    if t.scaler.is_enabled():
        t.scaler.update()
    return norm


def _replay(t: Trainer, plan: StepPlan) -> tuple[list[float], float]:
    """`_launch` through the recorded step, of one process and one micro-batch."""
    assert t.captured is not None
    torch.manual_seed(_mix(t.manifest.config.seed, t.state.step, t.world.rank))  # dropout
    values = t.captured.gradients(plan)
    t.batches.plan(t.state.step + 1)  # while the device computes; the next step finds it drawn
    nats, norm = values.tolist()
    return [nats, float(t.signal != 0), float(t.stop is not None), norm], 1 - plan.tokens / plan.cells


def capture(t: Trainer) -> CapturedStep:
    """The recorded form of this trainer's step. Call it after the last checkpoint is loaded."""

    def gradients(batch: Batch, tokens: Tensor) -> Tensor:
        with t.precision.autocast():
            logits = t.network(batch.ids)
        nats = t.loss(logits, batch.targets, in_place=t.in_place)
        torch.autograd.backward(t.scaler.scale(nats / tokens))
        return torch.stack([nats.detach(), _clipped(t)])

    t.optimizers.keep_rates_on(t.device)
    return CapturedStep(t.model, t.batches, t.device, gradients=gradients, update=t.optimizers.step)


def _factor(t: Trainer) -> float:
    """The schedule's factor of the next step."""
    position = pacing.position(t.state.pace, t.state.step, t.total_steps) if t.state.pace and t.state.pace.plans else None
    return factor(t.manifest.config.schedule, t.state.step, t.total_steps, position)


def _plan_again(t: Trainer) -> None:
    """Count the step's time against `max_minutes`; where a plan is due, take as many steps as the rest has time for."""
    pace, probe, minutes = t.state.pace, t.manifest.probe, t.manifest.config.max_minutes
    if pace is None or probe is None or minutes is None:
        return
    pace = pacing.trained(pace, _lap(t), t.step_tokens)
    if t.state.step >= pace.next_plan:
        decided = pacing.plan(
            pace, probe, budget=60 * minutes, step=t.state.step, total=t.total_steps,
            validation_every=t.manifest.validation_every, step_tokens=t.batches.epoch_tokens / t.batches.steps_per_epoch,
        )  # fmt: skip
        new_total, last = t.world.agree(decided)
        pace = pacing.replan(pace, step=t.state.step, total=t.total_steps, new_total=new_total, last=last)
    t.update(pace=pace)


def _lap(t: Trainer) -> float:
    """Seconds since the last call."""
    before, t.clock = t.clock, pacing.now()
    return t.clock - before


def _gradients(t: Trainer, plan: StepPlan) -> tuple[Tensor, float]:
    """`_accumulate`, again with half the micro-batch when memory runs out."""
    while True:
        try:
            return _accumulate(t, plan, t.state.micro_batch_tokens)
        except (torch.OutOfMemoryError, RuntimeError) as problem:
            smaller = t.state.micro_batch_tokens // 2
            if not is_out_of_memory(problem) or smaller < 16:
                raise
        t.model.zero_grad(set_to_none=t.captured is None)
        t.update(micro_batch_tokens=smaller)
        t.warn(f"out of memory: micro-batches of {smaller:,} tokens from here on")


def _accumulate(t: Trainer, plan: StepPlan, micro_batch_tokens: int) -> tuple[Tensor, float]:
    """Forward and backward over this rank's micro-batches: (sum of nats, share of padded places)."""
    torch.manual_seed(_mix(t.manifest.config.seed, t.state.step, t.world.rank))  # dropout
    pieces = t.batches.micro_batches(plan, rank=t.world.rank, world_size=t.world.size, max_tokens=micro_batch_tokens)
    nats, cells, real = torch.zeros((), device=t.device), 0, 0
    for batch in pieces:
        ids, targets = _send(batch.ids, t.device), _send(batch.targets, t.device)
        with t.precision.autocast():
            logits = t.network(ids) if batch.segments is None else t.network(ids, segments=_send(batch.segments, t.device))
        loss = t.loss(logits, targets, in_place=t.in_place)
        torch.autograd.backward(t.scaler.scale(loss / plan.tokens))
        nats += loss.detach()
        cells, real = cells + ids.numel(), real + int((batch.targets >= 0).sum())
    return nats, 1 - real / cells


def _send(tensor: Tensor, device: torch.device) -> Tensor:
    """On the device; to a GPU from pinned memory, so that the host goes on at once."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def keep_last(t: Trainer) -> None:
    """Without validation stories: the model of the last step is the one that is kept."""
    with t.average.swapped() if t.average is not None else nullcontext():
        t.save_best(t)


def validate(t: Trainer) -> None:
    """Score the validation split, remember the point, keep the model when it is the best so far."""
    assert t.validation is not None
    config = t.manifest.config.validation
    with t.average.swapped() if t.average is not None else nullcontext():
        loss, bits = t.validation.score(t.model, t.precision, t.world, t.device, whole=config.bits_per_byte)
        loss, bits = t.world.agree((loss, bits if bits is None or math.isfinite(bits) else None))
        train_loss = t.state.loss_sum / t.state.loss_tokens if t.state.loss_tokens else None
        point = ValidationPoint(
            step=t.state.step, tokens=t.state.tokens, seconds=t.state.seconds, train_loss=train_loss,
            validation_loss=loss, bits_per_byte=bits,
        )  # fmt: skip
        best = math.isfinite(loss) and (t.state.best_loss is None or loss < t.state.best_loss)
        t.update(curve=(*t.state.curve, point), loss_sum=0.0, loss_tokens=0, stale=0 if best else t.state.stale + 1)
        if best:
            t.update(best_loss=loss, best_step=t.state.step)
            t.save_best(t)
        samples = t.sample(t) if t.world.writes else []
    t.tell("on_validation", ValidationMetrics(point, best, samples))
    if t.state.pace is not None:
        t.update(pace=pacing.validated(t.state.pace, _lap(t)))
    if config.patience is not None and t.state.stale >= config.patience and t.state.stopped is None:
        t.update(stopped=f"no better validation loss in {config.patience} validations")


def _count(t: Trainer, plan: StepPlan, nats: float, seconds: float, finite: bool, *, stopped: bool) -> None:
    t.step_tokens = plan.tokens
    t.update(
        step=t.state.step + 1,
        tokens=t.state.tokens + (plan.tokens if finite else 0),
        seconds=t.state.seconds + seconds,
        skipped=t.state.skipped + (not finite),
        skipped_in_a_row=0 if finite else t.state.skipped_in_a_row + 1,
        loss_sum=t.state.loss_sum + (nats if finite else 0.0),
        loss_tokens=t.state.loss_tokens + (plan.tokens if finite else 0),
        stopped=(t.world.agree(t.stop) or "a callback asked for it") if stopped else t.state.stopped,
    )


def _mix(seed: int, step: int, rank: int) -> int:
    """Three numbers to one 63-bit seed (the finaliser of splitmix64)."""
    x = (seed * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9 + rank * 0x94D049BB133111EB) & (2**64 - 1)
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
    return (x ^ (x >> 27)) >> 1


@contextmanager
def _signals(t: Trainer) -> Iterator[None]:
    """SIGTERM and Ctrl-C end the run after the step in progress; a second Ctrl-C at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int, frame: Any) -> None:
        if t.signal and number == signal.SIGINT:
            raise KeyboardInterrupt
        t.signal = number

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _diverged(t: Trainer) -> str:
    return (
        f"step {t.state.step}: {t.state.skipped_in_a_row} steps in a row had a loss or gradient that is not finite and were "
        f"skipped. The weights are those of the last finite step; the last checkpoint is whole. "
        f"Lower the learning rate (--set optimizer.lr=…), or look at the data of those steps."
    )


def _interrupted(t: Trainer, info: RunInfo) -> str:
    return f"stopped and saved at step {t.state.step:,} of {t.total_steps:,}; go on with: ts-train resume {info.path}"

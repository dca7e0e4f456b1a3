"""The training loop: one optimizer step, validation, and the loop around both. It opens no file.

Reading order: `fit` (the loop), `train_step` (forward, backward, update), `_accumulate` (the micro-batches),
`recorded` (the same step, recorded).
All randomness is a function of (seed, step, rank), so a resume has no generator state to restore.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ts_models.fast import available
from ts_models.layers.positions import RotaryEmbedding, TorchtuneRotary

from .__about__ import __version__
from .callbacks import Callback, RunInfo, StepMetrics, StopTraining, ValidationMetrics, Warn
from .data.batches import Batch, Batches, StepPlan
from .data.dataset import TrainingData
from .errors import ConfigError, DataError, DivergedError, Interrupted
from .loss import first_uses, nll_sum
from .network import named_tensors, owns_logits
from .optimizers import build_optimizers
from .runtime import pace as pacing
from .runtime.capture import CapturedStep, own_stream
from .runtime.distributed import World
from .runtime.hardware import is_out_of_memory
from .runtime.precision import Precision
from .schedules import factor
from .schemas import Environment, RunManifest, TrainConfig, TrainerState, ValidationPoint
from .teachers import Teachers
from .validation import ValidationSet, sample_stories


class Output(Protocol):
    """Where a trainer saves; `RunFolder` writes a run folder."""

    def save_checkpoint(self, trainer: Trainer, *, now: bool) -> None:
        """`now`: return only once the checkpoint is on disk."""

    def save_best(self, trainer: Trainer, samples: Sequence[str] = ()) -> None: ...


class Trainer:
    """A model in training, with its optimizers, batches and progress.

    `create_trainer` builds one from settings; `train` builds one, restores the last checkpoint and calls `fit`.

    Args:
        model: the module to train, on `device`.
        data: the encoded data.
        manifest: the settings and what was planned from them.
        world: the ranks of this run.
        device: where to train.
        batches: the training batches, if they are already laid out.
        teachers: models whose prediction is a part of each target.
        warn: receives warnings.

    Attributes:
        state: the progress; `state.step` counts the optimizer steps done.
        callbacks: called on the main process only.
        output: saves checkpoints and the best model; None saves nothing.
    """

    def __init__(
        self, model: nn.Module, data: TrainingData, manifest: RunManifest, *, world: World | None = None,
        device: torch.device | None = None, batches: Batches | None = None, teachers: Teachers | None = None,
        warn: Warn | None = None,
    ) -> None:  # fmt: skip
        config = manifest.config
        self.model, self.data, self.manifest = model.train(), data, manifest
        self.world, self.device = world or World(), device or next(model.parameters()).device
        self.teachers, self.warn = teachers, warn or (lambda message: None)
        self.precision = Precision(manifest.precision, manifest.precision_reason, self.device.type)
        self.scaler = self.precision.scaler()
        self.optimizers = build_optimizers(model, config.optimizer, vocab_size=data.vocab_size, precision=self.precision.name)
        self.batches = batches or data.batches(config, manifest.context, manifest.tokens_per_step)
        self.validation = ValidationSet.planned(data, manifest)
        self.average = WeightAverage(model, config.ema_decay) if config.ema_decay else None
        self.state = TrainerState(
            micro_batch_tokens=manifest.micro_batch_tokens,
            pace=None if manifest.probe is None else pacing.start(manifest.probe, manifest.total_steps),
        )
        self.callbacks: Sequence[Callback] = ()
        self.output: Output | None = None
        self._network: Any = _compiled(model, self.device) if config.compile else model
        compiles_loss = config.compile and self.device.type == "cuda"
        self._loss: Callable[..., Tensor] = _compiled(nll_sum, self.device) if compiles_loss else nll_sum
        self._reuse_logits = owns_logits(model) and not config.compile
        self._captured: CapturedStep | None = None
        self._signal = 0  # a signal that asks this process to stop
        self._stop: str | None = None  # why a callback wants the run to end
        self._interrupted = False  # some rank received a signal
        self._step_tokens = 0  # of the last step
        self._clock = 0.0  # when the time that counts against `max_minutes` was last read

    # --- progress ------------------------------------------------------------------------------

    @property
    def config(self) -> TrainConfig:
        return self.manifest.config

    @property
    def environment(self) -> Environment:
        """Everything that may change the last bits of later steps."""
        return describe_environment(self.config, self.model, self.world, self.device, self.optimizers.kind)

    @property
    def total_steps(self) -> int:
        """Steps of the whole run, by the last plan."""
        pace = self.state.pace
        return pace.plans[-1].total_steps if pace is not None and pace.plans else self.manifest.total_steps

    @property
    def done(self) -> bool:
        """Whether the last step is done, or the run was stopped."""
        return self.state.step >= self.total_steps or self.state.stopped is not None

    def update(self, **changes: Any) -> None:
        """Replace fields of `state`."""
        self.state = self.state.model_copy(update=changes)

    def notify(self, event: str, *arguments: Any) -> None:
        """Call every callback that has the event (main process only). One that raises StopTraining ends the run: at once, or with several
        ranks after the next step, whose all-reduce carries the request to the others."""
        for callback in self.callbacks if self.world.is_main_process else ():
            try:
                getattr(callback, event, lambda *_: None)(*arguments)
            except StopTraining as request:
                self._stop = str(request) or "a callback asked for it"
                if self.world.size == 1:
                    self.update(stopped=self._stop)

    def state_dict(self) -> dict[str, Any]:
        """`state` (TrainerState, with the loss scaler) and `tensors` (weights, optimizer state, average), not copied."""
        tensors = {f"model.{name}": tensor for name, tensor in named_tensors(self.model)}
        tensors |= {f"optimizer.{name}": tensor for name, tensor in self.optimizers.tensors().items()}
        if self.average is not None:
            tensors |= {f"average.{name}": tensor for name, tensor in self.average.average.items()}
        scaler = {name: float(value) for name, value in self.scaler.state_dict().items()}
        state = self.state.model_copy(update={"scaler": scaler, "environment": self.environment})
        return {"state": state, "tensors": tensors}

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore a `state_dict`, also one of another precision or device. Nothing is changed if it does not fit.

        Raises:
            ConfigError: a tensor of the model or its average is missing or has another shape, or the optimizer is another.
        """
        by_group: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}, "average": {}}
        for name, tensor in state_dict["tensors"].items():
            group, _, rest = name.partition(".")
            by_group.setdefault(group, {})[rest] = tensor
        averaged = self.average.average.items() if self.average is not None else ()
        pairs = []
        for group, wanted in (("model", named_tensors(self.model)), ("average", averaged)):
            for name, tensor in wanted:
                kept = by_group[group].get(name)
                if kept is None or kept.shape != tensor.shape:
                    raise ConfigError(
                        f"the checkpoint has no tensor `{group}.{name}` of shape {list(tensor.shape)}; "
                        f"pass the same model{' and ema_decay' if group == 'average' else ''}."
                    )
                pairs.append((tensor, kept))
        state: TrainerState = state_dict["state"]
        before = None if state.environment is None else state.environment.optimizer.removesuffix("-fused")
        if before not in (None, now := self.optimizers.kind.removesuffix("-fused")):
            raise ConfigError(f"the checkpoint is of the optimizer {before}, not {now}; pass the same settings.")
        for tensor, kept in pairs:
            tensor.copy_(kept)
        self.optimizers.load_tensors(by_group["optimizer"])
        self.state = state
        if self.scaler.is_enabled() and state.scaler:  # none from a run in another precision
            current = self.scaler.state_dict()
            self.scaler.load_state_dict({name: type(current[name])(v) for name, v in state.scaler.items()})

    # --- the loop ------------------------------------------------------------------------------

    def fit(self, info: RunInfo) -> None:
        """Train to the last step, or until a callback or signal stops the run. Checkpoints on disk are always complete.

        Raises:
            DivergedError: too many steps in a row were not finite, or the run ended without a finite model.
            Interrupted: SIGTERM, SIGHUP or Ctrl-C; the state was saved first.
        """
        self.model.train()
        self.notify("on_start", info)
        self._clock = pacing.now()
        with self._handle_signals(), self.recorded():
            while not self.done:
                self.notify("on_step", self.train_step())
                self._plan_again()
                if self.state.skipped_in_a_row >= self.config.max_nonfinite:
                    raise DivergedError(
                        f"step {self.state.step}: skipped {self.state.skipped_in_a_row} steps in a row, whose loss or gradient was not "
                        "finite. The weights are those of the last finite step; the last checkpoint is complete. "
                        "Lower the learning rate (--set optimizer.lr=…), or look at the data of those steps."
                    )
                last = self.state.step >= self.total_steps
                if self.validation is not None and (last or self.state.step % self.manifest.validation_every == 0):
                    self.validate()
                if self.state.step % self.manifest.checkpoint_every == 0 and not last:
                    self._save_checkpoint(now=False)
                alone = self.world.size == 1 and self._signal != 0  # no other rank has to agree: take no further step
                if (self._interrupted or alone) and not last:
                    self._save_checkpoint(now=True)
                    raise Interrupted(
                        f"stopped and saved at step {self.state.step:,} of {self.total_steps:,}; "
                        f"go on with: ts-train resume {info.path}",
                        self._signal or signal.SIGTERM,
                    )
        if self.validation is not None and (not self.state.curve or self.state.curve[-1].step != self.state.step):
            self.validate()
        if not self._keeps_model():
            self._save_checkpoint(now=True)
            raise DivergedError(
                f"step {self.state.step}: the weights give no finite loss, so no model was saved. "
                "Begin a new run with a lower learning rate (--set optimizer.lr=…)."
            )
        self.update(finished=True)
        self._save_checkpoint(now=True)
        self.notify("on_end", self.state)

    def train_step(self) -> StepMetrics:
        """One optimizer step over all ranks. A step whose loss or gradient is not finite changes no weight."""
        start, step = time.perf_counter(), self.state.step
        plan = self.batches.plan(step)
        lr = self.optimizers.set_factor(self._schedule_factor())

        replayed = self._captured is not None and plan.padded_tokens <= self.state.micro_batch_tokens
        (nats, signals, stops, norm), padding = self._replay(plan) if replayed else self._launch(plan)

        finite = math.isfinite(norm) and math.isfinite(nats)
        if finite:
            (self.optimizers.step if self._captured is None else self._captured.update)()
            if self.average is not None:
                self.average.update(step + 1)
        if self._captured is None:
            self.model.zero_grad(set_to_none=True)

        seconds = time.perf_counter() - start
        self._interrupted = signals > 0
        self._count(plan, nats, seconds, finite, stopped=stops > 0)
        speed = plan.tokens / seconds
        return StepMetrics(
            step=self.state.step, loss=nats / plan.tokens, lr=lr, grad_norm=norm, tokens=self.state.tokens,
            seconds=self.state.seconds, tokens_per_second=speed,
            mfu=speed * self.manifest.flops_per_token / self.manifest.peak_flops, padding=padding, skipped=not finite,
            total_steps=self.total_steps,
        )  # fmt: skip

    def validate(self) -> ValidationMetrics:
        """Score the validation split, add the point to the curve, save the model if it is the best so far.

        Raises:
            DataError: the data have no validation stories.
        """
        if self.validation is None:
            raise DataError(f"{self.data.path or 'the data'}: hold no validation stories.")
        config, state = self.config.validation, self.state
        with self._averaged():
            loss, bits = self.validation.score(
                self.model, self.precision, self.world, self.device, whole=config.bits_per_byte,
                notify=lambda done, total: self.notify("on_validating", done, total),
            )  # fmt: skip
            loss, bits = self.world.broadcast_object((loss, bits))
            point = ValidationPoint(
                step=state.step, tokens=state.tokens, seconds=state.seconds,
                train_loss=state.loss_sum / state.loss_tokens if state.loss_tokens else None,
                validation_loss=loss, bits_per_byte=bits,
            )  # fmt: skip
            best = math.isfinite(loss) and (state.best_loss is None or loss < state.best_loss)
            since_best = 0 if best else state.validations_since_best + 1
            self.update(curve=(*state.curve, point), loss_sum=0.0, loss_tokens=0, validations_since_best=since_best)
            if best:
                self.update(best_loss=loss, best_step=state.step)
            samples: list[str] = []
            if config.samples and self.world.is_main_process and math.isfinite(loss):
                samples = sample_stories(self.model, self.data, count=config.samples, seed=self.config.seed)
            if best:
                self._save_best(samples)
            metrics = ValidationMetrics(point, best, samples)
        self.notify("on_validation", metrics)
        if self.state.pace is not None:
            self.update(pace=pacing.validated(self.state.pace, self._lap()))
        if config.patience is not None and since_best >= config.patience and self.state.stopped is None:
            self.update(stopped=f"no better validation loss in {config.patience} validations")
        return metrics

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Record the steps inside and replay them, where `capture` is on. Enter it after the last `load_state_dict`."""
        if not records_steps(self.config, self.world):
            yield
            return
        self.optimizers.keep_rates_on(self.device)
        self._captured = CapturedStep(
            self.model, self.batches, self.device, gradients=self._recordable_gradients, update=self.optimizers.step
        )
        with own_stream(self.device):
            yield

    # --- gradients -----------------------------------------------------------------------------

    def _launch(self, plan: StepPlan) -> tuple[list[float], float]:
        """Fill the gradients of all ranks, unscaled and clipped: ([nats, signals, stops, norm], share of padding)."""
        if self._captured is not None:
            self.model.zero_grad(set_to_none=False)
        nats, padding = self._gradients(plan)  # of the sum over this rank's tokens / the tokens of all ranks
        requests = [float(self._signal != 0), float(self._stop is not None)]
        if not self.world.joined:
            nats, norm = torch.stack([nats, self._clip()]).tolist()  # the only synchronisation of a step
            return [nats, *requests, norm], padding
        extra = torch.stack([nats, *torch.tensor(requests, device=self.device)])
        sums = self.world.all_reduce_gradients(self.model.parameters(), extra)
        return torch.cat([sums, self._clip()[None]]).tolist(), padding

    def _replay(self, plan: StepPlan) -> tuple[list[float], float]:
        """`_launch` through the recorded step, for one process and one micro-batch."""
        assert self._captured is not None
        torch.manual_seed(_mix(self.config.seed, self.state.step, self.world.rank))  # dropout
        values = self._captured.gradients(plan)
        self.batches.plan(self.state.step + 1)  # drawn and cached while the device computes
        nats, norm = values.tolist()
        requests = [float(self._signal != 0), float(self._stop is not None)]
        return [nats, *requests, norm], 1 - plan.tokens / plan.padded_tokens

    def _recordable_gradients(self, batch: Batch, tokens: Tensor) -> Tensor:
        """[nats, norm] of one micro-batch, without synchronisation."""
        with self.precision.autocast():
            logits = self._network(batch.ids)
            soft = None if self.teachers is None else self.teachers(batch.ids)
        nats = self._nats(logits, batch.ids, batch.targets, soft)
        torch.autograd.backward(self.scaler.scale(nats / tokens))
        return torch.stack([nats.detach(), self._clip()])

    def _nats(self, logits: Tensor, ids: Tensor, targets: Tensor, soft: Tensor | None) -> Tensor:
        """The loss of a batch, a sum; `asked_weight` counts the first uses of what the prompts ask for several times."""
        extra = self.config.asked_weight - 1
        weights = 1 + extra * first_uses(ids, targets, logits.shape[-1]) if extra else None
        return self._loss(logits, targets, weights=weights, soft=soft, in_place=self._reuse_logits)

    def _clip(self) -> Tensor:
        """Unscale and clip the gradients in place; returns their norm before clipping, on the device."""
        self.optimizers.share_gradients()
        for optimizer in self.optimizers.parts if self.scaler.is_enabled() else ():
            self.scaler.unscale_(optimizer)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.grad_clip or math.inf)
        if self.scaler.is_enabled():
            self.scaler.update()
        return norm

    def _gradients(self, plan: StepPlan) -> tuple[Tensor, float]:
        """`_accumulate`, again with half the micro-batch when memory runs out."""
        while True:
            try:
                return self._accumulate(plan, self.state.micro_batch_tokens)
            except (torch.OutOfMemoryError, RuntimeError) as problem:
                smaller = self.state.micro_batch_tokens // 2
                if not is_out_of_memory(problem) or smaller < 16:
                    raise
            self.model.zero_grad(set_to_none=self._captured is None)
            self.update(micro_batch_tokens=smaller)
            self.warn(f"out of memory: micro-batches of {smaller:,} tokens from here on")

    def _accumulate(self, plan: StepPlan, micro_batch_tokens: int) -> tuple[Tensor, float]:
        """Forward and backward over this rank's micro-batches: (sum of nats, share of padding)."""
        world, device = self.world, self.device
        torch.manual_seed(_mix(self.config.seed, self.state.step, world.rank))  # dropout
        pieces = self.batches.micro_batches(plan, rank=world.rank, world_size=world.size, max_tokens=micro_batch_tokens)
        nats, padded, real = torch.zeros((), device=device), 0, 0
        for batch in pieces:
            ids, targets = _send(batch.ids, device), _send(batch.targets, device)
            segments = {} if batch.segments is None else {"segments": _send(batch.segments, device)}
            with self.precision.autocast():
                logits = self._network(ids, **segments)
                soft = None if self.teachers is None else self.teachers(ids, **segments)
            loss = self._nats(logits, ids, targets, soft)
            torch.autograd.backward(self.scaler.scale(loss / plan.tokens))
            nats += loss.detach()
            padded, real = padded + ids.numel(), real + int((batch.targets >= 0).sum())
        return nats, 1 - real / padded

    # --- counting and planning -----------------------------------------------------------------

    def _count(self, plan: StepPlan, nats: float, seconds: float, finite: bool, *, stopped: bool) -> None:
        self._step_tokens, state = plan.tokens, self.state
        why = (self.world.broadcast_object(self._stop) or "a callback asked for it") if stopped else state.stopped
        self.update(
            step=state.step + 1,
            tokens=state.tokens + (plan.tokens if finite else 0),
            seconds=state.seconds + seconds,
            skipped=state.skipped + (not finite),
            skipped_in_a_row=0 if finite else state.skipped_in_a_row + 1,
            loss_sum=state.loss_sum + (nats if finite else 0.0),
            loss_tokens=state.loss_tokens + (plan.tokens if finite else 0),
            stopped=why,
        )

    def _schedule_factor(self) -> float:
        """The schedule's factor of the next step."""
        pace, step, total = self.state.pace, self.state.step, self.total_steps
        return factor(self.config.schedule, step, total, pacing.position(pace, step, total) if pace and pace.plans else None)

    def _plan_again(self) -> None:
        """Count the step's time against `max_minutes`; where a plan is due, fit the number of steps to the time left."""
        pace, probe, minutes = self.state.pace, self.manifest.probe, self.config.max_minutes
        if pace is None or probe is None or minutes is None:
            return
        pace = pacing.trained(pace, self._lap(), self._step_tokens)
        step, total = self.state.step, self.total_steps
        if step >= pace.next_plan:
            decided = pacing.plan(
                pace, probe, budget=60 * minutes, step=step, total=total, validation_every=self.manifest.validation_every,
                step_tokens=self.batches.epoch_tokens / self.batches.steps_per_epoch,
            )  # fmt: skip
            new_total, last = self.world.broadcast_object(decided)
            pace = pacing.replan(pace, step=step, total=total, new_total=new_total, last=last)
        self.update(pace=pace)

    def _lap(self) -> float:
        """Seconds since the last call."""
        before, self._clock = self._clock, pacing.now()
        return self._clock - before

    # --- saving and stopping -------------------------------------------------------------------

    def _averaged(self) -> Any:
        """A context with the averaged weights in the model, where `ema_decay` is set."""
        return self.average.swapped() if self.average is not None else nullcontext()

    def _save_checkpoint(self, *, now: bool) -> None:
        if self.output is not None:
            self.output.save_checkpoint(self, now=now)

    def _save_best(self, samples: Sequence[str] = ()) -> None:
        if self.output is not None:
            self.output.save_best(self, samples)

    def _keeps_model(self) -> bool:
        """Save the model of a run without validation. Returns whether the run has saved a model."""
        if self.validation is not None:
            return self.state.best_step is not None
        with self._averaged():
            finite = all(bool(weight.isfinite().all()) for weight in self.model.parameters())
            if finite:
                self._save_best()
        return finite

    @contextmanager
    def _handle_signals(self) -> Iterator[None]:
        """SIGTERM, SIGHUP and Ctrl-C end the run after the current step; a second Ctrl-C at once. What nohup ignores stays ignored."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def remember(number: int, frame: Any) -> None:
            if self._signal and number == signal.SIGINT:
                raise KeyboardInterrupt
            self._signal = number

        names = ("SIGTERM", "SIGINT", "SIGHUP")  # Windows has no SIGHUP
        numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
        before = {n: signal.signal(n, remember) for n in numbers if signal.getsignal(n) is not signal.SIG_IGN}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class WeightAverage:
    """Exponential moving average of the weights: average = decay * average + (1 - decay) * weight after every step, with a smaller decay in the first steps."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model, self.decay = model, decay
        self.average = {name: p.detach().clone() for name, p in model.named_parameters()}
        self._weights = [p.detach() for p in model.parameters()]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Update after optimizer step `step` (from 1)."""
        decay = min(self.decay, step / (step + 9))
        torch._foreach_lerp_(list(self.average.values()), self._weights, 1 - decay)

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """The model with the average in place of its weights."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, parameter in self.model.named_parameters():
            held = parameter.clone()
            parameter.copy_(self.average[name])
            self.average[name].copy_(held)


def describe_environment(
    config: TrainConfig, model: nn.Module, world: World, device: torch.device, optimizer: str
) -> Environment:
    """Everything that may change the last bits of a result; every checkpoint holds it. `optimizer`: `Optimizers.kind`."""
    return Environment(
        threads=torch.get_num_threads(), world_size=world.size, device=device.type, optimizer=optimizer,
        compile=config.compile, torch=str(torch.__version__), cpu_capability=torch.backends.cpu.get_cpu_capability(),
        capture=records_steps(config, world), ts_train=__version__,
        kernels="compiled" if device.type == "cpu" and available() else "torch", rotary=_rotary(model),
    )  # fmt: skip


def _rotary(model: nn.Module) -> str | None:
    names: dict[type[nn.Module], str] = {TorchtuneRotary: "torchtune", RotaryEmbedding: "ts-models"}
    return next((names[type(module)] for module in model.modules() if type(module) in names), None)


def records_steps(config: TrainConfig, world: World) -> bool:
    """Whether a run records its steps: `capture` is on, in one process, with one story to a row."""
    return config.capture and not world.joined and config.batch.arrangement != "packed"


def _compiled(function: Any, device: torch.device) -> Any:
    """torch.compile; on a GPU once for all shapes, since the width of batches varies."""
    return torch.compile(function, dynamic=True if device.type == "cuda" else None)


def _send(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy to the device; to a GPU from pinned memory, so that the host does not wait."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def _mix(seed: int, step: int, rank: int) -> int:
    """Three numbers to one 63-bit seed (the finaliser of splitmix64)."""
    x = (seed * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9 + rank * 0x94D049BB133111EB) & (2**64 - 1)
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
    return (x ^ (x >> 27)) >> 1

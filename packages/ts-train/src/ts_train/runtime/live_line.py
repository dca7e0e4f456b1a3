"""Progress of training on stderr: a live line on a terminal, a plain line every few seconds in a pipe."""

import sys
import textwrap
import time
from typing import Any

from ..callbacks import BaseCallback, RunInfo, StepMetrics, ValidationMetrics
from ..schemas import TrainerState


class LiveLine(BaseCallback):
    """Shows loss, speed, utilisation, time left, padding and learning rate, and how far a validation is; prints its result and
    sampled stories above."""

    def __init__(self, *, every: float = 10.0) -> None:
        self.every, self._last, self._total, self._start = every, 0.0, 0, 0
        self._live: Any = None
        self._smooth: float | None = None
        self._step = ""

    def on_start(self, run: RunInfo) -> None:
        self._total, self._start = run.total_steps or run.manifest.total_steps, run.start_step
        self._begun = time.monotonic()
        print(describe_run(run), file=sys.stderr)
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(stderr=True), refresh_per_second=4, transient=False)
            self._live.start()

    def on_step(self, metrics: StepMetrics) -> None:
        self._smooth = (
            metrics.tokens_per_second if self._smooth is None else 0.95 * self._smooth + 0.05 * metrics.tokens_per_second
        )
        self._total = metrics.total_steps or self._total
        self._step = self._line(metrics, time.monotonic())
        self._show(self._step, urgent=metrics.step in {1, self._total})

    def on_validating(self, done: int, total: int) -> None:
        self._show(f"validating: {done / total:.0%}")

    def on_validation(self, metrics: ValidationMetrics) -> None:
        point = metrics.point
        bits = "" if point.bits_per_byte is None else f", {point.bits_per_byte:.4f} bits per byte"
        self.say(
            f"step {point.step:,}: validation loss {point.validation_loss:.4f}{bits}{' (best so far)' if metrics.best else ''}"
        )
        for sample in metrics.samples:
            self.say(f"  » {sample}")
        if self._live is not None:
            self._show(self._step, urgent=True)  # in place of the share that was validated

    def on_end(self, state: TrainerState) -> None:
        self.close()
        if state.skipped:
            self.say(f"{state.skipped} steps were not finite and were skipped")

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _line(self, m: StepMetrics, now: float) -> str:
        done = max(1, m.step - self._start)
        left = (now - self._begun) / done * (self._total - m.step)
        smooth = self._smooth or 0.0
        mfu = m.mfu * smooth / m.tokens_per_second if m.tokens_per_second else 0.0
        share = f"  MFU {mfu:.0%}" if mfu <= 1 else ""  # more: the peak was measured while other programs ran
        return f"step {m.step:,}/{self._total:,}  loss {m.loss:.3f}  {smooth:,.0f} tok/s  {_clock(left)} left" + (
            "  SKIPPED (not finite)" if m.skipped else f"{share}  padding {m.padding:.0%}  lr {m.lr:.2g}"
        )

    def _show(self, line: str, *, urgent: bool = False) -> None:
        """Replace the live line; in a pipe print one every few seconds, or at once."""
        now = time.monotonic()
        if not urgent and now - self._last < (self.every if self._live is None else 0.2):
            return
        self._last = now
        if self._live is None:
            print(line, file=sys.stderr, flush=True)
            return
        from rich.text import Text

        self._live.update(Text(line, no_wrap=True, overflow="ellipsis"))  # the least important part is last

    def say(self, text: str) -> None:
        """Print a line above the live one."""
        if self._live is not None:
            self._live.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=sys.stderr, flush=True)


def describe_run(run: RunInfo) -> str:
    """The plan of a run and its reasons, in lines of at most 80 columns."""
    m, total = run.manifest, run.total_steps or run.manifest.total_steps
    step = "" if m.tokens_per_step is None else f" of up to {m.tokens_per_step:,} tokens"
    env, size = m.environment, f"{total:,} steps{step} ({total / m.steps_per_epoch:.2f} epochs)"
    if m.probe is not None:
        minutes = m.config.max_minutes
        size = f"about {size} in {minutes:g} minute{'' if minutes == 1 else 's'}"
    validation = f"validation every {m.validation_every:,} steps"
    part = f" on its first {m.validation_stories:,} stories" if m.validation_stories else ""
    lines = [
        f"{m.parameters:,} parameters, {env.optimizer}, on {env.device}, {env.workers}",
        f"{m.precision}: {m.precision_reason}",
        f"resuming at step {run.start_step:,} of {size}" if run.start_step else f"training for {size}",
        f"micro-batches of up to {m.micro_batch_tokens:,} tokens; checkpoint every {m.checkpoint_every:,} steps",
        "no validation: the data hold no validation stories" if m.validation_stories == 0 else f"{validation}{part}",
        f"MFU is against this machine's matrix product: {m.peak_flops / 1e9:,.0f} GFLOP/s",
    ]
    if m.cut_stories:
        lines.append(f"{m.cut_stories:,} stories are longer than {m.context} tokens and are cut there")
    return "\n".join(textwrap.fill(line, 80, break_on_hyphens=False) for line in lines)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"

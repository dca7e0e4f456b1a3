"""Number of steps that fit in `max_minutes`: planned at the start, and again from the measured speed.

Checkpoints hold the plans, so that a resume computes the same bits. The schedule follows the completed share of the run, not the
step: a new plan spreads the rest of the schedule over the remaining steps. The learning rate therefore has no jump and ends where the
schedule ends.
"""

import time

from ..schemas import PaceState, Replan, SpeedProbe

SHARE = 0.98
"""Share of the budget for steps and validations; the rest is for the last checkpoint and the model folder."""
GRACE = 0.04
"""Share of the budget for the steps that lower the learning rate when time runs out early."""
PLANS = 20
"""Plan again after this fraction (1 / PLANS) of the steps that remained at the last plan."""
now = time.perf_counter
"""The clock, in seconds; replaced in tests."""


def start(probe: SpeedProbe, total: int) -> PaceState:
    """The state before the first step."""
    return PaceState(elapsed=probe.seconds, validation_seconds=probe.validation_seconds, next_plan=_after(0, total))


def trained(pace: PaceState, seconds: float, tokens: int) -> PaceState:
    """The state after an optimizer step (validations excluded)."""
    return pace.model_copy(
        update={"elapsed": pace.elapsed + seconds, "seconds": pace.seconds + seconds, "tokens": pace.tokens + tokens}
    )


def validated(pace: PaceState, seconds: float) -> PaceState:
    """The state after a validation. A much longer one may include compilation, so its estimate at most doubles."""
    before = pace.validation_seconds
    expected = min(seconds, 2 * before) if before else seconds
    return pace.model_copy(update={"elapsed": pace.elapsed + seconds, "validation_seconds": expected})


def fitting_steps(
    pace: PaceState, probe: SpeedProbe, *, budget: float, step: int, step_tokens: float, validation_every: int
) -> int:
    """Total steps that `budget` seconds allow, `step` of them done."""
    left = SHARE * budget - pace.elapsed - pace.validation_seconds  # the last validation always runs
    each = _per_token(pace, probe) * step_tokens + pace.validation_seconds / validation_every
    more = max(0, int(left / each)) if each > 0 else 0
    total = max(step + more, 1)
    return total if probe.most_steps is None else min(total, probe.most_steps)


def last_steps(pace: PaceState, probe: SpeedProbe, *, budget: float, step: int, total: int, step_tokens: float) -> int:
    """Total steps of a run whose budget is spent long before its schedule ends: a few more, to lower the learning rate."""
    return min(total, step + max(1, int(GRACE * budget / max(1e-9, _per_token(pace, probe) * step_tokens))))


def replan(pace: PaceState, *, step: int, total: int, new_total: int, last: bool = False) -> PaceState:
    """Use `new_total` from `step` on; a change of less than a hundredth of the remaining steps is ignored.

    last: this is the final plan.
    """
    new_total = max(new_total, step)
    if abs(new_total - total) * 100 < max(1, total - step):
        new_total = total
    plans = pace.plans
    if new_total != total:
        done = position(pace, step, total)
        plans = (*plans, Replan(step=step, position=done, total_steps=new_total, elapsed=pace.elapsed))
    return pace.model_copy(
        update={
            "plans": plans,
            "next_plan": max(new_total, step) + 1 if last else _after(step, new_total),
            "seconds": pace.seconds / 2,  # weighs recent speed more
            "tokens": pace.tokens / 2,
        }
    )


def plan(
    pace: PaceState, probe: SpeedProbe, *, budget: float, step: int, total: int, step_tokens: float, validation_every: int
) -> tuple[int, bool]:
    """(total steps, whether this is the final plan) at the measured speed."""
    fitting = fitting_steps(pace, probe, budget=budget, step=step, step_tokens=step_tokens, validation_every=validation_every)
    if fitting > step or step >= total:
        return fitting, False
    return last_steps(pace, probe, budget=budget, step=step, total=total, step_tokens=step_tokens), True


def position(pace: PaceState | None, step: int, total: int) -> float:
    """Completed share of the schedule before `step` (from 0), under the last plan."""
    if pace is None or not pace.plans:
        return min(1.0, step / max(1, total))
    last = pace.plans[-1]
    left = max(1, last.total_steps - last.step)
    return min(1.0, last.position + (1 - last.position) * (step - last.step) / left)


def _per_token(pace: PaceState, probe: SpeedProbe) -> float:
    return pace.seconds / pace.tokens if pace.tokens else probe.seconds_per_token


def _after(step: int, total: int) -> int:
    return step + max(1, (total - step) // PLANS)

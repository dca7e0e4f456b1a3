"""Settings and results of search, ladder and ablate. Imports the standard library and pydantic only."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

__all__ = [
    "SCHEMAS",
    "AblationConfig",
    "AblationReport",
    "Choices",
    "LadderConfig",
    "LadderReport",
    "Prediction",
    "Range",
    "ScalingFit",
    "SearchConfig",
    "SearchReport",
    "Trial",
    "TrialResult",
    "VariantRow",
]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


Interval = tuple[float, float]
Seeds = Annotated[tuple[int, ...], Field(min_length=1)]
Settings = dict[str, Any]
"""Fields of a TrainConfig, in tables as in a recipe."""


class TrialResult(_Frozen):
    """cells/<name>/cell.json: one finished training run of a study, without its weights."""

    format: Literal["ts-train/cell"] = "ts-train/cell"
    schema_version: int = Field(1, ge=1, le=1)
    name: str
    seed: int
    identity: str
    """SHA-256 of settings and data: a cell is not run again while this stays the same."""
    parameters: int
    steps: int
    tokens: int
    """Real tokens trained on."""
    seconds: float
    """Of training, validations not counted."""
    flops: float
    """Tokens times the model's training FLOPs per token."""
    loss: float | None
    """Best validation loss, nats per token; null when the run diverged."""
    bits_per_byte: float | None
    stopped: str | None = None
    """Why it ended before its last step."""


# --- ablations ---------------------------------------------------------------------------------


class AblationConfig(_Frozen):
    """Named variants of one base, each trained from every seed."""

    format: Literal["ts-train/ablation"] = "ts-train/ablation"
    schema_version: int = Field(1, ge=1, le=1)
    question: str
    """What is compared: the title of table and plot."""
    seeds: Seeds = (1, 2, 3)
    """Each decides weights, batches and dropout. An interval needs two at least."""
    base: Settings
    """What all variants share; `preset` names the recipe that it goes over."""
    variants: dict[str, Settings] = Field(min_length=2)
    """What each changes; `{}` changes nothing. A variant may name a preset of its own."""
    against: dict[str, str] = Field(default_factory=dict)
    """Variant → the variant that it is compared with; the first where not named."""

    @model_validator(mode="after")
    def _holds(self) -> AblationConfig:
        unknown = ({*self.against} | {*self.against.values()}) - {*self.variants}
        if unknown:
            raise ValueError(f"`against` names no variant: {', '.join(sorted(unknown))}")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("the same seed stands twice in `seeds`")
        return self


class VariantRow(_Frozen):
    """One line of the table. Means are over the seeds whose run did not diverge."""

    name: str
    against: str
    """The variant that the differences refer to."""
    parameters: int
    runs: int
    diverged: int
    loss: float | None
    """Mean best validation loss, nats per token; null when every run diverged."""
    loss_interval: Interval | None
    """95 % by Student's t over the seeds; null for fewer than two."""
    difference: float | None
    """Mean over the seeds of (this loss − that of `against` from the same seed)."""
    difference_interval: Interval | None
    bits_per_byte: float | None
    seconds: float
    """Mean of training."""
    tokens_per_second: float
    flops: float


class AblationReport(_Frozen):
    """results.json of an ablation."""

    format: Literal["ts-train/ablation-report"] = "ts-train/ablation-report"
    schema_version: int = Field(1, ge=1, le=1)
    config: AblationConfig
    data_fingerprint: str
    rows: tuple[VariantRow, ...]
    cells: tuple[TrialResult, ...]


# --- ladder ------------------------------------------------------------------------------------


class LadderConfig(_Frozen):
    """Sizes × budgets, and the presets whose loss is to be predicted from them."""

    format: Literal["ts-train/ladder"] = "ts-train/ladder"
    schema_version: int = Field(1, ge=1, le=1)
    base: Settings
    sizes: dict[str, Settings]
    """Name → what this size changes: a `preset`, or fields of `model`."""
    tokens: tuple[int, ...]
    """Training tokens of each budget: every size is trained at each, with a schedule of that length."""
    seeds: Seeds = (1,)
    predict: tuple[str, ...] = ()
    """Presets of ts-models."""
    predict_tokens: tuple[int, ...] = ()
    """Budgets to predict them at; those of `tokens` when not given."""
    bootstrap: int = Field(200, ge=20)
    """Times the runs are drawn again for the intervals."""

    @model_validator(mode="after")
    def _can_bear_a_fit(self) -> LadderConfig:
        if len(self.sizes) < 3 or len(set(self.tokens)) < 3:
            raise ValueError("a fit needs at least three `sizes` and three budgets in `tokens`")
        if min(self.tokens) < 1:
            raise ValueError("`tokens` must be positive")
        return self


class ScalingFit(_Frozen):
    """loss = E + A / N^alpha + B / D^beta, N parameters and D tokens (Hoffmann et al. 2022, approach 3)."""

    e: float
    """Nats per token that no size and no data take away."""
    a: float
    alpha: float
    b: float
    beta: float
    points: int
    residual: float
    """Root mean square of log(fitted / measured)."""
    alpha_interval: Interval
    beta_interval: Interval
    e_interval: Interval


class Prediction(_Frozen):
    preset: str
    parameters: int
    tokens: int
    loss: float
    interval: Interval
    """95 % of the bootstrap; says nothing about whether the law still holds out there."""
    beyond: float
    """FLOPs (6·N·D) of this prediction over the most of any run of the ladder."""


class LadderReport(_Frozen):
    """results.json of a ladder."""

    format: Literal["ts-train/ladder-report"] = "ts-train/ladder-report"
    schema_version: int = Field(1, ge=1, le=1)
    config: LadderConfig
    data_fingerprint: str
    cells: tuple[TrialResult, ...]
    fit: ScalingFit | None
    refusal: str | None
    """Why the runs cannot bear a fit."""
    predictions: tuple[Prediction, ...] = ()


# --- search ------------------------------------------------------------------------------------


class Range(_Frozen):
    """Numbers between two bounds, both included; whole ones when both bounds are written without a point."""

    low: int | float
    high: int | float
    log: bool = False
    """Even on a logarithmic scale: for learning rates and sizes."""
    step: int | float | None = None

    @model_validator(mode="after")
    def _holds(self) -> Range:
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            raise ValueError("low and high must be finite")
        if not self.low < self.high:
            raise ValueError(f"low {self.low} must be below high {self.high}")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("log needs a positive low, and no step")
        if self.step is not None and not 0 < self.step <= self.high - self.low:
            raise ValueError(f"step {self.step} must be positive and at most high - low")
        return self


class Choices(_Frozen):
    choices: tuple[bool | int | float | str, ...] = Field(min_length=2)


def _kind_of_space(value: Any) -> str:
    """Which of the two a table is, so that an error speaks of that one alone."""
    return "choices" if isinstance(value, Choices) or (isinstance(value, dict) and "choices" in value) else "range"


Space = Annotated[Annotated[Range, Tag("range")] | Annotated[Choices, Tag("choices")], Discriminator(_kind_of_space)]


class SearchConfig(_Frozen):
    """A search for the settings with the least validation loss."""

    format: Literal["ts-train/search"] = "ts-train/search"
    schema_version: int = Field(1, ge=1, le=1)
    base: Settings
    space: dict[str, Space] = Field(min_length=1)
    """Dotted name of a field of TrainConfig ("optimizer.lr", "model.n_heads") → where to look."""
    trials: int = Field(20, ge=1)
    """Of the whole study, all workers and all earlier calls together; pruned and diverged ones count."""
    sampler: Literal["tpe", "random"] = "tpe"
    sampler_seed: int | None = None
    """Same seed, same proposals, with one worker. Several workers must not share one: they would try the same twice."""
    pruner: Literal["median", "hyperband", "none"] = "median"
    """Stops a trial whose validation loss is worse than the others' at the same step; needs `validation.every`."""
    startup_trials: int = Field(5, ge=0)
    """Trials that are never pruned (median), and drawn at random (tpe)."""


class Trial(_Frozen):
    number: int
    state: Literal["complete", "pruned", "diverged"]
    params: dict[str, bool | int | float | str]
    loss: float | None
    """Best validation loss; of a pruned trial the best before it ended."""
    parameters: int | None = None
    tokens: int | None = None
    seconds: float | None = None
    flops: float | None = None


class SearchReport(_Frozen):
    """results.json of a search."""

    format: Literal["ts-train/search-report"] = "ts-train/search-report"
    schema_version: int = Field(1, ge=1, le=1)
    config: SearchConfig
    data_fingerprint: str
    trials: tuple[Trial, ...]
    best: int | None
    """Number of the complete trial with the least loss."""
    pareto: dict[Literal["flops", "seconds"], tuple[int, ...]] = Field(default_factory=dict)
    """Complete trials that no other beats in both loss and that cost, cheapest first."""
    importance: dict[str, float] = Field(default_factory=dict)
    """Share of each field in what the complete trials differ by; empty where too few are complete to tell."""


SCHEMAS: dict[str, Any] = {
    "ts-train/cell": TrialResult,
    "ts-train/ablation": AblationConfig,
    "ts-train/ablation-report": AblationReport,
    "ts-train/ladder": LadderConfig,
    "ts-train/ladder-report": LadderReport,
    "ts-train/search": SearchConfig,
    "ts-train/search-report": SearchReport,
}

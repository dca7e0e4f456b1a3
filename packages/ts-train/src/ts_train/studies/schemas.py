"""Settings and results of search, ladder and ablate. Imports the standard library and pydantic only."""

import math
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from ..schemas import Frozen

Interval = tuple[float, float]


def _distinct(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(seeds)) < len(seeds):
        raise ValueError("the same seed stands twice in `seeds`")
    return seeds


Seeds = Annotated[tuple[int, ...], Field(min_length=1), AfterValidator(_distinct)]
Settings = dict[str, Any]
"""Fields of a TrainConfig, in tables as in a recipe."""


class TrialResult(Frozen):
    """cells/<name>/cell.json: one finished training run of a study, without its weights."""

    format: Literal["ts-train/cell"] = "ts-train/cell"
    schema_version: int = Field(default=1, ge=1, le=1)
    name: str
    seed: int
    identity: str
    """SHA-256 of settings and data; a run with the same identity is not repeated."""
    parameters: int
    steps: int
    tokens: int
    """Real tokens trained on."""
    seconds: float
    """Of training, without validations."""
    flops: float
    """Tokens times the model's training FLOPs per token."""
    loss: float | None
    """Best validation loss, nats per token; null if the run diverged."""
    bits_per_byte: float | None
    stopped: str | None = None
    """Reason of an early end."""


# --- ablations ---------------------------------------------------------------------------------


class AblationConfig(Frozen):
    """Named variants of one base, each trained from every seed."""

    format: Literal["ts-train/ablation"] = "ts-train/ablation"
    schema_version: int = Field(default=1, ge=1, le=1)
    question: str
    """The comparison, as title of table and plot."""
    seeds: Seeds = (1, 2, 3)
    """Each decides weights, batches and dropout. An interval needs at least two."""
    base: Settings
    """Settings of all variants, over the recipe of `preset`."""
    variants: dict[str, Settings] = Field(min_length=2)
    """Changes of each variant; `{}` changes nothing. A variant may name its own preset."""
    against: dict[str, str] = Field(default_factory=dict)
    """Variant → variant to compare it with. Default: the first."""

    @model_validator(mode="after")
    def _holds(self) -> Self:
        unknown = ({*self.against} | {*self.against.values()}) - {*self.variants}
        if unknown:
            raise ValueError(f"`against` names no variant: {', '.join(sorted(unknown))}")
        return self


class VariantRow(Frozen):
    """One row of the table. Means are over the runs that did not diverge."""

    name: str
    against: str
    """The variant that the differences refer to."""
    parameters: int
    runs: int
    diverged: int
    loss: float | None
    """Mean best validation loss, nats per token; null if every run diverged."""
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


class AblationReport(Frozen):
    """results.json of an ablation."""

    format: Literal["ts-train/ablation-report"] = "ts-train/ablation-report"
    schema_version: int = Field(default=1, ge=1, le=1)
    config: AblationConfig
    data_fingerprint: str
    rows: tuple[VariantRow, ...]
    cells: tuple[TrialResult, ...]


# --- ladder ------------------------------------------------------------------------------------


Law = Literal["additive", "joint"]


class LadderConfig(Frozen):
    """Sizes × budgets, and the presets to predict."""

    format: Literal["ts-train/ladder"] = "ts-train/ladder"
    schema_version: int = Field(default=1, ge=1, le=1)
    base: Settings
    """Settings of all runs, as in a recipe."""
    sizes: dict[str, Settings]
    """Name → changes of this size: a `preset`, or fields of `model`."""
    tokens: tuple[int, ...]
    """Training tokens of each budget; every size is trained at each, with a schedule of that length."""
    seeds: Seeds = (1,)
    """Each size and budget is trained from each."""
    predict: tuple[str, ...] = ()
    """Presets of ts-models."""
    predict_tokens: tuple[int, ...] = ()
    """Budgets of the predictions. Default: `tokens`."""
    law: Law = "additive"
    """additive: E + A/N^alpha + B/D^beta. joint: E + (A/N^alpha + B/D^beta)^gamma, where a small network gains less from tokens."""
    bootstrap: int = Field(default=200, ge=20)
    """Number of bootstrap draws for the intervals."""

    @model_validator(mode="after")
    def _can_bear_a_fit(self) -> Self:
        if len(self.sizes) < 3 or len(set(self.tokens)) < 3:
            raise ValueError("a fit needs at least three `sizes` and three budgets in `tokens`")
        if min(*self.tokens, *self.predict_tokens) < 1:
            raise ValueError("`tokens` and `predict_tokens` must be positive")
        return self


class ScalingFit(Frozen):
    """loss = E + (A / N^alpha + B / D^beta)^gamma, N parameters and D tokens.

    gamma is 1 in the additive law (Hoffmann et al. 2022, approach 3) and fitted in the joint one (Busbridge et al. 2025).
    """

    e: float
    """Irreducible loss, nats per token."""
    a: float
    alpha: float
    b: float
    beta: float
    gamma: float = 1.0
    points: int
    residual: float
    """Root mean square of log(fitted / measured)."""
    alpha_interval: Interval
    beta_interval: Interval
    e_interval: Interval

    def equation(self, digits: int) -> str:
        """The law with its numbers."""
        e, a, alpha, b, beta, gamma = (f"{v:.{digits}g}" for v in (self.e, self.a, self.alpha, self.b, self.beta, self.gamma))
        terms = f"{a} / N^{alpha} + {b} / D^{beta}"
        return f"loss = {e} + {terms}" if self.gamma == 1 else f"loss = {e} + ({terms})^{gamma}"


class Prediction(Frozen):
    preset: str
    parameters: int
    tokens: int
    loss: float
    interval: Interval
    """95 % of the bootstrap; does not cover a failure of the law itself."""
    beyond: float
    """FLOPs (6·N·D) relative to the largest run of the ladder."""
    tokens_per_step: int | None = None
    """Positions of a step at this budget. None: the ladder counts stories."""


class LadderReport(Frozen):
    """results.json of a ladder."""

    format: Literal["ts-train/ladder-report"] = "ts-train/ladder-report"
    schema_version: int = Field(default=1, ge=1, le=1)
    config: LadderConfig
    data_fingerprint: str
    cells: tuple[TrialResult, ...]
    fit: ScalingFit | None
    refusal: str | None
    """Reason if the runs do not determine a fit."""
    predictions: tuple[Prediction, ...] = ()


# --- search ------------------------------------------------------------------------------------


class Range(Frozen):
    """Numbers between two inclusive bounds; integers if both bounds are integers."""

    low: int | float
    high: int | float
    log: bool = False
    """Uniform on a logarithmic scale."""
    step: int | float | None = None

    @model_validator(mode="after")
    def _holds(self) -> Self:
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            raise ValueError("low and high must be finite")
        if not self.low < self.high:
            raise ValueError(f"low {self.low} must be below high {self.high}")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("log needs a positive low, and no step")
        if self.step is not None and not 0 < self.step <= self.high - self.low:
            raise ValueError(f"step {self.step} must be positive and at most high - low")
        if isinstance(self.low, int) and isinstance(self.high, int) and self.step is not None and self.step % 1:
            raise ValueError(f"step {self.step} between whole numbers must be whole; write low and high as {self.low}.0 …")
        return self


class Choices(Frozen):
    choices: tuple[bool | int | float | str, ...] = Field(min_length=2)

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if len(set(self.choices)) < len(self.choices):
            raise ValueError("the same value stands twice in `choices`")
        return self


def _kind_of_space(value: Any) -> str:
    """The kind of a table, so that an error names the fields of that kind only."""
    return "choices" if isinstance(value, Choices) or (isinstance(value, dict) and "choices" in value) else "range"


Space = Annotated[Annotated[Range, Tag("range")] | Annotated[Choices, Tag("choices")], Discriminator(_kind_of_space)]


class SearchConfig(Frozen):
    """A search for the settings with the lowest validation loss."""

    format: Literal["ts-train/search"] = "ts-train/search"
    schema_version: int = Field(default=1, ge=1, le=1)
    base: Settings
    """Settings of all trials, over the recipe of `preset`."""
    space: dict[str, Space] = Field(min_length=1)
    """Dotted name of a field of TrainConfig ("optimizer.lr", "model.n_heads") → its values."""
    trials: int = Field(default=20, ge=1)
    """Trials of the whole study, including other workers, earlier calls, pruned and diverged trials."""
    sampler: Literal["tpe", "random"] = "tpe"
    """`tpe` learns from earlier trials, `random` does not."""
    sampler_seed: int | None = Field(default=None, ge=0)
    """Makes proposals reproducible with one worker. Several workers must not share a seed: they would repeat each other's trials."""
    pruner: Literal["median", "hyperband", "none"] = "median"
    """Stops a trial with a worse validation loss than the others at the same step; needs `validation.every`."""
    startup_trials: int = Field(default=5, ge=0)
    """First trials, never pruned (median) and drawn at random (tpe)."""

    @model_validator(mode="after")
    def _no_field_in_another(self) -> Self:
        for name in self.space:
            if inner := [other for other in self.space if other.startswith(f"{name}.")]:
                raise ValueError(f"`space` names both {name} and {inner[0]}, which is a part of it")
        return self


class Trial(Frozen):
    number: int
    state: Literal["complete", "pruned", "diverged"]
    params: dict[str, bool | int | float | str]
    loss: float | None
    """Best validation loss, for a pruned trial until its end."""
    parameters: int | None = None
    tokens: int | None = None
    seconds: float | None = None
    flops: float | None = None


class SearchReport(Frozen):
    """results.json of a search."""

    format: Literal["ts-train/search-report"] = "ts-train/search-report"
    schema_version: int = Field(default=1, ge=1, le=1)
    config: SearchConfig
    data_fingerprint: str
    trials: tuple[Trial, ...]
    best: int | None
    """Number of the complete trial with the lowest loss."""
    pareto: dict[Literal["flops", "seconds"], tuple[int, ...]] = Field(default_factory=dict)
    """Complete trials that are Pareto-optimal in loss and that cost, cheapest first."""
    importance: dict[str, float] = Field(default_factory=dict)
    """Importance of each field, as shares of 1; empty with too few complete trials."""


SCHEMAS: dict[str, Any] = {
    "ts-train/cell": TrialResult,
    "ts-train/ablation": AblationConfig,
    "ts-train/ablation-report": AblationReport,
    "ts-train/ladder": LadderConfig,
    "ts-train/ladder-report": LadderReport,
    "ts-train/search": SearchConfig,
    "ts-train/search-report": SearchReport,
}

"""Schemas of what is known about a judge, and of fitted weights. Standard library and pydantic only."""

from typing import Literal, Self

from pydantic import Field, model_validator

from .base import Frozen
from .judge import Category, Mode


class Statistic(Frozen):
    """A number with its 95 % interval over stories, or the reason why the data cannot bear it."""

    stories: int
    value: float | None = None
    low: float | None = None
    high: float | None = None
    refused: str | None = None
    note: str | None = None

    @model_validator(mode="after")
    def _value_or_reason(self) -> Self:
        if (self.value is None) == (self.refused is None):
            raise ValueError("a statistic has either a value or the reason why not")
        return self


class Recalibration(Frozen):
    """A monotone function of a judge's ratings in one category: points, linear between them, constant beyond."""

    stories: int
    judge: tuple[float, ...]
    reference: tuple[float, ...]
    mae_before: float
    """Mean absolute error of the ratings as they are."""
    mae_left_out: float
    """The same after recalibration, each story by a function fitted on the others."""


class ReferenceAgreement(Frozen):
    """A judge against the ratings that a file of stories came with."""

    name: str
    stories: int
    compared: int
    """Stories that the judge rated too."""
    raters: int
    categories: dict[Category, dict[str, Statistic]]
    between_raters: dict[Category, dict[str, Statistic]]
    """The two raters with the most stories in common against each other (without names, the first two of each story): the ceiling. Empty with one rater."""
    length_bias: dict[Category, Statistic]
    recalibration: dict[Category, Recalibration] = Field(default={})
    """Per category with at least 20 stories."""


class DamageResult(Frozen):
    """What one kind of damage does to the ratings."""

    kind: str
    category: Category
    """The category that must fall."""
    changes: dict[str, dict[Category, float]]
    """Amount → category → mean change against the undamaged stories."""
    change: Statistic
    """Of `category` at the largest amount."""
    falls: bool = False
    specific: bool = False


class FaultResult(Frozen):
    """The test for one fault of a judge."""

    name: str
    title: str
    found: bool | None
    """None where the ratings cannot bear the test."""
    measure: Statistic


class CalibrationReport(Frozen):
    """What is known about a judge as an instrument."""

    format: Literal["ts-eval/calibration"] = "ts-eval/calibration"
    schema_version: int = 1
    judge: str
    mode: Mode
    prompt: str
    repeats: int
    asked: int
    rated: int
    references: tuple[ReferenceAgreement, ...]
    halo: Statistic
    sd_over_repeats: dict[Category, float] | None
    damage: tuple[DamageResult, ...]
    faults: tuple[FaultResult, ...] = ()
    """Empty without references or variants."""
    notes: tuple[str, ...] = ()


class PanelReport(Frozen):
    """Agreement of several judges on the same stories."""

    format: Literal["ts-eval/panel"] = "ts-eval/panel"
    schema_version: int = 1
    judges: tuple[str, ...]
    stories: int
    """Rated by all judges."""
    left_out: int
    """Rated by some judges only."""
    alpha: dict[Category, Statistic]
    """Krippendorff's alpha over all judges, interval distance."""
    pairs: dict[str, dict[Category, dict[str, Statistic]]]
    """Two judges → category → statistics of the first against the second."""
    means: dict[str, dict[Category, float]]
    """Judge → category → mean over the common stories."""


class PromptTrial(Frozen):
    """One candidate prompt on one half of the stories."""

    prompt: str
    mae: float | None
    noise: float | None
    """Root mean square SD over repeats and categories."""
    parse_rate: float
    """Share of replies that parse at the first attempt."""
    rated: int
    score: float | None
    """MAE + noise / 2 + 5 x (1 - parse rate); lower is better. None where nothing was rated."""


class PromptSearchReport(Frozen):
    """A prompt chosen on one half of the stories, and how it does on the other."""

    format: Literal["ts-eval/prompt-search"] = "ts-eval/prompt-search"
    schema_version: int = 1
    judge: str
    mode: Mode
    seed: int
    chosen: str
    tuning_stories: int
    reporting_stories: int
    tuning: tuple[PromptTrial, ...]
    """All candidates, best first, on the half that chose."""
    reporting: tuple[PromptTrial, ...]
    """The chosen one and the first candidate (the one in use) on the other half."""
    calls: int
    tokens: int


# --- the judge without a language model --------------------------------------------------------


class HeldOutError(Frozen):
    """Error on stories of a model that had no part in the fit, averaged over all models in turn."""

    mae: dict[Category, float]
    mae_of_mean: dict[Category, float]
    """The same for a judge that always says the mean rating of the other models."""
    squared_error_saved: dict[Category, float]
    """1 - squared error / squared error of that mean; negative where the mean is better."""
    squared_error_saved_in_all: float
    correlation_of_model_means: dict[Category, float | None]


class FeatureWeights(Frozen):
    """A fitted feature judge, with its honest error inside."""

    format: Literal["ts-eval/feature-weights"] = "ts-eval/feature-weights"
    schema_version: int = 1
    features: Literal["plain", "reference"]
    names: tuple[str, ...]
    signs: tuple[int, ...]
    means: tuple[float, ...]
    spreads: tuple[float, ...]
    intercepts: tuple[float, ...]
    coefficients: tuple[tuple[float, ...], ...]
    """[6 categories, features], none negative: signs are in `signs`."""
    stories: int
    models: int
    held_out: HeldOutError


class AnomalyWeights(Frozen):
    """Weights of the anomaly guard, fitted on real stories and known attacks (see `judge/guards/anomaly.py`)."""

    format: Literal["ts-eval/foreign-weights"] = "ts-eval/foreign-weights"
    schema_version: int = 1
    names: tuple[str, ...]
    weights: tuple[float, ...]
    intercept: float
    neighbour: float
    """Score above which a sentence beside the most anomalous one belongs to its passage: 95th percentile of real sentences."""
    suspect: float
    """Score above which a sentence is suspect: its story is rated again without it."""
    flagged: float
    """Score above which a sentence flags its story."""
    real_stories: int
    suspected: float
    """Share of real stories above `suspect` when words and weights come from other stories (ten folds)."""
    flagged_real: float
    """The same above `flagged`."""

"""Schemas of report.json and sweep.json. Standard library and pydantic only."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from .base import Frozen
from .config import EvalConfig, SweepConfig

__all__ = [
    "BaselineScore",
    "Closest",
    "Comparison",
    "Completion",
    "Correlation",
    "DataInfo",
    "Estimate",
    "EvalReport",
    "LossPoint",
    "MetricInfo",
    "ModelReport",
    "Neighbours",
    "PromptAnswer",
    "Provenance",
    "SpanMatch",
    "Story",
    "SweepPoint",
    "SweepReport",
]

# --- numbers -----------------------------------------------------------------------------------


class Estimate(Frozen):
    """A mean over stories with its spread. Everything is None when no story could be scored."""

    mean: float | None
    sd: float | None = None
    low: float | None = None
    """Lower end of the bootstrap 95 % interval, by story."""
    high: float | None = None
    n: int = Field(ge=0)
    unscored: int = Field(default=0, ge=0)
    """Stories that had no score; they are in no mean."""


class MetricInfo(Frozen):
    """How to read a metric, and where the page shows it."""

    title: str
    unit: str = ""
    better: Literal["higher", "lower", "like real"]
    """`like real`: neither end is good; compare it with the row of real stories."""
    description: str
    summary: str = ""
    """The section whose value on held-out stories stands in the summary table; empty: not in the summary."""
    label: str = ""
    """Column heading in the summary (default: the title); `{context}` stands for the config's context."""
    chart: bool = True
    """Whether the page draws the values of the stories."""
    reference: str = "real held-out stories"
    """What the grey band of the chart shows."""


class Comparison(Frozen):
    """Two models on the same stories."""

    metric: str
    first: str
    second: str
    difference: float
    """Mean of second - first over the stories that both have."""
    low: float
    high: float
    n: int
    p: float
    """Paired sign-flip permutation test, two-sided."""
    p_holm: float
    """Corrected for the number of pairs compared on this metric."""
    resolved: bool
    """p_holm < 0.05."""
    more_stories: int | None
    """Further stories that would resolve a difference of this size at 80 % power (0 when it is; None when there is none)."""


class Correlation(Frozen):
    """Validation loss against one rating over models."""

    rating: str
    models: int
    spearman: float | None
    low: float | None
    high: float | None
    note: str = ""


class Provenance(Frozen):
    """Whether a model was trained on the held-out stories that it is evaluated on."""

    checked: Literal["same splits", "story hashes", "not possible"]
    """How that is known: it was trained on these splits; its training stories' hashes were compared; not at all."""
    splits_fingerprint: str | None
    """Of the splits that it was trained on; None where it does not say."""
    held_out: int = Field(ge=0)
    """Held-out stories evaluated."""
    trained_on: int | None = Field(ge=0)
    """How many of these it was trained on; None where they were not compared."""


# --- stories -----------------------------------------------------------------------------------


class Closest(Frozen):
    """A training story and how close it is."""

    index: int = Field(ge=0)
    score: float
    text: str


class SpanMatch(Frozen):
    """The longest run of words that stands in some training story too (case and punctuation ignored)."""

    words: int = Field(ge=0)
    share: float = Field(ge=0, le=1)
    """Of the words of the story."""
    text: str
    index: int | None = Field(default=None, ge=0)
    """The first training story that holds it; None without a word in common."""
    story: str | None = None
    """That training story's text; for exact spans only."""
    count: int = Field(default=0, ge=0)
    """Times the span occurs in the training stories."""


class Story(Frozen):
    """A generated story beside what is closest to it among all training stories."""

    prompt: str
    text: str
    closest: Closest | None = None
    """By TF-IDF cosine."""
    rouge2: Closest | None = None
    """By ROUGE-2 precision."""
    span: SpanMatch | None = None
    """Exact copy."""
    template: SpanMatch | None = None
    """Simple template: the longest run in common once names and rare words are masked."""
    plot: Closest | None = None
    """Complex template: closest by sentence embeddings."""


class Completion(Frozen):
    """The end of a real story as the model told it."""

    split: str
    index: int = Field(ge=0)
    prompt: str
    reference: str
    completion: str
    scores: dict[str, float]


class PromptAnswer(Frozen):
    """One line of the prompt tables."""

    table: str
    prompt: str
    completion: str


# --- sweep -------------------------------------------------------------------------------------


class SweepPoint(Frozen):
    """One decoding setting and what it gave."""

    options: dict[str, Any]
    quality: float
    quality_low: float
    quality_high: float
    diversity: float
    """1 - self-BLEU."""
    repetition: float
    words: float
    on_front: bool
    """No other setting is at least as good in quality and diversity and better in one."""
    winner: bool = False
    example: str = ""


class SweepReport(Frozen):
    """sweep.json."""

    format: Literal["ts-eval/sweep"] = "ts-eval/sweep"
    schema_version: int = 1
    model: str
    config: SweepConfig
    quality: str
    """What quality is: a judge's name, or `like real` (minus the distance to real stories in bits per word)."""
    points: tuple[SweepPoint, ...]
    real_quality: float
    real_diversity: float
    provenance: Provenance | None = None
    """None where no model is swept, and in reports of earlier versions."""
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    """What makes the numbers say less than they seem to; shown on top."""


# --- report ------------------------------------------------------------------------------------


class Neighbours(Frozen):
    """The tokens whose embeddings point most nearly the same way."""

    token: str
    nearest: tuple[tuple[str, float], ...]


class LossPoint(Frozen):
    """One point of a training curve."""

    step: int
    tokens: int
    train_loss: float | None = None
    validation_loss: float | None = None


class ModelReport(Frozen):
    """Everything measured about one model, or about the real held-out stories (`kind` = real)."""

    name: str
    kind: str
    location: str = ""
    parameters: int | None = None
    preset: str | None = None
    metrics: dict[str, Estimate] = Field(default={})
    """`part.split.metric` → estimate."""
    values: dict[str, tuple[float | None, ...]] = Field(default={})
    """The same, story by story in the order of the draw: what paired tests are made of."""
    stories: tuple[Story, ...] = ()
    completions: tuple[Completion, ...] = ()
    prompts: tuple[PromptAnswer, ...] = ()
    neighbours: tuple[Neighbours, ...] = ()
    curve: tuple[LossPoint, ...] = ()
    ratings: dict[str, Estimate] = Field(default={})
    provenance: Provenance | None = None
    """None for real stories and files of stories, and in reports of earlier versions."""
    notes: tuple[str, ...] = ()
    """What could not be measured, and why."""

    @property
    def held_out_loss(self) -> Estimate | None:
        """Bits per byte on held-out stories, or the loss per token where there are none."""
        return self.metrics.get("perplexity.test.bits_per_byte") or self.metrics.get("perplexity.test.loss")


class BaselineScore(Frozen):
    """An n-gram model on the same ids and stories as the model whose tokenizer it uses."""

    model: str
    """Whose tokenizer."""
    name: str
    loss: float
    """Nats per token over whole stories."""
    perplexity: float
    bits_per_byte: float | None


class DataInfo(Frozen):
    """The stories everything was measured on."""

    fingerprint: str
    train_stories: int
    test_stories: int
    test_in_train: int | None = Field(default=None, ge=0)
    """Held-out stories evaluated that also stand in the train split of these splits; None in reports of earlier versions."""
    index_sha256: str
    """Of the index's manifest: corpus, tokenisation and document frequencies. Empty where no index on disk was used."""


class EvalReport(Frozen):
    """report.json."""

    format: Literal["ts-eval/report"] = "ts-eval/report"
    schema_version: int = 1
    config: EvalConfig
    data: DataInfo
    info: dict[str, MetricInfo] = Field(default={})
    warnings: tuple[str, ...] = ()
    """What makes the numbers say less than they seem to; shown on top of every view of the report."""
    models: tuple[ModelReport, ...]
    real: ModelReport
    """The ceiling and, for every maximum, the chance baseline: held-out real stories measured in the same run."""
    baselines: tuple[BaselineScore, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    correlations: tuple[Correlation, ...] = ()
    judges: tuple[str, ...] = ()
    """Who rated, how (`sampled`, `expected`, `estimated`) and how many ratings are in the means; empty without ratings."""
    sweep: SweepReport | None = None
    versions: dict[str, str] = Field(default={})
    command: str = ""

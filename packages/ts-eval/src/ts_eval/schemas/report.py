"""Schemas of report.json and sweep.json. Standard library and pydantic only."""

import math
from typing import Any, Literal

from pydantic import Field

from .base import Frozen
from .config import EvalConfig, SweepConfig

# --- numbers -----------------------------------------------------------------------------------

Bounds = tuple[float, float]
"""The smallest and the largest value that a number can have."""
UNBOUNDED: Bounds = (-math.inf, math.inf)


class Estimate(Frozen):
    """A mean over stories with its spread. All None if no story could be scored."""

    mean: float | None
    sd: float | None = None
    low: float | None = None
    """Lower end of the 95 % interval over stories: bootstrapped, from fewer than 30 Student's t, cut to the bounds of the number (shares of asked words: Wilson's)."""
    high: float | None = None
    n: int = Field(ge=0)
    unscored: int = Field(default=0, ge=0)
    """Stories that had no score; they are in no mean."""


class MetricInfo(Frozen):
    """How to read a metric, and where the page shows it."""

    title: str
    unit: str = ""
    better: Literal["higher", "lower", "like real", "above chance", "not above real"]
    """`like real`: neither end is good, real stories are the target. `above chance`: at the value of the real stories, which take the
    ending of another story, a model ignores its prompts. `not above real`: a maximum, which real stories reach by chance."""
    description: str
    summary: str = ""
    """The section whose value on held-out stories stands in the summary table; empty: not in the summary."""
    label: str = ""
    """Column heading in the summary (default: the title); `{context}` stands for the config's context."""
    chart: bool = True
    """Whether the page draws the values of the stories."""
    reference: str = "real held-out stories"
    """What the grey band of the chart shows."""
    least: float | None = None
    """The smallest value that it can have, where there is one: intervals end there."""
    most: float | None = None
    """The largest."""

    @property
    def bounds(self) -> Bounds:
        """`least` and `most`, infinite where there is none."""
        return (UNBOUNDED[0] if self.least is None else self.least, UNBOUNDED[1] if self.most is None else self.most)


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
    """Further stories that would resolve a difference of this size at 80 % power (0: resolved; None: no difference)."""


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
    """How this was checked: the model was trained on these splits; hashes were compared; the model has no record."""
    splits_fingerprint: str | None
    """Fingerprint of the splits that it was trained on; None without a record."""
    held_out: int = Field(ge=0)
    """Held-out stories evaluated."""
    trained_on: int | None = Field(ge=0)
    """Number of these that it was trained on; None if not compared."""


# --- stories -----------------------------------------------------------------------------------


class Closest(Frozen):
    """A training story and its score."""

    index: int = Field(ge=0)
    score: float
    text: str


class SpanMatch(Frozen):
    """The longest run of words shared with a training story (case and punctuation ignored)."""

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
    """A generated story and the closest training stories."""

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

    @property
    def written(self) -> bool:
        """Whether there is more than the prompt."""
        return bool(self.text.strip().removeprefix(self.prompt.strip()))


class Completion(Frozen):
    """A model's completion of a real story."""

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
    grade: Literal["pass", "partial", "fail"] | None = None
    """By accepted answers; None where no answers are listed for the prompt."""


# --- sweep -------------------------------------------------------------------------------------


class SweepPoint(Frozen):
    """The scores of one decoding setting."""

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
    real_quality: float | None
    """Of the real stories; None where the judge rated none of them."""
    real_diversity: float
    provenance: Provenance | None = None
    """None where no model is swept, and in reports of earlier versions."""
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    """Limits of what the numbers show; displayed on top."""


# --- report ------------------------------------------------------------------------------------


class Neighbours(Frozen):
    """The nearest tokens by cosine of the embeddings."""

    token: str
    nearest: tuple[tuple[str, float], ...]


LARGEST = 1e30
"""Losses and log-probabilities beyond it are no numbers that can be averaged or drawn."""


class LossPoint(Frozen):
    """One point of a training curve."""

    step: int
    tokens: int = Field(lt=1 << 63)
    train_loss: float | None = Field(default=None, gt=-LARGEST, lt=LARGEST)
    validation_loss: float | None = Field(default=None, gt=-LARGEST, lt=LARGEST)


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
    """The same per story, in the order of the draw, for paired tests."""
    stories: tuple[Story, ...] = ()
    completions: tuple[Completion, ...] = ()
    prompts: tuple[PromptAnswer, ...] = ()
    neighbours: tuple[Neighbours, ...] = ()
    curve: tuple[LossPoint, ...] = ()
    bits_scale: tuple[float, float] | None = None
    """Tokens per byte, and bits per byte beside the tokens' own: bits per byte = loss / ln 2 × the first + the second."""
    ratings: dict[str, Estimate] = Field(default={})
    """Category → estimate; `overall` is the mean over the categories."""
    provenance: Provenance | None = None
    """None for real stories and files of stories, and in reports of earlier versions."""
    notes: tuple[str, ...] = ()
    """What could not be measured, and why."""

    @property
    def held_out_loss(self) -> Estimate | None:
        """Bits per byte on held-out stories: the only loss that compares over vocabularies."""
        return self.metrics.get("perplexity.test.bits_per_byte")


REFERENCE_STORIES = 100
"""Held-out stories that a reference model scores: the first of those that the models score."""


class BaselineScore(Frozen):
    """An n-gram model on the same ids and stories as the model whose tokenizer it uses, or a reference model."""

    kind: Literal["n-gram", "model"] = "n-gram"
    """`model`: one of the config's `references`, with its own tokenizer."""
    model: str
    """Whose tokenizer."""
    name: str
    loss: float
    """Nats per token over whole stories."""
    perplexity: float
    bits_per_byte: float | None

    @property
    def label(self) -> str:
        """Its name, and what it is beside the models of the report."""
        return (
            f"{self.name} (tokens of {self.model})"
            if self.kind == "n-gram"
            else f"{self.name} (reference, up to {REFERENCE_STORIES} stories)"
        )


class Finding(Frozen):
    """One sentence of a verdict."""

    topic: Literal["language", "prompts", "copying", "diversity", "rating"]
    outcome: str
    """The finding in a few words, for a headline."""
    text: str
    evidence: tuple[str, ...]
    """Keys of the metrics behind it, or of the ratings."""
    section: str
    """The section of the page that shows them."""
    references: dict[str, float] = Field(default={})
    """What the model was compared with, and its score."""


class Verdict(Frozen):
    """What the numbers say about one model."""

    model: str
    headline: str
    findings: tuple[Finding, ...]


class DataInfo(Frozen):
    """The data of the evaluation."""

    fingerprint: str
    train_stories: int
    test_stories: int
    test_in_train: int | None = Field(default=None, ge=0)
    """Held-out stories evaluated that also stand in the train split of these splits; None in reports of earlier versions."""
    index_sha256: str
    """SHA-256 of the index's manifest. Empty if no index on disk was used."""


class EvalReport(Frozen):
    """report.json."""

    format: Literal["ts-eval/report"] = "ts-eval/report"
    schema_version: int = 1
    config: EvalConfig
    data: DataInfo
    info: dict[str, MetricInfo] = Field(default={})
    warnings: tuple[str, ...] = ()
    """Limits of what the numbers show; displayed on top of every view of the report."""
    verdicts: tuple[Verdict, ...] = ()
    """One per model; empty in reports of earlier versions."""
    models: tuple[ModelReport, ...]
    real: ModelReport
    """The ceiling and, for every maximum, the chance baseline: held-out real stories measured in the same run."""
    baselines: tuple[BaselineScore, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    correlations: tuple[Correlation, ...] = ()
    judges: tuple[str, ...] = ()
    """One line per judge: name, mode (`sampled`, `expected`, `estimated`) and number of ratings in the means; empty without ratings."""
    sweep: SweepReport | None = None
    versions: dict[str, str] = Field(default={})
    command: str = ""

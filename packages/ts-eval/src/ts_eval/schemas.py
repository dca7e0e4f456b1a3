"""What ts_eval writes and is configured by: the report, the sweep, the index, and (from `_judge_schemas`) the judge.

Standard library and pydantic only.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ._judge_schemas import (
    CATEGORIES,
    JUDGE_SCHEMAS,
    CalibrationReport,
    Category,
    DamageResult,
    Endpoint,
    FeatureWeights,
    ForeignWeights,
    HeldOutError,
    JudgeConfig,
    JudgeSummary,
    PromptCategory,
    PromptExample,
    PromptSearchReport,
    PromptTemplate,
    PromptTrial,
    Rating,
    ReferenceAgreement,
    Score,
    Scores,
    Statistic,
    WholeScores,
)

__all__ = [
    "CATEGORIES",
    "PART_NAMES",
    "SCHEMAS",
    "BaselineScore",
    "CalibrationReport",
    "Category",
    "Closest",
    "Comparison",
    "Completion",
    "Correlation",
    "DamageResult",
    "DataInfo",
    "Decoding",
    "Endpoint",
    "Estimate",
    "EvalConfig",
    "EvalReport",
    "FeatureWeights",
    "ForeignWeights",
    "HeldOutError",
    "IndexManifest",
    "JudgeConfig",
    "JudgeSummary",
    "LossPoint",
    "MetricInfo",
    "ModelReport",
    "Neighbours",
    "PromptAnswer",
    "PromptCategory",
    "PromptExample",
    "PromptSearchReport",
    "PromptTemplate",
    "PromptTrial",
    "Rating",
    "ReferenceAgreement",
    "Score",
    "Scores",
    "SpanMatch",
    "Statistic",
    "Story",
    "SweepConfig",
    "SweepPoint",
    "SweepReport",
    "WholeScores",
]

PART_NAMES = ("perplexity", "memorisation", "paper", "overfitting", "texts", "prompts", "neighbours")
"""The parts of a report, in the order in which they run."""

Method = Literal["greedy", "sample", "beam", "beam-sample"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


# --- settings ----------------------------------------------------------------------------------


class Decoding(_Frozen):
    """How stories are generated; transformers' names. The defaults are the talk's: sampling at temperature 0.7."""

    method: Method = "sample"
    temperature: float = Field(default=0.7, gt=0)
    top_k: int | None = Field(default=None, ge=1)
    top_p: float | None = Field(default=None, gt=0, le=1)
    num_beams: int | None = Field(default=None, ge=1)
    repetition_penalty: float | None = Field(default=None, gt=0)
    no_repeat_ngram_size: int | None = Field(default=None, ge=0)
    max_new_tokens: int = Field(default=256, ge=1)

    def options(self) -> dict[str, Any]:
        """The fields that say something, for `generate(prompts, **options)`."""
        chosen = self.model_dump(exclude_none=True)
        if self.method in {"greedy", "beam"}:
            chosen.pop("temperature")
        return chosen


class EvalConfig(_Frozen):
    """Settings of one evaluation."""

    parts: tuple[str, ...] = PART_NAMES
    stories: int = Field(default=100, ge=2)
    """Prompts per part and split: 100 in the talk and in the paper."""
    prompt_share: float = Field(default=0.4, gt=0, lt=1)
    """Share of a story's words given as prompt (the talk: 40 %). The paper's procedure always uses half."""
    opening_words: int = Field(default=5, ge=1)
    """Words of a held-out story with which a story of the overfitting part begins."""
    seed: int = Field(default=1, ge=0)
    decoding: Decoding = Decoding()
    perplexity_stories: int | None = Field(default=None, ge=2)
    """Stories of the test split that perplexity is measured on; None is all."""
    baseline_stories: int | None = Field(default=None, ge=2)
    """Training stories that the n-gram baselines are fitted on; None is all."""
    context: int = Field(default=256, ge=8)
    """Tokens of the talk's loss: the first 256 of each story."""
    resamples: int = Field(default=2000, ge=100)
    """Bootstrap resamples, by story."""
    shown: int = Field(default=8, ge=0)
    """Stories and completions per model that the HTML page shows; report.json holds all."""
    embeddings: bool = False
    """Also look for complex templates (extra `embeddings`; embeds every training story once)."""
    neighbour_words: tuple[str, ...] = ("doctor", "dog", "happy", "park", "lily")

    @model_validator(mode="after")
    def _parts_exist(self) -> EvalConfig:
        unknown = [part for part in self.parts if part not in PART_NAMES]
        if unknown:
            raise ValueError(f"unknown part {unknown[0]!r}; there are {', '.join(PART_NAMES)}")
        return self


# --- numbers -----------------------------------------------------------------------------------


class Estimate(_Frozen):
    """A mean over stories with its spread. Everything is None when no story could be scored."""

    mean: float | None
    sd: float | None = None
    low: float | None = None
    """Lower end of the bootstrap 95 % interval, by story."""
    high: float | None = None
    n: int = Field(ge=0)
    unscored: int = Field(default=0, ge=0)
    """Stories that had no score; they are in no mean."""


class MetricInfo(_Frozen):
    """How to read a metric."""

    title: str
    unit: str = ""
    better: Literal["higher", "lower", "like real"]
    """`like real`: neither end is good; compare it with the row of real stories."""
    description: str


class Comparison(_Frozen):
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


class Correlation(_Frozen):
    """Validation loss against one rating over models."""

    rating: str
    models: int
    spearman: float | None
    low: float | None
    high: float | None
    note: str = ""


# --- stories -----------------------------------------------------------------------------------


class Closest(_Frozen):
    """A training story and how close it is."""

    index: int = Field(ge=0)
    score: float
    text: str


class SpanMatch(_Frozen):
    """The longest run of words that stands in some training story too (case and punctuation ignored)."""

    words: int = Field(ge=0)
    share: float = Field(ge=0, le=1)
    """Of the words of the story."""
    text: str
    index: int | None = Field(default=None, ge=0)
    """The first training story that holds it; None without a word in common."""
    count: int = Field(default=0, ge=0)
    """Times the span occurs in the training stories."""


class Story(_Frozen):
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


class Completion(_Frozen):
    """The end of a real story as the model told it."""

    split: str
    index: int = Field(ge=0)
    prompt: str
    reference: str
    completion: str
    scores: dict[str, float]


class PromptAnswer(_Frozen):
    """One line of the prompt tables."""

    table: str
    prompt: str
    completion: str


class Neighbours(_Frozen):
    """The tokens whose embeddings point most nearly the same way."""

    token: str
    nearest: tuple[tuple[str, float], ...]


class LossPoint(_Frozen):
    """One point of a training curve."""

    step: int
    tokens: int
    train_loss: float | None = None
    validation_loss: float | None = None


class ModelReport(_Frozen):
    """Everything measured about one model, or about the real held-out stories (`kind` = real)."""

    name: str
    kind: str
    location: str = ""
    parameters: int | None = None
    preset: str | None = None
    metrics: dict[str, Estimate] = {}
    """`part.split.metric` → estimate."""
    values: dict[str, tuple[float | None, ...]] = {}
    """The same, story by story in the order of the draw: what paired tests are made of."""
    stories: tuple[Story, ...] = ()
    completions: tuple[Completion, ...] = ()
    prompts: tuple[PromptAnswer, ...] = ()
    neighbours: tuple[Neighbours, ...] = ()
    curve: tuple[LossPoint, ...] = ()
    ratings: dict[str, Estimate] = {}
    notes: tuple[str, ...] = ()
    """What could not be measured, and why."""


class BaselineScore(_Frozen):
    """An n-gram model on the same ids and stories as the model whose tokenizer it uses."""

    model: str
    """Whose tokenizer."""
    name: str
    loss: float
    """Nats per token over whole stories."""
    perplexity: float
    bits_per_byte: float | None


class DataInfo(_Frozen):
    """The stories everything was measured on."""

    fingerprint: str
    train_stories: int
    test_stories: int
    index_sha256: str
    """Of the index's manifest: corpus, tokenisation and document frequencies."""


class EvalReport(_Frozen):
    """report.json."""

    format: Literal["ts-eval/report"] = "ts-eval/report"
    schema_version: int = 1
    config: EvalConfig
    data: DataInfo
    info: dict[str, MetricInfo] = {}
    models: tuple[ModelReport, ...]
    real: ModelReport
    """The ceiling and, for every maximum, the chance baseline: held-out real stories measured in the same run."""
    baselines: tuple[BaselineScore, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    correlations: tuple[Correlation, ...] = ()
    judges: tuple[str, ...] = ()
    """Who rated, how (`sampled`, `expected`, `estimated`) and how many ratings are in the means; empty without ratings."""
    sweep: SweepReport | None = None
    versions: dict[str, str] = {}
    command: str = ""


# --- sweep -------------------------------------------------------------------------------------


class SweepConfig(_Frozen):
    """The decoding settings to try. Each list is one axis; an axis that a method ignores is not multiplied."""

    method: tuple[Method, ...] = ("greedy", "sample", "beam", "beam-sample")
    temperature: tuple[float, ...] = (0.5, 0.7, 0.9, 1.1)
    top_k: tuple[int | None, ...] = (None,)
    top_p: tuple[float | None, ...] = (None, 0.95)
    num_beams: tuple[int, ...] = (4,)
    repetition_penalty: tuple[float | None, ...] = (None,)
    no_repeat_ngram_size: tuple[int | None, ...] = (None,)
    max_new_tokens: int = Field(default=200, ge=1)
    stories: int = Field(default=50, ge=2)
    seed: int = Field(default=1, ge=0)
    search: Literal["grid", "optuna"] = "grid"
    trials: int = Field(default=20, ge=1)
    """optuna: settings tried."""
    min_diversity: float = Field(default=0.9, gt=0)
    """The winner keeps at least this share of the diversity of real stories, if any setting does."""


class SweepPoint(_Frozen):
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


class SweepReport(_Frozen):
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


# --- index -------------------------------------------------------------------------------------


class IndexManifest(_Frozen):
    """index.json beside the arrays of a StoryIndex."""

    format: Literal["ts-eval/index"] = "ts-eval/index"
    schema_version: int = 1
    tokenisation: int
    """Version of how texts become words and stems; another one is built anew."""
    corpus: str
    """SHA-256 of the stories, or the fingerprint of the split that they came from."""
    stories: int = Field(ge=1)
    words: int = Field(ge=0)
    """Length of the stream of the word ids, `second` included."""
    second: int = Field(ge=0)
    """Words at the stream's end: the stories that rouge-score splits in another way than scikit-learn."""
    vocabulary: int = Field(ge=0)
    id_type: Literal["uint16", "uint32"]
    names: tuple[str, ...]
    """Words that are names, by how they are capitalised within sentences."""
    files: dict[str, str]
    """File name → SHA-256."""


EvalReport.model_rebuild()

SCHEMAS: dict[str, type[BaseModel]] = {
    **JUDGE_SCHEMAS,
    "ts-eval/report": EvalReport,
    "ts-eval/eval-config": EvalConfig,
    "ts-eval/sweep": SweepReport,
    "ts-eval/sweep-config": SweepConfig,
    "ts-eval/index": IndexManifest,
}

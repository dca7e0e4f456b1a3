"""Settings of an evaluation, of decoding and of a sweep. Standard library and pydantic only."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from ts_models.registry import METHODS
from ts_models.schemas import DecodingMethod

from .base import Frozen

PART_NAMES = ("perplexity", "memorisation", "paper", "overfitting", "texts", "prompts", "neighbours")
"""The sections of a report, in the order in which they run."""

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(gt=0, le=1)]
Least1 = Annotated[int, Field(ge=1)]


class Decoding(Frozen):
    """How stories are generated; transformers' names. The defaults are the talk's: sampling at temperature 0.7."""

    method: DecodingMethod = "sample"
    """How tokens are chosen."""
    temperature: float = Field(default=0.7, gt=0)
    """Of the methods that draw: below 1 safer, above 1 wilder."""
    top_k: int | None = Field(default=None, ge=1)
    """Draw from the k likeliest tokens; null: from all."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """Draw from the likeliest tokens that reach this probability; null: from all."""
    num_beams: int | None = Field(default=None, ge=1)
    """Beams of the beam methods."""
    repetition_penalty: float | None = Field(default=None, gt=0)
    """Above 1: tokens of the text become less likely."""
    no_repeat_ngram_size: int | None = Field(default=None, ge=0)
    """No n tokens in a row twice."""
    max_new_tokens: int = Field(default=256, ge=1)
    """Most tokens of a story."""

    def options(self) -> dict[str, Any]:
        """The fields that are set, for `generate(prompts, **options)`."""
        chosen = self.model_dump(exclude_none=True)
        if not METHODS[self.method].draws:
            chosen.pop("temperature")
        return chosen


class EvalConfig(Frozen):
    """Settings of one evaluation."""

    parts: tuple[str, ...] = Field(default=PART_NAMES, min_length=1)
    """Sections of the report."""
    stories: int = Field(default=100, ge=2)
    """Prompts per part and split: 100 in the talk and in the paper."""
    prompt_share: float = Field(default=0.4, gt=0, lt=1)
    """Share of a story's words given as prompt (the talk: 40 %). The paper's procedure always uses half."""
    opening_words: int = Field(default=5, ge=1)
    """Words of a held-out story that a generated story of the overfitting section starts with."""
    seed: int = Field(default=1, ge=0)
    """Decides which stories are drawn, and sampling."""
    decoding: Decoding = Decoding()
    perplexity_stories: int | None = Field(default=None, ge=2)
    """Stories of the test split scored for perplexity; None: all."""
    baseline_stories: int | None = Field(default=None, ge=2)
    """Training stories that the n-gram baselines are fitted on; None: all."""
    references: tuple[str, ...] = ()
    """Models whose bits per byte stand beside the n-gram baselines, on 100 held-out stories. `ts-eval report` takes `demo`."""
    context: int = Field(default=256, ge=8)
    """Tokens of the talk's loss: the first 256 of each story."""
    resamples: int = Field(default=2000, ge=100)
    """Bootstrap resamples, by story."""
    shown: int = Field(default=8, ge=0)
    """Stories and completions per model that the HTML page shows; report.json holds all."""
    embeddings: bool = False
    """Also search complex templates (extra `embeddings`; embeds every training story once)."""
    neighbour_words: tuple[str, ...] = ("doctor", "dog", "happy", "park", "lily")
    """Words whose nearest words in the embedding the report lists."""

    @model_validator(mode="after")
    def _parts_exist(self) -> Self:
        unknown = [part for part in self.parts if part not in PART_NAMES]
        if unknown:
            raise ValueError(f"unknown part {unknown[0]!r}; there are {', '.join(PART_NAMES)}")
        return self


class SweepConfig(Frozen):
    """The decoding settings to try. Each list is one axis; axes that a method ignores are not varied."""

    method: tuple[DecodingMethod, ...] = Field(default=("greedy", "sample", "beam", "beam-sample"), min_length=1)
    """How tokens are chosen."""
    temperature: tuple[Positive, ...] = Field(default=(0.5, 0.7, 0.9, 1.1), min_length=1)
    """Of the methods that draw: below 1 safer, above 1 wilder."""
    top_k: tuple[Least1 | None, ...] = Field(default=(None,), min_length=1)
    """Draw from the k likeliest tokens; null: from all."""
    top_p: tuple[Share | None, ...] = Field(default=(None, 0.95), min_length=1)
    """Draw from the likeliest tokens that reach this probability; null: from all."""
    num_beams: tuple[Least1, ...] = Field(default=(4,), min_length=1)
    """Beams of the beam methods."""
    repetition_penalty: tuple[Positive | None, ...] = Field(default=(None,), min_length=1)
    """Above 1: tokens of the text become less likely."""
    no_repeat_ngram_size: tuple[Annotated[int, Field(ge=0)] | None, ...] = Field(default=(None,), min_length=1)
    """No n tokens in a row twice."""
    max_new_tokens: int = Field(default=200, ge=1)
    """Most tokens of a story."""
    stories: int = Field(default=50, ge=2)
    """Stories per setting."""
    seed: int = Field(default=1, ge=0)
    """Decides prompts and draws."""
    search: Literal["grid", "optuna"] = "grid"
    """`grid` tries every combination, `optuna` proposes settings."""
    trials: int = Field(default=20, ge=1)
    """Number of settings that Optuna tries."""
    min_diversity: float = Field(default=0.9, gt=0)
    """The winner has at least this share of the diversity of real stories, if any setting does."""

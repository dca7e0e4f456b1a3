"""What ts_eval writes and is configured by: one door to the schemas of settings, report, sweep, index and judge.

Standard library and pydantic only.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from ._calibration_schemas import (
    CalibrationReport,
    DamageResult,
    FeatureWeights,
    ForeignWeights,
    HeldOutError,
    PromptSearchReport,
    PromptTrial,
    ReferenceAgreement,
    Statistic,
)
from ._config_schemas import (
    PART_NAMES,
    Decoding,
    EvalConfig,
    SweepConfig,
)
from ._frozen import Frozen
from ._judge_schemas import (
    CATEGORIES,
    Category,
    ChatPage,
    Endpoint,
    JudgeConfig,
    JudgeSummary,
    PromptCategory,
    PromptExample,
    PromptTemplate,
    Rating,
    Score,
    Scores,
    WholeScores,
)
from ._report_schemas import (
    BaselineScore,
    Closest,
    Comparison,
    Completion,
    Correlation,
    DataInfo,
    Estimate,
    EvalReport,
    LossPoint,
    MetricInfo,
    ModelReport,
    Neighbours,
    PromptAnswer,
    Provenance,
    SpanMatch,
    Story,
    SweepPoint,
    SweepReport,
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
    "Provenance",
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


class IndexManifest(Frozen):
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


SCHEMAS: dict[str, type[BaseModel]] = {
    "ts-eval/calibration": CalibrationReport,
    "ts-eval/chat-page": ChatPage,
    "ts-eval/eval-config": EvalConfig,
    "ts-eval/feature-weights": FeatureWeights,
    "ts-eval/foreign-weights": ForeignWeights,
    "ts-eval/index": IndexManifest,
    "ts-eval/judge-config": JudgeConfig,
    "ts-eval/judge-summary": JudgeSummary,
    "ts-eval/prompt": PromptTemplate,
    "ts-eval/prompt-search": PromptSearchReport,
    "ts-eval/rating": Rating,
    "ts-eval/report": EvalReport,
    "ts-eval/sweep": SweepReport,
    "ts-eval/sweep-config": SweepConfig,
}

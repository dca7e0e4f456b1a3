# ruff: noqa: F403, F405  all public names of the modules
"""Schemas of everything that ts_eval writes and of its configs, one module per artefact. Standard library and pydantic only."""

from pydantic import BaseModel

from .calibration import *
from .config import *
from .judge import *
from .measures import *
from .report import *

SCHEMAS: dict[str, type[BaseModel]] = {
    "ts-eval/calibration": CalibrationReport,
    "ts-eval/chat-page": ChatPage,
    "ts-eval/eval-config": EvalConfig,
    "ts-eval/extraction": ExtractionReport,
    "ts-eval/feature-weights": FeatureWeights,
    "ts-eval/foreign-weights": AnomalyWeights,
    "ts-eval/index": IndexManifest,
    "ts-eval/instruct": InstructReport,
    "ts-eval/judge-config": JudgeConfig,
    "ts-eval/judge-summary": JudgeSummary,
    "ts-eval/panel": PanelReport,
    "ts-eval/probe": ProbeReport,
    "ts-eval/prompt": PromptTemplate,
    "ts-eval/prompt-search": PromptSearchReport,
    "ts-eval/rating": Rating,
    "ts-eval/report": EvalReport,
    "ts-eval/sweep": SweepReport,
    "ts-eval/sweep-config": SweepConfig,
}

from .__about__ import __version__
from .asking import instruct
from .calibration import calibrate, optimise_prompt
from .errors import ArtefactError, ConfigError, IndexMismatchError, TsEvalError, UnavailableError
from .evaluation import evaluate
from .extracting.extraction import extraction
from .index import Match, Span, StoryIndex
from .judge import (
    JudgeRun,
    RatingServer,
    RatingSession,
    compare_stories,
    estimate_cost,
    judge_stories,
    read_ratings,
    read_stories,
)
from .judge.best import Ranked, best_of
from .metrics.distinct import distinct
from .metrics.repetition import repetition
from .metrics.rouge import rouge
from .metrics.self_bleu import self_bleu
from .models import ModelAdapter, open_model
from .probing.probe import probe
from .report import read_report, render, write_report
from .schemas import (
    CalibrationReport,
    Endpoint,
    EvalConfig,
    EvalReport,
    ExtractionReport,
    InstructReport,
    JudgeConfig,
    MetricInfo,
    ProbeReport,
    Rating,
    SweepConfig,
    SweepReport,
)
from .sweeping import sweep

__all__ = [
    "ArtefactError",
    "CalibrationReport",
    "ConfigError",
    "Endpoint",
    "EvalConfig",
    "EvalReport",
    "ExtractionReport",
    "IndexMismatchError",
    "InstructReport",
    "JudgeConfig",
    "JudgeRun",
    "Match",
    "MetricInfo",
    "ModelAdapter",
    "ProbeReport",
    "Ranked",
    "Rating",
    "RatingServer",
    "RatingSession",
    "Span",
    "StoryIndex",
    "SweepConfig",
    "SweepReport",
    "TsEvalError",
    "UnavailableError",
    "__version__",
    "best_of",
    "calibrate",
    "compare_stories",
    "distinct",
    "estimate_cost",
    "evaluate",
    "extraction",
    "instruct",
    "judge_stories",
    "open_model",
    "optimise_prompt",
    "probe",
    "read_ratings",
    "read_report",
    "read_stories",
    "render",
    "repetition",
    "rouge",
    "self_bleu",
    "sweep",
    "write_report",
]

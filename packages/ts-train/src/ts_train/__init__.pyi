from .__about__ import __version__
from .callbacks import BaseCallback, Callback, StepMetrics, StopTraining, ValidationMetrics
from .errors import (
    ArtefactError,
    ConfigError,
    DataError,
    DiskFullError,
    DivergedError,
    FitError,
    Interrupted,
    TsTrainError,
    UnavailableError,
)
from .preference.dpo import prefer
from .recipes import recipe, recipe_names
from .run import create_trainer, resume, train
from .run_folder import Run
from .schemas import PreferenceConfig, PreferenceReport, RunManifest, TrainConfig
from .studies.ablation import ablate
from .studies.ladder import ladder
from .studies.plots import plot
from .studies.search import search
from .trainer import Trainer

__all__ = [
    "ArtefactError",
    "BaseCallback",
    "Callback",
    "ConfigError",
    "DataError",
    "DiskFullError",
    "DivergedError",
    "FitError",
    "Interrupted",
    "PreferenceConfig",
    "PreferenceReport",
    "Run",
    "RunManifest",
    "StepMetrics",
    "StopTraining",
    "TrainConfig",
    "Trainer",
    "TsTrainError",
    "UnavailableError",
    "ValidationMetrics",
    "__version__",
    "ablate",
    "create_trainer",
    "ladder",
    "plot",
    "prefer",
    "recipe",
    "recipe_names",
    "resume",
    "search",
    "train",
]

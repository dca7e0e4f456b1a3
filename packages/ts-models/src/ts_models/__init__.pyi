from . import architectures as architectures
from . import artefact as artefact
from . import console as console
from . import errors as errors
from . import export as export
from . import fast as fast
from . import generation as generation
from . import layers as layers
from . import presets as presets
from . import protocols as protocols
from . import schemas as schemas
from .__about__ import __version__
from .architectures import StoryModel, build
from .errors import (
    ArtefactError,
    ConfigError,
    ContextError,
    MissingExtraError,
    NonFiniteError,
    TokenizerError,
    TsModelsError,
    WeightsError,
)
from .inspection.page import look, neurons
from .inspection.tracing import trace
from .inspection.transformer_lens import to_transformer_lens
from .io.loading import load
from .io.model_folder import push_to_hub, save
from .io.provenance import read_train_stories
from .language_model import LanguageModel
from .presets import preset
from .schemas import GenerationConfig, ModelConfig, RecurrentConfig, TrainingSummary, TransformerConfig
from .scoring import score_ids
from .sizes import count_parameters, flops_per_token, parameters_by_part

__all__ = [
    "ArtefactError",
    "ConfigError",
    "ContextError",
    "GenerationConfig",
    "LanguageModel",
    "MissingExtraError",
    "ModelConfig",
    "NonFiniteError",
    "RecurrentConfig",
    "StoryModel",
    "TokenizerError",
    "TrainingSummary",
    "TransformerConfig",
    "TsModelsError",
    "WeightsError",
    "__version__",
    "build",
    "count_parameters",
    "flops_per_token",
    "load",
    "look",
    "neurons",
    "parameters_by_part",
    "preset",
    "push_to_hub",
    "read_train_stories",
    "save",
    "score_ids",
    "to_transformer_lens",
    "trace",
]

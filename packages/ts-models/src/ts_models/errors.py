"""The exceptions of ts_models.

TsModelsError
├── ArtefactError       a file that this package reads is missing, damaged, of another kind or too new
│   └── WeightsError    a config that does not fit its weights
├── ConfigError         invalid settings (also a ValueError)
├── ContextError        more tokens than the model can take (also a ValueError)
├── NonFiniteError      weights or logits that are NaN or infinite (also an ArithmeticError)
├── TokenizerError      text given to a model that has no tokenizer here
└── MissingExtraError   an optional dependency is not installed (also an ImportError)
"""

from typing import ClassVar


class TsModelsError(Exception):
    """Base of all errors that ts_models raises."""

    is_expected: ClassVar[bool] = True
    """Every command of every package prints such an error as one line (`console.run`)."""


class ArtefactError(TsModelsError):
    """A file is missing, damaged, of another kind, or written by a newer version."""


class WeightsError(ArtefactError):
    """Weights that do not fit their config; the message names the first tensor that differs."""


class ConfigError(TsModelsError, ValueError):
    """Invalid settings; the message names the field."""


class ContextError(TsModelsError, ValueError):
    """More tokens than the model, or a state, can take."""


class NonFiniteError(TsModelsError, ArithmeticError):
    """Weights or logits are NaN or infinite; the message names the tensor, or the step of generation."""


class TokenizerError(TsModelsError):
    """Text was given, but the model has no tokenizer, or none that is installed reads its format."""


class MissingExtraError(TsModelsError, ImportError):
    """An optional dependency is missing; the message names the extra."""

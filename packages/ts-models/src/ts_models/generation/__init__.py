"""Generation of ids: one loop, and the methods of `registry.METHODS`. It works on ids, logits and a state; `LanguageModel` handles text.

`generate` and `stream` return new ids, `generate_ids` hypotheses with scores and reasons,
`generate_steps` all of it step by step.
"""

from ..registry import METHODS
from .loop import Stepper, TorchStepper, generate, generate_ids, generate_steps, make_stepper, stream
from .options import make_config
from .results import Hypothesis, Step

__all__ = [
    "METHODS",
    "Hypothesis",
    "Step",
    "Stepper",
    "TorchStepper",
    "generate",
    "generate_ids",
    "generate_steps",
    "make_config",
    "make_stepper",
    "stream",
]

"""Decoding: one loop, four methods. It sees ids, logits and a state; text belongs to `LanguageModel`.

`METHODS` is the table of methods; `generate` and `stream` give new ids, `decode` hypotheses with scores and reasons,
`decode_steps` all of it step by step.
"""

from __future__ import annotations

from ._generate import generate, stream
from ._loop import METHODS, decode, decode_steps
from ._options import make_config
from ._results import Hypothesis, Step
from ._stepper import Stepper, TorchStepper, make_stepper

__all__ = [
    "METHODS",
    "Hypothesis",
    "Step",
    "Stepper",
    "TorchStepper",
    "decode",
    "decode_steps",
    "generate",
    "make_config",
    "make_stepper",
    "stream",
]

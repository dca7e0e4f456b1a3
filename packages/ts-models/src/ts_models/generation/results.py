"""Results of generation: steps while it runs, hypotheses at the end."""

from dataclasses import dataclass, field
from typing import Literal

Finish = Literal["eos", "length", "context", "stop"]


@dataclass(slots=True)
class Hypothesis:
    """One continuation of one prompt."""

    ids: list[int] = field(default_factory=list)
    """New tokens only; `<eos>` is the last where it was written."""
    logprobs: list[float] = field(default_factory=list)
    """Natural logarithm of the model's own probability of each new token (before temperature and filters), on request."""
    alternatives: list[list[tuple[int, float]]] = field(default_factory=list)
    """The likeliest (id, log-probability) pairs at each new token, on request."""
    score: float = 0.0
    """Beam methods: sum of log-probabilities / length ** length_penalty."""
    finish: Finish = "length"
    """Why it ended: `eos`; `length` (max_new_tokens); `context` (the model's max_seq_len is full); `stop`."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one step of the loop settled: parallel lists over the sequences that grew."""

    sequences: list[int]
    """Index of the sequence: prompt × num_return_sequences + copy."""
    ids: list[int]
    logprobs: list[float]
    """Empty unless asked for."""
    alternatives: list[list[tuple[int, float]]]
    """Empty unless asked for."""

"""Schema of probe.json. Standard library and pydantic only."""

from typing import Literal

from .base import Frozen


class ProbePhenomenon(Frozen):
    """One kind of minimal pairs."""

    name: str
    title: str
    group: str
    pairs: int
    local: bool
    """A trigram sees what decides, so n-gram models may score above chance."""
    good: str
    """An example."""
    bad: str
    adversaries: dict[str, float]
    """Accuracy of models that know no grammar: `length`, and with training stories `unigram` and `trigram`."""


class ProbeScore(Frozen):
    """Share of pairs whose right sentence is likelier, a tie counted as half, with its 95 % interval (Wilson 1927)."""

    accuracy: float
    low: float
    high: float
    ties: int
    """Pairs of equal likelihood, such as pairs with equal ids."""


class ProbeModel(Frozen):
    """Accuracies of one model, or of one checkpoint of a run."""

    name: str
    parameters: int | None = None
    step: int | None = None
    """Optimizer step of a checkpoint; None for a model."""
    tokens: int | None = None
    """Training tokens seen by a checkpoint."""
    accuracy: float
    """Mean over the phenomena."""
    groups: dict[str, float]
    """Group → mean over its phenomena."""
    scores: dict[str, ProbeScore]
    """By phenomenon."""


class ProbeReport(Frozen):
    """What `ts-eval probe` finds."""

    format: Literal["ts-eval/probe"] = "ts-eval/probe"
    schema_version: int = 1
    seed: int
    train_stories: int | None = None
    """Training stories of the n-gram adversaries; None without."""
    phenomena: tuple[ProbePhenomenon, ...]
    models: tuple[ProbeModel, ...]
    acquisition: tuple[ProbeModel, ...] = ()
    """Checkpoints of a run, oldest first."""
    notes: tuple[str, ...] = ()

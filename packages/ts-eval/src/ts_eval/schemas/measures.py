"""Schemas of extraction.json, instruct.json, probe.json and of the manifest of an index. Standard library and pydantic only."""

from typing import Literal

from pydantic import Field

from .base import Frozen
from .report import Estimate

# --- extraction -----------------------------------------------------------------------------------


class ExtractionPoint(Frozen):
    """The share of one group of stories that a model continues verbatim, with its 95 % interval (Wilson 1927)."""

    group: Literal["train", "canaries", "held-out", "controls"]
    times: int
    """Copies in the training split; 0 for held-out stories and controls."""
    prompt_words: int
    stories: int
    extracted: int
    share: float
    low: float
    high: float


class ExtractionModel(Frozen):
    """The curve of one model."""

    name: str
    parameters: int | None = None
    points: tuple[ExtractionPoint, ...]
    notes: tuple[str, ...] = ()


class ExtractionReport(Frozen):
    """What `ts-eval extraction` finds."""

    format: Literal["ts-eval/extraction"] = "ts-eval/extraction"
    schema_version: int = 1
    seed: int
    words: int
    """Words that the continuation must share with the story."""
    fingerprint: str
    """Of the splits."""
    models: tuple[ExtractionModel, ...]
    notes: tuple[str, ...] = ()


# --- words and features that prompts ask for ------------------------------------------------------


class AskedWords(Frozen):
    """How stories use the words asked for; each estimate is a mean over stories."""

    exact: Estimate
    """Share of the words that a story has as they are asked for, in any case."""
    inflected: Estimate
    """Share in any form: plural, third person, past tense, regular forms in -ed and -ing."""
    every: Estimate
    """Share of stories that have every word, in any form."""


class InstructModel(Frozen):
    """One model, or the real stories."""

    name: str
    parameters: int | None = None
    asks: bool
    """Trained on prompts. Another model writes freely, which shows what chance gives."""
    words: dict[str, AskedWords]
    """`held-out`: combinations of words that train never asks for together; `other`; `required`: held-out ones with `require`."""
    rating: dict[str, Estimate]
    """Mean of the feature judge's estimated ratings: `free` of the stories of held-out combinations, `required`."""
    shown: dict[str, Estimate]
    """Feature → share of stories that show it when it is asked for; empty without prompts."""
    unasked: dict[str, Estimate]
    """Feature → share of stories that show it though only words are asked for."""
    bits_per_byte: dict[str, Estimate]
    """Of the split's stories: `prompt` behind their prompts, `alone` without; the lower the better. Empty for real stories."""
    notes: tuple[str, ...] = ()


class InstructReport(Frozen):
    """What `ts-eval instruct` finds."""

    format: Literal["ts-eval/instruct"] = "ts-eval/instruct"
    schema_version: int = 1
    seed: int
    fingerprint: str
    """Of the prompts' splits/ folder."""
    decoding: dict[str, object]
    models: tuple[InstructModel, ...]
    notes: tuple[str, ...] = ()


# --- minimal pairs --------------------------------------------------------------------------------


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


# --- the index of the training stories ------------------------------------------------------------


class IndexManifest(Frozen):
    """index.json beside the arrays of a StoryIndex."""

    format: Literal["ts-eval/index"] = "ts-eval/index"
    schema_version: int = 1
    tokenisation: int
    """Version of the splitting into words and stems; an index of another version is rebuilt."""
    corpus: str
    """SHA-256 of the stories, or the fingerprint of the split that they came from."""
    stories: int = Field(ge=1)
    words: int = Field(ge=0)
    """Length of the stream of the word ids, `second` included."""
    second: int = Field(ge=0)
    """Words at the end of the stream: the stories that rouge-score splits differently from scikit-learn."""
    vocabulary: int = Field(ge=0)
    id_type: Literal["uint16", "uint32"]
    names: tuple[str, ...]
    """Names, recognised by their capitalisation within sentences."""
    files: dict[str, str]
    """File name → SHA-256."""

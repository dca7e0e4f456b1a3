"""Schema of instruct.json. Standard library and pydantic only."""

from typing import Literal

from .base import Frozen
from .report import Estimate

__all__ = ["AskedWords", "InstructModel", "InstructReport"]


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

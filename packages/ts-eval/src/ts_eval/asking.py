"""`instruct`: whether models give what the prompts of `ts-data instruct` ask for, beside a model that is not asked and the real stories."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ts_data.artefact import write_model

from .checks import Progress, StrPath, need_count, need_path
from .errors import ConfigError
from .models import ModelAdapter, open_models, several
from .models.language_model import UNASKED, LanguageModelAdapter
from .places import check_output, writing
from .schemas import RATINGS, AskedWords, InstructModel, InstructReport
from .splits import Splits, check_provenance
from .stats import estimate, ratio

if TYPE_CHECKING:
    from ts_data import Instruction
    from ts_models import LanguageModel

DECODING = {"method": "sample", "temperature": 0.7, "max_new_tokens": 300}
FREE = "Once upon a time"
"""How a model that knows no prompts begins."""
_WORD = re.compile(r"[a-z]+(?:['-][a-z]+)*")


def instruct(
    models: Any,
    data: StrPath,
    *,
    stories: int = 150,
    required: int = 50,
    reference: StrPath | None = None,
    seed: int = 1,
    names: Sequence[str] | None = None,
    allow_overlap: bool = False,
    out: StrPath | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> InstructReport:
    """Ask models for the words and features of held-out prompts, and measure what their stories give.

    Args:
        models: models, folders or names that `ts_models.load` takes, or one. One that was trained without prompts writes freely.
        data: splits/ as `ts_data.instruct` writes it; the prompts of its test split are used.
        stories: stories of held-out combinations of words, of others, and of the test split for the loss; a quarter for each feature.
        required: stories in which the words are guaranteed (`require` of `generate`); 0 leaves them out.
        reference: splits/ or a file of plain stories that the feature judge compares with.
        names: names of the models, in order; by default those of their folders.
        out: file to write the report to, as JSON.
        options: fields of `ts_models.GenerationConfig` over those of DECODING.

    Raises:
        ConfigError: the test split has no held-out prompts, a model was trained on its stories (without `allow_overlap`), or is none of
            ts-models.
    """
    import ts_data

    from .judge.backends.features import feature_judge

    need_count(stories, "stories")
    if out is not None:
        check_output(need_path(out, "out"), "ts-eval/instruct", [*several(models), data])
    prompts = _Prompts(tuple(ts_data.instructions(data, "test")), stories, required)
    if not prompts.held_out:
        raise ConfigError(f"{data}: its test split asks for no held-out combination of words. Make prompts of more stories.")
    splits = Splits(need_path(data, "data"), ts_data.open_manifest(data).fingerprint, (), [row.story for row in prompts.rows])
    adapters = [_asked(adapter) for adapter in open_models(models, names)]
    found = check_provenance(adapters, splits, splits.test, allow_overlap=allow_overlap)
    rate, decoding = feature_judge(reference).mean, DECODING | options
    with writing(out):
        measured = []
        for number, adapter in enumerate(adapters):
            if progress is not None:
                progress("instruct", number, len(adapters))
            measured.append(_measured(adapter, prompts, decoding | {"seed": seed}, rate))
        report = InstructReport(
            seed=seed,
            fingerprint=splits.fingerprint,
            decoding=decoding,
            models=(*measured, _real(prompts, rate)),
            notes=found.warnings,
        )
        if out is not None:
            write_model(out, report)
    return report


@dataclass(frozen=True)
class _Prompts:
    """The prompts of a split, and how many of them to use."""

    rows: tuple[Instruction, ...]
    stories: int
    required: int

    @cached_property
    def held_out(self) -> tuple[Instruction, ...]:
        return tuple(row for row in self.rows if row.held_out)[: self.stories]

    @cached_property
    def other(self) -> tuple[Instruction, ...]:
        return tuple(row for row in self.rows if row.words and not row.held_out)[: self.stories]

    @cached_property
    def scored(self) -> tuple[Instruction, ...]:
        """Prompts spread over the split."""
        return self.rows[:: max(1, len(self.rows) // self.stories)][: self.stories]


def _asked(adapter: ModelAdapter) -> LanguageModelAdapter:
    if not isinstance(adapter, LanguageModelAdapter):
        raise ConfigError(
            f"{adapter.name}: only models of ts-models can be asked for words. Name a model folder, a Hub id, or `demo`."
        )
    return adapter


def _measured(
    adapter: LanguageModelAdapter, prompts: _Prompts, decoding: dict[str, Any], rate: Callable[[str], float]
) -> InstructModel:
    lm = adapter.lm
    known, held_out, other = _known(lm), prompts.held_out, prompts.other
    stories = _written(lm, [row.words for row in (*held_out, *other)], decoding)
    free = stories[: len(held_out)]
    words = {"held-out": words_used(free, held_out), "other": words_used(stories[len(held_out) :], other)}
    rating = {"free": _rating(free, rate)}
    forced, rows, refused = _required(lm, held_out[: prompts.required], decoding)
    if rows:
        words["required"], rating["required"] = words_used(forced, rows), _rating(forced, rate)
    count, shown = max(1, prompts.stories // 4), {}
    for feature in known.features if known is not None else ():
        shown[feature] = _share(feature, lm.generate([""] * count, features=[feature], **decoding))
    notes = [
        *(note for note in adapter.notes if note != UNASKED),
        *([f"{len(refused)} stories without guaranteed words: {refused[0]}"] if refused else []),
    ]
    return InstructModel(
        name=adapter.name, parameters=adapter.parameters, asks=known is not None, words=words, rating=rating, shown=shown,
        unasked=_unasked(free), bits_per_byte=_bits_per_byte(adapter, prompts.scored), notes=tuple(dict.fromkeys(notes)),
    )  # fmt: skip


def _known(lm: LanguageModel) -> Any:
    """How the prompts are spelled that a model was trained on; None: on none."""
    return None if lm.training is None else lm.training.prompts


def _written(lm: LanguageModel, asked: Sequence[Sequence[str]], decoding: dict[str, Any]) -> list[str]:
    """One story for each group of words, whole."""
    if _known(lm) is None:
        return lm.generate([FREE] * len(asked), **decoding)
    return [story.strip() for story in lm.generate([lm.ask(words) for words in asked], return_full_text=False, **decoding)]


def _required(
    lm: LanguageModel, rows: Sequence[Instruction], decoding: dict[str, Any]
) -> tuple[list[str], list[Instruction], list[str]]:
    """Stories that hold the words of some prompts, in any form; their prompts; why others have none, such as a small vocabulary."""
    from ts_models.errors import ConfigError as Refusal

    asks = _known(lm) is not None
    made, kept, refused = [], [], []
    for row in rows:
        ask: dict[str, Any] = {"words": row.words} if asks else {}
        try:
            made += lm.generate(["" if asks else FREE], require=row.words, inflections=True, **ask, **decoding)
        except Refusal as problem:
            refused.append(str(problem))
        else:
            kept.append(row)
    return made, kept, refused


def words_used(stories: Sequence[str], rows: Sequence[Instruction]) -> AskedWords:
    """How stories use the words that prompts ask for."""
    from ts_data.instruct.parts import forms_of
    from ts_models.generation.require import inflections

    exact, inflected = [], []
    for story, row in zip(stories, rows, strict=True):
        found = set(_WORD.findall(story.lower()))
        exact.append(float(np.mean([word in found for word in row.words])))
        inflected.append(
            float(np.mean([not found.isdisjoint({*forms_of(word), word, *inflections(word)}) for word in row.words]))
        )
    every = [float(x == 1) for x in inflected]
    return AskedWords(
        exact=estimate(exact, share=True), inflected=estimate(inflected, share=True), every=estimate(every, share=True)
    )


def _rating(stories: Iterable[str], rate: Callable[[str], float]) -> Any:
    return estimate([rate(story) for story in stories], bounds=RATINGS)


def _share(feature: str, stories: Iterable[str]) -> Any:
    from ts_data.instruct.parts import features_of, sentences_of

    return estimate([float(feature in features_of(sentences_of(story.strip()))) for story in stories], share=True)


def _unasked(stories: Sequence[str]) -> dict[str, Any]:
    from ts_data.instruct.parts import FEATURES

    return {feature: _share(feature, stories) for feature in FEATURES}


def _bits_per_byte(adapter: LanguageModelAdapter, rows: Sequence[Instruction]) -> dict[str, Any]:
    """Bits of the stories per byte, without their prompts and, for a model that knows prompts, behind them."""
    from ts_models import score_ids

    texts = [row.story for row in rows]
    alone = adapter.score(texts)
    if alone.bits is None:
        return {}
    size = [float(len(text.encode())) for text in texts]
    nats = {"alone": [float(p.sum()) for p in alone.logprobs]}
    lm = adapter.lm
    if _known(lm) is not None:
        before = [lm.encode_prompt(row.prompt) for row in rows]
        scored = score_ids(lm.model, [[*ask, *lm.encode_story(text)[1:]] for ask, text in zip(before, texts, strict=True)])
        nats["prompt"] = [float(p[len(ask) - 1 :].sum()) for p, ask in zip(scored, before, strict=True)]
    extra = alone.bits.sum(1)
    return {name: ratio((-np.array(v) / np.log(2) + extra).tolist(), size, bounds=(0.0, math.inf)) for name, v in nats.items()}


def _real(prompts: _Prompts, rate: Callable[[str], float]) -> InstructModel:
    """The stories from which the prompts were made."""
    held_out, other = ([row.story for row in rows] for rows in (prompts.held_out, prompts.other))
    return InstructModel(
        name="real stories", asks=True, rating={"free": _rating(held_out, rate)}, shown={},
        words={"held-out": words_used(held_out, prompts.held_out), "other": words_used(other, prompts.other)},
        unasked=_unasked(held_out), bits_per_byte={},
    )  # fmt: skip

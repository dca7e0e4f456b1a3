"""`extraction`: the share of training stories that a model continues verbatim (Carlini et al. 2023, arXiv:2202.07646).

A story counts as extracted if greedy decoding after its first words gives its next words: the same words, whatever their case and
punctuation, which a word-level tokenizer restores by rules. Held-out stories and controls show what chance gives.
"""

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ts_data.artefact import write_model, write_text

from ..checks import Progress, StrPath, need_count, need_list, need_path
from ..errors import ConfigError
from ..models import ModelAdapter, open_models, several
from ..models.checked import generate
from ..places import check_pages, writing
from ..schemas import ExtractionModel, ExtractionPoint, ExtractionReport
from ..splits import Splits, open_splits
from ..stats import wilson
from ..texts import words_of

LENGTHS = (4, 8, 16, 32)
"""Words of a story given as prompt."""
_TOKENS_PER_WORD = 2.0
"""Upper estimate, punctuation included."""
_BLANK = re.compile(r"\S+\s*")
Kind = Literal["train", "canaries", "held-out", "controls"]


@dataclass(frozen=True)
class _Group:
    """Stories with the same number of copies in the training split."""

    kind: Kind
    times: int
    stories: Sequence[str]


def extraction(
    models: Any,
    splits: StrPath,
    *,
    lengths: Sequence[int] = LENGTHS,
    words: int = 30,
    stories: int = 200,
    seed: int = 1,
    names: Sequence[str] | None = None,
    out: StrPath | None = None,
    progress: Progress | None = None,
) -> ExtractionReport:
    """The share of stories that each model continues verbatim, by prompt length and by number of copies in the training split.

    models: what `open_model` takes, or a list of them. lengths: words of a story given as prompt. words: words that must follow verbatim.
    stories: largest number per group. Canaries of the splits (`ts-data prepare --canaries`) are groups of their own. names: names of the
    models, in order. out: folder of extraction.json and extraction.html. Raises ConfigError for a model that cannot generate.
    """
    need_count(words, "words")
    need_count(stories, "stories")
    chosen = sorted({need_count(length, "lengths") for length in need_list(lengths, "lengths", "number")})
    if not chosen:
        raise ConfigError("lengths: name at least one prompt length in words.")
    if out is not None:
        check_pages(need_path(out, "out"), "extraction", [*several(models), splits])
    opened = open_splits(splits)
    groups = _groups(opened, chosen[-1], words, stories, seed)
    if not any(group.stories for group in groups):
        raise ConfigError(
            f"{splits}: no story has {chosen[-1] + words} words for the longest prompt and its continuation. Choose smaller lengths or words."
        )
    with writing(None if out is None else Path(out) / "extraction.json"):
        report = ExtractionReport(
            seed=seed,
            words=words,
            fingerprint=opened.fingerprint,
            models=tuple(_measured(adapter, groups, chosen, words, progress) for adapter in open_models(models, names)),
            notes=()
            if any(g.kind == "canaries" for g in groups)
            else ("the splits have no canaries: `ts-data prepare --canaries` plants them",),
        )
        if out is not None:
            from .page import page

            write_model(Path(out) / "extraction.json", report)
            write_text(Path(out) / "extraction.html", page(report))
    return report


def _groups(splits: Splits, length: int, words: int, most: int, seed: int) -> list[_Group]:
    """Draws of training stories by copies, of held-out stories, and the canaries with their controls; only with `words` words after the longest prompt."""
    from ts_data import read_canaries, story_hashes

    canaries = read_canaries(splits.path)
    hashes = story_hashes(splits.train)
    different, first, copies = np.unique(hashes, return_index=True, return_counts=True)
    planted = set(story_hashes([canary.text for canary in canaries]).tolist()) if canaries else set()
    own = np.array([h not in planted for h in different.tolist()], bool)
    draw = random.Random(f"{seed} extraction")

    def drawn(texts: Sequence[str], numbers: Sequence[int]) -> list[str]:
        order = list(numbers)
        draw.shuffle(order)
        found: list[str] = []
        for number in order:
            if len(found) == most:
                break
            if len(words_of(_cut(texts[number], length)[1])) >= words:
                found.append(texts[number])
        return found

    groups = [_Group("train", int(n), drawn(splits.train, first[own & (copies == n)].tolist())) for n in np.unique(copies[own])]
    groups.append(_Group("held-out", 0, drawn(splits.test, range(len(splits.test)))))
    for times in sorted({canary.times for canary in canaries}):
        some = [canary.text for canary in canaries if canary.times == times]
        groups.append(_Group("canaries" if times else "controls", times, drawn(some, range(len(some)))))
    return [group for group in groups if group.stories]


def _measured(
    adapter: ModelAdapter, groups: Sequence[_Group], lengths: Sequence[int], words: int, progress: Progress | None
) -> ExtractionModel:
    points, total = [], len(lengths) * sum(len(group.stories) for group in groups)
    done = 0
    for group in groups:
        for length in lengths:
            if progress is not None:
                progress(f"{adapter.name}: extraction", done, total)
            found = _continued(adapter, [_cut(text, length) for text in group.stories], words)
            done += len(found)
            share = wilson(sum(found), len(found))
            points.append(
                ExtractionPoint(
                    group=group.kind, times=group.times, prompt_words=length, stories=len(found), extracted=sum(found), **share
                )
            )
    if progress is not None:
        progress(f"{adapter.name}: extraction", total, total)
    notes = dict.fromkeys([*adapter.notes, *_unwritable(adapter, groups, lengths[-1], words)])
    return ExtractionModel(name=adapter.name, parameters=adapter.parameters, points=tuple(points), notes=tuple(notes))


def _unwritable(adapter: ModelAdapter, groups: Sequence[_Group], length: int, words: int) -> Iterator[str]:
    """A note on each group with stories that cannot be extracted, since the vocabulary lacks a word of the continuation."""
    encoder: Any = adapter.encoder
    for group in groups if adapter.whole_words else ():
        needed = ["".join(_BLANK.findall(text)[length : length + words]) for text in group.stories]
        if missing := int((np.asarray(encoder.extra_bits(needed))[:, 0] > 0).sum()):
            copies = f", {group.times} copies" if group.times else ""
            yield (
                f"{missing} of {len(needed)} stories ({group.kind}{copies}) cannot be extracted: the vocabulary lacks one of the "
                f"{words} words after a prompt of {length}"
            )


def _continued(adapter: ModelAdapter, stories: Sequence[tuple[str, str]], words: int) -> list[bool]:
    """Whether the greedy continuation of each beginning begins with the `words` words of the true ending."""
    options: Mapping[str, Any] = {"method": "greedy", "max_new_tokens": int(words * _TOKENS_PER_WORD)}
    made = generate(adapter, [beginning.rstrip() for beginning, _ in stories], seed=0, **options)
    if made is None:
        raise ConfigError(f"{adapter.name}: cannot generate, so nothing can be extracted.")
    return [words_of(text)[:words] == words_of(ending)[:words] for text, (_, ending) in zip(made, stories, strict=True)]


def _cut(text: str, length: int) -> tuple[str, str]:
    """The first `length` blank-separated words, and what follows them."""
    pieces = _BLANK.findall(text)
    return "".join(pieces[:length]), "".join(pieces[length:])

"""What looks wrong with sources, as warnings with numbers: separators inside stories, stories far too long, known test stories."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from ..cleaning.cleaner import KEPT
from ..dedup.exact import members
from ..schemas import PrepareConfig
from .tasks import TRAIN, VALIDATION

if TYPE_CHECKING:
    from .writer import Line

__all__ = ["warnings_of"]

TIMES = 10
"""Times the median length from which a story counts as many times longer than the rest."""

FEW = 5
"""Stories under which a median says nothing."""


def warnings_of(line: Line) -> tuple[str, ...]:
    """The warnings about the sources of a run, in the order of the sources."""
    found: list[str] = []
    for number, item in enumerate(line.inputs):
        if skipped := line.skipped(number):
            unit = "entries" if item.unit == "entry" else "lines or rows"
            found.append(f"{item.name}: {skipped:,} {unit} could not be read and were left out.")
        if item.role != "against":
            found += _separators(line, number)
            found += _long_story(line, number)
    return (*_idle_settings(line), *found, *_known_tests(line))


def _idle_settings(line: Line) -> list[str]:
    """Settings that do nothing."""
    config, test_given = line.config, any(item.role == "test" for item in line.inputs)
    found = []
    if config.leakage == "drop" and not test_given:
        found.append("leakage=drop does nothing: no test file is given. Name one: --test")
    if config.test is not None and test_given:
        found.append("test=… does nothing: the test split is the given test file.")
    if "short" not in config.steps and config.min_characters != PrepareConfig().min_characters:
        found.append('min_characters=… does nothing: the step "short" is left out.')
    return found


def _separators(line: Line, number: int) -> list[str]:
    counts: Counter[str] = Counter()
    for block, count in zip(line.blocks, line.counts, strict=True):
        if block.input == line.inputs[number]:
            counts.update(count["separators"])
    stories = line.input_firsts[number + 1] - line.input_firsts[number]
    name = line.inputs[number].name
    return [
        f"{name}: {held:,} of {stories:,} stories hold {mark!r} inside, which may be a separator. If stories end there, put the "
        f"separator in its place, or name it: --set separator=…"
        for mark, held in counts.most_common(3)
    ]


def _long_story(line: Line, number: int) -> list[str]:
    first, end = line.input_firsts[number : number + 2]
    words = line.meta["words"][first:end]
    filled = words[words > 0]
    if len(filled) < FEW:
        return []
    median = float(np.median(filled))
    long = int((words > TIMES * median).sum())
    if not long:
        return []
    longest = int(words.argmax())
    rest = f" {long:,} stories are more than {TIMES} times as long as it." if long > 1 else ""
    what = f"{int(words[longest]):,} words, {words[longest] / median:.0f} times the median of {median:.0f}"
    return [f"{line.inputs[number].name}: story {longest:,} has {what}; is a separator missing in it?{rest}"]


def _known_tests(line: Line) -> list[str]:
    """Stories of a given test file that also stand in train or validation."""
    assert line.assignment is not None
    first, end = line.train_rows, line.test_end
    if first == end:
        return []
    kept = np.flatnonzero(np.isin(line.assignment.to[:first], (TRAIN, VALIDATION)) & (line.assignment.reason[:first] == KEPT))
    known = int((members(line.hashes[first:end], line.hashes[kept]) >= 0).sum())
    if not known:
        return []
    names = ", ".join(item.name for item in line.inputs if item.role == "test")
    known_of = f"{known:,} of its {end - first:,} test stories also stand in train or validation"
    return [f"{names}: {known_of}. Take them out there: --set leakage=drop"]

"""Warnings about sources, with numbers: separators inside stories, stories that are far too long, test stories in train."""

from collections import Counter

import numpy as np

from ..cleaning.cleaner import KEPT
from ..dedup.exact import members
from ..schemas import PrepareConfig
from .cleaned import CleanedStories
from .splits import TRAIN, VALIDATION, Assignment

TIMES = 10
"""Times the median length from which a story counts as many times longer than the rest."""

FEW = 5
"""Stories under which a median says nothing."""


def warnings_of(stories: CleanedStories, assignment: Assignment) -> tuple[str, ...]:
    """The warnings of a run: about its settings, then about each source in order, then about test stories in train."""
    found: list[str] = []
    for number, item in enumerate(stories.inputs):
        if skipped := stories.skipped(number):
            unit = "entries" if item.unit == "entry" else "lines or rows"
            found.append(f"{item.name}: {skipped:,} {unit} could not be read and were left out.")
        if item.role != "against":
            found += _separators(stories, number)
            found += _long_story(stories, number)
    return (*_idle_settings(stories), *found, *_known_tests(stories, assignment))


def _idle_settings(stories: CleanedStories) -> list[str]:
    """Settings that do nothing."""
    config, test_given = stories.config, any(item.role == "test" for item in stories.inputs)
    found = []
    if config.leakage == "drop" and not test_given:
        found.append("leakage=drop does nothing: no test file is given. Name one: --test")
    if config.test is not None and test_given:
        found.append("test=… does nothing: the test split is the given test file.")
    if "short" not in config.steps and config.min_characters != PrepareConfig().min_characters:
        found.append('min_characters=… does nothing: the step "short" is left out.')
    return found


def _separators(stories: CleanedStories, number: int) -> list[str]:
    counts: Counter[str] = Counter()
    for count in stories.input_counts[number]:
        counts.update(count.separators)
    total = stories.input_starts[number + 1] - stories.input_starts[number]
    name = stories.inputs[number].name
    return [
        f"{name}: {held:,} of {total:,} stories hold {mark!r} inside, which may be a separator. If stories end there, put the "
        f"separator in its place, or name it: --set separator=…"
        for mark, held in counts.most_common(3)
    ]


def _long_story(stories: CleanedStories, number: int) -> list[str]:
    first, end = stories.input_starts[number : number + 2]
    words = stories.columns["words"][first:end]
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
    return [f"{stories.inputs[number].name}: story {longest:,} has {what}; is a separator missing in it?{rest}"]


def _known_tests(stories: CleanedStories, assignment: Assignment) -> list[str]:
    """Stories of a given test file that are also in train or validation."""
    first, end = stories.train_rows, stories.test_end
    if first == end:
        return []
    kept = np.flatnonzero(np.isin(assignment.to[:first], (TRAIN, VALIDATION)) & (assignment.reason[:first] == KEPT))
    known = int((members(stories.hashes[first:end], stories.hashes[kept]) >= 0).sum())
    if not known:
        return []
    names = ", ".join(item.name for item in stories.inputs if item.role == "test")
    known_of = f"{known:,} of its {end - first:,} test stories are also in train or validation"
    return [f"{names}: {known_of}. Remove them there: --set leakage=drop"]

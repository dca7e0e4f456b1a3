"""Reads single stories: the removed ones, and those that a step changed in a raw source."""

import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from difflib import SequenceMatcher
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..arrow import whole_batches
from ..cleaning.cleaner import Cleaned, run_steps, steps_of
from ..cleaning.rules import RULES
from ..dataset import REMOVED, Split, open_manifest, read
from ..errors import ArtefactError, ConfigError, SourceError
from ..schemas import PrepareConfig, SourceInfo
from ..sources import blocks as _sources
from ..sources import is_stream, kind_of_prefix
from ..sources.staging import stage
from ..sources.storage import is_uri, state

BOLD, OFF = ("\x1b[1;31m", "\x1b[1;32m"), "\x1b[0m"


@dataclass(frozen=True)
class Removed:
    """One row of removed.parquet."""

    source: str
    story: int
    reason: str
    twin_source: str | None
    twin: int | None
    similarity: float | None
    text: str


def removed(splits: str | os.PathLike[str], reason: str | None = None) -> Iterator[Removed]:
    """The removed stories in source order; of one reason only, if given."""
    manifest = open_manifest(splits)
    if reason is not None and reason not in manifest.removed:
        raise ArtefactError(f"{splits}: nothing was removed for {reason!r}; there are: {', '.join(manifest.removed) or 'none'}.")
    path = Split(splits, REMOVED, (manifest.ledger,)).paths[0]
    try:
        file = pq.ParquetFile(path.absolute())
        for batch in whole_batches(file, 1_024, range(file.num_row_groups)):
            for row in batch.to_pylist():
                if reason is None or row["reason"] == reason:
                    yield Removed(**row)
    except (pa.ArrowException, OSError, TypeError, ValueError) as problem:
        raise ArtefactError(f"{path}: damaged: {problem}. Run `ts-data prepare` again.") from None


def changes(
    source: str | os.PathLike[str], config: PrepareConfig | None = None, *, step: str | None = None
) -> Iterator[tuple[int, Cleaned]]:
    """Clean a raw file story by story: (position, result) of each that a step (or the named step) changed or dropped."""
    config = config or PrepareConfig()
    name = os.fspath(source)
    _check_is_file(name)
    with TemporaryDirectory() as work:  # for what has to be unpacked
        yield from _changes(stage(name, "train", lambda suffix: Path(work) / f"input{suffix}", config), config, step)


def _check_is_file(name: str) -> None:
    if is_stream(name) or kind_of_prefix(name):
        raise SourceError(f"{name}: changes are shown for files, not for what came through a pipe or from the Hub.")


def _changes(item: _sources.Input, config: PrepareConfig, step: str | None) -> Iterator[tuple[int, Cleaned]]:
    bad: _sources.Bad = _sources.stop if config.bad_lines == "stop" else lambda _: None
    batches = chain.from_iterable(_sources.read_block(block, config, bad) for block in _sources.plan(item, config))
    stories = chain.from_iterable(zip(*batch.to_pydict().values(), strict=True) for batch in batches)
    steps = steps_of(config)
    for position, (text, is_cut) in enumerate(stories):
        result = run_steps(text, steps, is_cut=is_cut)
        if (result.changes or result.dropped) if step is None else step in {*(c.step for c in result.changes), result.dropped}:
            yield position, result


def highlight(before: str, after: str, *, color: bool = False, around: int = 40) -> str:
    """Before and after in one text: removed parts as `[-…-]`, added ones as `{+…+}` (or in red and green), the rest shortened."""
    old, new = _words(before), _words(after)
    pieces = []
    operations = SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    for number, (kind, a, b, c, d) in enumerate(operations):
        if kind == "equal":
            pieces.append(_shortened(visible("".join(old[a:b])), around, first=number == 0, last=number == len(operations) - 1))
            continue
        if b > a:
            pieces.append(_marked("".join(old[a:b]), BOLD[0], ("[-", "-]"), color))
        if d > c:
            pieces.append(_marked("".join(new[c:d]), BOLD[1], ("{+", "+}"), color))
    return "".join(pieces)


def _words(text: str) -> list[str]:
    return re.findall(r"\s+|\w+|[^\w\s]", text)


def _marked(text: str, style: str, marks: tuple[str, str], color: bool) -> str:
    shown = visible(text).replace("\n", "\\n")
    return f"{style}{shown}{OFF}" if color else f"{marks[0]}{shown}{marks[1]}"


def visible(text: str) -> str:
    """The text with escapes for characters that a terminal does not show or would obey; line breaks stay."""
    if text.replace("\n", "").isprintable():
        return text
    return "".join(c if c == "\n" or c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _shortened(text: str, around: int, *, first: bool, last: bool) -> str:
    if len(text) <= 2 * around + 3:
        return text
    return f"{'' if first else text[:around]}…{'' if last else text[-around:]}"


# --- output of `ts-data show` -------------------------------------------------------------------

Page = Iterator[tuple[dict[str, Any], str]]
"""A JSON object and a text for each story."""


def page_of_split(splits: Path, split: str, start: int, n: int) -> Page:
    """Stories of a split."""
    for row, text in enumerate(read(splits, split)[start : start + n], start):
        yield {"split": split, "row": row, "text": text}, f"[{split} {row:,}]\n{visible(text)}"


def page_of_removed(splits: Path, reason: str | None, start: int, n: int) -> Page:
    """Removed stories with their place, reason and the duplicate that stayed."""
    for item in islice(removed(splits, reason), start, start + n):
        duplicate = ""
        if item.twin is not None:
            duplicate = f" of story {item.twin:,} of {item.twin_source}, similarity {item.similarity:.3f}"
        yield asdict(item), f"[{item.source}, story {item.story:,}: {item.reason}{duplicate}]\n{visible(item.text)}"


def page_of_changes(splits: Path, step: str, start: int, n: int, *, color: bool) -> Page:
    """Stories of the raw sources that a step changed, highlighted; each step apart, in its order."""
    if step != "any" and step not in RULES:
        raise ConfigError(f"--changed {step!r}: unknown step; there are: any, {', '.join(RULES)}.")
    manifest = open_manifest(splits)
    wanted = None if step == "any" else step
    found = (
        (source.name, position, result)
        for source in manifest.sources
        if source.role == "train"
        for position, result in _raw_changes(source, manifest.config, wanted)
    )
    for name, position, result in islice(found, start, start + n):
        lines = [f"[{name}, story {position:,}]"]
        changes = [change for change in result.changes if wanted in (None, change.step)]
        lines += [f"{change.step}: {highlight(change.before, change.after, color=color)}" for change in changes]
        if result.dropped:
            lines.append(f"dropped by {result.dropped}: {visible(result.text)}")
        yield {"source": name, "story": position, **asdict(result)}, "\n".join(lines)


def _raw_changes(source: SourceInfo, config: PrepareConfig, step: str | None) -> Iterator[tuple[int, Any]]:
    name = source.name
    _check_is_file(name)
    if not is_uri(name) and not Path(name).exists():
        raise SourceError(
            f"{name}: the raw source, which changes need, is not there. Go to the folder where `prepare` ran, or put it back."
        )
    if state(name).size != source.bytes:
        raise SourceError(
            f"{name}: has {state(name).size:,} bytes, {source.bytes:,} when `prepare` read it; it was changed. Prepare it again."
        )
    return changes(name, config, step=step)

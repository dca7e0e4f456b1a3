"""Output of `ts-data show`: a JSON object and a text for each story."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from ..cleaning.rules import RULES
from ..dataset import open_manifest, read
from ..errors import ConfigError, SourceError
from ..schemas import PrepareConfig, SourceInfo
from ..sources.storage import state
from . import show as _show

Shown = Iterator[tuple[dict[str, Any], str]]


def stories(splits: Path, split: str, start: int, n: int) -> Shown:
    """Stories of a split."""
    for row, text in enumerate(read(splits, split)[start : start + n], start):
        yield {"split": split, "row": row, "text": text}, f"[{split} {row:,}]\n{_show.visible(text)}"


def removed(splits: Path, reason: str | None, start: int, n: int) -> Shown:
    """Removed stories with their place, reason and the duplicate that stayed."""
    for item in islice(_show.removed(splits, reason), start, start + n):
        duplicate = ""
        if item.twin is not None:
            duplicate = f" of story {item.twin:,} of {item.twin_source}, similarity {item.similarity:.3f}"
        yield asdict(item), f"[{item.source}, story {item.story:,}: {item.reason}{duplicate}]\n{_show.visible(item.text)}"


def changed(splits: Path, step: str, start: int, n: int, *, color: bool) -> Shown:
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
        lines += [f"{change.step}: {_show.highlight(change.before, change.after, color=color)}" for change in changes]
        if result.dropped:
            lines.append(f"dropped by {result.dropped}: {_show.visible(result.text)}")
        yield {"source": name, "story": position, **asdict(result)}, "\n".join(lines)


def _raw_changes(source: SourceInfo, config: PrepareConfig, step: str | None) -> Iterator[tuple[int, Any]]:
    name = source.name
    if not Path(name).exists():
        raise SourceError(
            f"{name}: the raw source, which changes need, is not there. Go to the folder where `prepare` ran, or put it back."
        )
    if state(name).size != source.bytes:
        raise SourceError(
            f"{name}: has {state(name).size:,} bytes, {source.bytes:,} when `prepare` read it; it was changed. Prepare it again."
        )
    return _show.changes(name, config, step=step)

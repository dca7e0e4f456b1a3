"""Text summaries of a manifest for the terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ..schemas import CANARY_TIMES, DatasetManifest, LengthStats, StepExample

Table = Callable[[Sequence[Sequence[object]], Sequence[str]], str]


def prepared(manifest: DatasetManifest, out: str | Path, table: Table) -> str:
    """What `prepare` did: stories in, changed and dropped per step, one example each, and the splits."""
    rows: list[list[object]] = [[r.step, f"{r.changed:,}", f"{r.dropped:,}", _example(r.examples)] for r in manifest.steps]
    names = {report.step for report in manifest.steps}
    rows += [[reason, "0", f"{count:,}", ""] for reason, count in manifest.removed.items() if reason not in names]
    head = f"{manifest.stories_in:,} stories in, {manifest.kept:,} kept"
    if manifest.canaries:
        planted = manifest.config.canaries * sum(CANARY_TIMES)
        head += f", {planted:,} copies of canaries planted in train (canaries.json)"
    return "\n".join(
        [table(rows, ["step", "changed", "dropped", "for example"]), "", _splits(manifest, table), "", f"wrote {out}: {head}"]
    )


def described(manifest: DatasetManifest, table: Table) -> str:
    """Counts per split, then a histogram of words per story for each."""
    parts = [_splits(manifest, table)]
    for name, info in manifest.splits.items():
        parts.append(f"{name}: words per story\n{histogram(info.lengths)}")
    return "\n\n".join(parts)


def histogram(lengths: LengthStats, width: int = 50) -> str:
    """One line per bin that is not beyond the last filled one."""
    filled = [i for i, count in enumerate(lengths.histogram) if count]
    if not filled:
        return "  (no stories)"
    top = max(lengths.histogram)
    lines = []
    for i in range(filled[0], filled[-1] + 1):
        count = lengths.histogram[i]
        first = i * lengths.bin_width
        last = "     " if i == len(lengths.histogram) - 1 else f"–{first + lengths.bin_width - 1:<4}"
        lines.append(f"  {first:>4}{last} {_bar(width * count / top):<{width}} {count:,}".rstrip())
    return "\n".join(lines)


def _bar(length: float) -> str:
    return "█" * round(length) or ("▏" if length else "")  # a bin with few stories stays visible


def _splits(manifest: DatasetManifest, table: Table) -> str:
    rows = [
        [
            name,
            f"{i.stories:,}",
            f"{i.words:,}",
            f"{i.characters:,}",
            f"{i.lengths.mean:.1f}",
            f"{i.lengths.sd:.1f}",
            i.lengths.maximum,
        ]
        for name, i in manifest.splits.items()
    ]
    return table(rows, ["split", "stories", "words", "characters", "mean words", "sd", "longest"])


def _example(examples: Sequence[StepExample]) -> str:
    if not examples:
        return ""
    before, after = examples[0].before, examples[0].after
    at = next((i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), 0)
    cut = slice(max(0, at - 8), at + 12)
    return f"{before[cut]!r} → {after[cut]!r}"

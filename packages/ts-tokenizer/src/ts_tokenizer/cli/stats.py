"""`ts-tokenizer stats`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ts_data.console import Json, Quiet, emit, show_progress, table


def stats(
    encoded: Annotated[Path, typer.Argument(help="What `ts-tokenizer encode` wrote.")],
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Print a table of stories, tokens, lengths and rare tokens, and a histogram of lengths per split.

    Example: ts-tokenizer stats encoded/
    """
    from .. import open_encoded
    from ..reports.stats import stats as measure

    with show_progress(quiet=quiet) as progress:
        found = measure(open_encoded(encoded), progress=progress)
    rows = [
        ("stories", *(f"{s.stories:,}" for s in found.values())),
        ("tokens", *(f"{s.tokens:,}" for s in found.values())),
        ("distinct tokens", *(f"{s.distinct:,}" for s in found.values())),
        ("mean length", *(f"{s.mean_length:.1f} ± {s.sd_length:.1f}" for s in found.values())),
        ("longest", *(f"{s.longest:,}" for s in found.values())),
        ("over 256", *(f"{100 * s.over_256:.1f} %" for s in found.values())),
        ("<unk>", *(f"{100 * s.unk_share:.2f} %" for s in found.values())),
        ("a quarter occurs ≤", *(f"{s.rare_quantiles[0]:,}" for s in found.values())),
        ("half occurs ≤", *(f"{s.rare_quantiles[1]:,}" for s in found.values())),
    ]
    text = table(rows, ["", *found])
    for name, s in found.items():
        text += f"\n\n{name}: stories by length in tokens\n{_bars(s.histogram, s.step)}"
    emit({name: asdict(s) for name, s in found.items()}, text, as_json=as_json)


def _bars(counts: tuple[int, ...], step: int, width: int = 50) -> str:
    most = max(counts, default=1) or 1
    last = min(len(counts), 24)  # lengths above 600 tokens share one line
    shown = [*counts[:last], *([sum(counts[last:])] if len(counts) > last else [])]
    lines = [f"{i * step:>5} {'█' * round(width * n / most):<{width}} {n:,}" for i, n in enumerate(shown)]
    return "\n".join(line.rstrip() for line in lines)

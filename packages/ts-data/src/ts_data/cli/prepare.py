"""ts-data prepare: raw stories → splits/."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated

import typer

from ..console import Config, Json, Quiet, Set, emit, merge, show_progress, table, validate, warn
from ..sources import SOURCES

_ENDINGS = [ending for known in SOURCES.values() for ending in known.endings[:1]]
_CANARIES = 5
"""Canaries for each number of times, with the flag."""

_PREFIXES = [known.prefix for known in SOURCES.values() if known.prefix]


def prepare(
    source: Annotated[
        list[str],
        typer.Argument(
            help=f"Raw stories: files, folders, patterns or URIs ({' '.join(_ENDINGS)}; also packed), - for stdin, or {' '.join(_PREFIXES)}NAME."
        ),
    ],
    out: Annotated[str, typer.Option("--out", help="The splits/ folder to write; a URI needs --work.")],
    test: Annotated[str | None, typer.Option(help="A file whose stories become the test split, none dropped.")] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(help="Files or a splits/ folder whose stories are removed from the result.", show_default=False),
    ] = None,
    validation: Annotated[
        str | None, typer.Option(help="Number of validation stories, a share (0.05, 5%), or 0 for none [5 %, up to 73,728].")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the draw [1].")] = None,
    canaries: Annotated[
        bool, typer.Option("--canaries", help="Plant known stories into train, to measure memorisation (--set canaries=5).")
    ] = False,
    workers: Annotated[int | None, typer.Option(help="Processes [one per core]. Never changes the result.")] = None,
    engine: Annotated[str, typer.Option(help="Where the work runs: local, or ray (a cluster).")] = "local",
    work: Annotated[Path | None, typer.Option(help="Folder for intermediate files [beside --out].")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace splits of other settings or sources.")] = False,
    config: Config = None,
    settings: Set = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Clean, de-duplicate and split raw stories. After an interruption the same command resumes.

    Example: ts-data prepare raw.txt --out splits/ --validation 500
    Example: ts-data prepare raw/ --out splits/ --validation 0.02 --set bad_lines=skip --against other/splits
    """
    from ..pipeline.pipeline import prepare as run
    from ..schemas import PrepareConfig

    flags = {"canaries": _CANARIES if canaries else None, "validation": _amount(validation), "seed": seed}
    settings_ = validate(PrepareConfig, merge(config, settings, flags))
    with show_progress(quiet=quiet, in_bytes=("clean", "write")) as progress, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the manifest has them
        manifest = run(
            source,
            out,
            settings_,
            test=test,
            against=against or None,
            workers=workers,
            engine=engine,
            work=work,
            force=force,
            progress=progress,
        )
    for message in manifest.warnings:
        warn(message)

    def text() -> str:
        from ..reports.summary import prepared

        return prepared(manifest, out, table)

    emit(manifest, text, as_json=as_json, quiet=quiet, then=f"ts-tokenizer train {out} --out word_tokenizer.json")


def _amount(text: str | None) -> int | float | str | None:
    """A number of stories or a share; any other text is returned unchanged for the settings to reject."""
    if text is None:
        return None
    for read in (int, float, lambda share: float(share.removesuffix("%")) / 100):
        try:
            return read(text)
        except ValueError:
            continue
    return text

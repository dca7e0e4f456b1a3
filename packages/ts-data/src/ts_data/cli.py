"""The command line of ts_data: one function per verb, each a thin layer over one Python call, imported when it runs."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

import ts_data

from .__about__ import __version__
from .cleaning.rules import RULES
from .console import Config, Set, emit, make_app, merge, run, show_progress, shows_colors, table, validate, warn
from .sources import SOURCES

if TYPE_CHECKING:  # the help should not wait for pydantic
    from .schemas import DatasetManifest, LengthStats, StepExample

app = make_app("ts-data", "Cleaning, de-duplication, splits and statistics for story corpora.", __version__)

Splits = Annotated[Path, typer.Argument(help="A splits/ folder.")]

_ENDINGS = [ending for known in SOURCES.values() for ending in known.endings[:1]]
_PREFIXES = [known.prefix for known in SOURCES.values() if known.prefix]
_CANARIES = 5
"""Canaries for each number of times, with the flag."""


@app.command()
def sample(
    out: Annotated[Path, typer.Option(help="The text file to write.")],
    stories: Annotated[int, typer.Option(help="How many.")] = 20_000,
    seed: Annotated[int, typer.Option(help="The same seed, the same stories.")] = 1,
    impurities: Annotated[bool, typer.Option("--impurities", help="With the defects of the published files.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file with other content.")] = False,
) -> None:
    """Write generated children's stories for first runs, tests and benchmarks (no substitute for real ones).

    Example: ts-data sample --stories 20000 --seed 1 --out raw.txt
    """
    from .corpus.sample import write_sample

    size = write_sample(out, stories, seed, impurities, force=force)
    emit(
        {"out": str(out), "stories": stories, "bytes": size},
        f"wrote {stories:,} stories ({size:,} bytes) to {out}",
        then=f"ts-data prepare {quote(str(out))} --out splits/",
    )


@app.command()
def download(
    corpus: Annotated[str, typer.Argument(help="tinystories-v1 or tinystories-v2 (GPT-4 only).")],
    out: Annotated[Path, typer.Option(help="The folder for the raw files.")],
    endpoint: Annotated[str | None, typer.Option(help="Another Hub, for example a mirror.")] = None,
) -> None:
    """Download raw stories from the Hugging Face Hub (some 2 GB; resumed when interrupted, checked when whole).

    Example: ts-data download tinystories-v2 --out raw/
    """
    with show_progress() as progress:
        train, test = ts_data.download(corpus, out, endpoint=endpoint, progress=progress)
    follow = f"ts-data prepare {quote(str(train))} --test {quote(str(test))} --out splits/"
    emit({"train": str(train), "test": str(test)}, f"wrote {train} and {test}", then=follow)


@app.command(schema="ts_data.schemas:PrepareConfig")
def prepare(
    source: Annotated[
        list[str],
        typer.Argument(
            help=f"Raw stories: files, folders, patterns or URIs ({' '.join(_ENDINGS)}; also packed), - for stdin, or {' '.join(_PREFIXES)}NAME."
        ),
    ],
    out: Annotated[str, typer.Option(help="The splits/ folder to write; a URI needs --work.")],
    test: Annotated[str | None, typer.Option(help="A file whose stories become the test split, none dropped.")] = None,
    against: Annotated[
        list[str] | None, typer.Option(help="Files or a splits/ folder whose stories are removed from the result.")
    ] = None,
    validation: Annotated[
        str | None, typer.Option(help="Number of validation stories, a share (0.05, 5%), or 0 for none [5 %, up to 73,728].")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the draw [1].")] = None,
    canaries: Annotated[
        bool, typer.Option("--canaries", help="Plant known stories into train, to measure memorisation (--set canaries=5).")
    ] = False,
    workers: Annotated[int | None, typer.Option(help="Processes. Never changes the result.", show_default="one per core")] = None,
    engine: Annotated[str, typer.Option(help="Where the work runs: local, or ray (a cluster).")] = "local",
    work: Annotated[Path | None, typer.Option(help="Folder for intermediate files.", show_default="beside --out")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace splits of other settings or sources.")] = False,
    config: Config = None,
    settings: Set = None,
) -> None:
    """Clean, de-duplicate and split raw stories. After an interruption the same command resumes.

    Example: ts-data prepare raw.txt --out splits/ --validation 500

    Example: ts-data prepare raw/ --out splits/ --validation 0.02 --set bad_lines=skip --against other/splits
    """
    flags = {"canaries": _CANARIES if canaries else None, "validation": _amount(validation), "seed": seed}
    settings_ = validate(ts_data.PrepareConfig, merge(config, settings, flags))
    with show_progress(in_bytes=("clean", "write")) as progress, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the manifest has them
        manifest = ts_data.prepare(
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

    emit(manifest, lambda: _prepared(manifest, out), then=f"ts-tokenizer train {quote(str(out))} --out word_tokenizer.json")


@app.command()
def stats(splits: Splits) -> None:
    """Stories, words, characters and lengths per split, with a histogram.

    Example: ts-data stats splits/
    """
    from .dataset import check_files

    manifest = check_files(splits)

    emit(
        {name: info.model_dump(mode="json") for name, info in manifest.splits.items()},
        lambda: _described(manifest),
        written=False,
        then=f"ts-tokenizer train {quote(str(splits))} --out word_tokenizer.json",
    )


@app.command()
def show(
    splits: Splits,
    split: Annotated[str, typer.Option(help="train, validation, test or removed.")] = "train",
    start: Annotated[int, typer.Option(min=0, help="The first story to show.")] = 0,
    n: Annotated[int, typer.Option(min=1, help="How many.")] = 5,
    reason: Annotated[str | None, typer.Option(help="Of the removed: only those of one reason.")] = None,
    changed: Annotated[
        str | None, typer.Option(help=f"Show what a step changed in the raw source, highlighted: any, {', '.join(RULES)}.")
    ] = None,
) -> None:
    """Show stories of a split, removed ones with their reason, or stories before and after a step.

    Example: ts-data show splits/ --split removed --reason duplicate

    Example: ts-data show splits/ --changed mojibake
    """
    from .reports import show as pages

    if changed is not None:
        found = pages.page_of_changes(splits, changed, start, n, color=shows_colors(sys.stdout))
    elif split == "removed" or reason is not None:
        found = pages.page_of_removed(splits, reason, start, n)
    else:
        found = pages.page_of_split(splits, split, start, n)
    shown = list(islice(found, n))
    more = f"\n(continue with --start {start + n})" if len(shown) == n else ""
    page = "\n\n".join(line for _, line in shown) + more if shown else "(no more stories)"
    emit({"start": start, "stories": [item for item, _ in shown]}, page, written=False)


@app.command(schema="ts_data.schemas:NearConfig")
def leakage(
    splits: Splits,
    threshold: Annotated[float | None, typer.Option(help="Jaccard similarity that counts as near [0.8].")] = None,
    show: Annotated[int, typer.Option(min=0, help="Pairs to show per split.")] = 3,
    settings: Set = None,
) -> None:
    """Report validation and test stories that are also in train, exactly or nearly.

    `prepare` can remove them: ts-data prepare … --set leakage=drop (a given test file), --set deduplicate=near (all).

    Example: ts-data leakage splits/ --threshold 0.5
    """
    defaults = ts_data.open_manifest(splits).config.near.model_dump()
    near = validate(ts_data.NearConfig, {**defaults, **merge(None, settings, {"threshold": threshold})})
    with show_progress() as progress:
        report = ts_data.leakage(splits, near, progress=progress)

    def text() -> str:
        rows = [
            [name, f"{p.stories:,}", f"{p.exact:,}", f"{p.near:,}", f"{(p.exact + p.near) / max(1, p.stories):.2%}"]
            for name, p in report.splits.items()
        ]
        lines = [table(rows, ["split", "stories", "exactly in train", f"nearly (≥ {near.threshold:g})", "share"])]
        train = ts_data.read(splits, "train")
        for name, part in report.splits.items():
            held = ts_data.read(splits, name)
            for row, at, similarity in part.examples[:show]:
                lines += [f"\n{name} {row} and train {at}, similarity {similarity:.3f}:", held[row], "---", train[at]]
        return "\n".join(lines)

    emit(report, text, written=False)


@app.command(schema="ts_data.schemas:InstructConfig")
def instruct(
    splits: Splits,
    out: Annotated[Path, typer.Option(help="The folder to write.")],
    seed: Annotated[int | None, typer.Option(help="Seed of the prompts [1].")] = None,
    held_out: Annotated[float | None, typer.Option(help="Share of word pairs that train never asks for together [0.1].")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace splits of other stories or settings.")] = False,
    config: Config = None,
    settings: Set = None,
) -> None:
    """Make prompts from stories, as in TinyStories-Instruct: required words, features, sentences, a summary, all found by rules.

    Example: ts-data instruct splits/ --out instruct/
    """
    settings_ = validate(ts_data.InstructConfig, merge(config, settings, {"seed": seed, "held_out": held_out}))
    with show_progress() as progress:
        manifest = ts_data.instruct(splits, out, settings_, force=force, progress=progress)

    def text() -> str:
        made = manifest.instruct
        assert made is not None
        rows = [[name, f"{info.stories:,}", f"{made.held_out[name]:,}"] for name, info in manifest.splits.items()]
        counts = ", ".join(f"{name} {count:,}" for name, count in sorted(made.parts.items()))
        return f"{table(rows, ['split', 'stories', 'held-out words'])}\n\nprompts with: {counts}\nwrote {out}"

    emit(manifest, text, then=f"ts-tokenizer train {quote(str(out))} --out asked_tokenizer.json")


def _prepared(manifest: DatasetManifest, out: str) -> str:
    """What `prepare` did: stories in, changed and dropped per step, one example each, and the splits."""
    from .schemas import CANARY_TIMES

    rows: list[list[object]] = [[r.step, f"{r.changed:,}", f"{r.dropped:,}", _example(r.examples)] for r in manifest.steps]
    names = {report.step for report in manifest.steps}
    rows += [[reason, "0", f"{count:,}", ""] for reason, count in manifest.removed.items() if reason not in names]
    head = f"{manifest.stories_in:,} stories in, {manifest.kept:,} kept"
    if manifest.canaries:
        planted = manifest.config.canaries * sum(CANARY_TIMES)
        head += f", {planted:,} copies of canaries planted in train (canaries.json)"
    return "\n".join(
        [table(rows, ["step", "changed", "dropped", "for example"]), "", _splits(manifest), "", f"wrote {out}: {head}"]
    )


def _described(manifest: DatasetManifest) -> str:
    """Counts per split, then a histogram of words per story for each."""
    parts = [_splits(manifest)]
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


def _splits(manifest: DatasetManifest) -> str:
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


def main() -> None:
    """The console script."""
    run(app)

"""The command line of ts_tokenizer: one function per command, each a thin layer over one Python call, imported when it runs."""

import sys
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

import ts_data
import ts_tokenizer
from ts_data.console import emit, make_app, run, show_progress, table, warn

from .__about__ import __version__

app = make_app("ts-tokenizer", "A word-level tokenizer on spaCy's English rules, with a learned detokenizer.", __version__)

Splits = Annotated[Path, typer.Argument(help="What `ts-data prepare` wrote.")]
SplitName = Annotated[str, typer.Option(help="train, validation or test.")]
Limit = Annotated[int, typer.Option(help="Number of stories to use, from the start.", min=1)]


@app.command()
def train(
    splits: Annotated[Path, typer.Argument(help="What `ts-data prepare` wrote; only its train split is read.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write.")] = Path("word_tokenizer.json"),
    vocab_size: Annotated[int, typer.Option(help="Entries, including the four special tokens.")] = 2048,
    casing: Annotated[
        str, typer.Option(help="lower (capitals are predicted) or keep (markers where the prediction is wrong).")
    ] = "lower",
    force: Annotated[bool, typer.Option("--force", help="Replace a tokenizer of other splits or settings.")] = False,
) -> None:
    """Learn vocabulary, detokenizer and spelling model from the train split.

    Example: ts-tokenizer train splits/ --out word_tokenizer.json --vocab-size 2048
    """
    from .train import train_file

    with show_progress() as progress:
        tokenizer = train_file(splits, out, vocab_size=vocab_size, casing=casing, force=force, progress=progress)  # type: ignore[arg-type]
    seen, entries = tokenizer.spec.trained_on, tokenizer.vocab_size
    few = f", all of them kept: fewer than the {vocab_size:,} asked for" if entries < vocab_size else ""
    payload = {"path": str(out), "sha256": tokenizer.sha256, "vocab_size": entries, "casing": casing, **seen.model_dump()}
    text = f"{out}: {entries:,} entries from {seen.stories:,} stories ({seen.tokens:,} tokens, {seen.distinct:,} distinct{few})."
    encoded = "encoded/" if ts_data.open_manifest(splits).instruct is None else "asked/"
    emit(payload, text, then=f"ts-tokenizer encode {quote(str(splits))} --tokenizer {quote(str(out))} --out {encoded}")


@app.command()
def encode(
    splits: Splits,
    tokenizer: Annotated[Path, typer.Option("--tokenizer", "-t", help="What `ts-tokenizer train` wrote.")] = Path(
        "word_tokenizer.json"
    ),
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write.")] = Path("encoded"),
    workers: Annotated[int | None, typer.Option(help="Threads; all cores by default.", min=1)] = None,
    engine: Annotated[str, typer.Option(help="Engine: local, or ray (a cluster).")] = "local",
    force: Annotated[bool, typer.Option("--force", help="Replace ids of other splits or of another tokenizer.")] = False,
) -> None:
    """Write the splits as token ids: train.bin, val.bin, test.bin (uint16), offsets, manifest.json.

    Run the same command again to resume after an interruption.

    Example: ts-tokenizer encode splits/ -t word_tokenizer.json -o encoded/
    """
    loaded = ts_tokenizer.load(tokenizer)
    with show_progress() as progress:
        manifest = ts_tokenizer.encode_splits(splits, loaded, out, workers=workers, engine=engine, force=force, progress=progress)
    if loaded.spec.trained_on.splits_fingerprint not in (None, manifest.splits_fingerprint):
        warn(
            f"{tokenizer}: was trained on other splits; its vocabulary may contain words that occur only in the held-out stories of {splits}."
        )
    rows = [
        (name, f"{s.stories:,}", f"{s.tokens:,}", f"{100 * s.unk_tokens / max(1, s.tokens):.2f} %", f"{s.bin.bytes / 1e6:,.1f}")
        for name, s in manifest.splits.items()
    ]
    text = table(rows, ["split", "stories", "tokens", "<unk>", "MB"]) + f"\nwrote {out}/"
    recipe, run = ("", "run/") if manifest.prompts is None else (" --preset story-1m-instruct", "asked-run/")
    emit(manifest, text, then=f"ts-train run{recipe} --data {quote(str(out))} --out {run} --max-minutes 5")


@app.command()
def check(
    tokenizer: Annotated[Path, typer.Argument(help="What `ts-tokenizer train` wrote.")],
    splits: Splits,
    split: SplitName = "validation",
    limit: Limit = 10_000,
) -> None:
    """Measure how well decode(encode(story)) restores stories, and show the most frequent errors.

    Example: ts-tokenizer check word_tokenizer.json splits/ --split test
    """
    from .reports.check import check as measure

    with show_progress() as progress:
        result = measure(ts_tokenizer.load(tokenizer), islice(ts_data.read(splits, split), limit), progress=progress)
    shares = [
        ("exact, words behind <unk> given", result.exact),
        ("… ignoring case", result.caseless),
        ("… and blanks beside <unk> given", result.caseless_blanks_given),
        (f"exact among the {result.without_unk:,} without <unk>", result.exact_without_unk),
        ("tokens with the right case", result.case_accuracy),
        ("tokens with the right blank", result.space_accuracy),
    ]
    lines = table(
        [(name, "—" if x is None else f"{100 * x:.2f} %") for name, x in shares], [f"{result.stories:,} stories", "share"]
    )
    rows = [(f"{n:,}", wrote, read) for wrote, read, n in result.errors]
    errors = table(rows, ["times", "written", "decoded"]) if rows else "no errors"
    emit(asdict(result), f"{lines}\nmarkers per story: {result.markers_per_story:.2f}\n\n{errors}", written=False)


@app.command()
def stats(encoded: Annotated[Path, typer.Argument(help="What `ts-tokenizer encode` wrote.")]) -> None:
    """Print a table of stories, tokens, lengths and rare tokens, and a histogram of lengths per split.

    Example: ts-tokenizer stats encoded/
    """
    from .reports.stats import stats as measure

    with show_progress() as progress:
        found = measure(ts_tokenizer.open_encoded(encoded), progress=progress)
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
    emit({name: asdict(s) for name, s in found.items()}, text, written=False)


def _bars(counts: tuple[int, ...], step: int, width: int = 50) -> str:
    most = max(counts, default=1) or 1
    last = min(len(counts), 24)  # lengths above 600 tokens share one line
    shown = [*counts[:last], *([sum(counts[last:])] if len(counts) > last else [])]
    lines = [f"{i * step:>5} {'█' * round(width * n / most):<{width}} {n:,}" for i, n in enumerate(shown)]
    return "\n".join(line.rstrip() for line in lines)


@app.command()
def coverage(
    splits: Splits,
    vocab_size: Annotated[int, typer.Option(help="Entries, including the four special tokens.", min=5)] = 2048,
    split: SplitName = "train",
    top: Annotated[int, typer.Option("--top", "--n", help="Number of hidden tokens to show.", min=0)] = 50,
) -> None:
    """Show the share of tokens that vocabularies of each size keep, the rarest word kept, and the words behind <unk>.

    Example: ts-tokenizer coverage splits/ --vocab-size 2048
    """
    from .reports.coverage import coverage as measure

    with show_progress() as progress:
        found = measure(ts_data.read(splits, split), vocab_size, top=top, progress=progress)
    rows = [
        (f"{size:,}", f"{100 * share:.2f} %", "█" * round(40 * share) + ("  <- this size" if size == vocab_size else ""))
        for size, share in found.curve
    ]
    word, count = found.rarest or ("—", 0)
    times = "once" if count == 1 else f"{count:,} times"
    hidden = ", ".join(f"{token!r} {n:,}" for token, n in found.hidden)
    text = (
        f"{found.stories:,} stories, {found.tokens:,} tokens, {found.distinct:,} distinct; half of them occur at most "
        f"{found.rare_quantiles[1]:,} times, a quarter at most {found.rare_quantiles[0]:,}.\n\n"
        f"{table(rows, ['entries', 'kept', ''])}\n\n"
        f"{vocab_size:,} entries keep {100 * found.kept:.2f} % of the tokens; the rarest kept is {word!r} ({times}).\n"
        f"<unk> hides: {hidden or 'nothing'}"
    )
    emit(asdict(found), text, written=False)


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(help="A word_tokenizer.json.")],
    second: Annotated[Path, typer.Argument(help="Another one.")],
    splits: Splits,
    split: SplitName = "validation",
    limit: Limit = 10_000,
) -> None:
    """Compare two tokenizers, and torchtext's basic_english rules, on the same stories.

    Example: ts-tokenizer compare a.json b.json splits/
    """
    from .reports.compare import compare as measure

    stories = list(islice(ts_data.read(splits, split), limit))
    with show_progress() as progress:
        found = measure({str(path): ts_tokenizer.load(path) for path in (first, second)}, stories, progress=progress)
    rows = [
        (
            c.name,
            "—" if c.vocab_size is None else f"{c.vocab_size:,}",
            f"{c.tokens_per_story:.1f}",
            "—" if c.unk_share is None else f"{100 * c.unk_share:.2f} %",
            f"{c.distinct:,}",
        )
        for c in found
    ]
    text = table(rows, ["tokenizer", "entries", "tokens/story", "<unk>", "distinct"])
    emit({"stories": len(stories), "tokenizers": [asdict(c) for c in found]}, text, written=False)


def main() -> None:
    """The console script."""
    sys.modules.setdefault("torch", None)  # type: ignore[arg-type]  # spaCy would import it if installed: 1.4 s
    run(app)

"""Commands that measure one thing: decoding settings, minimal pairs, extraction of training stories, words that were asked for."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from ts_data.console import Config, Set, emit, merge, show_progress, table, validate, warn

from ._options import AllowOverlap, Data, FeatureReference, Models, Names
from ._show import banner, emit_report

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..schemas import ExtractionModel, ExtractionReport, InstructModel, InstructReport, ProbeReport, SweepReport
    from ..schemas.report import Estimate


def sweep(
    model: Annotated[str, typer.Argument(help="A model folder, or what `ts-eval report` takes.")],
    data: Data,
    out: Annotated[Path | None, typer.Option(help="Write sweep.json here.")] = None,
    search: Annotated[str | None, typer.Option(help="grid or optuna.", show_default="grid")] = None,
    trials: Annotated[int | None, typer.Option(help="optuna: settings to try.", show_default="20")] = None,
    stories: Annotated[int | None, typer.Option(help="Stories per setting.", show_default="50")] = None,
    allow_overlap: AllowOverlap = False,
    config: Config = None,
    settings: Set = None,
) -> None:
    """Search decoding settings: method, temperature, top-k, top-p, beams, penalties. Shows the Pareto front and a winner.

    Example: ts-eval sweep run/model --data splits/ --set 'temperature=[0.5,0.8]' --out sweep.json
    """
    from ..schemas import SweepConfig
    from ..sweeping import sweep as run

    chosen = validate(SweepConfig, merge(config, settings, {"search": search, "trials": trials, "stories": stories}))
    with show_progress() as progress:
        made = run(model, data, chosen, out=out, allow_overlap=allow_overlap, progress=progress)
    following = (
        None
        if out is None
        else f"ts-eval report {quote(model)} --data {quote(str(data))} --out report/ --sweep {quote(str(out))}"
    )
    emit_report(made.model_dump(mode="json"), lambda: _sweep_text(made), made.warnings, written=False, then=following)


def _sweep_text(made: SweepReport) -> str:
    ranked = sorted(made.points, key=lambda p: -p.quality)
    rows = [
        [
            " ".join(f"{k}={v}" for k, v in p.options.items()),
            f"{p.quality:.3f}",
            f"{p.diversity:.3f}",
            "winner" if p.winner else "front" if p.on_front else "",
        ]
        for p in ranked
    ]
    quality = "–" if made.real_quality is None else f"{made.real_quality:.3f}"
    real = ["real held-out stories", quality, f"{made.real_diversity:.3f}", ""]
    shown = table([*rows, real], ["decoding", f"quality ({made.quality})", "diversity", ""])
    notes = [f"{made.model}: {note}" for note in made.notes]
    return "\n\n".join([*([banner(made.warnings).rstrip()] if made.warnings else []), shown, *notes])


def probe(
    models: Annotated[list[str], typer.Argument(help="Model folders, or what `ts-eval report` takes.")],
    data: Annotated[Path | None, typer.Option(help="splits/: also fit unigrams and trigrams as adversaries.")] = None,
    checkpoints: Annotated[Path | None, typer.Option(help="A run folder: also score its checkpoints.")] = None,
    pairs: Annotated[int, typer.Option(min=2, max=10_000, help="Pairs for each phenomenon.")] = 200,
    only: Annotated[list[str] | None, typer.Option(help="A phenomenon or group. May be repeated.", show_default="all")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the pairs.")] = 1,
    names: Names = None,
    out: Annotated[Path | None, typer.Option(help="Folder for probe.json and probe.html.")] = None,
) -> None:
    """Minimal pairs: does a model find the right sentence of two likelier? One accuracy per phenomenon.

    Example: ts-eval probe run/model --data splits/ --out probe/
    """
    from ..probing.probe import probe as work

    with show_progress() as progress:
        report = work(
            models, data=data, checkpoints=checkpoints, pairs=pairs, only=only or (), seed=seed, names=names, out=out,
            progress=progress,
        )  # fmt: skip
    for note in report.notes:
        warn(note)
    following = _open(out, "probe.html")
    emit(report, lambda: _probe_text(report, out), written=out is not None, then=following)


def _open(out: Path | None, page: str) -> str | None:
    return None if out is None else f"open {out / page} in a browser"


def _probe_text(report: ProbeReport, out: Path | None) -> str:
    adversaries = list(report.phenomena[0].adversaries)
    rows = [["mean", *(f"{100 * m.accuracy:.1f}" for m in report.models), *("" for _ in adversaries)]]
    for p in report.phenomena:
        scores = [m.scores[p.name] for m in report.models]
        cells = [f"{100 * s.accuracy:.0f} [{100 * s.low:.0f}, {100 * s.high:.0f}]" for s in scores]
        rows.append([p.name + (" (local)" if p.local else ""), *cells, *(f"{100 * p.adversaries[a]:.0f}" for a in adversaries)])
    lines = [table(rows, ["% right", *(m.name for m in report.models), *adversaries])]
    lines += ["local: a trigram sees what decides"] if any(p.local for p in report.phenomena) else []
    ties = {m.name: sum(s.ties for s in m.scores.values()) for m in report.models}
    lines += [
        f"{name}: {count} pairs tie, because the vocabulary does not distinguish them" for name, count in ties.items() if count
    ]
    if report.acquisition:
        steps = [
            [c.step, c.tokens, f"{100 * c.accuracy:.1f}", *(f"{100 * v:.0f}" for v in c.groups.values())]
            for c in report.acquisition
        ]
        lines += ["", table(steps, ["step", "tokens", "mean", *report.acquisition[0].groups])]
    return "\n".join([*lines, *([f"wrote {out / 'probe.html'}"] if out is not None else [])])


def extraction(
    models: Models,
    data: Data,
    lengths: Annotated[
        list[int] | None,
        typer.Option("--length", min=1, help="Words of the prompt. May be repeated.", show_default="4, 8, 16, 32"),
    ] = None,
    words: Annotated[int, typer.Option(min=1, help="Words that must follow verbatim.")] = 30,
    stories: Annotated[int, typer.Option(min=1, help="Largest number of stories in a group.")] = 200,
    seed: Annotated[int, typer.Option(help="Seed of the draw of stories.")] = 1,
    names: Names = None,
    out: Annotated[Path | None, typer.Option(help="Folder for extraction.json and extraction.html.")] = None,
) -> None:
    """Share of training stories that a model continues verbatim, by prompt length, copies and model size; canaries too.

    Example: ts-eval extraction small/model large/model --data splits/ --out extraction/
    """
    from ..extracting.extraction import LENGTHS
    from ..extracting.extraction import extraction as work

    with show_progress() as progress:
        report = work(
            models, data, lengths=lengths or LENGTHS, words=words, stories=stories, seed=seed, names=names, out=out,
            progress=progress,
        )  # fmt: skip
    _warn_all(report.models)
    following = _open(out, "extraction.html")
    emit(report, lambda: _extraction_text(report, out), written=out is not None, then=following)


def _extraction_text(report: ExtractionReport, out: Path | None) -> str:
    lengths = sorted({p.prompt_words for p in report.models[0].points})
    rows = []
    for model in report.models:
        groups = list(dict.fromkeys((p.group, p.times, p.stories) for p in model.points))
        for group, times, stories in groups:
            shares = {p.prompt_words: p for p in model.points if (p.group, p.times) == (group, times)}
            rows.append([model.name, group, times, stories, *(f"{100 * shares[n].share:.1f}" for n in lengths)])
    head = ["% extracted", "stories", "copies", "n", *(f"{n} words" for n in lengths)]
    return "\n".join([table(rows, head), *report.notes, *([f"wrote {out / 'extraction.html'}"] if out is not None else [])])


def instruct(
    models: Annotated[list[str], typer.Argument(help="Model folders, Hub ids, or `demo`.")],
    data: Annotated[Path, typer.Option(help="Prompts as `ts-data instruct` writes them.")],
    stories: Annotated[int, typer.Option(min=1, help="Stories for each measure; a quarter for each feature.")] = 150,
    required: Annotated[int, typer.Option(min=0, help="Stories with guaranteed words (`--require`); 0: none.")] = 50,
    reference: FeatureReference = None,
    seed: Annotated[int, typer.Option(help="Same seed, same stories.")] = 1,
    names: Names = None,
    allow_overlap: AllowOverlap = False,
    out: Annotated[Path | None, typer.Option(help="File for the report (JSON).")] = None,
    config: Config = None,
    set_: Set = None,
) -> None:
    """Do stories use the words and show the features asked for? Beside: guaranteed words, rating, loss, the real stories.

    Example: ts-eval instruct asked-run/model demo --data instruct/ --out asked.json
    """
    from ..asking import instruct as work

    options = merge(config, set_, {})
    with show_progress() as progress:
        report = work(
            models, data, stories=stories, required=required, reference=reference, seed=seed, names=names,
            allow_overlap=allow_overlap, out=out, progress=progress, **options,
        )  # fmt: skip
    _warn_all(report.models, report.notes)
    following = None if out is None else f"ts-models play {quote(models[0])}"
    emit(report, lambda: _instruct_text(report, out), written=out is not None, then=following)


def _instruct_text(report: InstructReport, out: Path | None) -> str:
    rows = []
    for group, label in (("held-out", "held-out words"), ("other", "other words"), ("required", "guaranteed")):
        for field, part in (("exact", "as asked"), ("inflected", "any form"), ("every", "all of them")):
            rows.append([f"{label}: {part}", *(_mean(getattr(m.words.get(group), field, None), 100) for m in report.models)])
    for feature in report.models[0].unasked:
        rows.append([f"{feature}: asked", *(_mean(m.shown.get(feature), 100) for m in report.models)])
        rows.append([f"{feature}: not asked", *(_mean(m.unasked.get(feature), 100) for m in report.models)])
    for group, label in (("free", "rating"), ("required", "rating: guaranteed")):
        rows.append([label, *(_mean(m.rating.get(group), 1, 2) for m in report.models)])
    for group, label in (("prompt", "bits per byte: prompt"), ("alone", "bits per byte")):
        rows.append([label, *(_mean(m.bits_per_byte.get(group), 1, 3) for m in report.models)])
    head = ["% of words, of stories", *(m.name for m in report.models)]
    return "\n".join([table(rows, head), *([f"wrote {out}"] if out is not None else [])])


def _mean(value: Estimate | None, factor: float, digits: int = 1) -> str:
    """A mean with its 95 % interval."""
    if value is None or value.mean is None:
        return ""
    low, high = (value.mean if x is None else x for x in (value.low, value.high))
    return f"{factor * value.mean:.{digits}f} [{factor * low:.{digits}f}, {factor * high:.{digits}f}]"


def _warn_all(models: Sequence[ExtractionModel | InstructModel], notes: Sequence[str] = ()) -> None:
    """The notes of a report and of its models, on stderr."""
    for note in (*notes, *(f"{m.name}: {note}" for m in models for note in m.notes)):
        warn(note)

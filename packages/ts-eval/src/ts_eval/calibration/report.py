"""`calibrate`: compares a judge with people and other judges, with itself, and with damaged stories."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate, combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ts_data.artefact import write_model

from ..checks import Progress, StrPath, need_count, need_instance, need_list
from ..errors import ConfigError
from ..judge.backends import backend_class
from ..judge.budget import Estimate, together
from ..judge.client import GIVEN_UP
from ..judge.features.reference import words
from ..judge.files import Story, read_stories
from ..judge.judge import JudgeRun, estimate_cost, judge_stories
from ..judge.prompt import load_prompt, reordered
from ..judge.summary import repeat_sd, story_means, usable
from ..places import check_output, writing
from ..schemas import (
    CATEGORIES,
    CalibrationReport,
    Category,
    DamageResult,
    JudgeConfig,
    PromptTemplate,
    Rating,
    ReferenceAgreement,
    Statistic,
)  # fmt: skip
from ..stats import FEWEST
from .agreement import FEW, compare, interval, point, spearman
from .damage import AMOUNTS, DAMAGES, base_stories, damaged
from .faults import VARIANTS, Observations, find_faults, mean_correlation
from .recalibrate import fit_recalibration


def calibrate(
    references: Sequence[StrPath],
    config: JudgeConfig,
    *,
    out: StrPath | None = None,
    store: StrPath | None = None,
    damage: bool = True,
    limit: int | None = None,
    variants: int = 100,
    template: PromptTemplate | None = None,
    progress: Progress | None = None,
    announce: Callable[[Estimate], object] | None = None,
) -> CalibrationReport:
    """Compare the judge's ratings with those of rated stories, check that ratings of damaged stories fall, and test for twelve faults.

    Each reference is a .jsonl file of stories with `ratings` (one or more raters per story) or `rating`; `limit` is the number
    of stories used of each. `variants`: stories of the first reference of which five variants are rated for the tests of faults (0: none).
    `out`: path of the report (JSON). Raises ConfigError where no story has a rating.
    """
    need_instance(config, JudgeConfig, "config")
    references = need_list(references, "references", "path")
    if limit is not None:
        need_count(limit, "limit")
    if not references and not damage:
        raise ConfigError("nothing to rate: name a file of rated stories, or keep the damaged stories.")
    place = store or (Path(out).parent / "judge.sqlite" if out is not None else None)
    check_output(out, "ts-eval/calibration", [*references, config.prompt, config.reference], store=place)
    named = [(Path(path).name, _rated(path, limit)) for path in references]
    cases = _cases() if damage else []
    # Damaged stories are no attacks, and their ratings are meant to change.
    trusting = config.model_copy(update={"anchors": False, "probe": "off"})
    varied = named[0][1][: need_count(variants, "variants", least=0)] if named else []
    wanted: list[tuple[list[Story], JudgeConfig, PromptTemplate | None]] = [
        *((stories, config, template) for _, stories in named),
        *([([Story(text) for *_, text in cases], trusting, template)] if damage else []),
        *_variants(varied, trusting.model_copy(update={"repeats": 1}), template or load_prompt(config.prompt)),
    ]
    if announce is not None and wanted:
        announce(together(estimate_cost(stories, c, store=place, template=t) for stories, c, t in wanted))
    with writing(out):
        runs = [judge_stories(stories, c, store=place, template=t, progress=progress) for stories, c, t in wanted]
        rated = len(named) + bool(cases)
        report = _report(config, named, [(kind, amount, base) for kind, amount, base, _ in cases], runs[:rated])
        if varied:
            report = report.model_copy(update={"faults": find_faults(_observed(varied, config, runs[0], runs[rated:]))})
        if out is not None:
            write_model(out, report)
    return report


def _report(
    config: JudgeConfig, named: list[tuple[str, list[Story]]], cases: list[tuple[str, float, int]], runs: list[JudgeRun]
) -> CalibrationReport:
    """The report on the references' runs and, if there are cases, on the run of the damaged stories after them."""
    referred, damage = runs[: len(named)], runs[len(named) :]
    flagged = sum(bool(r.flags) for run in referred for r in run.ratings)
    rows = [run.ratings for run in referred] + [[r.model_copy(update={"flags": ()}) for r in run.ratings] for run in damage]
    starts = accumulate((run.summary.stories for run in runs), initial=0)
    # Stories of several runs stay distinct.
    ratings = [r.model_copy(update={"story": r.story + start}) for some, start in zip(rows, starts, strict=False) for r in some]
    good, last = usable(ratings), runs[-1].summary if runs else None
    return CalibrationReport(
        judge=last.judge if last else config.model, mode=last.mode if last else "sampled", prompt=last.prompt if last else config.prompt,
        repeats=config.repeats, asked=len(ratings), rated=len(good),
        references=tuple(agreement_with(name, stories, run.ratings) for (name, stories), run in zip(named, referred, strict=True)),
        halo=_halo(good), sd_over_repeats=repeat_sd(good), damage=damage_results(cases, damage[0].ratings) if damage else (),
        notes=_notes(config, bool(named), flagged, runs),
    )  # fmt: skip


def _variants(
    stories: list[Story], config: JudgeConfig, template: PromptTemplate
) -> list[tuple[list[Story], JudgeConfig, PromptTemplate | None]]:
    """One run for each variant, in the order of VARIANTS, and one under a reordered prompt."""
    if not stories:
        return []
    changed = [([Story(change(s.text)) for s in stories], config, template) for change in VARIANTS.values()]
    return [*changed, (stories, config, reordered(template, 1))]


def _observed(stories: Sequence[Story], config: JudgeConfig, base: JudgeRun, runs: Sequence[JudgeRun]) -> Observations:
    """The ratings of the stories and of their variants as arrays."""
    asked = [*base.ratings, *(r for run in runs for r in run.ratings)]
    return Observations(
        base=_array(base.ratings, len(stories), config.repeats),
        reference=np.array([story.reference for story in stories]),
        words=np.array([len(words(story.text)) for story in stories]),
        variants={name: _array(run.ratings, len(stories), 1)[:, 0] for name, run in zip([*VARIANTS, "order"], runs, strict=True)},
        calls=sum(r.attempts for r in asked),
        unparsed=sum(r.attempts - (r.scores is not None) for r in asked if r.attempts),
    )


def _array(ratings: Sequence[Rating], stories: int, repeats: int) -> NDArray[Any]:
    """[stories, repeats, 6]; nan where there are no scores."""
    found = np.full((stories, repeats, len(CATEGORIES)), np.nan)
    for rating in ratings:
        if rating.scores is not None and rating.story < stories:
            found[rating.story, rating.repeat] = rating.scores.as_list()
    return found


def _rated(path: StrPath, limit: int | None) -> list[Story]:
    stories = [s for s in read_stories(path) if s.ratings][:limit]
    if not stories:
        raise ConfigError(f"{path}: no story in it has ratings.")
    return stories


def agreement_with(name: str, stories: Sequence[Story], ratings: Sequence[Rating]) -> ReferenceAgreement:
    """Agreement per category with the file's ratings. Several raters are averaged, and compared with each other."""
    found = story_means(usable(ratings))
    places = sorted(found)
    mine = np.array([found[i] for i in places]).reshape(-1, len(CATEGORIES))
    theirs = np.array([stories[i].reference for i in places]).reshape(-1, len(CATEGORIES))
    columns: dict[Category, tuple[NDArray[Any], NDArray[Any]]] = {c: (mine[:, k], theirs[:, k]) for k, c in enumerate(CATEGORIES)}
    lengths = np.array([len(words(stories[i].text)) for i in places], dtype=float)
    fitted = {c: fit_recalibration(judge, reference) for c, (judge, reference) in columns.items()}
    pairs = _pairs(stories)
    raters = len({rater for s in stories for rater in s.raters}) or max(len(s.ratings) for s in stories)
    return ReferenceAgreement(
        name=name, stories=len(stories), compared=len(places), raters=raters,
        categories={c: compare(judge, reference) for c, (judge, reference) in columns.items()},
        between_raters={c: compare([p[0][c] for p in pairs], [p[1][c] for p in pairs]) for c in CATEGORIES if pairs},
        length_bias={
            c: point(len(lengths), FEW, partial(spearman, judge - reference, lengths), "no variance")
            for c, (judge, reference) in columns.items()
        },
        recalibration={c: function for c, function in fitted.items() if function is not None},
    )  # fmt: skip


def _pairs(stories: Sequence[Story]) -> list[Sequence[dict[str, float]]]:
    """The ratings of two raters: of the two named ones with the most stories in common, or the first two of each story."""
    named = [dict(zip(s.raters, s.ratings, strict=True)) for s in stories if s.raters]
    if not named:
        return [s.ratings[:2] for s in stories if len(s.ratings) > 1]
    names = dict.fromkeys(rater for row in named for rater in row)
    by_two: list[list[Sequence[dict[str, float]]]] = [
        [(row[a], row[b]) for row in named if a in row and b in row] for a, b in combinations(names, 2)
    ]
    return max(by_two, key=len, default=[])


def _halo(ratings: list[Rating]) -> Statistic:
    """Mean correlation between categories that vary; near 1 the judge gives one number six times."""
    rows = np.array([r.scores.as_list() for r in ratings if r.scores is not None], dtype=float)
    return point(len(rows), FEW, lambda: mean_correlation(rows), "fewer than two categories vary", "ratings")


def _cases() -> list[tuple[str, float, int, str]]:
    stories = base_stories()
    return [
        (kind, amount, i, damaged(story, kind, amount, others=stories))
        for kind in DAMAGES
        for amount in (AMOUNTS if kind == next(iter(DAMAGES)) else AMOUNTS[1:])
        for i, story in enumerate(stories)
    ]


def damage_results(cases: Sequence[tuple[str, float, int]], ratings: Sequence[Rating]) -> tuple[DamageResult, ...]:
    """Per kind of damage: the change of each category's mean with the amount, and whether the target category falls.

    `cases[i]` is (kind, amount, base story) of story i in `ratings`. A category falls if the 95 % interval of its change at the
    largest amount is below 0; the fall is specific if no other category falls as far.
    """
    table = {cases[place]: means for place, means in story_means(ratings).items()}
    whole = {base: means for (_, amount, base), means in table.items() if amount == 0}
    return tuple(_fall(kind, table, whole) for kind in DAMAGES)


def _fall(kind: str, table: dict[tuple[str, float, int], NDArray[Any]], whole: dict[int, NDArray[Any]]) -> DamageResult:
    target = DAMAGES[kind][1]
    changes: dict[str, dict[Category, float]] = {}
    last = np.zeros((0, len(CATEGORIES)))
    for amount in AMOUNTS[1:]:
        found = [table[kind, amount, base] - means for base, means in whole.items() if (kind, amount, base) in table]
        if found:
            last = np.array(found)
            changes[f"{amount:g}"] = dict(zip(CATEGORIES, last.mean(axis=0).round(4).tolist(), strict=True))
    if len(last) < 3:
        refused = Statistic(stories=0, refused="fewer than three stories rated whole and damaged")
        return DamageResult(kind=kind, category=target, changes=changes, change=refused)
    k = CATEGORIES.index(target)
    low, high = interval(np.subtract, last[:, k], np.zeros(len(last)))
    falls = high < 0 and (low < high or len(last) >= FEWEST)  # a few equal changes do not show their spread
    own, *others = (float(last[:, i].mean()) for i in (k, *(i for i in range(len(CATEGORIES)) if i != k)))
    change = Statistic(stories=len(last), value=round(own, 4), low=low, high=high)
    return DamageResult(
        kind=kind, category=target, changes=changes, change=change, falls=falls, specific=falls and own < min(others)
    )


def _notes(config: JudgeConfig, referred: bool, flagged: int, runs: Sequence[JudgeRun]) -> tuple[str, ...]:
    """Also the runs' notes about endpoints: given up, asked without a parameter, token counts estimated."""
    notes = []
    if flagged:
        notes.append(f"{flagged} ratings of flagged stories are excluded")
    note = backend_class(config.backend).calibration_note
    if note is not None:
        notes.append(note)
    if not referred:
        notes.append("no reference ratings given: only noise, halo and damage are reported")
    about = (GIVEN_UP, " refuses ", "are estimates: ")
    return (*notes, *dict.fromkeys(note for run in runs for note in run.summary.notes if any(w in note for w in about)))

"""`panel`: several judges' ratings of the same stories, their agreement, and one pooled rating per story."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checks import StrPath, need_list
from ..errors import ConfigError
from ..judge.files import read_raters, write_ratings
from ..judge.summary import usable
from ..places import check_output
from ..schemas import CATEGORIES, PanelReport, Rating, Scores
from .agreement import SOME, compare, krippendorff_alpha, point


def panel(files: Sequence[StrPath], *, out: StrPath | None = None) -> PanelReport:
    """Agreement of several judges on the stories that all of them rated, and the pooled ratings.

    files: ratings.jsonl of `ts-eval judge`, one judge each, and files of `ts-eval rate`, whose raters are one judge each.

    A pooled rating is the mean over the judges of each judge's mean over its repeats, so every judge has the same weight; a story that a judge did
    not rate, or flagged, has no pooled rating. out: path of the pooled ratings.jsonl. Raises ConfigError for fewer than two judges, and
    where no story is rated by all.
    """
    files = need_list(files, "files", "path")
    check_output(out, "ts-eval/rating", files)
    places = [Path(path) for path in files]
    if len(set(map(os.path.realpath, places))) < len(places):
        raise ConfigError("files: one is named twice; a panel needs different judges.")
    alike = len({place.name for place in places}) < len(places)
    read = [(_by_text(ratings), str(place) if alike else place.name) for place in places for ratings in read_raters(place)]
    judges = [judge for judge, _ in read]
    if len(judges) < 2:
        raise ConfigError("files: a panel needs the ratings of at least two judges or raters.")
    common = [text for text in judges[0] if all(text in judge for judge in judges)]
    if not common:
        raise ConfigError(f"{', '.join(map(str, files))}: no story is rated by all judges. Rate the same stories with each.")
    scores = np.array(
        [[np.mean([r.scores.as_list() for r in judge[text] if r.scores], axis=0) for judge in judges] for text in common]
    )
    names = [f"{next(iter(judge.values()))[0].judge} ({file})" for judge, file in read]
    pooled = [_pooled(i, judges[0][text][0], names, scores[i]) for i, text in enumerate(common)]
    report = PanelReport(
        judges=tuple(names), stories=len(common), left_out=len(set().union(*judges)) - len(common),
        alpha={
            c: point(len(common), SOME, partial(krippendorff_alpha, scores[:, :, k]), "the ratings do not vary")
            for k, c in enumerate(CATEGORIES)
        },
        pairs={
            f"{names[i]} and {names[j]}": {c: compare(scores[:, i, k], scores[:, j, k]) for k, c in enumerate(CATEGORIES)}
            for i, j in combinations(range(len(names)), 2)
        },
        means={name: {c: round(float(scores[:, i, k].mean()), 4) for k, c in enumerate(CATEGORIES)} for i, name in enumerate(names)},
    )  # fmt: skip
    if out is not None:
        write_ratings(out, pooled)
    return report


def _by_text(ratings: Sequence[Rating]) -> dict[str, list[Rating]]:
    """Text → the usable ratings of its repeats."""
    found: dict[str, list[Rating]] = {}
    for rating in usable(ratings):
        found.setdefault(rating.text, []).append(rating)
    return found


def _pooled(number: int, first: Rating, names: Sequence[str], scores: NDArray[Any]) -> Rating:
    mean: Mapping[str, float] = {c: round(float(v), 4) for c, v in zip(CATEGORIES, scores.mean(axis=0), strict=True)}
    key = hashlib.sha256("\0".join([*names, first.text]).encode("utf-8", "surrogatepass")).hexdigest()
    return Rating(
        story=number, text=first.text, source=first.source, mode="estimated", scores=Scores(**mean), judge=f"panel of {len(names)}",
        prompt="; ".join(names), attempts=0, key=key,
    )  # fmt: skip

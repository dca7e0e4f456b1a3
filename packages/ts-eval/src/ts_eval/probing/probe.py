"""`probe`: scores the sentences of the minimal pairs by their log-probability, and writes probe.json and probe.html."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from ts_data.artefact import write_model, write_text

from ..checks import Progress, StrPath, need_count, need_list, need_path
from ..errors import ConfigError
from ..models import ModelAdapter, open_models, several
from ..models.checked import score
from ..ngrams import Trigrams
from ..places import check_pages, writing
from ..schemas import ProbeModel, ProbePhenomenon, ProbeReport, ProbeScore
from ..splits import open_splits
from ..stats import wilson
from .checkpoints import read_checkpoints
from .grammar import Pair, Phenomenon, draw_pairs, phenomena, tokens
from .shared import differences

EQUAL = 1e-9
"""Log-probabilities that differ by less are a tie: the sums of the same numbers in another order."""
BATCH = 10_000
"""Pairs scored per progress update."""


def probe(
    models: Any,
    *,
    data: StrPath | None = None,
    checkpoints: StrPath | None = None,
    pairs: int = 200,
    only: Sequence[str] = (),
    seed: int = 1,
    names: Sequence[str] | None = None,
    out: StrPath | None = None,
    progress: Progress | None = None,
) -> ProbeReport:
    """Accuracy of each model on minimal pairs: the share whose right sentence it finds likelier, a tie counted as half.

    models: what `open_model` takes, or a list of them. data: splits/ whose training stories the n-gram adversaries are fitted on.
    checkpoints: a run folder whose checkpoints are scored too. only: names or groups of phenomena. names: names of the models, in order.
    out: folder of probe.json and probe.html. Raises ConfigError for a model without log-probabilities.
    """
    need_count(pairs, "pairs", least=2)
    run = None if checkpoints is None else need_path(checkpoints, "checkpoints")
    if out is not None:
        check_pages(need_path(out, "out"), "probe", [*several(models), data, run])
    drawn = {p.name: draw_pairs(p, pairs, seed) for p in _chosen(need_list(only, "only"))}
    texts = list(dict.fromkeys(text for some in drawn.values() for pair in some for text in (pair.good, pair.bad)))
    with writing(None if out is None else Path(out) / "probe.json"):
        described, stories = _described(drawn, texts, data, progress)

        def rated(adapter: ModelAdapter, **known: Any) -> ProbeModel:
            found = iter(_differences(adapter, [pair for some in drawn.values() for pair in some], progress))
            return _model(adapter.name, {name: _score(list(islice(found, len(some)))) for name, some in drawn.items()}, known)

        report = ProbeReport(
            seed=seed,
            train_stories=stories,
            phenomena=described,
            models=tuple(rated(adapter, parameters=adapter.parameters) for adapter in open_models(models, names)),
            acquisition=()
            if run is None
            else tuple(rated(model, step=step, tokens=seen) for step, seen, model in read_checkpoints(run)),
            notes=_notes(described),
        )
        if out is not None:
            from .page import page

            write_model(Path(out) / "probe.json", report)
            write_text(Path(out) / "probe.html", page(report))
    return report


class NGrams(Trigrams):
    """Unigram and trigram model of stories, over the words of the pairs.

    These adversaries know no grammar: a phenomenon where one of them, or the length of a sentence, scores above chance can be solved
    without what the phenomenon is about.
    """

    def __init__(self, stories: Iterable[str], texts: Sequence[str]) -> None:
        super().__init__(map(tokens, stories), sorted({word for text in texts for word in tokens(text)}))

    def unigram(self, text: str) -> float:
        """Natural log-probability of the words, each by itself."""
        return math.fsum(math.log(self.share(word)) for word in self.ids(tokens(text)))

    def trigram(self, text: str) -> float:
        """Natural log-probability of the sentence as a whole story."""
        return math.fsum(self.logprobs(tokens(text)))


def accuracy(pairs: Iterable[Pair], likelihood: Callable[[str], float]) -> ProbeScore:
    """Share of pairs whose right sentence is likelier, ties as half, with Wilson's interval."""
    return _score([likelihood(pair.good) - likelihood(pair.bad) for pair in pairs])


def _score(differences: Sequence[float]) -> ProbeScore:
    values = np.asarray(differences)
    ties = int((np.abs(values) <= EQUAL).sum())
    found = wilson(float((values > EQUAL).sum() + ties / 2), len(values))
    return ProbeScore(accuracy=found["share"], low=found["low"], high=found["high"], ties=ties)


def _chosen(only: Sequence[str]) -> list[Phenomenon]:
    """The phenomena named by `only`, by name or group; all without."""
    known = phenomena()
    names = {*known, *(p.group for p in known.values())}
    for name in only:
        if name not in names:
            raise ConfigError(f"only: there is no phenomenon {name!r}. Take one of {', '.join(known)}, or a group.")
    return [p for p in known.values() if not only or p.name in only or p.group in only]


def _described(
    drawn: Mapping[str, Sequence[Pair]], texts: Sequence[str], data: StrPath | None, progress: Progress | None
) -> tuple[tuple[ProbePhenomenon, ...], int | None]:
    """Each phenomenon with the accuracies of the adversaries, and the number of training stories they saw."""
    scores: dict[str, Callable[[str], float]] = {"length": lambda text: -float(len(text))}
    stories = None
    if data is not None:
        train = open_splits(data).train
        stories = len(train)
        if progress is not None:
            progress("n-gram adversaries", 0, stories)
        ngrams = NGrams(train, texts)
        scores |= {"unigram": ngrams.unigram, "trigram": ngrams.trigram}
    known = phenomena()
    described = tuple(
        ProbePhenomenon(
            name=name, title=known[name].title, group=known[name].group, pairs=len(some), local=known[name].local,
            good=some[0].good, bad=some[0].bad,
            adversaries={who: accuracy(some, function).accuracy for who, function in scores.items()},
        )
        for name, some in drawn.items()
    )  # fmt: skip
    return described, stories


def _differences(adapter: ModelAdapter, pairs: Sequence[Pair], progress: Progress | None) -> list[float]:
    """Log-probability of each right sentence minus that of its wrong one, both as whole stories."""
    made: list[float] = []
    for at in range(0, len(pairs), BATCH):
        if progress is not None:
            progress(f"{adapter.name}: pairs", at, len(pairs))
        made += _batch(adapter, pairs[at : at + BATCH])
    if progress is not None:
        progress(f"{adapter.name}: pairs", len(pairs), len(pairs))
    return made


def _batch(adapter: ModelAdapter, pairs: Sequence[Pair]) -> list[float]:
    texts = [text for pair in pairs for text in (pair.good, pair.bad)]
    lm = getattr(adapter, "lm", None)
    if lm is not None and adapter.encoder is not None:  # without the bits of case and blanks, which cost more than the model
        ids = [tuple(int(i) for i in story) for story in adapter.encoder.encode_batch(texts, add_special_tokens=True)]
        limit = lm.config.context_limit
        if limit is None or max(map(len, ids)) <= limit:
            return [float(value) for value in differences(lm.model, list(zip(ids[0::2], ids[1::2], strict=True)))]
    scored = score(adapter, texts)
    if scored is None:
        raise ConfigError(f"{adapter.name}: gives no log-probabilities, so it cannot be probed.")
    sums = [float(values.sum(dtype="f8")) for values in scored.logprobs]
    return [good - bad for good, bad in zip(sums[0::2], sums[1::2], strict=True)]


def _model(name: str, scores: dict[str, ProbeScore], known: Mapping[str, Any]) -> ProbeModel:
    groups: dict[str, list[float]] = {}
    for phenomenon, found in scores.items():
        groups.setdefault(phenomena()[phenomenon].group, []).append(found.accuracy)
    return ProbeModel(
        name=name, accuracy=round(fmean(s.accuracy for s in scores.values()), 4), scores=scores,
        groups={group: round(fmean(values), 4) for group, values in groups.items()}, **known,
    )  # fmt: skip


def _notes(described: Sequence[ProbePhenomenon]) -> tuple[str, ...]:
    """Sentences about phenomena that an adversary solves."""
    return tuple(
        f"{p.name}: {who} scores {value:.0%}, so a model may solve it without what it is about"
        for p in described
        for who, value in p.adversaries.items()
        if not p.local and abs(value - 0.5) > 0.02
    )

"""The verdict on a model: a few sentences with their numbers, each read against a reference measured in the same run.

References: n-gram models on the same tokens, reference models on the first of the stories, and the real held-out stories, which say what is
reached by chance. A difference counts only where the 95 % intervals do not explain it.
"""

import math
from collections.abc import Iterator, Sequence
from functools import partial

from ..schemas import BaselineScore, Estimate, Finding, ModelReport, Verdict
from ..schemas.report import REFERENCE_STORIES
from ..stats import FEWEST

HALF = 0.5
"""Share of a story in one run of words from which the story counts as copied."""
COPIES = 0.1
"""Share of copied stories from which a model counts as copying."""
BEYOND = 1.5
"""Longest run of any unseen real story, times this: a longer run that is most of a story is no chance, even in one story."""
RECALLS = 0.2
"""Cosine by which endings of training prompts exceed those of new prompts in a model that has memorised."""
LIKELY = 1.5
"""Likeness to the true endings, in that of other stories' endings, from which too wide an interval is no sign of ignored prompts."""
ODD = 0.25
"""Share of the bits per word of real stories by which a model's must differ to count as odd, beside exceeding the intervals."""


def judge_model(
    model: ModelReport,
    real: ModelReport,
    baselines: Sequence[BaselineScore],
    others: Sequence[ModelReport],
    *,
    estimated: bool = False,
) -> Verdict:
    """The findings that the measured numbers allow, and a headline of their outcomes.

    `others`: the other models of the report. `estimated`: the ratings are the feature judge's; nobody rated.
    """
    measured, real = _of_several(model), _of_several(real)
    silent = _silent(measured)
    questions = (_prompts, _copying, _diversity, partial(_rating, estimated)) if silent is None else ()
    likely = {key: e for key, e in measured.metrics.items() if key.startswith("perplexity.")}  # the rest is of its prompts
    told = measured if silent is None else measured.model_copy(update={"metrics": likely})
    language = _language(told, real, baselines, others)
    found = [finding for finding in (language, silent, *(ask(measured, real) for ask in questions)) if finding is not None]
    outcomes = [finding.outcome for finding in found]
    elsewhere = model.provenance is not None and model.provenance.checked == "story hashes"
    subject = f"{model.name} (trained on other stories)" if elsewhere else model.name
    nothing = (
        "so few stories allow no verdict" if model.metrics != measured.metrics else "nothing was measured that allows a verdict"
    )
    return Verdict(model=model.name, headline=f"{subject}: {', '.join(outcomes) or nothing}.", findings=tuple(found))


def _of_several(row: ModelReport) -> ModelReport:
    """The row without numbers whose spread is not known, of one story or of few equal ones: any difference would count."""
    metrics, ratings = ({key: e for key, e in found.items() if _spread_known(e)} for found in (row.metrics, row.ratings))
    return row.model_copy(update={"metrics": metrics, "ratings": ratings})


def _spread_known(e: Estimate) -> bool:
    return e.n > 1 and (e.n >= FEWEST or e.low is None or e.low != e.high)


# --- one question each -------------------------------------------------------------------------


def _language(
    model: ModelReport, real: ModelReport, baselines: Sequence[BaselineScore], others: Sequence[ModelReport]
) -> Finding | None:
    """Whether it models the text: bits per byte (else loss) against n-gram models; without probabilities, the order of its words."""
    own = model.metrics.get("perplexity.test.bits_per_byte")
    key, unit = "perplexity.test.bits_per_byte", "bits per byte"
    if own is None or own.mean is None:
        key, unit = "perplexity.test.loss", "nats per token"
        own = model.metrics.get(key)
    order = _order(model, real)
    references = dict(_references(model, baselines, others, bits=unit == "bits per byte"))
    if own is None or own.mean is None or "unigram" not in references:
        return _word_order(model, real, order)
    pair = references.get("bigram Kneser-Ney", math.inf)
    side = compare_to(own, references["unigram"])
    if side > 0:
        outcome, text = "predicts worse than counting words", "It predicts these stories worse than the frequencies of words do"
    elif side == 0:
        outcome, text = "predicts no better than counting words", "It knows how frequent words are, and no more"
    elif compare_to(own, pair) >= 0:
        outcome, text = "predicts no better than counting word pairs", "It knows which words follow each other, and no more"
    else:
        outcome, text = "models the text", "It models the text"
    if side < 0 and order > 0:
        link = "but" if outcome == "models the text" else "and"
        outcome, text = (
            f"{outcome} {link} writes words in an odd order",
            f"{text}, {link} its own stories have words in an odd order",
        )
    known = {"unigram": "single words", "bigram Kneser-Ney": "word pairs (Kneser–Ney)"}
    rest = [f"{known.get(name, name)} {_n(value)}" for name, value in references.items() if name != "bigram add-one"]
    text = f"{text}: {with_interval(own)} {unit} on new stories; {', '.join(rest)}."
    return Finding(topic="language", outcome=outcome, text=text, evidence=(key,), section="loss", references=references)


def _references(
    model: ModelReport, baselines: Sequence[BaselineScore], others: Sequence[ModelReport], *, bits: bool
) -> Iterator[tuple[str, float]]:
    """(name, score) of what the model is compared with: n-gram models on its tokens, then, in bits per byte, other models."""
    same = [b for b in baselines if b.kind == "n-gram" and (b.model == model.name or bits)]
    own = [b for b in same if b.model == model.name] or same  # models of one vocabulary share their n-gram models
    for b in own:
        if (score := b.bits_per_byte if bits else b.loss) is not None and math.isfinite(score):
            yield b.name, score
    if not bits:
        return
    for b in baselines:
        if b.kind == "model" and b.bits_per_byte is not None and b.name != model.name:
            yield f"the {b.name} model (up to {REFERENCE_STORIES} stories)", b.bits_per_byte
    scored = [(m.name, e.mean) for m in others if (e := m.metrics.get("perplexity.test.bits_per_byte")) and e.mean is not None]
    yield from sorted(scored, key=lambda pair: pair[1])[:2]


def _order(model: ModelReport, real: ModelReport) -> int:
    """1: the words follow each other in an odd order; -1: far more predictably than in real stories; 0: neither."""
    own, there = (row.metrics.get("texts.test.bigram_bits") for row in (model, real))
    return compare(own, there, least=ODD * there.mean if there is not None and there.mean is not None else 0.0)


def _word_order(model: ModelReport, real: ModelReport, order: int) -> Finding | None:
    own, there = (row.metrics.get("texts.test.bigram_bits") for row in (model, real))
    if own is None or own.mean is None or there is None or there.mean is None or (not order and _half(own) > ODD * there.mean):
        return None
    outcome, text = {
        1: ("writes words in an odd order", "Its words follow each other in an odd order"),
        0: ("writes words in the order of real stories", "Its words follow each other as in real stories"),
        -1: ("writes very predictable text", "Its text is far more predictable than real stories"),
    }[order]
    text += f": {with_interval(own)} bits per word under a bigram model; real stories {_n(there.mean)}."
    return Finding(topic="language", outcome=outcome, text=text, evidence=("texts.test.bigram_bits",), section="texts")


def _silent(model: ModelReport) -> Finding | None:
    """Whether it ends at once: what is measured of its stories is then measured of their prompts."""
    written = [*(bool(c.completion.strip()) for c in model.completions), *(story.written for story in model.stories)]
    empty = written.count(False)
    if not empty or empty < HALF * len(written):
        return None
    outcome = "writes nothing" if empty == len(written) else "mostly writes nothing"
    text = f"It {outcome}: {empty:,} of {len(written):,} completions are empty, so nothing else is said of its stories."
    evidence = tuple(
        key for key in ("memorisation.test.cosine", "texts.test.words", "overfitting.test.span_words") if key in model.metrics
    )
    return Finding(topic="prompts", outcome=outcome, text=text, evidence=evidence, section="memorisation")


def _prompts(model: ModelReport, real: ModelReport) -> Finding | None:
    """Whether its endings fit their beginnings better than the endings of other stories do."""
    key = "memorisation.test.cosine"
    own, floor = model.metrics.get(key), real.metrics.get(key)
    if own is None or own.mean is None or floor is None or floor.mean is None:
        return None
    outcome = "follows its prompts" if compare(own, floor) > 0 else "ignores its prompts"
    if outcome.startswith("ignores") and own.mean > LIKELY * floor.mean:
        outcome = "may follow its prompts, which more stories would tell"
    text = f"It {outcome}: likeness to the true ending {with_interval(own)}, endings of other stories {with_interval(floor)}."
    return Finding(topic="prompts", outcome=outcome, text=text, evidence=(key,), section="memorisation")


def _copying(model: ModelReport, real: ModelReport) -> Finding | None:
    """Whether it copies: longest runs and closest stories against what unseen real stories reach, and recall of training endings."""
    key, near = "overfitting.test.span_words", "overfitting.test.max_cosine"
    own, chance = model.metrics.get(key), real.metrics.get(key)
    if own is None or own.mean is None or chance is None or chance.mean is None:
        return None
    copied, alone = _copied(model), _copied(real)
    longest = max((x for x in real.values.get(key, ()) if x is not None), default=math.inf)
    unlike = 0.0 if alone else _copied(model, above=BEYOND * longest)
    longer, closer = compare(own, chance), compare(model.metrics.get(near), real.metrics.get(near))
    seen, new = (model.metrics.get(f"memorisation.{split}.cosine") for split in ("train", "test"))
    evidence = [key, near]
    span = f"longest run shared with training {with_interval(own)} words, unseen real stories {with_interval(chance)}"
    if (longer > 0 and copied - alone >= COPIES) or unlike >= COPIES:
        outcome = "copies training stories"
        text = f"It copies: {copied:.0%} of its stories are mostly one run from a training story; {span}."
    elif unlike:
        outcome = "copies a few training stories"
        text = f"It copies few: {unlike:.1%} of its stories are mostly one run from a training story; {span}."
    elif closer > 0 and longer <= 0 and _order(model, real) > 0:
        outcome = "takes its words from training stories"
        text = f"It takes the words of training stories, but not their order: closest story {_short(model, near)} against {_short(real, near)}; {span}."
    elif longer > 0 or closer > 0:
        alike = compare(model.metrics.get("texts.test.self_bleu"), real.metrics.get("texts.test.self_bleu")) > 0
        outcome, start = "is closer to its training stories than chance", "It is closer to its training stories than chance"
        if closer < 0:
            outcome, start = "shares long runs with training stories", "It shares longer runs with training stories than chance"
        elif alike:
            outcome = "is close to its training stories without copying them"
            start = "It is closer to its training stories than chance, as bland stories are, and does not copy them"
        text = f"{start}: {span}; closest story {_short(model, near)} against {_short(real, near)}."
    else:
        outcome = "does not copy"
        text = f"It does not copy: {span}; closest story {_short(model, near)} against {_short(real, near)}."
    if compare(seen, new, least=RECALLS) > 0 and seen is not None and new is not None:
        outcome = "has memorised its training stories"
        text = (
            f"It has memorised its training stories: endings of training prompts are {_n(seen.mean)} like the true ones, "
            f"of new prompts {_n(new.mean)} (cosine); {span}."
        )
        evidence = ["memorisation.train.cosine", "memorisation.test.cosine", *evidence]
    return Finding(topic="copying", outcome=outcome, text=text, evidence=tuple(evidence), section="memorisation")


def _copied(row: ModelReport, above: float = 0.0) -> float:
    """Share of the stories that are mostly one run of words from a training story, of more than `above` words."""
    shares, words = (row.values.get(f"overfitting.test.{name}", ()) for name in ("span_share", "span_words"))
    runs = [(x, n) for x, n in zip(shares, words, strict=True) if x is not None and n is not None]
    return sum(x >= HALF and n > above for x, n in runs) / len(runs) if runs else 0.0


def _diversity(model: ModelReport, real: ModelReport) -> Finding | None:
    """Whether its stories are as different from each other as real stories are."""
    key, distinct = "texts.test.self_bleu", "texts.test.distinct2"
    own, there = model.metrics.get(key), real.metrics.get(key)
    if own is None or own.mean is None or there is None or there.mean is None:
        return None
    outcome, start = {
        1: ("is bland", "It is bland: its stories are more alike than real ones"),
        0: ("is as varied as real stories", "Its stories are as varied as real ones"),
        -1: ("is more scattered than real stories", "Its stories are more scattered than real ones"),
    }[compare(own, there)]
    text = f"{start}: self-BLEU {with_interval(own)} against {_n(there.mean)}, distinct word pairs {_short(model, distinct)} against {_short(real, distinct)}."
    return Finding(topic="diversity", outcome=outcome, text=text, evidence=(key, distinct), section="texts")


def _rating(estimated: bool, model: ModelReport, real: ModelReport) -> Finding | None:
    """How its stories read, in a judge's mean over the categories."""
    own, there = model.ratings.get("overall"), real.ratings.get("overall")
    if own is None or own.mean is None:
        return None
    beside = "" if there is None or there.mean is None else f"; real stories {_n(there.mean)}"
    rated, by = ("estimated at", " by their features") if estimated else ("rated", "")
    text = f"Its stories are {rated} {with_interval(own)} out of 10{by}{beside}."
    outcome = f"{rated} {own.mean:.1f} out of 10"
    return Finding(topic="rating", outcome=outcome, text=text, evidence=("overall",), section="ratings")


# --- comparing ---------------------------------------------------------------------------------


def compare(a: Estimate | None, b: Estimate | None, *, least: float = 0.0) -> int:
    """1 if a is above b, -1 if below, 0 if the two 95 % intervals explain the difference or it is at most `least`."""
    if a is None or b is None or a.mean is None or b.mean is None:
        return 0
    difference = a.mean - b.mean
    width = math.hypot(_half(a), _half(b))
    return 0 if abs(difference) <= max(width, least, 1e-12) else 1 if difference > 0 else -1


def compare_to(a: Estimate, value: float) -> int:
    """The same against a number without an interval."""
    return compare(a, Estimate(mean=min(value, 1e300), n=1))


def _half(e: Estimate) -> float:
    return 0.0 if e.low is None or e.high is None else (e.high - e.low) / 2


def with_interval(e: Estimate) -> str:
    """`0.81 (0.80–0.82)`."""
    return _n(e.mean) if e.low is None or e.high is None else f"{_n(e.mean)} ({_n(e.low)}–{_n(e.high)})"


def _short(row: ModelReport, key: str) -> str:
    e = row.metrics.get(key)
    return "–" if e is None else _n(e.mean)


def _n(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"

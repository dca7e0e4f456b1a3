"""`compare_stories`: which of two stories is better, asked in both orders.

A comparison is a rating of a text of two stories, from 1 (the first is much better) to 10 (the second is), so store, budget, retries and
flags are those of `judge_stories`. A judge that prefers a place contradicts itself in the other order: such a pair is a tie.
"""

from collections.abc import Callable, Iterable, Sequence
from statistics import fmean

from ..checks import Progress, StrPath
from ..errors import ConfigError
from ..places import check_output
from ..schemas import CATEGORIES, Category, JudgeConfig, PairSummary
from ..stats import wilson
from .backends import backend_class
from .budget import Estimate, told_apart
from .files import Story, read_stories
from .judge import JudgeRun, estimate_cost, judge_stories
from .summary import scores_by_story, usable

Stories = StrPath | Iterable[str | Story]

_MIDDLE = 5.5
"""Between 1 and 10: neither story is better."""


def compare_stories(
    first: Stories,
    second: Stories,
    config: JudgeConfig | None = None,
    *,
    out: StrPath | None = None,
    store: StrPath | None = None,
    progress: Progress | None = None,
    announce: Callable[[Estimate], object] | None = None,
) -> PairSummary:
    """Compare story i of `first` with story i of `second`, in both orders; as many stories on both sides, best from the same prompts.

    Options as in `judge_stories`. `out` gets the ratings of all pairs. A flagged or unrated pair is not compared.
    """
    pairs, options = _prepared(first, second, config, out, store)
    run = judge_stories(
        pairs, options, out=out, store=store, progress=progress,
        announce=None if announce is None else lambda e: announce(told_apart(e, len(pairs) // 2)),
    )  # fmt: skip
    return _summary(run, pairs)


def comparison_cost(
    first: Stories,
    second: Stories,
    config: JudgeConfig | None = None,
    *,
    out: StrPath | None = None,
    store: StrPath | None = None,
) -> Estimate:
    """What `compare_stories` would still cost, and which win rates it can tell from one half."""
    pairs, options = _prepared(first, second, config, out, store)
    return told_apart(estimate_cost(pairs, options, out=out, store=store), len(pairs) // 2)


def _prepared(
    first: Stories, second: Stories, config: JudgeConfig | None, out: StrPath | None, store: StrPath | None
) -> tuple[list[Story], JudgeConfig]:
    """The texts to rate, each pair in one order and then the other, and the settings for them."""
    config = config or JudgeConfig()
    check_output(out, "ts-eval/rating", [first, second], store=store)
    a, b = read_stories(first), read_stories(second)
    if len(a) != len(b):
        raise ConfigError(f"{len(a):,} stories against {len(b):,}: a comparison needs as many on both sides, pair by pair.")
    if backend_class(config.backend).mode == "estimated":
        raise ConfigError(f"backend {config.backend}: rates single stories only. Compare its ratings of both files.")
    changes = {
        "prompt": "pair" if config.prompt == "default" else config.prompt, "max_characters": 2 * config.max_characters,
        "anchors": False, "probe": "off",
    }  # fmt: skip
    names = _names(a, b)
    orders = [(names[0], list(zip(a, b, strict=True))), (names[1], list(zip(b, a, strict=True)))]
    texts = [[Story(_text(x, y), f"{name} first") for x, y in pairs] for name, pairs in orders]
    return [story for both in zip(*texts, strict=True) for story in both], config.model_copy(update=changes)


def _names(a: Sequence[Story], b: Sequence[Story]) -> tuple[str, str]:
    """The sides' names: their one source; `A` and `B` beside or instead of it where both have the same or one has several."""
    one, two = ("" if len(found := {story.source for story in side}) > 1 else found.pop() or "" for side in (a, b))
    if one == two:
        one, two = f"{one} (A)".strip(), f"{two} (B)".strip()
    return one or "A", two or "B"


def _text(first: Story, second: Story) -> str:
    """Both stories, each on one line, so that no story can contain the heading of another."""
    one, two = (" ".join(story.text.split()) for story in (first, second))
    return f"First story\n{one}\n\nSecond story\n{two}" if one and two else ""


def _summary(run: JudgeRun, pairs: Sequence[Story]) -> PairSummary:
    """The outcomes of the pairs that are rated in both orders."""
    found = scores_by_story(usable(run.ratings))
    both = [(found[i], found[i + 1]) for i in range(0, len(pairs), 2) if i in found and i + 1 in found]

    def sides(names: Sequence[Category]) -> list[list[int]]:
        return [[_side(fmean(getattr(s, c) for s in scores for c in names)) for scores in pair] for pair in both]

    overall = sides(CATEGORIES)
    outcomes = list(map(_outcome, overall))
    s, n = run.summary, len(both)
    names = [str(story.source).removesuffix(" first") for story in pairs[:2]]
    shown_first = sum((2 - x - y) / 4 for x, y in overall)
    return PairSummary.model_validate({
        "judge": s.judge, "prompt": s.prompt, "first": names[0], "second": names[1], "pairs": len(pairs) // 2, "compared": n,
        "wins": outcomes.count(1.0), "ties": outcomes.count(0.5), "losses": outcomes.count(0.0), "win_rate": wilson(sum(outcomes), n) if n else None,
        "first_shown": wilson(shown_first, n) if n else None,
        "agree": fmean(x == -y for x, y in overall) if n else None,
        "categories": {c: fmean(map(_outcome, sides([c]))) for c in CATEGORIES if n},
        "unscored": s.unscored, "flagged": s.flagged, "calls": s.calls, "prompt_tokens": s.prompt_tokens, "completion_tokens": s.completion_tokens,
        "cost": s.cost, "notes": s.notes,
    })  # fmt: skip


def _side(score: float) -> int:
    """-1: the story shown first is better; 1: the other; 0: neither."""
    return (score > _MIDDLE) - (score < _MIDDLE)


def _outcome(sides: Sequence[int]) -> float:
    """1.0 if story A is better in both orders, 0.0 if B is, 0.5 otherwise. `sides`: the side preferred when A is first, and second."""
    return {(-1, 1): 1.0, (1, -1): 0.0}.get((sides[0], sides[1]), 0.5)

"""Best of n: several stories for each prompt; the best and the worst by the feature judge or by the model's own likelihood."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from ..checks import Progress, StrPath, need_texts
from ..errors import ConfigError

if TYPE_CHECKING:
    from ts_models import LanguageModel
    from ts_models.generation.text import Story

_ROWS = 256
"""Stories that are generated at once."""


@dataclass(frozen=True)
class Ranked:
    """The best and the worst of the stories of one prompt, whole, with their scores."""

    prompt: str
    story: str
    score: float
    rejected: str
    rejected_score: float
    mean_score: float
    """Of all n stories: what one story alone can expect."""


def best_of(
    model: LanguageModel | StrPath,
    prompts: Sequence[str],
    n: int = 8,
    *,
    by: Literal["features", "likelihood"] = "features",
    reference: StrPath | None = None,
    seed: int = 1,
    progress: Progress | None = None,
    **options: Any,
) -> list[Ranked]:
    """Write `n` stories for each prompt and rank them; a prompt may be repeated and gives other stories each time.

    by: "features" is the mean of the feature judge's six estimated ratings; "likelihood" the model's own mean log-probability of the
        new tokens, which favours common and repetitive stories.
    reference: splits/ or a file of stories that the feature judge compares with; it estimates better with one.
    options: fields of `ts_models.GenerationConfig`; by default, samples at temperature 1, so that there is a choice.
    """
    import ts_models

    if n < 2:
        raise ConfigError(f"n is {n}; the best of at least 2 stories can be kept.")
    prompts = need_texts(prompts, "prompts")
    lm = ts_models.load(model) if isinstance(model, str | os.PathLike) else model
    score = _score(by, reference)
    drawing = {"method": "sample", "temperature": 1.0, **options, "num_return_sequences": n}
    size, found = max(1, _ROWS // n), []
    for start in range(0, len(prompts), size):
        stories = lm.write(list(prompts[start : start + size]), seed=seed + start, logprobs=by == "likelihood", **drawing)
        found += [_rank(stories[at : at + n], score) for at in range(0, len(stories), n)]
        if progress is not None:
            progress("write", min(start + size, len(prompts)), len(prompts))
    return found


def _score(by: str, reference: StrPath | None) -> Callable[[Story], float]:
    if by == "likelihood":
        return lambda story: sum(story.logprobs) / len(story.logprobs)
    if by != "features":
        raise ConfigError(f"by is {by!r}; stories are ranked by features or likelihood.")
    from .backends.features import feature_judge

    judge = feature_judge(reference)
    return lambda story: judge.mean(story.full_text)


def _rank(stories: Sequence[Story], score: Callable[[Story], float]) -> Ranked:
    scores = [score(story) for story in stories]
    key = [(bool(story.text.strip()), value) for story, value in zip(stories, scores, strict=True)]  # nothing written is worst
    best, worst = key.index(max(key)), key.index(min(key))
    return Ranked(
        stories[0].prompt, stories[best].full_text.strip(), scores[best],
        stories[worst].full_text.strip(), scores[worst], sum(scores) / len(scores),
    )  # fmt: skip


def write_ranked(path: StrPath, rows: Sequence[Ranked]) -> None:
    """JSON lines: every reader of stories reads the best ones, `ts-train prefer` the pairs."""
    from .files import write_lines

    write_lines(path, map(asdict, rows))

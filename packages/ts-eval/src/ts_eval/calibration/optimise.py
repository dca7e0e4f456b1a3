"""`optimise_prompt`: chooses a prompt on one half of the rated stories and reports on the other half."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ts_data.artefact import write_model

from ..checks import Progress, StrPath, need_count, need_instance, need_list
from ..errors import ConfigError
from ..judge.budget import Estimate, together
from ..judge.files import Story, read_stories
from ..judge.judge import JudgeRun, estimate_cost, judge_stories
from ..judge.prompt import label, load_prompt, reordered
from ..judge.summary import repeat_sd, story_means, usable
from ..places import check_output, writing
from ..schemas import JudgeConfig, PromptSearchReport, PromptTemplate, PromptTrial, Rating


def optimise_prompt(
    rated: StrPath,
    config: JudgeConfig,
    *,
    prompts: Sequence[str] = (),
    orders: int = 3,
    out: StrPath | None = None,
    store: StrPath | None = None,
    limit: int | None = None,
    progress: Progress | None = None,
    announce: Callable[[Estimate], object] | None = None,
) -> PromptSearchReport:
    """Choose a prompt by agreement with ratings, noise over repeats and parse rate.

    Candidates are `config.prompt` and `prompts`, each in its own order and in `orders` - 1 shuffled orders of examples and
    categories. The seed draws the halves. Noise needs `config.repeats` of at least 2. Raises ConfigError for fewer than 8
    rated stories.
    """
    need_instance(config, JudgeConfig, "config")
    prompts = need_list(prompts, "prompts")
    need_count(orders, "orders")
    if limit is not None:
        need_count(limit, "limit")
    if config.repeats < 2:
        raise ConfigError("repeats: at least 2 are needed, because noise is one criterion.")
    stories = [s for s in read_stories(rated) if s.ratings][:limit]
    if len(stories) < 8:
        raise ConfigError(
            f"{rated}: {len(stories)} rated stories; at least 8 are needed, half for the choice and half for the report."
        )
    place = store or (Path(out).parent / "judge.sqlite" if out is not None else None)
    inputs = [rated, config.prompt, *prompts, config.reference]
    check_output(out, "ts-eval/prompt-search", inputs, store=place)
    check_output(Path(out).with_suffix(".prompt.json") if out is not None else None, "ts-eval/prompt", inputs)
    random.Random(config.seed).shuffle(stories)
    tuning, reporting = stories[: len(stories) // 2], stories[len(stories) // 2 :]
    templates = candidates([config.prompt, *prompts], orders)
    runs: list[JudgeRun] = []
    # No rechecks: a story flagged under one prompt would be missing from its figures alone.
    settings = config.model_copy(update={"anchors": False, "probe": "off"})
    if announce is not None:
        halves = [*((t, tuning) for t in templates), *((t, reporting) for t in templates[:2])]
        announce(together(estimate_cost(half, settings, store=place, template=t) for t, half in halves))

    def rate(template: PromptTemplate, half: list[Story]) -> PromptTrial:
        run = judge_stories(half, settings, template=template, store=place, progress=progress)
        runs.append(run)
        return trial(label(template), half, run.ratings)

    with writing(out):
        trials = sorted((rate(t, tuning) for t in templates), key=lambda t: (t.score is None, t.score))
        if trials[0].score is None:
            reason = next((r.unscored for run in runs for r in run.ratings if r.unscored), "none was asked for")
            raise ConfigError(f"no candidate got a rating ({reason}); test the judge with `ts-eval judge` first.")
        chosen = next(t for t in templates if label(t) == trials[0].prompt)
        finals = [rate(t, reporting) for t in {label(t): t for t in (chosen, templates[0])}.values()]
        report = PromptSearchReport(
            judge=runs[0].summary.judge, mode=runs[0].summary.mode, seed=config.seed, chosen=label(chosen), tuning_stories=len(tuning),
            reporting_stories=len(reporting), tuning=tuple(trials), reporting=tuple(finals), calls=sum(r.summary.calls for r in runs),
            tokens=sum(r.summary.prompt_tokens + r.summary.completion_tokens for r in runs),
        )  # fmt: skip
        if out is not None:
            write_model(out, report)
            write_model(Path(out).with_suffix(".prompt.json"), chosen)
    return report


def candidates(prompts: Sequence[str], orders: int) -> list[PromptTemplate]:
    """Each prompt unchanged and in `orders` - 1 shuffled orders; the first is the one in use."""
    return [reordered(load_prompt(name), seed) for name in dict.fromkeys(prompts) for seed in range(orders)]


def trial(name: str, stories: Sequence[Story], ratings: Sequence[Rating]) -> PromptTrial:
    """A prompt's figures on rated stories: MAE of story means, noise over repeats, parse rate."""
    good = usable(ratings)
    errors = [np.abs(means - stories[i].reference).mean() for i, means in story_means(good).items()]
    spread = repeat_sd(good)
    noise = float(np.sqrt(np.mean([v**2 for v in spread.values()]))) if spread else None
    attempts = sum(r.attempts for r in ratings)
    parsed = sum(r.scores is not None for r in ratings) / attempts if attempts else 0.0
    mae = float(np.mean(errors)) if errors else None
    score = None if mae is None else mae + (noise or 0.0) / 2 + 5 * (1 - parsed)
    return PromptTrial(
        prompt=name, mae=_round(mae), noise=_round(noise), parse_rate=round(parsed, 4), rated=len(good), score=_round(score)
    )  # fmt: skip


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 4)

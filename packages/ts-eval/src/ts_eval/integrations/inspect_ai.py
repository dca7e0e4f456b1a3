"""The judge as a task of Inspect (extra `inspect`), and Inspect's logs as ratings.

    inspect eval ts_eval/rate_stories -T stories=report/stories.jsonl --model openai/gpt-4o

`read_log` gives the ratings of such a log; `ts_eval.read_ratings`, and so `ts-eval report --ratings`, `panel` and `calibrate`, read it from a file
named .eval. Flagged stories keep their flags there. Guards that ask again (leave one out) and the store are the judge's own and do not run here.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log import read_eval_log
from inspect_ai.model import ChatMessageSystem, ChatMessageUser, GenerateConfig
from inspect_ai.scorer import SampleScore, Score, Scorer, metric, scorer
from inspect_ai.solver import generate

from ..checks import StrPath
from ..judge.backends.parse import UnparsedError, parse_reply
from ..judge.files import Story, read_stories
from ..judge.guards import Guards, make_guards
from ..judge.guards.delimiters import new_nonce
from ..judge.prompt import label, load_prompt, render
from ..judge.store import sha256
from ..schemas import CATEGORIES, JudgeConfig, PromptTemplate, Rating, Scores


@task  # type: ignore[untyped-decorator]
def rate_stories(stories: str, prompt: str = "default") -> Task:
    """Rate a file of stories in six categories from 1 to 10, with the judge's prompt, delimiters, flags and parser."""
    config, template = JudgeConfig(prompt=prompt), load_prompt(prompt)
    guards = make_guards(config)
    samples = [_sample(i, story, template, guards) for i, story in enumerate(read_stories(stories)) if story.text.strip()]
    options = GenerateConfig(temperature=config.temperature, max_tokens=config.max_tokens)
    return Task(dataset=MemoryDataset(samples), solver=generate(), scorer=ratings(), config=options)


def _sample(number: int, story: Story, template: PromptTemplate, guards: Guards) -> Sample:
    system, user = render(template, story.text, new_nonce(), guards.wrap)
    about = {
        "story": number, "text": story.text, "source": story.source, "flags": list(guards.flags(story.text)),
        "prompt": label(template, guards.wrap),
    }  # fmt: skip
    messages = [ChatMessageSystem(content=system["content"]), ChatMessageUser(content=user["content"])]
    return Sample(id=number, input=messages, metadata=about)


@metric  # type: ignore[untyped-decorator]
def mean_rated() -> Any:
    """Mean over the replies that parse."""

    def compute(scores: Sequence[SampleScore]) -> float:
        found = [value for s in scores if not math.isnan(value := s.score.as_float())]
        return sum(found) / len(found) if found else math.nan

    return compute


@scorer(metrics={"*": [mean_rated()]})  # type: ignore[untyped-decorator]
def ratings() -> Scorer:
    """Six ratings; nan, and the reason, for a reply that does not parse."""

    async def score(state: Any, target: Any) -> Score:
        try:
            found = parse_reply(state.output.completion).model_dump()
        except UnparsedError as problem:
            return Score(value=dict.fromkeys(CATEGORIES, math.nan), explanation=f"the reply does not parse ({problem})")
        return Score(value={name: float(found[name]) for name in CATEGORIES})

    return score


def read_log(path: StrPath) -> list[Rating]:
    """The ratings of a log of `rate_stories`, in the order of stories and epochs."""
    log = read_eval_log(os.fspath(path))
    samples = sorted(log.samples or (), key=lambda sample: (sample.metadata["story"], sample.epoch))
    return [_rating(sample, log.eval.model) for sample in samples]


def _rating(sample: Any, model: str) -> Rating:
    about, found = sample.metadata, (sample.scores or {}).get("ratings")
    usage = list((sample.model_usage or {}).values())
    scores = None if found is None or any(map(math.isnan, found.value.values())) else Scores.model_validate(found.value)
    reason = "not scored" if found is None else found.explanation
    return Rating(
        story=about["story"], text=about["text"], source=about["source"], repeat=sample.epoch - 1, mode="sampled", flags=about["flags"],
        scores=scores, unscored=None if scores else reason, judge=model, prompt=about["prompt"],
        prompt_tokens=sum(u.input_tokens for u in usage), completion_tokens=sum(u.output_tokens for u in usage),
        key=sha256("\0".join([model, about["prompt"], about["text"], str(sample.epoch)])),
    )  # fmt: skip

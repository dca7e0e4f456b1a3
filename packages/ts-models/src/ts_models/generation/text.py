"""New ids → text: whole stories, or a stream of final pieces. Stop texts are cut off."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..protocols import Tokenizer
from .results import Hypothesis, Step
from .task import StopCheck


@dataclass(frozen=True, slots=True)
class Story:
    """One story and how it came about."""

    prompt: str
    text: str
    """What follows the prompt."""
    ids: list[int]
    """New ids, `<eos>` included where it was written."""
    finish: str
    """`eos`, `length` (max_new_tokens), `context` (the model's max_seq_len is full) or `stop`."""
    score: float
    """Beam methods: sum of log-probabilities / length ** length_penalty; else 0."""
    logprobs: list[float] = field(default_factory=list)
    """Natural log-probability of each new id under the model, on request."""
    alternatives: list[list[tuple[int, float]]] = field(default_factory=list)
    """The likeliest (id, log-probability) pairs at each new id, on request."""

    @property
    def full_text(self) -> str:
        """The prompt as it was given, and what follows it."""
        return self.prompt.rstrip() + self.text if self.text else self.prompt


@dataclass(frozen=True, slots=True)
class Event:
    """One new token of a streamed story."""

    id: int | None
    """None in the closing event, which holds the rest of the text."""
    text: str
    """Text that became final: may be empty or span several tokens."""
    logprob: float | None = None
    alternatives: list[tuple[int, float]] = field(default_factory=list)
    finish: str | None = None
    """In the closing event: why the story ended."""


def vocabulary_of(tokenizer: Tokenizer) -> list[str]:
    """All tokens in id order."""
    known = getattr(tokenizer, "vocab", None)
    if known is not None:
        return list(known)
    return [tokenizer.decode([number], skip_special_tokens=False) for number in range(tokenizer.vocab_size)]


def find_stop(text: str, stops: Sequence[str]) -> int | None:
    """Where the first of the stop texts begins, or None."""
    places = [place for stop in stops if (place := text.find(stop)) >= 0]
    return min(places, default=None)


def stop_check(tokenizer: Tokenizer, beginnings: Sequence[Sequence[int]], stops: Sequence[str]) -> StopCheck:
    """For the loop: whether a story's new text holds one of the stop texts."""
    return lambda prompt, new: find_stop(continuation(tokenizer, beginnings[prompt], new), stops) is not None


def continuation(tokenizer: Tokenizer, beginning: Sequence[int], new: Sequence[int]) -> str:
    """The text that `new` adds behind `beginning`: spacing and case as the tokenizer sets them in context."""
    before = tokenizer.decode(beginning)
    whole = tokenizer.decode([*beginning, *new])
    return whole[len(before) :] if whole.startswith(before) else " " + tokenizer.decode(new)


def make_story(tokenizer: Tokenizer, prompt: str, beginning: Sequence[int], found: Hypothesis, stops: Sequence[str]) -> Story:
    """A hypothesis as text, cut before a stop text."""
    text = continuation(tokenizer, beginning, found.ids)
    text = text if prompt else text.lstrip(" ")
    cut = find_stop(text, stops)
    text = text if cut is None else text[:cut].rstrip()
    return Story(prompt, text, found.ids, found.finish, found.score, found.logprobs, found.alternatives)


def stream_events(
    tokenizer: Tokenizer, prompt: str, beginning: Sequence[int], steps: Iterable[Any], stops: Sequence[str]
) -> Iterator[Event]:
    """Events for the steps of one sequence. Holds back text that may still become part of a stop text."""
    decoder = tokenizer.stream_decoder()
    shown = len(tokenizer.decode(beginning))
    start, whole = shown, "".join(decoder.push(number) for number in beginning)
    longest = max((len(stop) for stop in stops), default=1) - 1
    finish = "length"

    def certain(final: bool) -> str:
        nonlocal shown
        cut = find_stop(whole[start:], stops)
        end = len(whole) if final else max(len(whole) - longest, shown)
        if cut is not None:
            end = start + len(whole[start : start + cut].rstrip())
        piece = whole[shown:end] if prompt or shown > start else whole[shown:end].lstrip(" ")
        shown = max(shown, end)
        return piece

    for step in steps:
        if not isinstance(step, Step):
            finish = step[0][0].finish
            continue
        for place, number in enumerate(step.ids):
            whole += decoder.push(number)
            logprob = step.logprobs[place] if step.logprobs else None
            others = step.alternatives[place] if step.alternatives else []
            yield Event(number, certain(False), logprob, others)
    whole += decoder.finish()
    yield Event(None, certain(True), finish=finish)

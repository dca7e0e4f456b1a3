"""Required words: every story holds each of them and ends with `<eos>`, whatever the model and the method.

A draft is written freely. In it, each missing word has a likeliest place. The word whose place comes first is put there, and the
draft is written again from behind it; so every round fixes at least one word and keeps what stands before it. See `generate_required`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Unpack

import torch
from torch import Tensor

from ..errors import ConfigError
from ..protocols import Tokenizer
from ..registry import METHODS
from ..schemas import GenerationConfig
from .logits import generators, gumbel, warp
from .loop import Stepper, evaluating, generate_ids
from .results import Finish, Hypothesis
from .task import CallOptions, make_task
from .text import continuation


@dataclass(frozen=True)
class _Word:
    pattern: re.Pattern[str]
    """Finds the word in a text: whole, in any case, in any of its forms."""
    forms: list[list[int]]
    room: int
    """Most tokens that it takes, and one that parts it from what follows."""


@dataclass
class _Draft:
    prompt: list[int]
    limit: int
    """Most new tokens, `<eos>` included."""
    ids: list[int]
    fixed: int = 0
    """New tokens that stay: they end behind the last word that was put in."""


def generate_required(
    network: Any,
    tokenizer: Tokenizer,
    prompts: Sequence[Sequence[int]],
    config: GenerationConfig,
    *,
    stepper: Stepper | None = None,
    **options: Unpack[CallOptions],
) -> list[list[Hypothesis]]:
    """Like `generate_ids`, for a config with `require`; each new text holds all required words (the prompt does not count).

    1. A draft is written by the config's method, as without `require`.
    2. For each word that it lacks, the likeliest place is that where the model gives the first token of one of its forms the highest
       probability. Places lie behind the words put in before and in the first three quarters of the room, unless none is left there;
       enough room stays for the words to come. The word whose place comes first is put there.
    3. The token behind it is drawn by the method from those that leave the word whole and do not end the story. The rest is written
       anew by the method. Steps 2 and 3 are repeated until no word lacks.
    4. A draft that fills its room is cut at the likeliest place for `<eos>` behind the last word, and ended there.

    Raises:
        ConfigError: the vocabulary cannot write a word, or the words need more room than there is.
    """
    task = make_task(network, prompts, config, **options)
    writer = _Writer(network, tokenizer, config, stepper)
    for limit in task.limits:
        needed = sum(word.room for word in writer.words) + 1
        if needed > limit:
            raise ConfigError(f"generation: the required words need {needed} tokens, but a story has room for {limit}.")
    free = config.model_copy(update={"require": (), "truncate_prompt": False})
    found = generate_ids(network, task.prompts, free, stepper=stepper)
    drafts = [
        [_Draft(prompt, limit, list(one.ids)) for one in group]
        for prompt, limit, group in zip(task.prompts, task.limits, found, strict=True)
    ]
    writer.finish([draft for group in drafts for draft in group])

    def result(draft: _Draft) -> Hypothesis:
        finish: Finish = "eos" if draft.ids[-1] == task.eos_id else "length"
        if not task.watched and not METHODS[config.method].beams:
            return Hypothesis(draft.ids, finish=finish)
        rows = writer.logits(draft.prompt + draft.ids)[len(draft.prompt) - 1 : -1]
        tokens = torch.tensor(draft.ids, device=rows.device)
        total = rows.log_softmax(dim=-1).gather(1, tokens[:, None]).double().sum().item()
        score = total / len(draft.ids) ** config.length_penalty if METHODS[config.method].beams else 0.0
        return Hypothesis(draft.ids, *task.watch(rows, tokens), score, finish)

    results = [[result(draft) for draft in group] for group in drafts]
    return [sorted(group, key=lambda one: -one.score) for group in results]


class _Writer:
    """Puts words into drafts and writes them anew."""

    def __init__(self, network: Any, tokenizer: Tokenizer, config: GenerationConfig, stepper: Stepper | None) -> None:
        self.network, self.tokenizer, self.config, self.stepper = network, tokenizer, config, stepper
        self.words = [_read_word(word, tokenizer, config.inflections) for word in config.require]
        self.eos = network.config.eos_id
        self.never = sorted({*network.config.banned_ids, self.eos} - {-1})

    def finish(self, drafts: list[_Draft]) -> None:
        """Bring all required words into the drafts, and end each."""
        while True:
            for draft in drafts:
                if self.eos >= 0 and draft.ids[-1] != self.eos and len(draft.ids) == draft.limit:
                    draft.ids.pop()  # room for <eos>
            lacking = [draft for draft in drafts if self.missing(draft)]
            if not lacking:
                break
            for draft in lacking:
                self.insert(draft)
            self.rewrite(lacking)
        for draft in drafts:
            self.end(draft)

    def text(self, draft: _Draft, ids: list[int]) -> str:
        return continuation(self.tokenizer, draft.prompt, ids)

    def missing(self, draft: _Draft, length: int | None = None) -> list[_Word]:
        """The words that the first `length` new tokens lack."""
        text = self.text(draft, draft.ids[:length])
        return [word for word in self.words if not word.pattern.search(text)]

    def logits(self, ids: list[int]) -> Tensor:
        """The network's logits `[time, vocab]`."""
        with evaluating(self.network):
            found: Tensor = self.network(torch.tensor([ids], device=self.network.device))[0].float()
        return found

    def insert(self, draft: _Draft) -> None:
        """Put the word in whose likeliest place comes first, and one token behind it."""
        ahead = sum(word.room for word in self.missing(draft, draft.fixed))
        written = len(draft.ids) - (draft.ids[-1] == self.eos)
        last = max(draft.fixed, min(written, draft.limit - 1 - ahead, 3 * draft.limit // 4))
        before = draft.prompt + draft.ids[:last]
        scores = self.logits(before)[len(draft.prompt) - 1 + draft.fixed :].log_softmax(dim=-1)
        places = []
        for word in self.missing(draft):
            firsts = scores[:, [form[0] for form in word.forms]]
            place, form = divmod(int(firsts.argmax()), len(word.forms))
            places.append((place, -float(firsts[place, form]), word, word.forms[form]))
        place, _, word, form_ids = min(places, key=lambda found: found[:2])
        draft.ids = draft.ids[: draft.fixed + place] + form_ids
        draft.ids.append(self.follow(draft, word))
        draft.fixed = len(draft.ids)

    def follow(self, draft: _Draft, word: _Word) -> int:
        """A token behind a word that was put in: the first, in the order that the method draws, that leaves it whole."""
        logits = self.logits(draft.prompt + draft.ids)[-1:].clone()
        logits[:, self.never] = -torch.inf
        order = logits
        if METHODS[self.config.method].draws:
            order = warp(logits, self.config).log_softmax(dim=-1)
            order = order + gumbel(generators([draft.prompt + draft.ids], 1, self.config.seed), order.shape[1]).to(order)
            order = torch.where(order == -torch.inf, logits - 1e9, order)  # what the filters leave out comes last
        for token in order[0].argsort(descending=True).tolist():
            if word.pattern.search(self.text(draft, [*draft.ids, token])):
                return int(token)
        raise ConfigError(f"generation: the tokenizer cannot write {word.pattern.pattern!r} as a word of its own.")

    def rewrite(self, drafts: list[_Draft]) -> None:
        """Write the drafts anew behind what is fixed."""
        beams = METHODS[self.config.method].beams

        def alike(draft: _Draft) -> tuple[int, int]:
            # A limit that is too large does not change samples, which are cut; beams compete within it.
            return max(0, self.config.min_new_tokens - draft.fixed), draft.limit - draft.fixed if beams else 0

        for (least, _), rows in groupby(sorted(drafts, key=alike), alike):
            group = list(rows)
            most = max(draft.limit - draft.fixed for draft in group)
            changes = {"require": (), "truncate_prompt": False, "num_return_sequences": 1}
            config = self.config.model_copy(update=changes | {"max_new_tokens": most, "min_new_tokens": least})
            found = generate_ids(
                self.network, [draft.prompt + draft.ids[: draft.fixed] for draft in group], config, stepper=self.stepper
            )
            for draft, (best, *_) in zip(group, found, strict=True):
                draft.ids = (draft.ids[: draft.fixed] + best.ids)[: draft.limit]

    def end(self, draft: _Draft) -> None:
        """Cut a draft without `<eos>` at the likeliest place for it behind all required words."""
        if self.eos < 0 or draft.ids[-1] == self.eos:
            return
        start = min(max(draft.fixed, self.config.min_new_tokens), len(draft.ids))
        scores = self.logits(draft.prompt + draft.ids).log_softmax(dim=-1)[len(draft.prompt) - 1 + start :, self.eos]
        order = (scores.argsort(descending=True) + start).tolist()
        draft.ids = [*draft.ids[: next(length for length in order if not self.missing(draft, length))], self.eos]


def _read_word(required: str, tokenizer: Tokenizer, inflected: bool) -> _Word:
    """A required word with its forms: alternatives are parted by `|`."""
    forms = [form.strip() for form in required.split("|")]
    forms += [more for form in forms if inflected for more in inflections(form)]
    before = tokenizer.encode("a")
    ids = [tokenizer.encode(f"a {form}")[len(before) :] for form in forms]
    written = [found for found in ids if found and tokenizer.unk_id not in found]
    if not written:
        raise ConfigError(f"generation: the vocabulary lacks the required word {required!r}; choose another.")
    pattern = "|".join(map(re.escape, forms))
    return _Word(re.compile(rf"(?<!\w)(?:{pattern})(?!\w)", re.IGNORECASE), written, max(map(len, written)) + 1)


def inflections(word: str) -> list[str]:
    """Regular inflected forms of a word, and some that do not exist.

    >>> inflections("play")
    ['plays', 'played', 'playing']
    >>> inflections("cry")
    ['cries', 'cried', 'crying']
    >>> inflections("hop")
    ['hops', 'hopped', 'hopping']
    """
    consonant = not word[-2:-1] or word[-2] not in "aeiou"
    third, past, present = f"{word}s", f"{word}ed", f"{word}ing"
    if word.endswith(("s", "x", "z", "ch", "sh")):
        third = f"{word}es"
    elif word.endswith("y") and consonant:
        third, past = f"{word[:-1]}ies", f"{word[:-1]}ied"
    elif word.endswith("e"):
        past, present = f"{word}d", f"{word[:-1]}ing"
    if not re.search(r"[^aeiou][aeiou][bdgmnprt]$", word):
        return [third, past, present]
    doubled = [f"{word}{word[-1]}ed", f"{word}{word[-1]}ing"]
    one_syllable = not re.search(r"[aeiouy].*[aeiou]", word)  # "hopped": "hoped" is another word; but "opened", "beginning"
    return [third, *doubled] if one_syllable else [third, past, present, *doubled]

"""One prompt per story: which parts it has, in which order, and which combinations of words train never sees."""

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from ..schemas import InstructConfig, PromptFormat
from .parts import FEATURES, features_of, is_whole, sentences_of, summary_of, words_of

FORMAT = PromptFormat(features=FEATURES)

_WORDS, _OTHERS = 0.9, 0.3
"""Chance of the words, and of each other part that a story has: a model learns to use words from prompts that ask for little else."""


@dataclass(frozen=True)
class Instruction:
    """A prompt and its story."""

    prompt: str
    """Ends with `Story:`."""
    story: str
    parts: tuple[str, ...]
    """Names of the parts, in their order."""
    words: tuple[str, ...]
    """Required words, in dictionary form; empty without that part."""
    features: tuple[str, ...]
    """Features asked for; a prompt may name fewer than the story has."""
    held_out: bool
    """Two of the words are a combination that no prompt of train has."""

    @property
    def text(self) -> str:
        """Prompt and story, as a model is trained on them."""
        return f"{self.prompt} {self.story}"


def is_held_out(words: Sequence[str], config: InstructConfig) -> bool:
    """Whether two of the words are a held-out combination: a share `config.held_out` of all pairs, by their hash and the seed."""
    limit = config.held_out * 2**64
    for pair in combinations(sorted(words), 2):
        digest = hashlib.blake2b(f"{config.seed}/{'/'.join(pair)}".encode(), digest_size=8).digest()
        if int.from_bytes(digest, "little") < limit:
            return True
    return False


def instruction_of(story: str, config: InstructConfig, *, is_train: bool) -> Instruction:
    """The prompt of a story: a function of the story and the seed. For train, words of a held-out combination are not asked for together."""
    dice = random.Random(f"{config.seed}/{hashlib.blake2b(story.encode(), digest_size=16).hexdigest()}")
    sentences = sentences_of(story)
    words = _drawn_words(story, config, dice, is_train)
    features = [feature for feature in features_of(sentences) if dice.random() < 0.75]
    middle = [sentence for sentence in sentences[1:] if len(sentence.split()) >= 4 and is_whole(sentence)]
    values = {
        "words": ", ".join(words),
        "features": ", ".join(features),
        "first sentence": sentences[0] if sentences else "",
        "random sentence": dice.choice(middle) if middle else "",
        "summary": summary_of(sentences) if len(sentences) > 3 else "",
    }
    possible = [part for part in FORMAT.parts if values[part]]
    parts = [part for part in possible if dice.random() < (_WORDS if part == "words" else _OTHERS)] or possible[:1]
    dice.shuffle(parts)
    lines = [FORMAT.parts[part].format(values[part]) for part in parts]
    asked = tuple(words) if "words" in parts else ()
    return Instruction(
        prompt=" ".join([*lines, FORMAT.end]),
        story=story,
        parts=tuple(parts),
        words=asked,
        features=tuple(features) if "features" in parts else (),
        held_out=is_held_out(asked, config),
    )


def _drawn_words(story: str, config: InstructConfig, dice: random.Random, is_train: bool) -> list[str]:
    """A noun, a verb and an adjective of the story, as far as it has them, in random order."""
    drawn = [dice.choice(words) for words in words_of(story).values() if words]
    dice.shuffle(drawn)
    while is_train and is_held_out(drawn, config):
        drawn.pop()
    return drawn

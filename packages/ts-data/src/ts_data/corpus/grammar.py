"""A generative grammar of children's stories: characters, three words to use, a random set of features.

The recipe is TinyStories' (Eldan & Li 2023, arXiv:2305.07759): each story must use a noun, a verb and an adjective
drawn from a small vocabulary, and a random subset of features (dialogue, plot twist, bad ending, moral,
foreshadowing, conflict). Sentences are filled-in patterns: the result is for first runs, tests and benchmarks, and
no substitute for real stories.
"""

import random
import re
from dataclasses import dataclass

from .words import patterns, pools, vocabulary

FEATURES = ("dialogue", "twist", "bad_ending", "moral", "foreshadowing", "conflict")

DIALOGUE = 0.4
"""Chance of each feature, dialogue among them."""

_WORDS = vocabulary()
_PAST = {verb: past for verb, _, past in (pair.partition("/") for pair in _WORDS["verbs"])}
_POOLS = {**pools(), "walked": list(_PAST.values())}
"""Field of a pattern → the words that fill it."""


@dataclass(frozen=True)
class Plan:
    """The words and features of a story."""

    noun: str
    verb: str
    adjective: str
    features: frozenset[str]


def plan(dice: random.Random) -> Plan:
    """Draw the three words and the features."""
    features = frozenset(feature for feature in FEATURES if dice.random() < DIALOGUE)
    return Plan(dice.choice(_WORDS["nouns"]), dice.choice(list(_PAST)), dice.choice(_WORDS["adjectives"]), features)


def story(seed: int, number: int) -> str:
    """Story `number` of a seed. Each story has its own generator, so any one can be made without the others."""
    dice = random.Random(f"{seed}/{number}")
    return render(plan(dice), dice)


def render(plan: Plan, dice: random.Random) -> str:
    """A story for a plan; an empty line separates paragraphs."""
    renderer = _Renderer(plan, dice)
    features = plan.features
    paragraphs = [
        renderer.some("opening") + renderer.some("habit", 0.5) + renderer.some("omen", "foreshadowing" in features),
        renderer.some("find")
        + renderer.some("reaction")
        + (renderer.some("wish_said") if renderer.talks else renderer.some("wish")),
        renderer.some("problem" if "conflict" in features else "play") + renderer.some("scene", 0.7),
        (renderer.some("talk") if renderer.talks else "") + renderer.some("try") + renderer.some("verb_used"),
        renderer.some("twist", "twist" in features),
        renderer.some("bad_end" if "bad_ending" in features else "good_end") + renderer.some("moral", "moral" in features),
    ]
    return "\n\n".join(filter(None, (paragraph.strip() for paragraph in paragraphs)))


class _Renderer:
    """Fills patterns with one story's characters and words."""

    def __init__(self, plan: Plan, dice: random.Random) -> None:
        self.dice = dice
        self.talks = "dialogue" in plan.features
        hero, kind, (he, his, him) = self._character()
        friend, friend_kind, (fhe, fhis, fhim) = self._character(other_than=hero)
        self.values = {"hero": hero, "kind": kind, "he": he, "his": his, "him": him}
        self.values |= {"friend": friend, "friendkind": friend_kind, "fhe": fhe, "fhis": fhis, "fhim": fhim}
        self.values |= {"noun": plan.noun, "adj": plan.adjective, "verb": plan.verb, "did": _PAST[plan.verb]}

    def _character(self, other_than: str = "") -> tuple[str, str, tuple[str, str, str]]:
        sort = self.dice.choice(("girl", "girl", "boy", "boy", "animal"))
        names = _WORDS[{"girl": "girls", "boy": "boys", "animal": "creatures"}[sort]]
        name = self.dice.choice([name for name in names if name != other_than])
        she = sort == "girl" or (sort == "animal" and self.dice.random() < 0.5)
        kind = self.dice.choice(_WORDS["animals"]) if sort == "animal" else sort
        return name, kind, ("she", "her", "her") if she else ("he", "his", "him")

    def some(self, group: str, chance: float | bool = True) -> str:
        """One pattern of a group, filled, with a blank after it; or nothing, by chance."""
        if self.dice.random() >= float(chance):
            return ""
        return self.fill(self.dice.choice(patterns()[group])) + " "

    def fill(self, pattern: str) -> str:
        """The pattern with its fields replaced; `{a x}` sets the article, `{X}` begins with a capital."""
        text = re.sub(r"\{(\w+)\}", self._value, pattern)
        text = re.sub(r"\b([Aa])\(n\) (\w+)", lambda m: f"{m[1]}{'n' * _vowel(m[2])} {m[2]}", text)
        return re.sub(r'(^"?|[.!?]"? "?)([a-z])', lambda m: m[1] + m[2].upper() if _ends(m[1]) else m[0], text)

    def _value(self, match: re.Match[str]) -> str:
        name = match[1]
        if name in self.values:
            return self.values[name]
        if name in _POOLS:
            word: str = self.dice.choice(_POOLS[name])
            return word.replace("{place}", self.dice.choice(_POOLS["place"])) if name == "home" else word
        self.values[name] = self.dice.choice(_POOLS[name.rstrip("0123456789")])
        return self.values[name]


def _ends(before: str) -> bool:
    """Whether a capital is due: at the start, after a full stop, and after a closing mark only where a blank follows a stop."""
    return not before.strip('" ') or not before.rstrip().endswith('"') or before.strip().startswith(".")


def _vowel(word: str) -> bool:
    """Whether a word begins with the sound of a vowel."""
    return word[0].lower() in "aeiou" and not word.lower().startswith(("uni", "use"))

"""A generative grammar of children's stories: characters, three words to use, a random set of features.

The recipe is TinyStories' (Eldan & Li 2023, arXiv:2305.07759): each story must use a noun, a verb and an adjective
drawn from a small vocabulary, and a random subset of features (dialogue, plot twist, bad ending, moral,
foreshadowing, conflict). Sentences are filled-in patterns: the result is for first runs, tests and benchmarks, and
no substitute for real stories.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from . import words

__all__ = ["DIALOGUE", "FEATURES", "Plan", "plan", "render", "story"]

FEATURES = ("dialogue", "twist", "bad_ending", "moral", "foreshadowing", "conflict")

DIALOGUE = 0.4
"""Chance of each feature, dialogue among them."""


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
    return Plan(dice.choice(words.NOUNS), dice.choice(words.VERBS)[0], dice.choice(words.ADJECTIVES), features)


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
        hero, kind, pronouns = self._character()
        friend, friend_kind, friend_pronouns = self._character(other_than=hero)
        he, his, him = pronouns
        verb = next(pair for pair in words.VERBS if pair[0] == plan.verb)
        self.values = {
            "hero": hero,
            "kind": kind,
            "he": he,
            "his": his,
            "him": him,
            "friend": friend,
            "friendkind": friend_kind,
            "fhe": friend_pronouns[0],
            "fhis": friend_pronouns[1],
            "fhim": friend_pronouns[2],
            "noun": plan.noun,
            "adj": plan.adjective,
            "verb": verb[0],
            "did": verb[1],
        }

    def _character(self, other_than: str = "") -> tuple[str, str, tuple[str, str, str]]:
        sort = self.dice.choice(("girl", "girl", "boy", "boy", "animal"))
        names = {"girl": words.GIRLS, "boy": words.BOYS, "animal": words.CREATURES}[sort]
        name = self.dice.choice([name for name in names if name != other_than])
        she = sort == "girl" or (sort == "animal" and self.dice.random() < 0.5)
        kind = self.dice.choice(words.ANIMALS) if sort == "animal" else sort
        return name, kind, ("she", "her", "her") if she else ("he", "his", "him")

    def some(self, group: str, chance: float | bool = True) -> str:
        """One pattern of a group, filled, with a blank after it; or nothing, by chance."""
        if self.dice.random() >= float(chance):
            return ""
        return self.fill(self.dice.choice(PATTERNS[group])) + " "

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
            return self.dice.choice(_POOLS[name])
        if name == "home":
            return self.dice.choice(words.BIRTHPLACES).replace("{place}", self.dice.choice(words.PLACES))
        if name == "walked":
            return self.dice.choice(words.VERBS)[1]
        # A numbered field keeps its value for the rest of the story: {place1} is always the same place.
        value: str = self.dice.choice(_POOLS[name.rstrip("0123456789")])
        self.values[name] = value
        return value


def _ends(before: str) -> bool:
    """Whether a capital is due: at the start, after a full stop, and after a closing mark only where a blank follows a stop."""
    return not before.strip('" ') or not before.rstrip().endswith('"') or before.strip().startswith(".")


def _vowel(word: str) -> bool:
    """Whether a word begins with the sound of a vowel."""
    return word[0].lower() in "aeiou" and not word.lower().startswith(("uni", "use"))


_POOLS: dict[str, list[str]] = {
    "animal": words.ANIMALS,
    "grownup": words.GROWNUPS,
    "good": words.FEELINGS_GOOD,
    "bad": words.FEELINGS_BAD,
    "trait": words.TRAITS,
    "quality": words.ADJECTIVES,
    "thing": words.NOUNS,
    "food": words.FOODS,
    "place": words.PLACES,
    "weather": words.WEATHER,
    "number": ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"],
    "day": ["morning", "afternoon", "evening", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"],
    "season": ["spring", "summer", "autumn", "winter"],
    "how": [
        "quickly",
        "slowly",
        "quietly",
        "loudly",
        "gently",
        "softly",
        "happily",
        "sadly",
        "carefully",
        "bravely",
        "suddenly",
        "eagerly",
        "politely",
        "kindly",
        "calmly",
        "nervously",
        "proudly",
        "shyly",
        "warmly",
        "wildly",
        "wisely",
        "neatly",
        "nicely",
        "patiently",
        "playfully",
        "gladly",
        "gracefully",
        "greedily",
    ],
}

PATTERNS: dict[str, tuple[str, ...]] = {
    "opening": (
        "Once upon a time, there was a(n) {trait} {kind} named {hero}. {hero} lived in {home}.",
        "One {weather} day, a(n) {trait} {kind} named {hero} went to the {place1} with {his} friend {friend}.",
        "There once was a(n) {kind} called {hero}. {he} was very {trait} and loved to go to the {place1}.",
        "{hero} was a(n) {trait} {kind} who liked to play with {friend}, a(n) {trait} {friendkind}.",
        "It was a(n) {weather} {day}. {hero} the {kind} woke up early and looked out of the window.",
        "In {home}, there lived a(n) {trait} {kind}. {his} name was {hero}.",
        "Long ago, in {season}, a(n) {kind} named {hero} and a(n) {friendkind} named {friend} were best friends.",
        "{hero} and {friend} were walking to the {place1} on a(n) {weather} {day}.",
        "Every {day}, {hero} went to the {place1} to see {friend}. They were both very {trait}.",
        "Once there was a little {kind} named {hero}. {he} was {number} years old and very {trait}.",
    ),
    "habit": (
        "{he} liked to eat {food} and {food} for lunch.",
        "{his} favorite thing in the world was a(n) {quality} {thing}.",
        "{he} always carried a(n) {thing} in {his} bag.",
        "Most of all, {he} loved the smell of fresh {food}.",
        "In {season}, {he} helped the {grownup} pick every ripe {food}.",
        "{he} had {number} toys, but {he} wanted something {quality}.",
        "At night {he} dreamed about a(n) {animal} and a(n) {quality} {thing}.",
    ),
    "omen": (
        "{he} did not know that this day would change everything.",
        "Far away, a(n) {quality} cloud was already growing over the {place}.",
        "The {grownup} had warned {him} about the {place}, but {hero} had forgotten.",
        "A(n) {animal} watched from behind a tree and shook its head.",
        "Something in the air felt strange, as if the wind knew a secret.",
        "The old {thing} on the wall made a sound that nobody had heard before.",
    ),
    "find": (
        "One day, {hero} found a(n) {adj} {noun} under a(n) {thing}.",
        "On the way to the {place2}, {he} saw a(n) {adj} {noun}.",
        "That {day}, the {grownup1} gave {him} a(n) {adj} {noun}.",
        "Near the {place2}, a(n) {animal1} was sitting on a(n) {adj} {noun}.",
        "In the corner of the {place2} there was a(n) {adj} {noun}, covered with leaves.",
        "{friend} showed {him} a(n) {adj} {noun} that {fhe} had made at the {place2}.",
        "Behind the {place2}, {hero} and {friend} discovered a(n) {adj} {noun}.",
    ),
    "reaction": (
        "{he} had never seen such a(n) {noun} before.",
        "{his} eyes grew big and {he} felt {good}.",
        "At first {he} was {bad}, but then {he} touched it {how}.",
        "It was so {adj} that {he} could not look away.",
        "{he} picked it up {how} and turned it around {number} times.",
        "It looked {quality} and smelled like {food}.",
    ),
    "wish": (
        "{he} wanted to show it to everyone at the {place1}.",
        "{he} wished that {he} could keep the {noun} forever.",
        "{he} hoped that it would help {him} to {verb}.",
        "{he} thought it would be the perfect gift for {friend}.",
        "{he} decided to take it home and hide it under {his} bed.",
    ),
    "wish_said": (
        '"What a(n) {adj} {noun}!" said {hero}. "I want to {verb} with it."',
        '"Can I keep the {noun}?" asked {hero}. "Only if you share it," said {friend}.',
        '{hero} said, "Look, {friend}! This {noun} is so {adj}!"',
        '"I wonder who left this {noun} here," whispered {hero}.',
        '"Please, may I have it?" {hero} asked. The {grownup} smiled and said, "Yes, you may."',
        '"Wow!" cried {friend}. "Where did you get that {noun}?"',
    ),
    "problem": (
        "But a(n) {quality} {animal1} came and wanted the {noun}, too. It grabbed the {noun} and ran to the {place3}.",
        "Then {friend} became {bad}. {fhe} wanted the {noun} for {fhim}self, and they began to fight.",
        "Soon it began to storm, and the wind blew the {noun} into the {place3}.",
        "But when {hero} pulled too hard, the {noun} broke into {number} pieces.",
        "A(n) {trait} {animal1} said that the {noun} belonged to the {grownup}. Nobody believed {hero}.",
        "{hero} and {friend} could not agree. One wanted to {verb}, and the other wanted to go to the {place3}.",
    ),
    "play": (
        "They played with the {noun} all {day} long and ate {food} under a tree.",
        "{hero} and {friend} took the {noun} to the {place3} and laughed together.",
        "{he} put the {noun} next to a(n) {quality} {thing} and began to sing.",
        "They counted {number} birds in the sky and shared a(n) {food}.",
        "Together they {walked} and {walked} until they reached the {place3}.",
        "{hero} made a game: whoever held the {noun} had to render a story about a(n) {animal}.",
    ),
    "scene": (
        "The sky was {quality} and the grass was {quality}.",
        "A(n) {animal} and a(n) {animal} were watching from the {place}.",
        "It was {weather}, and a(n) {quality} {thing} lay on the ground.",
        "Far away they could hear a(n) {animal} near the {place}.",
        "The {grownup} brought them some {food} and a glass of water.",
        "There were {number} {quality} flowers beside the path.",
    ),
    "talk": (
        '"Do not be {bad}," said {friend}. "I will help you."',
        '{friend} asked, "Why are you {bad}?" "Because I want to {verb}," said {hero}.',
        '"I have an idea!" {hero} said {how}. "Let us ask the {grownup}."',
        '"Be careful with that {noun}," the {grownup} said. "It is very {quality}."',
        '"We can do it together," said {friend}, and {fhe} took {his} hand.',
        '"Wait for me!" called {friend}. "I want to come, too."',
        '"Thank you," said {hero}. "You are such a(n) {trait} friend."',
    ),
    "try": (
        "So {hero} went to the {grownup2} and asked for help.",
        "{hero} tried {number} times, but it was too hard.",
        "They looked behind the {thing}, under the {thing} and inside the {thing}.",
        "{he} took a deep breath and felt a little more {good}.",
        "{friend} held a(n) {thing}, and {hero} climbed on top of it {how}.",
        "First they used a(n) {thing}, and then they used a(n) {quality} {thing}.",
        "{he} gave the {animal} a(n) {food}, and it became {good}.",
    ),
    "verb_used": (
        "Then {he} {did} as well as {he} could.",
        "{hero} {did} {how}, and everyone at the {place1} stopped to look.",
        "They {did} together until the sun went down.",
        "All afternoon {he} {did} near the {place}.",
        "{he} closed {his} eyes and {did}, just like the {grownup} had shown {him}.",
        "When the bell rang, {friend} {did} and {hero} {did}, too.",
    ),
    "twist": (
        "But then something surprising happened. The {noun} began to talk! It was not a(n) {noun} at all, but a(n) {animal} in disguise.",
        "Suddenly the {noun} opened, and inside there was a tiny {animal} with a(n) {quality} {thing}.",
        "To their surprise, the {grownup} had been hiding behind the {thing} the whole time.",
        "And then {hero} woke up. It had all been a dream, but there was a(n) {food} in {his} hand.",
        "It turned out that the {noun} was made of {food}! They all laughed.",
        "Nobody had guessed that the {animal} was really looking for its lost {thing}.",
    ),
    "good_end": (
        "In the end, {hero} and {friend} were {good}. They went home and had {food} for dinner.",
        "{hero} gave the {noun} back, and everyone was {good}. They became best friends.",
        "From that day on, {hero} and {friend} shared the {adj} {noun} every {day}.",
        "The {grownup} was very {good} and gave {hero} a big hug.",
        "When the stars came out, {hero} fell asleep with the {noun} beside {him}. {he} felt {good}.",
        "They all lived {how} near the {place1}, and the {noun} stayed {adj} for many years.",
    ),
    "bad_end": (
        "But it was too late. The {noun} was gone, and {hero} went home {bad}.",
        "In the end, the {adj} {noun} fell into the water and sank. {hero} cried all night.",
        "{friend} never came back to the {place1}, and {hero} was {bad} for a long time.",
        "The {noun} broke, and nobody could fix it. {hero} and {friend} felt very {bad}.",
        "It got dark and cold, and {hero} could not find the way home. {he} was {bad} and alone.",
        "The {animal} ate the last {food} and left, and they were all still hungry.",
    ),
    "moral": (
        "The moral of the story is to be {trait}, even when you feel {bad}.",
        "{hero} learned that it is better to share than to be {bad}.",
        "And so they learned that a(n) {trait} friend is worth more than a(n) {quality} {thing}.",
        "{he} learned that you should always ask before you take a(n) {thing}.",
        "The lesson is that it takes time to {verb}, so never give up.",
        "Remember: listen to the {grownup}, and be {trait} to every {animal}.",
    ),
}
"""Group → patterns. `a(n)` becomes a or an; a field in PATTERNS is in `_POOLS` or one of the story's own values."""

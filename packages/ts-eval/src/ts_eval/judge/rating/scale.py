"""The six categories as the rating page shows them: the question, and what 1, 5 and 10 mean."""

from __future__ import annotations

from ...schemas import Category

_TEXTS: dict[Category, tuple[str, str, str, str]] = {
    "grammar": (
        "Are the sentences correct?",
        "hardly a sentence is correct", "a mistake in every second or third sentence", "no mistake",
    ),
    "spelling": (
        "Are the words spelled correctly, names too?",
        "most words are misspelled or no words", "a wrong word in every second or third sentence", "every word is correct",
    ),
    "consistency": (
        "Does each sentence fit what came before?",
        "sentences have nothing to do with each other", "one clear contradiction, or a person or thing from nowhere", "everything fits",
    ),
    "story": (
        "Is there a plot with beginning, middle and end?",
        "nothing happens", "something happens, but the end is missing or does not follow", "a whole story with an end that follows",
    ),
    "creativity": (
        "Are there ideas of its own?",
        "one phrase again and again", "what every such story has", "an idea you want to tell others",
    ),
    "style": (
        "Does it read well aloud to a small child?",
        "you cannot read it aloud", "readable but clumsy, with needless repetition", "a pleasure to read aloud",
    ),
}  # fmt: skip

SCALE = [
    {"name": name, "question": question, "anchors": {"1": one, "5": five, "10": ten}}
    for name, (question, one, five, ten) in _TEXTS.items()
]
"""In the order of `CATEGORIES`, ready for JSON."""

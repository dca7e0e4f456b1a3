"""Cleans a prompt by the corpus' cleaning rules, so that curly quotes or double blanks do not become `<unk>`.

The tokenizer file records the cleaning rules of its splits (`TrainedOn.cleaning`). Without a record, a default rule applies if
it changes no word of the vocabulary and turns no further token of the prompt into `<unk>`.
"""

import re
from collections.abc import Callable, Sequence

from ts_data import PrepareConfig, clean
from ts_data.schemas import DEFAULT_STEPS

DROPPING = frozenset({"truncated", "empty", "non_ascii", "short"})
"""Rules that drop stories; they do not apply to prompts."""
_PLAIN = re.compile("[a-z0-9]+")


class PromptCleaner:
    """Cleans texts by the rules of a corpus.

    Args:
        recorded: the rules of the corpus, None if unknown.
        vocab: the words of the vocabulary.
        hidden: counts the `<unk>` tokens of a text.
    """

    def __init__(self, recorded: Sequence[str] | None, vocab: Sequence[str], hidden: Callable[[str], int]) -> None:
        self._hidden = None if recorded is not None else hidden
        names = DEFAULT_STEPS if recorded is None else recorded
        rules = [config for name in names if name not in DROPPING and (config := _config(name)) is not None]
        if recorded is None:
            odd = [word for word in vocab if not _PLAIN.fullmatch(word)]
            rules = [rule for rule in rules if all(clean(word, rule).text == word for word in odd)]
        self._rules = rules

    def __call__(self, text: str) -> str:
        for rule in self._rules:
            repaired = clean(text, rule).text
            if repaired != text and (self._hidden is None or self._hidden(repaired) <= self._hidden(text)):
                text = repaired
        return text


def _config(name: str) -> PrepareConfig | None:
    """The settings with one cleaning rule; None if the installed ts-data does not have the rule."""
    try:
        return PrepareConfig(steps=(name,))
    except ValueError:
        return None

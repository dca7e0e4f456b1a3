"""Text normalisation, and the character spans of tokens in the original text."""

from collections.abc import Sequence


def normalise(text: str) -> str:
    """Lower-case a text; nothing else changes."""
    return text.lower()


def spans(text: str, tokens: Sequence[str]) -> list[tuple[int, int]]:
    """(start, end) of each token in the text as given, in characters: `text[start:end].lower()` is the token.

    Lower-casing can lengthen a text ("İ" becomes two characters). Spans are then mapped back to the original characters; a
    token that ends inside such a character ends after it.
    """
    lower = normalise(text)
    found = []
    position = 0
    for token in tokens:
        if not lower.startswith(token, position):
            position += 1  # the one blank between two chunks
        found.append((position, position + len(token)))
        position += len(token)
    if len(lower) == len(text):
        return found
    origin = [i for i, char in enumerate(text) for _ in char.lower()]
    return [(origin[start], origin[end - 1] + 1) if end > start else (origin[start], origin[start]) for start, end in found]

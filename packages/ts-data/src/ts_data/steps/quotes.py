"""One form for each quotation mark: `"` for double ones, `'` for single ones and apostrophes. Moves no blanks."""

from __future__ import annotations

__all__ = ["TRIGGERS", "apply"]

TRIGGERS = ("`", "''")

_FORMS = {
    '"': ("“", "”", "„", "‟", "«", "»", "″", "〝", "〞", "``", "''"),
    "'": ("‘", "’", "‛", "′", "ʼ", "ʹ", "´", "‹", "›", "`"),
    ",": ("‚",),  # U+201A: in this corpus a comma (mojibake `â€š`), not an opening quote
}


def apply(text: str) -> str:
    """The text with straight quotes only."""
    if text.isascii():
        return text.replace("``", '"').replace("''", '"').replace("`", "'")
    for straight, others in _FORMS.items():
        for other in others:
            text = text.replace(other, straight)
    return text

"""Counts to a vocabulary in id order: commonest first, ties by the word, markers and specials last."""

from __future__ import annotations

from collections.abc import Mapping

from .errors import ConfigError
from .schemas import MARKERS, MAX_VOCAB, SPECIALS, Casing

__all__ = ["check_size", "choose", "reserved"]


def reserved(casing: Casing) -> tuple[str, ...]:
    """The entries that no word holds, in id order: markers and specials."""
    return (*(MARKERS if casing == "keep" else ()), *SPECIALS)


def check_size(vocab_size: int, casing: Casing) -> int:
    """How many words fit beside the reserved entries; a `ConfigError` where none do, or where ids pass uint16."""
    if casing not in ("lower", "keep"):
        raise ConfigError(f"casing: {casing!r} is unknown; choose lower or keep.")
    if isinstance(vocab_size, bool) or not isinstance(vocab_size, int):
        raise ConfigError(f"vocab_size: {vocab_size!r} is no whole number.")
    taken = len(reserved(casing))
    if not taken < vocab_size <= MAX_VOCAB:
        raise ConfigError(
            f"vocab_size: {vocab_size:,} does not do; with casing={casing} it must lie between {taken + 1} and {MAX_VOCAB:,}."
        )
    return vocab_size - taken


def choose(counts: Mapping[str, int], vocab_size: int, casing: Casing) -> list[str]:
    """The `vocab_size` entries, the specials included; fewer where the text has fewer distinct tokens."""
    room = check_size(vocab_size, casing)
    last = reserved(casing)
    words = sorted((word for word, count in counts.items() if count > 0 and word not in last), key=lambda w: (-counts[w], w))
    return [*words[:room], *last]

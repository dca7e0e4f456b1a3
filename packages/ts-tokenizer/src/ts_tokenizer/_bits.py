"""Bits per byte, honestly: comparable across vocabularies, and not to be improved by hiding words."""

from __future__ import annotations

import math

from .errors import ConfigError

__all__ = ["bits_per_byte"]


def bits_per_byte(nll_nats: float, *, utf8_bytes: int, unk_spelling_bits: float, restore_bits: float) -> float:
    """(model bits + bits to spell what `<unk>` hides + bits to restore case and blanks) / UTF-8 bytes.

    `nll_nats` is the sum of the negative log-likelihoods, in nats, over all tokens of whole stories, `<eos>` included;
    the other three are the manifest's, or `WordTokenizer.extra_bits`', for the same stories.
    """
    sums = {"nll_nats": nll_nats, "unk_spelling_bits": unk_spelling_bits, "restore_bits": restore_bits, "utf8_bytes": utf8_bytes}
    for name, value in sums.items():
        if not (math.isfinite(value) and value >= 0):
            raise ConfigError(f"{name}: {value!r} is no sum of bits; a finite number from 0 is expected.")
    if utf8_bytes <= 0:
        raise ConfigError("utf8_bytes: must be above 0; bits per byte of no text are not a number.")
    return (nll_nats / math.log(2) + unk_spelling_bits + restore_bits) / utf8_bytes

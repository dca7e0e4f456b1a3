"""Bits per byte of stories, comparable over vocabularies: `<unk>`, case and blanks are paid for. See ts_tokenizer."""

from __future__ import annotations

from ts_tokenizer import bits_per_byte

from ..schemas import MetricInfo

__all__ = ["INFO", "bits_per_byte"]

INFO = {
    "bits_per_byte": MetricInfo(
        title="Bits per byte",
        unit="bits/byte",
        better="lower",
        description="Model bits over whole stories + bits to spell what <unk> hides + bits to restore case and blanks, "
        "per UTF-8 byte. Compares models of any vocabulary.",
    )
}

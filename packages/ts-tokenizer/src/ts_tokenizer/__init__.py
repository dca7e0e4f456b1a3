"""A word-level vocabulary on spaCy's English rules: exact, fast, and a decode that reads like a book.

tokenizer = ts_tokenizer.WordTokenizer.train(texts, vocab_size=2048)
ts_tokenizer.encode_splits("splits/", tokenizer, "encoded/")
story = ts_tokenizer.open_encoded("encoded/")["train"][7]
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .__about__ import __version__

if TYPE_CHECKING:
    from ._bits import bits_per_byte
    from ._encode import encode_splits
    from ._encoded import Encoded, EncodedSplit, open_encoded
    from ._tokenizer import WordTokenizer, load

__all__ = [
    "Encoded",
    "EncodedSplit",
    "WordTokenizer",
    "__version__",
    "bits_per_byte",
    "encode_splits",
    "load",
    "open_encoded",
]

_WHERE = {
    "Encoded": "_encoded",
    "EncodedSplit": "_encoded",
    "WordTokenizer": "_tokenizer",
    "bits_per_byte": "_bits",
    "encode_splits": "_encode",
    "load": "_tokenizer",
    "open_encoded": "_encoded",
}


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(f".{_WHERE[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

"""Hashes to compare the stories of two corpora: equal for two cleanings of the same story."""

import hashlib
import unicodedata
from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import pyarrow as pa

from ..arrow import text_bytes
from ..checks import checked_texts

_ALPHANUMERIC = frozenset(b"0123456789abcdefghijklmnopqrstuvwxyz")
_OTHERS = bytes(byte for byte in range(128) if chr(byte).lower().encode()[0] not in _ALPHANUMERIC)
_LOWER = bytes(range(128)).lower() + bytes(range(128, 256))
_DASH = "\u2014".encode()
"""The one character beyond ASCII of most cleaned stories that have any."""
_JOINED = str.maketrans(
    {"æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ł": "l", "\u2014": None, "\u201c": None, "\u201d": None, "\u2019": None}
)
"""Letters without a decomposition, and the commonest marks beyond ASCII: most texts are ASCII without them, which is fast."""


def story_hashes(texts: Iterable[str]) -> np.ndarray:
    """Hash each story by its letters and digits alone: `[stories]`, uint64.

    The key of a story is its casefolded letters and digits without accents; spaces, punctuation and quotes do not count. So
    a story has the same hash raw and cleaned, or under two cleaning configs. The hash is BLAKE2b of the key's UTF-8 with a
    digest of 8 bytes, read as a little-endian integer. 39,000 stories take about 0.2 s.

    Raises TypeError for a single str and for an entry that is no str.

    >>> a, b, c = story_hashes(['"Hi!" said Tom.', "“Hi”, said  TOM", "Hi said Sam"])
    >>> bool(a == b), bool(a == c)
    (True, False)
    """
    return _hashes(text.encode("utf-8", "surrogatepass") for text in checked_texts(texts))


def column_hashes(column: pa.Array) -> np.ndarray:
    """`story_hashes` of a large_string column, from its bytes."""
    content, ends = text_bytes(column)
    whole = content.tobytes()
    return _hashes(whole[start:end] for start, end in pairwise(ends.tolist()))


def _hashes(texts: Iterable[bytes]) -> np.ndarray:
    digest = hashlib.blake2b
    return np.frombuffer(b"".join([digest(_key(text), digest_size=8).digest() for text in texts]), "<u8").astype(np.uint64)


def _key(content: bytes) -> bytes:
    """Casefolded letters and digits of a text, as UTF-8."""
    if not content.isascii():
        content = content.replace(_DASH, b"")
    if content.isascii():
        return content.translate(_LOWER, _OTHERS)
    text = content.decode("utf-8", "surrogatepass").translate(_JOINED)
    if text.isascii():
        return text.encode("ascii").translate(_LOWER, _OTHERS)
    letters = "".join(filter(str.isalnum, text)).casefold().translate(_JOINED)
    decomposed = unicodedata.normalize("NFKD", letters)
    return "".join(filter(str.isalnum, decomposed)).casefold().encode()

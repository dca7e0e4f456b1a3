"""Builds the arrays of a StoryIndex from stories: one stream of word ids, offsets, document frequencies, norms."""

import hashlib
import io
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from .. import fast
from ..checks import Progress, each_text
from ..texts import batches, rouge_words, runs

Array = NDArray[Any]
BATCH = 10_000
NAME_SAMPLE = 20_000
"""Stories searched for names."""

_END = b"\0"
_TABLE = bytes(
    c if c >= 128 or chr(c).isalnum() or c in b"_\0" else 32 for c in (ord(chr(i).lower()) if i < 128 else i for i in range(256))
)
_MIDDLE = re.compile(r"(?<=[a-z,] )([A-Z][a-z]+)\b")
_LOWER = re.compile(r"\b[a-z]+\b")


@dataclass
class Arrays:
    """The contents of an index.

    Story s is stream[offsets[s]:offsets[s + 1]]. `second` [m, 3] holds (story, start, end) of the stories that rouge-score splits
    into other words than scikit-learn.
    """

    stream: Array
    offsets: Array
    second: Array
    words: list[str]
    df: Array
    norms: Array
    names: tuple[str, ...]
    corpus: str

    def story(self, number: int) -> Array:
        """The word ids of one story."""
        return np.asarray(self.stream[self.offsets[number] : self.offsets[number + 1]])


class _Numbers(dict[bytes, int]):
    """Word → number, in the order of first use; 0 ends a story."""

    def __missing__(self, word: bytes) -> int:
        self[word] = number = len(self)
        return number


class _Sink:
    """The growing stream of ids, in memory or in a file; switches to uint32 once there are more than 65,535 words."""

    def __init__(self, path: Path | None) -> None:
        self.file: IO[bytes] = io.BytesIO() if path is None else path.open("w+b")
        self.kind: np.dtype[Any] = np.dtype(np.uint16)
        self.path, self.size = path, 0

    def append(self, ids: Array, vocabulary: int) -> None:
        if vocabulary > 65_536 and self.kind.itemsize == 2:
            self._widen()
        self.file.write(ids.astype(self.kind).tobytes())
        self.size += len(ids)

    def _widen(self) -> None:
        self.kind = np.dtype(np.uint32)
        for at in reversed(range(0, self.size, 1 << 24)):  # from the end: no block overwrites one that is still to be read
            self.file.seek(2 * at)
            block = np.frombuffer(self.file.read(2 * min(1 << 24, self.size - at)), np.uint16)
            self.file.seek(4 * at)
            self.file.write(block.astype(self.kind).tobytes())
        self.file.seek(4 * self.size)

    def stream(self) -> Array:
        """All ids, read-only in memory too, so that the kernels are compiled once for both."""
        if isinstance(self.file, io.BytesIO):
            return np.frombuffer(self.file.getvalue(), self.kind)
        self.file.close()
        return np.memmap(str(self.path), self.kind, "r") if self.size else np.zeros(0, self.kind)


def build_arrays(
    stories: Iterable[str],
    total: int | None = None,
    *,
    corpus: str | None = None,
    stream_file: Path | None = None,
    progress: Progress | None = None,
) -> Arrays:
    """Build the arrays in one pass over the stories; `corpus` is their hash, if it is known already."""
    numbers, sink, digest = _Numbers(), _Sink(stream_file), hashlib.sha256()
    _ = numbers[_END]
    lengths: list[Array] = []
    odd: list[tuple[int, bytes]] = []
    middle: Counter[str] = Counter()
    lower: Counter[str] = Counter()
    done = 0
    for batch in batches(each_text(stories, "stories"), BATCH):
        if corpus is None:
            digest.update("".join(f"{len(text)}:{text}" for text in batch).encode("utf-8", "surrogatepass"))
        ids, sizes = _numbered(batch, numbers, odd, done)
        if done < NAME_SAMPLE:
            for text in batch:
                middle.update(word.lower() for word in _MIDDLE.findall(text))
                lower.update(_LOWER.findall(text))
        sink.append(ids, len(numbers))
        lengths.append(sizes)
        done += len(batch)
        if progress is not None:
            progress("index: words", done, total)
    offsets = np.concatenate([[0], np.cumsum(np.concatenate(lengths))]) if lengths else np.zeros(1, np.int64)
    second = _append_second(odd, numbers, sink)
    words = [word.decode("utf-8", "surrogatepass") for word in islice(numbers, 1, None)]
    stream = sink.stream()
    df, norms = _statistics(stream, offsets.astype(np.int64), words, progress)
    names = tuple(sorted(w for w, n in middle.items() if n >= 3 and n >= 9 * lower[w]))
    return Arrays(stream, offsets.astype(np.int64), second, words, df, norms, names, corpus or digest.hexdigest())


def idf_of(df: Array, words: list[str], stories: int) -> Array:
    """scikit-learn's smoothed inverse document frequency, float64; 0 for what scikit-learn does not count as a word."""
    counted = np.array([len(word) > 1 for word in words], bool) & (df > 0)
    return np.where(counted, np.log((1 + stories) / (1 + df)) + 1, 0.0)


def _numbered(batch: list[str], numbers: _Numbers, odd: list[tuple[int, bytes]], first: int) -> tuple[Array, Array]:
    """Word ids of a batch, and each story's number of words. Appends stories that rouge-score splits differently to `odd`."""
    pieces = []
    for i, text in enumerate(batch):
        plain = text.isascii()
        if not plain or "_" in text:
            found, other = runs(text), rouge_words(text)
            if found != other:
                odd.append((first + i, " ".join(other).encode()))
            text = text if plain else " ".join(found)
        pieces.append(text.replace("\0", " ") if "\0" in text else text)
    words = " \0 ".join([*pieces, ""]).encode("utf-8", "surrogatepass").translate(_TABLE).split()
    ids = np.fromiter(map(numbers.__getitem__, words), np.int64, len(words))
    ends = np.flatnonzero(ids == 0)
    sizes = np.diff(np.concatenate([[-1], ends])) - 1
    return ids[ids > 0] - 1, sizes


def _append_second(odd: list[tuple[int, bytes]], numbers: _Numbers, sink: _Sink) -> Array:
    second = np.zeros((len(odd), 3), np.int64)
    for row, (story, words) in enumerate(odd):
        ids = np.array([numbers[word] - 1 for word in words.split()], np.int64)
        second[row] = story, sink.size, sink.size + len(ids)
        sink.append(ids, len(numbers))
    return second


def _statistics(stream: Array, offsets: Array, words: list[str], progress: Progress | None) -> tuple[Array, Array]:
    kernel, stories = fast.load_kernels(), len(offsets) - 1
    if progress is not None:
        progress("index: statistics", 0, 2)
    parts = fast.in_threads(lambda a, b: kernel.count_documents(stream, offsets, a, b, len(words)), stories)
    df = np.sum(parts, axis=0) if parts else np.zeros(len(words), np.int64)
    idf = idf_of(df, words, stories)
    parts = fast.in_threads(lambda a, b: kernel.norms(stream, offsets, idf, a, b), stories)
    if progress is not None:
        progress("index: statistics", 2, 2)
    return df, (np.concatenate(parts) if parts else np.zeros(0)).astype(np.float32)

"""Encoding of one batch: a pure function from an Arrow array of stories to ids and counts."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ts_data.dataset import without_prompts
from ts_data.dedup.hashes import column_hashes

from ..tokenizer import WordTokenizer


@dataclass(frozen=True)
class Sums:
    """The counts of a manifest, over the stories so far."""

    stories: int = 0
    tokens: int = 0
    unk_tokens: int = 0
    utf8_bytes: int = 0
    unk_spelling_bits: float = 0.0
    restore_bits: float = 0.0
    priced_stories: int = 0

    def __add__(self, other: Sums) -> Sums:
        return Sums(*(a + b for a, b in zip(asdict(self).values(), asdict(other).values(), strict=True)))


@dataclass(frozen=True)
class BatchResult:
    """A batch's ids, concatenated (uint16); of each story its length, how much of it is prompt (int64) and its hash (uint64); the counts."""

    ids: np.ndarray
    lengths: np.ndarray
    prompts: np.ndarray
    hashes: np.ndarray
    sums: Sums


def encode_batch_of_texts(tokenizer: WordTokenizer, batch: pa.RecordBatch, first: int, stride: int) -> BatchResult:
    """Encode a batch of a split, prompts included; `first` is the index of its first story in the split.

    The extra bits (`WordTokenizer.extra_bits`) of every `stride`-th story of the split are measured, without its prompt.
    """
    texts, stories = batch.column("text").cast(pa.large_string()), without_prompts(batch).cast(pa.large_string())
    ids, lengths = tokenizer.encode_flat(texts, add_special_tokens=True)
    hashes = column_hashes(stories).astype("<u8", copy=False)
    priced = [stories[i].as_py() for i in range(-first % stride, len(texts), stride)]
    spelling, restore = tokenizer.extra_bits(priced).sum(axis=0).tolist()
    sums = Sums(
        stories=len(texts),
        tokens=len(ids),
        unk_tokens=int((ids == tokenizer.unk_id).sum()),
        utf8_bytes=int(pc.sum(pc.binary_length(stories)).as_py() or 0),
        unk_spelling_bits=spelling,
        restore_bits=restore,
        priced_stories=len(priced),
    )
    prompts = _prompt_lengths(tokenizer, batch).astype("<i8", copy=False)
    return BatchResult(ids.astype("<u2", copy=False), lengths.astype("<i8", copy=False), prompts, hashes, sums)


def _prompt_lengths(tokenizer: WordTokenizer, batch: pa.RecordBatch) -> np.ndarray:
    """Tokens of each text before its story: `<bos>`, and those of the prompt."""
    if "prompt" not in batch.schema.names:
        return np.ones(len(batch), np.int64)
    if tokenizer.casing == "lower":
        return tokenizer.encode_flat(batch.column("prompt"))[1] + 1
    # Whole texts, because markers depend on what follows.
    rows = zip(batch.column("text").to_pylist(), batch.column("prompt").to_pylist(), strict=True)
    return np.array([1 + sum(a <= len(prompt) for a, _ in tokenizer.encode(text, offsets=True)[1]) for text, prompt in rows])

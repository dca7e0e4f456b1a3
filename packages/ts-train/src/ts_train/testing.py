"""For tests: small encoded data without a corpus, and a tiny network.

Each word has four likely followers, so that a model can learn something.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

__all__ = ["FakeEncoded", "FakeSplit", "TinyNetwork", "fake_encoded"]


@dataclass(frozen=True)
class FakeSplit:
    ids: NDArray[np.uint16]
    offsets: NDArray[np.int64]
    prompts: NDArray[np.int64] | None = None


class FakeEncoded(Mapping[str, FakeSplit]):
    """Splits in memory: a mapping with `vocab_size` and `pad_id`."""

    def __init__(self, splits: dict[str, FakeSplit], vocab_size: int) -> None:
        self.splits, self.vocab_size, self.pad_id = splits, vocab_size, vocab_size - 1

    def __getitem__(self, name: str) -> FakeSplit:
        return self.splits[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.splits)

    def __len__(self) -> int:
        return len(self.splits)


def fake_encoded(*, stories: int = 60, vocab_size: int = 32, shortest: int = 4, longest: int = 24, seed: int = 1) -> FakeEncoded:
    """`stories` training stories and a sixth as many validation stories, `<bos> … <eos>`, lengths drawn evenly."""
    draw = np.random.default_rng(seed)
    followers = draw.integers(0, vocab_size - 4, size=(vocab_size, 4))
    counts = {"train": stories, "validation": max(2, stories // 6)}
    splits = {name: _split(count, vocab_size, shortest, longest, followers, draw) for name, count in counts.items()}
    return FakeEncoded(splits, vocab_size)


def _split(count: int, vocab_size: int, shortest: int, longest: int, followers: Any, draw: np.random.Generator) -> FakeSplit:
    rows = []
    for length in draw.integers(shortest, longest + 1, size=count):
        row = [vocab_size - 3]  # bos
        while len(row) < length - 1:
            row.append(int(followers[row[-1], draw.integers(4)]))
        rows.append([*row, vocab_size - 4])  # eos
    offsets = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    return FakeSplit(np.concatenate(rows).astype(np.uint16), offsets)


class TinyNetwork(nn.Module):
    """ids `[batch, time]` → logits `[batch, time, vocab]`: an embedding, a running mean, two layers, dropout."""

    def __init__(self, vocab_size: int = 32, width: int = 16, dropout: float = 0.0) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width)
        self.hidden = nn.Linear(2 * width, 2 * width)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(2 * width, vocab_size)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.embedding(ids)
        steps = torch.arange(1, ids.shape[1] + 1, device=ids.device)[:, None]
        x = torch.cat([x, x.cumsum(1) / steps], dim=-1)
        logits: torch.Tensor = self.head(self.dropout(torch.tanh(self.hidden(x))))
        return logits

"""Seeded random numbers, one stream per sequence, so that a story does not depend on its batch."""

from __future__ import annotations

import hashlib
import secrets
from collections import Counter
from collections.abc import Sequence

import numpy as np

__all__ = ["generators"]


def generators(prompts: Sequence[Sequence[int]], copies: int, seed: int | None) -> list[np.random.Generator]:
    """One generator per prompt and copy (prompt-major). Its stream depends on the seed, the prompt's ids and how many
    sequences of the same prompt precede it, not on other prompts or its index in the batch.
    """
    root = secrets.randbits(63) if seed is None else seed
    seen: Counter[bytes] = Counter()
    streams = []
    for prompt in prompts:
        digest = hashlib.sha256(np.asarray(prompt, dtype="<i8").tobytes()).digest()
        for _ in range(copies):
            key = [abs(root), int(root < 0), seen[digest], *np.frombuffer(digest, dtype="<u4").tolist()]
            streams.append(np.random.Generator(np.random.PCG64(np.random.SeedSequence(key))))
            seen[digest] += 1
    return streams

"""What the tokenizer's benchmarks share: the stories, repeated and recombined, and the versions line."""

from __future__ import annotations

import platform
import re
from importlib.metadata import version
from pathlib import Path

import numpy as np

SHARED = next((p / "shared/data" for p in Path(__file__).resolve().parents if (p / "shared/data").is_dir()), Path("shared/data"))
SAMPLE = SHARED / "tinystories-real-sample.txt"


def read_stories(path: Path | None) -> list[str]:
    """The stories of a file, or 2,300 embedded ones where there is none."""
    path = path or (SAMPLE if SAMPLE.is_file() else None)
    if path is None:
        import ts_data

        return list(ts_data.sample(2300, seed=1))
    return [story.strip() for story in path.read_text(encoding="utf-8").split("<|endoftext|>") if story.strip()]


def repeat(stories: list[str], megabytes: float, seed: int = 0) -> list[str]:
    """The stories repeated and shuffled, up to so many megabytes."""
    size = sum(len(story.encode()) for story in stories)
    times = max(1, round(megabytes * 1e6 / size))
    order = np.random.default_rng(seed).permutation(times * len(stories))
    return [stories[i % len(stories)] for i in order]


def sentences(stories: list[str]) -> list[str]:
    """The stories' sentences."""
    return [s for story in stories for s in re.findall(r'[^.!?]+[.!?]+"?', " ".join(story.split())) if len(s) > 10]


def write_recombined(stories: list[str], path: Path, megabytes: float, distinct_chunks: int, seed: int = 0) -> int:
    """Write stories of 5 to 20 random sentences until the file has its size; one word in some is made new.

    New words (a real word and a number's letters) bring the distinct chunks near `distinct_chunks`. Returns the stories.
    """
    rng = np.random.default_rng(seed)
    pool = np.array(sentences(stories), dtype=object)
    written = count = made = 0
    per_story = distinct_chunks / (megabytes * 1e6 / 830)
    with path.open("w", encoding="utf-8") as out:
        while written < megabytes * 1e6:
            picks = pool[rng.integers(len(pool), size=(1000, 20))]
            parts = []
            for row, length, new in zip(picks, rng.integers(5, 21, 1000), rng.random(1000), strict=True):
                story = " ".join(s.strip() for s in row[:length])
                if new < per_story:
                    made += 1
                    story += " " + "".join(chr(97 + int(d)) for d in str(made)) + "oo was here."
                parts.append(story)
            text = "\n<|endoftext|>\n".join(parts) + "\n<|endoftext|>\n"
            out.write(text)
            written += len(text)
            count += len(parts)
    return count


def versions() -> str:
    """Python and the packages that matter."""
    names = ("tinystories-tokenizer", "ts-data", "spacy", "numba", "numpy", "pyarrow")
    return ", ".join([f"python {platform.python_version()}", *(f"{name} {version(name)}" for name in names)])

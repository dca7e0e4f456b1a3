"""What several tests share: small stories with all that matters in them, and the real ones where they are at hand."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

import ts_tokenizer

STORIES = [
    'Once upon a time, there was a girl named Lily. She said, "I don\'t want to go!" Her mom smiled.',
    'Tom had a red ball. "Look, Mom!" Tom said. "It can roll." They were happy.',
    "Lily and Tom went to the park. They can't find Tom's ball. It isn't there, is it?",
    '"Where is the dog?" asked Lily. The dog was under the big tree.\n\nThey all laughed. The end.',
    "One day, Max the dog ran up the hill at 5 p.m. on Monday. He was so happy!",
]


def _real_sample() -> Path | None:
    for folder in Path(__file__).resolve().parents:
        path = folder / "shared" / "data" / "tinystories-real-sample.txt"
        if path.is_file():
            return path
    return None


@pytest.fixture(scope="session")
def stories() -> list[str]:
    return STORIES * 8


@pytest.fixture(scope="session")
def tokenizer(stories: list[str]) -> ts_tokenizer.WordTokenizer:
    return ts_tokenizer.WordTokenizer.train(stories, vocab_size=64)


@pytest.fixture(scope="session")
def real_stories() -> list[str]:
    """The 2,300 real stories, as they are."""
    path = _real_sample()
    if path is None:
        pytest.skip("the real stories (shared/data/tinystories-real-sample.txt beside the checkout) are not here")
    return [story.strip() for story in path.read_text(encoding="utf-8").split("<|endoftext|>") if story.strip()]


@pytest.fixture(scope="session")
def plain_loops() -> ModuleType:
    """The loops of the detokenizer as interpreted Python, whatever this process compiles: the oracle of the compiled ones."""
    path = Path(ts_tokenizer.__file__).parent / "fast" / "loops.py"
    source = path.read_text(encoding="utf-8")
    assert "from .jit import jit\n" in source
    module = ModuleType("plain_loops")
    exec(compile(source.replace("from .jit import jit\n", "jit = lambda loop: loop\n"), path, "exec"), module.__dict__)
    return module

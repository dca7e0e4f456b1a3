"""Canaries: known stories that `prepare` plants into train a known number of times, to measure memorisation (Carlini et al. 2019,
arXiv:1802.08232). Controls come from the same generator and are planted nowhere.

A canary is a row of sentences of generated stories, of the most common words of the sources, so that a small vocabulary can write it. A
sentence is in one canary only: nothing but the canary itself tells what follows.
"""

import random
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..arrow import strings
from ..artefact import write_model
from ..cleaning.cleaner import clean, text_hash
from ..dataset import SPLIT_SCHEMA, file_info, parquet_writer
from ..errors import ConfigError
from ..schemas import CANARY_TIMES, Canaries, Canary, FileInfo
from .cleaned import CleanedStories

_SENTENCES = 12
"""Sentences of a canary, about 110 words; and generated stories for each canary, a tenth of whose sentences are taken."""
_COUNTED = 10_000
"""Stories of the sources whose words are counted."""
_WORD = re.compile(r"[a-z]+")
_NEXT_SENTENCE = re.compile(r'(?<=[.!?"])\s+(?=["A-Z])')


def draw_canaries(stories: CleanedStories) -> Canaries | None:
    """The canaries of a run, a function of seed and sources: `config.canaries` for each number of times, then as many controls; None
    for none. Each is cleaned like other stories, and equal to no story of the sources."""
    config = stories.config
    if not config.canaries:
        return None
    known = {row.tobytes() for row in stories.hashes}
    wanted = [times for times in (*CANARY_TIMES, *(0 for _ in CANARY_TIMES)) for _ in range(config.canaries)]
    sentences = _common_sentences(stories, _SENTENCES * (len(wanted) + 1 + len(wanted) // 10))  # the steps may drop some
    rows = (" ".join(sentences[first : first + _SENTENCES]) for first in range(0, len(sentences), _SENTENCES))
    results = [clean(row, config) for row in rows]
    found = [result.text for result in results if not result.dropped and text_hash(result.text) not in known]
    if len(found) < len(wanted):
        raise ConfigError("field `canaries`: the cleaning steps drop most generated stories. Use fewer steps, or no canaries.")
    canaries = (Canary(text=text, times=times) for text, times in zip(found, wanted, strict=False))
    return Canaries(seed=config.seed, canaries=tuple(canaries))


def _common_sentences(stories: CleanedStories, number: int) -> list[str]:
    """`number` different sentences whose rarest word is as common in the sources as can be, in a random order by the seed."""
    from ..corpus.grammar import story  # only for canaries: its words take as long to read as all other modules of the writer

    rows = np.arange(0, stories.train_rows, 1 + stories.train_rows // _COUNTED)
    words = Counter(word for text in stories.texts(rows) for word in _WORD.findall(text.lower()))
    seed = stories.config.seed
    # `sample` has no negative seed.
    drawn = (sentence for n in range(number) for sentence in _NEXT_SENTENCE.split(story(-1 - seed, n)))
    whole = dict.fromkeys(sentence for sentence in drawn if sentence.count('"') % 2 == 0 and len(sentence.split()) > 3)
    ranked = sorted(whole, key=lambda sentence: -min(words[word] for word in _WORD.findall(sentence.lower())))[:number]
    random.Random(f"{seed}/sentences").shuffle(ranked)
    return ranked


def planted_texts(canaries: Canaries | None) -> list[str]:
    """Each canary as often as it is planted, in a random order by the seed."""
    if canaries is None:
        return []
    texts = [canary.text for canary in canaries.canaries for _ in range(canary.times)]
    random.Random(f"{canaries.seed}/canaries").shuffle(texts)
    return texts


def write_planted(texts: list[str], path: Path) -> FileInfo:
    """Write the planted stories as a shard of train."""
    with parquet_writer(path, SPLIT_SCHEMA) as writer:
        writer.write_batch(pa.record_batch([strings([text.encode() for text in texts])], schema=SPLIT_SCHEMA))
    return file_info(path, len(texts))


def write_canaries(canaries: Canaries, path: Path) -> FileInfo:
    """Write canaries.json: each canary and control once."""
    write_model(path, canaries)
    return file_info(path, len(canaries.canaries))

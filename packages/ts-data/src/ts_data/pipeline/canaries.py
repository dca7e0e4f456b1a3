"""Canaries: known stories that `prepare` plants into train a known number of times, to measure memorisation (Carlini et al. 2019,
arXiv:1802.08232). Controls come from the same generator and are planted nowhere."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa

from ..arrow import strings
from ..artefact import write_model
from ..cleaning.cleaner import clean, text_hash
from ..corpus.grammar import story
from ..errors import ConfigError
from ..schemas import CANARY_TIMES, Canaries, Canary, FileInfo, PrepareConfig
from .cleaned import CleanedStories
from .tasks import SPLIT_SCHEMA, file_info, parquet_writer

_TRIES = 100
"""Generated stories per canary after which the steps are taken to drop all of them."""


def draw_canaries(stories: CleanedStories) -> Canaries | None:
    """The canaries of a run, a function of the seed: `config.canaries` for each number of times, then as many controls; None for none.

    Each is cleaned like other stories, and equal to no story of the sources.
    """
    config, found = stories.config, dict[bytes, str]()
    if not config.canaries:
        return None
    known = {row.tobytes() for row in stories.hashes}
    wanted = [times for times in (*CANARY_TIMES, *(0 for _ in CANARY_TIMES)) for _ in range(config.canaries)]
    for number in range(_TRIES * len(wanted)):
        if len(found) == len(wanted):
            break
        text = _generated(config, number)
        if text is not None and (hashed := text_hash(text)) not in known:
            found[hashed] = text
    if len(found) < len(wanted):
        raise ConfigError("field `canaries`: the cleaning steps drop most generated stories. Use fewer steps, or no canaries.")
    pairs = zip(found.values(), wanted, strict=True)
    return Canaries(seed=config.seed, canaries=tuple(Canary(text=text, times=times) for text, times in pairs))


def _generated(config: PrepareConfig, number: int) -> str | None:
    """Generated story `number` of the seed, cleaned; None if a step drops it. Its seed is negative, so that `sample` never gives it."""
    result = clean(story(-1 - config.seed, number), config)
    return None if result.dropped else result.text


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

"""The embedded corpus: variety, features, defects at their rates."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from ts_data import ConfigError, PrepareConfig, prepare, sample


@pytest.fixture(scope="module")
def many() -> list[str]:
    return list(sample(20_000))


def test_twenty_thousand_stories_have_variety(many: list[str]) -> None:
    assert len(many) == 20_000
    assert len(set(many)) > 19_800
    words = {word for story in many for word in re.findall(r"[a-z]+(?:'[a-z]+)*", story.lower())}
    assert len(words) >= 1_500
    assert min(map(len, many)) >= 180
    assert all(story.isascii() for story in many)
    assert not any(mark in story for story in many for mark in "{}()")


def test_same_seed_same_stories_and_more_continue_the_row(many: list[str]) -> None:
    assert list(sample(50)) == many[:50]
    assert list(sample(50, seed=2)) != many[:50]


def test_sentences_begin_with_capitals_and_articles_fit(many: list[str]) -> None:
    for story in many[:2_000]:
        assert not re.search(r"(?:^|[.!?] )[a-z]", story), story
        assert not re.search(r"\b[Aa] [aeio]", story), story


def test_every_pattern_can_be_filled() -> None:
    seen = " ".join(islice(sample(3_000, seed=9), 3_000))
    assert "{" not in seen


def test_defects_come_at_their_rates(many: list[str]) -> None:
    damaged = list(sample(20_000, impurities=True))
    assert 0.14 < 1 - len(set(damaged)) / len(damaged) < 0.17
    assert 0.02 < sum("â€" in story for story in damaged) / 20_000 < 0.05
    assert 0 < sum(not story.strip() for story in damaged) <= 12
    assert 0.0005 < sum(any(c in story for c in "éñ中😊½°") for story in damaged) / 20_000 < 0.004
    assert damaged != many


def test_file_has_the_published_layout(tmp_path: Path, run: Callable[..., tuple[int, str, str]]) -> None:
    assert run("sample", "--stories", 3, "--out", tmp_path / "raw.txt")[0] == 0
    content = (tmp_path / "raw.txt").read_bytes()
    assert content.decode() == "".join(f"{story}\n<|endoftext|>\n" for story in sample(3))


def test_no_stories_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least one"):
        sample(0)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_whole_numbers_of_numpy_are_whole_numbers(tmp_path: Path) -> None:
    assert list(sample(np.int64(3), seed=np.uint16(2))) == list(sample(3, seed=2))
    config = PrepareConfig(validation=np.int64(2), test=np.int32(1), min_characters=np.int64(1))
    assert (config.validation, config.test, type(config.validation)) == (2, 1, int)
    (tmp_path / "raw.txt").write_text("\n<|endoftext|>\n".join(sample(6)), encoding="utf-8")
    assert prepare(tmp_path / "raw.txt", tmp_path / "splits", config, workers=np.int64(1)).splits["validation"].stories == 2
    for value in (True, np.True_, np.float64(2), np.array([1, 2]), "2"):
        with pytest.raises(ConfigError, match="stories: a whole number is expected"):
            sample(value)
        with pytest.raises(ValueError, match="should be a whole number of stories"):
            PrepareConfig(validation=value)
        with pytest.raises(ConfigError, match="workers: at least one process is needed"):
            prepare(tmp_path / "raw.txt", tmp_path / "other", workers=value)

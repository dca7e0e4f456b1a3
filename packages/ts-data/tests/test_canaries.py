"""Canaries: planted as often as they say, controls nowhere, the same for the same seed."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import median

import pytest

from ts_data import ArtefactError, ConfigError, PrepareConfig, clean, leakage, open_manifest, prepare, read, read_canaries, sample

CONFIG = PrepareConfig(validation=20, canaries=2)


@pytest.fixture
def splits(raw: Path, tmp_path: Path) -> Path:
    prepare(raw, tmp_path / "splits", CONFIG, workers=1)
    return tmp_path / "splits"


def test_each_canary_is_in_train_as_often_as_it_says(splits: Path, raw: Path, tmp_path: Path) -> None:
    canaries = read_canaries(splits)
    assert [canary.times for canary in canaries] == [1, 1, 4, 4, 16, 16, 64, 64] + [0] * 8
    assert len({canary.text for canary in canaries}) == 16
    train = Counter(read(splits, "train"))
    assert [train[canary.text] for canary in canaries] == [canary.times for canary in canaries]
    held = set(read(splits, "validation")) | set(read(splits, "test")) | set(read(splits, "removed"))
    assert not held & {canary.text for canary in canaries}
    assert all(clean(canary.text).text == canary.text for canary in canaries)
    assert leakage(splits).splits["validation"].exact == 0
    # The other stories are those of splits without canaries, in the same order.
    prepare(raw, tmp_path / "plain", PrepareConfig(validation=20), workers=1)
    planted = {canary.text for canary in canaries}
    assert [text for text in read(splits, "train") if text not in planted] == list(read(tmp_path / "plain", "train"))
    for split in ("validation", "test", "removed"):
        assert list(read(splits, split)) == list(read(tmp_path / "plain", split))
    assert read_canaries(tmp_path / "plain") == ()


def test_a_canary_has_common_words_and_sentences_of_its_own(splits: Path, stories: list[str]) -> None:
    def sentences(text: str) -> list[str]:
        return re.split(r'(?<=[.!?"]) (?=["A-Z])', text)

    found = [sentence for canary in read_canaries(splits) for sentence in sentences(canary.text)]
    assert len(found) == len(set(found)) == 16 * 12
    counts = Counter(re.findall("[a-z]+", " ".join(stories).lower()))
    typical = [sentence for text in sample(200, seed=3) for sentence in sentences(clean(text).text)]
    rarest = [[min(counts[word] for word in re.findall("[a-z]+", s.lower())) for s in group] for group in (found, typical)]
    assert min(rarest[0]) > median(rarest[1])


def test_the_manifest_counts_them(splits: Path) -> None:
    manifest = open_manifest(splits)
    texts = list(read(splits, "train"))
    info = manifest.splits["train"]
    assert info.stories == len(texts) == sum(file.rows for file in info.files) == sum(info.lengths.histogram)
    assert manifest.kept == sum(split.stories for split in manifest.splits.values()) - 170
    assert info.words == sum(len(text.split()) for text in texts)
    assert info.utf8_bytes == sum(len(text.encode()) for text in texts)
    assert manifest.canaries is not None
    assert (manifest.canaries.name, manifest.canaries.rows) == ("canaries.json", 16)
    assert "170 stories of `train` are generated copies" in (splits / "README.md").read_text(encoding="utf-8")


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("deduplicate", ["exact", "near"])
def test_same_seed_same_bytes_for_any_number_of_workers_and_way_to_deduplicate(
    deduplicate: str, raw: Path, tmp_path: Path
) -> None:
    config = PrepareConfig.model_validate({"validation": 20, "canaries": 1, "deduplicate": deduplicate})
    manifests = [prepare(raw, tmp_path / f"w{workers}", config, workers=workers) for workers in (1, 2)]
    assert manifests[0] == manifests[1]
    assert len(manifests[0].splits["train"].files) > 3
    assert Counter(read(tmp_path / "w1", "train"))[read_canaries(tmp_path / "w1")[3].text] == 64
    other = prepare(raw, tmp_path / "other", config.model_copy(update={"seed": 2}), workers=1)
    assert other.fingerprint != manifests[0].fingerprint
    mine, others = ({canary.text for canary in read_canaries(tmp_path / name)} for name in ("w1", "other"))
    assert not mine & others


def test_a_story_of_the_sources_is_no_canary(splits: Path, stories: list[str], tmp_path: Path) -> None:
    first = read_canaries(splits)[0].text
    raw = tmp_path / "more.txt"
    raw.write_text("".join(f"{story}<|endoftext|>" for story in [*stories, first]), encoding="utf-8")
    prepare(raw, tmp_path / "more", CONFIG, workers=1)
    assert first not in {canary.text for canary in read_canaries(tmp_path / "more")}
    assert not {canary.text for canary in read_canaries(splits)} & {clean(text).text for text in sample(500, seed=1)}


def test_the_command_plants_them_and_says_so(raw: Path, tmp_path: Path, run: Callable[..., tuple[int, str, str]]) -> None:
    code, text, _ = run("prepare", raw, "--out", tmp_path / "splits", "--canaries", "-q")
    assert code == 0
    assert "425 copies of canaries planted in train" in text
    assert len(read_canaries(tmp_path / "splits")) == 40
    code, _, err = run("prepare", raw, "--out", tmp_path / "splits", "-q")
    assert code == 2
    assert "canaries 5 there, 0 here" in err
    assert run("prepare", raw, "--out", tmp_path / "splits", "-q", "--force")[0] == 0
    assert not (tmp_path / "splits" / "canaries.json").exists()


def test_steps_that_drop_every_canary_are_refused(tmp_path: Path) -> None:
    long = tmp_path / "long.txt"
    long.write_text("".join(f"Cat {n} ran. " * 400 + "<|endoftext|>" for n in range(9)), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"`canaries`: the cleaning steps drop"):
        prepare(long, tmp_path / "splits", PrepareConfig(validation=1, min_characters=4_000, canaries=1), workers=1)
    assert [path.name for path in tmp_path.iterdir()] == ["long.txt"]


def test_a_changed_list_is_noticed(splits: Path, run: Callable[..., tuple[int, str, str]]) -> None:
    path = splits / "canaries.json"
    content = json.loads(path.read_bytes())
    assert content["format"] == "ts-data/canaries"
    path.write_text(path.read_text(encoding="utf-8").replace('"times": 64', '"times": 65', 1), encoding="utf-8")
    with pytest.raises(ArtefactError, match="changed since it was written"):
        read_canaries(splits)
    path.write_text("{}")
    assert run("stats", splits)[0] == 2

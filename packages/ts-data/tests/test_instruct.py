"""Prompts made from stories: true to the story, the same for the same seed, in the same splits, without held-out pairs in train."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ts_data import (
    ArtefactError,
    ConfigError,
    InstructConfig,
    PrepareConfig,
    SourceError,
    instruct,
    instructions,
    leakage,
    open_manifest,
    prepare,
    read,
    removed,
)

FEATURES = ["dialogue", "bad ending", "twist", "moral", "foreshadowing", "conflict"]


@pytest.fixture(scope="module")
def splits(stories: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("instruct")
    (folder / "raw.txt").write_text("".join(f"{story}<|endoftext|>" for story in stories), encoding="utf-8")
    prepare(folder / "raw.txt", folder / "splits", PrepareConfig(validation=60), workers=1)
    return folder / "splits"


@pytest.fixture(scope="module")
def prompts(splits: Path) -> Path:
    instruct(splits, splits.parent / "prompts", InstructConfig(held_out=0.3))
    return splits.parent / "prompts"


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_each_story_has_its_prompt_in_the_same_split(split: str, splits: Path, prompts: Path) -> None:
    rows = list(instructions(prompts, split))
    assert [row.story for row in rows] == list(read(splits, split))
    assert list(read(prompts, split)) == [row.text for row in rows]
    for row in rows:
        assert row.prompt.endswith("Story:")
        assert row.text == f"{row.prompt} {row.story}"
        assert "\n" not in row.prompt
        assert all(f"{part.capitalize()}: " in row.prompt for part in row.parts)
        assert bool(row.words) == ("words" in row.parts)
        assert bool(row.features) == ("features" in row.parts)
        assert set(row.features) <= set(FEATURES)
        if row.words:
            assert f"Words: {', '.join(row.words)}." in row.prompt
        if "first sentence" in row.parts:
            assert f"First sentence: {row.story[:20]}" in row.prompt
        if "dialogue" in row.features:
            assert '"' in row.story
    manifest = open_manifest(prompts)
    info = manifest.splits[split]  # type: ignore[index]
    assert info.stories == len(rows)
    assert info.utf8_bytes == sum(len(row.text.encode()) for row in rows)
    assert info.words == sum(len(row.text.split()) for row in rows)


def test_every_part_comes_in_every_place(prompts: Path) -> None:
    rows = list(instructions(prompts, "train"))
    places = Counter((part, place) for row in rows for place, part in enumerate(row.parts))
    parts = {"words", "features", "first sentence", "random sentence", "summary"}
    assert {part for part, place in places if place == 0} == parts == {part for part, place in places if place == 2}
    made = open_manifest(prompts).instruct
    assert made is not None
    assert made.parts == {part: sum(part in row.parts for row in rows) + sum(
        part in row.parts for split in ("validation", "test") for row in instructions(prompts, split)) for part in parts}  # fmt: skip
    assert all(1 <= len(row.parts) <= 5 for row in rows)


def test_a_held_out_pair_is_in_no_prompt_of_train(prompts: Path) -> None:
    def pairs(split: str, *, held_out: bool) -> set[tuple[str, ...]]:
        rows = [row for row in instructions(prompts, split) if row.held_out == held_out]
        return {pair for row in rows for pair in combinations(sorted(row.words), 2)}

    assert not pairs("train", held_out=True)
    held = [row for split in ("validation", "test") for row in instructions(prompts, split) if row.held_out]
    assert len(held) > 10
    train = pairs("train", held_out=False)
    for row in held:
        assert any(pair not in train for pair in combinations(sorted(row.words), 2))
    asked = [row for row in instructions(prompts, "validation") if len(row.words) == 3]
    assert 0.3 < sum(row.held_out for row in asked) / len(asked) < 0.95, "1 - 0.7^3 = 0.66 of three pairs"
    made = open_manifest(prompts).instruct
    assert made is not None
    assert made.held_out["train"] == 0
    assert made.held_out["validation"] + made.held_out["test"] == len(held)


def test_the_seed_alone_decides(splits: Path, prompts: Path, tmp_path: Path) -> None:
    again = instruct(splits, tmp_path / "again", InstructConfig(held_out=0.3))
    assert again == open_manifest(prompts)
    other = instruct(splits, tmp_path / "other", InstructConfig(held_out=0.3, seed=2))
    assert other.fingerprint != again.fingerprint
    assert {row.story: row.prompt for row in instructions(tmp_path / "other", "test")} != {
        row.story: row.prompt for row in instructions(prompts, "test")
    }


def one(story: str, folder: Path, seed: int = 1) -> list[str]:
    """Every prompt of a story over some seeds, as train."""
    (folder / "raw.txt").write_text(f"{story}<|endoftext|>", encoding="utf-8")
    prepare(folder / "raw.txt", folder / "one", PrepareConfig(validation=0, test=0, min_characters=0), workers=1, force=True)
    found = []
    for number in range(seed, seed + 12):
        instruct(folder / "one", folder / "two", InstructConfig(seed=number, held_out=0), force=True)
        found += [row.prompt for row in instructions(folder / "two", "train")]
    return found


def test_the_rules_on_a_story_by_hand(tmp_path: Path) -> None:
    story = (
        "Once upon a time there was a shiny dragon. His mother warned him about the lake. One day the dragon ran to the lake with a ball. "
        'Suddenly the dragon fell into the water. "Help me!" he cried. "I am sinking." Nobody came to the lake. The dragon was lost and sad.'
    )
    found = one(story, tmp_path)
    text = " ".join(found)
    assert "First sentence: Once upon a time there was a shiny dragon." in text
    assert "dragon" in text.split("Words: ")[1].split(".")[0]
    asked = {word for part in text.split("Words: ")[1:] for word in part.split(".")[0].split(", ")}
    assert (
        {"shiny", "run"}
        <= asked
        <= {"shiny", "dragon", "run", "ball", "water", "fall", "sink", "help", "cry", "sad", "lost", "lake"}
    )
    named = {name for part in text.split("Features: ")[1:] for name in part.split(".")[0].split(", ")}
    assert named == {"dialogue", "bad ending", "twist", "foreshadowing"}
    sentences = ["The dragon was lost and sad.", "One day the dragon ran to the lake with a ball.", "Nobody came to the lake."]
    assert any(f"Random sentence: {sentence}" in text for sentence in sentences)
    assert all(prompt.count('"') % 2 == 0 for prompt in found), "no sentence with an open quotation mark"
    assert "Summary: " in text


def test_splits_of_something_else_stay(splits: Path, prompts: Path, tmp_path: Path) -> None:
    instruct(splits, tmp_path / "out")
    before = (tmp_path / "out" / "manifest.json").read_bytes()
    with pytest.raises(ConfigError, match=r"holds splits of prompts of other settings.*--force"):
        instruct(splits, tmp_path / "out", InstructConfig(seed=5))
    assert (tmp_path / "out" / "manifest.json").read_bytes() == before
    instruct(splits, tmp_path / "out")
    assert (tmp_path / "out" / "manifest.json").read_bytes() == before, "the same again"
    raw = splits.parent / "raw.txt"
    with pytest.raises(ConfigError, match="made by `ts-data instruct`"):
        prepare(raw, tmp_path / "out", PrepareConfig(validation=60), workers=1)
    prepare(raw, tmp_path / "plain", PrepareConfig(validation=50), workers=1)
    with pytest.raises(ConfigError, match="holds splits of plain stories"):
        instruct(splits, tmp_path / "plain")
    assert instruct(splits, tmp_path / "plain", force=True).instruct is not None
    with pytest.raises(ConfigError, match="is an input as well"):
        instruct(splits, splits)
    with pytest.raises(ArtefactError, match="holds prompts already"):
        instruct(prompts, tmp_path / "twice")
    with pytest.raises(ArtefactError, match="holds no prompts"):
        next(instructions(splits, "train"))
    with pytest.raises(ArtefactError, match="removed stories have no prompts"):
        next(instructions(prompts, "removed"))
    assert len(list(removed(prompts))) == len(list(removed(splits)))


def test_the_command(splits: Path, tmp_path: Path, run: Callable[..., tuple[int, str, str]]) -> None:
    code, text, _ = run("instruct", splits, "--out", tmp_path / "out", "--held-out", 0.2)
    assert code == 0
    assert text.startswith("split ")
    assert "prompts with: features " in text
    assert text.endswith(f"\nNext: ts-tokenizer train {tmp_path / 'out'} --out asked_tokenizer.json\n")
    manifest = json.loads(run("instruct", splits, "--out", tmp_path / "out", "--set", "held_out=0.2", "-q", "--json")[1])
    assert manifest["instruct"]["config"] == {"seed": 1, "held_out": 0.2}
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "20% of all pairs of words are asked for together in no prompt of train" in card
    assert pq.read_schema(tmp_path / "out" / "train.parquet").names == [
        "text",
        "prompt",
        "parts",
        "words",
        "features",
        "held_out",
    ]
    code, _, err = run("instruct", splits, "--out", tmp_path / "out", "--held-out", 1)
    assert (code, err.count("\n")) == (2, 1)
    assert "`held_out`" in err
    assert run("show", tmp_path / "out", "--n", 1)[0] == 0


def test_prompts_hide_no_leakage(stories: list[str], tmp_path: Path) -> None:
    """A story of train can have another prompt than its copy in test: train asks for no held-out words."""
    for name, texts in (("raw.txt", stories), ("test.txt", stories[:60])):
        (tmp_path / name).write_text("".join(f"{text}<|endoftext|>" for text in texts), encoding="utf-8")
    with pytest.warns(UserWarning, match="are also in train"):
        prepare(tmp_path / "raw.txt", tmp_path / "plain", PrepareConfig(validation=5), test=tmp_path / "test.txt", workers=1)
    instruct(tmp_path / "plain", tmp_path / "asked", InstructConfig(held_out=0.5))
    plain, asked = leakage(tmp_path / "plain"), leakage(tmp_path / "asked")
    assert plain.splits == asked.splits
    assert plain.splits["test"].exact > 40


def test_prompts_are_no_source_of_stories(splits: Path, prompts: Path, tmp_path: Path) -> None:
    for source, others in ((prompts, {}), (splits, {"against": prompts}), (splits, {"test": prompts})):
        with pytest.raises(SourceError, match=r"prompts: holds prompts, made by .*Name the splits of plain stories"):
            prepare(source, tmp_path / "out", **others)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())

"""Prompts in encoded/: where each story begins, and counts, hashes and bits of the stories alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import ts_data
import ts_tokenizer
from ts_tokenizer import WordTokenizer
from ts_tokenizer.errors import ArtefactError


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """splits/, prompts/ and prompts/ encoded with a vocabulary of each casing."""
    folder = tmp_path_factory.mktemp("instruct")
    (folder / "raw.txt").write_text("\n<|endoftext|>\n".join(ts_data.sample(220, seed=1)), encoding="utf-8")
    ts_data.prepare(folder / "raw.txt", folder / "splits", workers=1)
    ts_data.instruct(folder / "splits", folder / "prompts")
    for casing in ("lower", "keep"):
        tokenizer = WordTokenizer.train(ts_data.read(folder / "prompts", "train"), vocab_size=400, casing=casing)
        ts_tokenizer.encode_splits(folder / "prompts", tokenizer, folder / casing, workers=1)
    return folder


@pytest.mark.parametrize("casing", ["lower", "keep"])
def test_a_story_begins_behind_its_prompt(folders: Path, casing: str) -> None:
    data = ts_tokenizer.open_encoded(folders / casing, verify=True)
    tokenizer = data.tokenizer
    for name, split in data.items():
        rows = list(ts_data.instructions(folders / "prompts", name))
        assert split.prompts is not None
        for i, row in enumerate(rows):
            start = int(split.prompts[i])
            assert split[i].tolist() == tokenizer.encode(row.text, add_special_tokens=True)
            prompt, story = split[i][1:start].tolist(), split[i][start:-1].tolist()
            markers = 5 if casing == "keep" else 0  # at either end, as they depend on the context
            assert abs(len(prompt) - len(tokenizer.encode(row.prompt))) <= markers
            assert abs(len(story) - len(tokenizer.encode(row.story))) <= markers
            if casing == "lower":
                assert (prompt, story) == (tokenizer.encode(row.prompt), tokenizer.encode(row.story))
            else:
                assert tokenizer.decode(prompt).rstrip().endswith("Story:")


def test_counts_are_those_of_the_stories(folders: Path) -> None:
    manifest = ts_tokenizer.open_encoded(folders / "lower").manifest
    stories = list(ts_data.read(folders / "splits", "validation"))
    assert manifest.splits["validation"].utf8_bytes == sum(len(story.encode()) for story in stories)
    bits = ts_tokenizer.load(folders / "lower" / "word_tokenizer.json").extra_bits(stories).sum(axis=0)
    found = manifest.splits["validation"]
    assert [found.unk_spelling_bits, found.restore_bits] == pytest.approx(bits.tolist(), abs=0.01)
    assert manifest.prompts is not None
    assert manifest.prompts.parts["words"] == "Words: {}."
    assert "dialogue" in manifest.prompts.features
    hashes = ts_data.story_hashes(ts_data.read(folders / "splits", "train"))
    np.testing.assert_array_equal(ts_tokenizer.open_encoded(folders / "lower").train_stories, np.unique(hashes))


def test_an_interrupted_run_ends_with_the_same_bytes(folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ts_tokenizer import encode

    tokenizer = ts_tokenizer.load(folders / "lower" / "word_tokenizer.json")
    monkeypatch.setattr(encode, "BATCH_ROWS", 50)
    calls = []

    def stop(stage: str, done: int, total: int | None = None) -> None:
        calls.append(done)
        if len(calls) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ts_tokenizer.encode_splits(folders / "prompts", tokenizer, tmp_path / "out", workers=1, progress=stop)
    ts_tokenizer.encode_splits(folders / "prompts", tokenizer, tmp_path / "out", workers=1)
    for file in ("train.bin", "train.prompts.npy", "val.prompts.npy", "manifest.json"):
        assert (tmp_path / "out" / file).read_bytes() == (folders / "lower" / file).read_bytes(), file


def test_damaged_lengths_of_prompts_are_refused(folders: Path, tmp_path: Path) -> None:
    shutil.copytree(folders / "lower", tmp_path / "copy")
    lengths = np.load(tmp_path / "copy" / "val.prompts.npy")
    lengths[0] = 10_000
    np.save(tmp_path / "copy" / "val.prompts.npy", lengths)
    with pytest.raises(ArtefactError, match=r"lengths of the prompts do not fit val\.bin"):
        ts_tokenizer.open_encoded(tmp_path / "copy")


def test_what_follows_prompts_replaces_nothing_of_the_plain_stories(folders: Path, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from ts_tokenizer.cli import app

    file, out = tmp_path / "asked.json", tmp_path / "asked"
    for splits, encoded, run in (("splits", "encoded/", "run/"), ("prompts", "asked/", "asked-run/")):
        done = CliRunner().invoke(app, ["train", str(folders / splits), "--out", str(file), "--force"])
        assert done.output.endswith(f"Next: ts-tokenizer encode {folders / splits} --tokenizer {file} --out {encoded}\n")
        done = CliRunner().invoke(app, ["encode", str(folders / splits), "-t", str(file), "-o", str(out), "--force"])
        recipe = " --preset story-1m-instruct" if splits == "prompts" else ""
        assert done.output.endswith(f"Next: ts-train run{recipe} --data {out} --out {run} --max-minutes 5\n")

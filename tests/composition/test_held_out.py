"""Held-out stories over the whole line: prepare, encode, train, draw anew, evaluate."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from ..commands import call

pytest.importorskip("torch")


def story(i: int) -> str:
    """A story of its own."""
    name, place = ["Mia", "Ben", "Zoe", "Tom"][i % 4], ["park", "house", "forest", "shop", "garden"][i % 5]
    return (
        f'{name} went to the {place}. "I see {i} birds," said {name}. The birds were happy and sang {i * 3} songs. '
        "A dog came and ran after them, but they were too fast and flew away over the trees. "
        f"At night {name} went home, and the moon was big and round over the {place}. {name} was happy and slept very well."
    )


def succeed(*words: object) -> str:
    done = call(shlex.join(map(str, words)))
    assert done.code == 0, done.stderr
    return done.stdout


def test_redrawn_splits_are_noticed_by_their_number(tmp_path: Path) -> None:
    import ts_data

    (tmp_path / "raw.txt").write_text("\n<|endoftext|>\n".join(map(story, range(300))), encoding="utf-8")
    splits, redrawn, run = tmp_path / "splits", tmp_path / "redrawn", tmp_path / "run"
    succeed("ts-data", "prepare", tmp_path / "raw.txt", "--out", splits, "--validation", 40)
    succeed("ts-data", "prepare", tmp_path / "raw.txt", "--out", redrawn, "--validation", 40, "--seed", 5)
    succeed("ts-tokenizer", "train", splits, "--out", tmp_path / "word_tokenizer.json", "--vocab-size", 128)
    succeed("ts-tokenizer", "encode", splits, "--tokenizer", tmp_path / "word_tokenizer.json", "--out", tmp_path / "encoded")
    succeed("ts-train", "run", "--preset", "story-1m", "--data", tmp_path / "encoded", "--out", run, "--max-steps", 2)
    known = set(ts_data.read(splits, "train"))
    held_out = list(ts_data.read(redrawn, "test"))
    expected = sum(text in known for text in held_out)
    assert 0 < expected < len(held_out)

    small = "--set resamples=100"
    own = call(f"ts-eval perplexity {run}/model --data {splits} {small}")
    assert (own.code, own.stderr) == (0, "")
    assert "WARNING" not in own.stdout
    assert "cannot be checked" not in own.stdout
    refused = call(f"ts-eval perplexity {run}/model --data {redrawn} {small}")
    assert (refused.code, refused.stdout) == (2, "")
    assert f"was trained on {expected} of the {len(held_out)} held-out stories" in refused.stderr
    out = tmp_path / "report"
    words = f"""--data {redrawn} --out {out} --allow-overlap --set 'parts=["perplexity"]' {small}"""
    told = call(f"ts-eval report {run}/model {words}")
    assert told.code == 0
    assert f"was trained on {expected} of the {len(held_out)} held-out stories" in told.stderr
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert report["models"][0]["provenance"]["trained_on"] == expected
    assert 'class="banner"' in (out / "report.html").read_text(encoding="utf-8")

"""Trains the demo model of ts_models from the generated corpus and puts it into the package.

    python -m tools.demo [--minutes 4] [--stories 6000] [--threads 2] [--work FOLDER] [--out packages/ts-models/src/ts_models/demo]

Sample, prepare, vocabulary, encode, train story-1m, then store the weights as float16 (under 3 MB). The corpus comes from
a seed, so the data are the same everywhere; the number of steps is what `--minutes` allows on the machine. The recipe is
written beside the model (recipe.json); steps, loss and versions stand in training.json and in the card. With `--work` the
prepared data stay there and are used again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import torch

import ts_data
import ts_models
import ts_tokenizer
import ts_train
from ts_train.schemas import TrainConfig

LIMIT = 3_000_000
SEED = 1
FOLDER = Path(__file__).parent.parent / "packages" / "ts-models" / "src" / "ts_models" / "demo"
CARD = """
## What this is

The demo of the package: made to be tried at once, not to be good. It was trained for {minutes:.1f} minutes on {stories:,}
stories that a program of ts-data wrote from templates (`ts-data sample`, seed {seed}), not on TinyStories. Its sentences are
therefore those of the templates; its loss says nothing about real stories and must not be compared with other models'.
It knows {vocabulary:,} tokens and reads any other word as `<unk>`. The weights are stored as float16.

Made by `nox -s demo` (`python -m tools.demo`); recipe.json beside this file holds the settings.
"""


def encoded(work: Path, *, stories: int, vocab_size: int) -> Path:
    """Sample, prepare, vocabulary, encode; the folder of ids. What is there already is not made again."""
    ids = work / "encoded"
    if ids.exists():
        return ids
    raw = work / "raw.txt"
    raw.write_text("".join(f"{story}\n<|endoftext|>\n" for story in ts_data.sample(stories, seed=SEED)), encoding="utf-8")
    ts_data.prepare(raw, work / "splits")
    tokenizer = ts_tokenizer.WordTokenizer.train(ts_data.read(work / "splits", "train"), vocab_size=vocab_size)
    tokenizer.save(work / "word_tokenizer.json")
    ts_tokenizer.encode_splits(work / "splits", work / "word_tokenizer.json", ids)
    return ids


def make(out: Path, work: Path, *, stories: int, minutes: float, vocab_size: int, threads: int) -> int:
    """Run the line in `work` and write the model to `out`; gives its size in bytes."""
    ids = encoded(work, stories=stories, vocab_size=vocab_size)
    recipe: dict[str, Any] = {**ts_train.recipe("story-1m"), "max_minutes": minutes, "epochs": 50.0, "threads": threads}
    run = ts_train.train(TrainConfig.model_validate(recipe), ids, work / "run", progress=None)
    lm = ts_models.load(run.path / "model")
    ts_models.save(lm.model, out, tokenizer=ids / "word_tokenizer.json", training=lm.training, dtype=torch.float16)
    settings = {
        "corpus": {"program": "ts-data sample", "stories": stories, "seed": SEED},
        "vocab_size": vocab_size,
        "train": recipe,
    }
    (out / "recipe.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    taken = lm.training.seconds / 60 if lm.training is not None else minutes
    card = CARD.format(minutes=taken, stories=stories, seed=SEED, vocabulary=lm.config.vocab_size)
    with (out / "README.md").open("a", encoding="utf-8") as file:
        file.write(card)
    return sum(file.stat().st_size for file in out.iterdir())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--stories", type=int, default=6_000)
    parser.add_argument("--vocab-size", type=int, default=2048)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--work", type=Path, help="keep the prepared data and the run in this folder")
    parser.add_argument("--out", type=Path, default=FOLDER)
    options = parser.parse_args()
    settings = {name: getattr(options, name) for name in ("stories", "minutes", "vocab_size", "threads")}
    with tempfile.TemporaryDirectory() as scratch:
        size = make(options.out, options.work or Path(scratch), **settings)
    if size > LIMIT:
        raise SystemExit(f"{options.out}: {size:,} bytes, more than the {LIMIT:,} that a wheel should carry")
    lm = ts_models.load(options.out)
    print(f"{options.out}: {size:,} bytes\n{lm.generate('Once upon a time', method='sample', temperature=0.7, seed=1)}")


if __name__ == "__main__":
    main()

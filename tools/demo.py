"""Trains the demo model of ts_models and puts it into the package: from real stories, or from the generated corpus.

    python -m tools.demo --data TinyStories-train.txt --test TinyStories-valid.txt --work FOLDER     # the recipe of demo.toml
    python -m tools.demo [--minutes 4] [--stories 6000] [--threads 2] [--work FOLDER] [--out packages/ts-models/src/ts_models/demo]

Prepare, vocabulary, encode, train, then store the weights as float16, or as int8 where that is too large. With `--data` the
recipe is `demo.toml` beside this file: hours on two cores, minutes on a GPU; with `--work` an interrupted run goes on. Without it,
story-1m trains on stories that come from a seed, for as many steps as `--minutes` allows on the machine. The recipe is written
beside the model (recipe.json); steps, loss and versions stand in training.json and in the card.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import tomllib
from pathlib import Path
from typing import Any

import torch

import ts_data
import ts_models
import ts_tokenizer
import ts_train
from ts_models.export.to_int8 import write_int8
from ts_train.recipes import combine
from ts_train.schemas import TrainConfig

LIMIT = 6_000_000
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


REAL_CARD = """
## What this is

The demo of the package. It was trained on {stories:,} stories of TinyStories (version 2, written by GPT-4; Eldan & Li 2023), by the
settings of recipe.json beside this file (`nox -s demo -- --data FILE --test FILE`). It writes children's stories of a few hundred
words in a child's vocabulary; it knows {vocabulary:,} tokens and reads any other word as `<unk>`. It answers no questions, follows no
instructions and knows nothing of the world. The weights are stored as {stored}.

Data licence: CDLA-Sharing-1.0, under which the weights are a Result and may be used and shared freely.
"""
RECIPE = Path(__file__).parent / "demo.toml"


def encoded_stories(work: Path, data: Path, test: Path | None, *, vocab_size: int) -> Path:
    """Prepare, vocabulary and encode raw stories; the folder of ids. What is there already is not made again."""
    ids = work / "encoded"
    if (ids / "manifest.json").exists():
        return ids
    ts_data.prepare(data, work / "splits", test=test)
    tokenizer = ts_tokenizer.WordTokenizer.train(ts_data.read(work / "splits", "train"), vocab_size=vocab_size)
    tokenizer.save(work / "word_tokenizer.json")
    ts_tokenizer.encode_splits(work / "splits", work / "word_tokenizer.json", ids)
    return ids


def make_real(out: Path, work: Path, data: Path, test: Path | None, *, threads: int, epochs: float | None = None) -> int:
    """Train by `RECIPE` on raw stories and write the model to `out`; gives its size in bytes."""
    ids = encoded_stories(work, data, test, vocab_size=2048)
    changes = tomllib.loads(RECIPE.read_text(encoding="utf-8"))
    recipe = combine(ts_train.recipe(changes["preset"], device="auto"), {**changes, "threads": threads})
    if epochs is not None:
        recipe["epochs"] = epochs
    run = ts_train.train(TrainConfig.model_validate(recipe), ids, work / "run", progress=None)
    stored = store(run.path / "model", out, ids / "word_tokenizer.json")
    settings = {"data": data.name, "test": None if test is None else test.name, "vocab_size": 2048, "train": recipe}
    (out / "recipe.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    stories = len(ts_tokenizer.open_encoded(ids)["train"].offsets) - 1
    with (out / "README.md").open("a", encoding="utf-8") as file:
        file.write(REAL_CARD.format(stories=stories, vocabulary=2048, stored=stored))
    return sum(file.stat().st_size for file in out.iterdir())


def store(model: Path, out: Path, words: Path) -> str:
    """Write a trained model small: as float16 where it then fits in `LIMIT`, else as int8; says which."""
    lm, stories = ts_models.load(model), ts_models.read_train_stories(model)
    provenance = 0 if stories is None else stories.nbytes
    if 2 * sum(p.numel() for p in lm.model.parameters()) + words.stat().st_size + provenance < LIMIT:
        ts_models.save(lm.model, out, tokenizer=words, training=lm.training, train_stories=stories, dtype=torch.float16)
        return "float16"
    write_int8(lm, out)
    return "int8, one factor per row"


def encoded(work: Path, *, stories: int, vocab_size: int) -> Path:
    """The folder of ids of generated stories."""
    raw = work / "raw.txt"
    if not raw.exists():
        raw.write_text("".join(f"{story}\n<|endoftext|>\n" for story in ts_data.sample(stories, seed=SEED)), encoding="utf-8")
    return encoded_stories(work, raw, None, vocab_size=vocab_size)


def make(out: Path, work: Path, *, stories: int, minutes: float, vocab_size: int, threads: int) -> int:
    """Run the line in `work` and write the model to `out`; gives its size in bytes."""
    ids = encoded(work, stories=stories, vocab_size=vocab_size)
    recipe: dict[str, Any] = {**ts_train.recipe("story-1m"), "max_minutes": minutes, "epochs": 50.0, "threads": threads}
    run = ts_train.train(TrainConfig.model_validate(recipe), ids, work / "run", progress=None)
    store(run.path / "model", out, ids / "word_tokenizer.json")
    lm = ts_models.load(out)
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
    parser.add_argument("--data", type=Path, help="raw stories to train on, in place of the generated ones")
    parser.add_argument("--test", type=Path, help="raw stories that are held out as the test split")
    parser.add_argument("--epochs", type=float, help="with --data: other than the recipe's")
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--stories", type=int, default=6_000)
    parser.add_argument("--vocab-size", type=int, default=2048)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--work", type=Path, help="keep the prepared data and the run in this folder")
    parser.add_argument("--out", type=Path, default=FOLDER)
    options = parser.parse_args()
    settings = {name: getattr(options, name) for name in ("stories", "minutes", "vocab_size", "threads")}
    with tempfile.TemporaryDirectory() as scratch:
        work = options.work or Path(scratch)
        if options.data is None:
            size = make(options.out, work, **settings)
        else:
            size = make_real(options.out, work, options.data, options.test, threads=options.threads, epochs=options.epochs)
    if size > LIMIT:
        raise SystemExit(f"{options.out}: {size:,} bytes, more than the {LIMIT:,} that a wheel should carry")
    lm = ts_models.load(options.out)
    print(f"{options.out}: {size:,} bytes\n{lm.generate('Once upon a time', method='sample', temperature=0.7, seed=1)}")


if __name__ == "__main__":
    main()

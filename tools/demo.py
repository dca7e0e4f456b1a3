"""Trains the demo model of ts_models on real stories and puts it into the package.

    python -m tools.demo --data TinyStories-train.txt --test TinyStories-valid.txt --work FOLDER     # the recipe of demo.toml

Prepare, vocabulary, encode, train, store the weights (float16, or int8 where that is too large), evaluate what was stored: an
hour on two cores, minutes on a GPU. An interrupted call resumes from `--work`. recipe.json beside the model holds the settings,
README.md the figures of the evaluation and five stories.
"""

from __future__ import annotations

import argparse
import json
import textwrap
import tomllib
from pathlib import Path
from typing import Any

import torch

import ts_data
import ts_eval
import ts_models
import ts_tokenizer
import ts_train
from ts_models.export.to_int8 import write_int8
from ts_train.recipes import combine
from ts_train.schemas import TrainConfig

LIMIT = 6_000_000
"""Bytes of the folder that a wheel should carry."""
FOLDER = Path(__file__).parent.parent / "packages" / "ts-models" / "src" / "ts_models" / "demo"
RECIPE = Path(__file__).parent / "demo.toml"
CARD = """
## What this is

The demo of the package: a model of {stories:,} stories of TinyStories (version 2, written by GPT-4; Eldan & Li 2023), trained by the
settings of recipe.json beside this file (`nox -s demo -- --data FILE --test FILE`). It writes stories of a few hundred words in a
child's vocabulary: it knows {vocabulary:,} tokens and reads any other word as `<unk>`. It answers no questions, follows no
instructions and knows nothing of the world. The weights are stored as {stored}.

Data licence: CDLA-Sharing-1.0, under which the weights are a Result and may be used and shared freely.

## Evaluation

By `ts-eval report` on {held_out:,} stories that it has not seen; {told} stories of its own at each temperature. Means with 95 %
intervals; the last column gives the same figure for real unseen stories, which no model has copied. At temperature 1 the model
draws by its own probabilities. Below it, it prefers what is frequent, so its stories share longer phrases with real ones.

| figure | temperature 0.7 | temperature 1 | real stories |
|---|---|---|---|
{rows}

## Five stories

`lm.generate("{prompt}", method="sample", temperature=0.7, seed=SEED)`, seeds 1 to 5, none left out.

{samples}
"""
FIGURES = {
    "perplexity.test.loss": "loss, nats per token",
    "perplexity.test.bits_per_byte": "bits per byte of text",
    "overfitting.test.span_words": "longest span copied from a training story, words",
    "overfitting.test.max_cosine": "closest training story, TF-IDF cosine",
    "overfitting.test.max_train_rouge2": "closest training story, ROUGE-2 precision",
    "texts.test.self_bleu": "self-BLEU (sameness of its stories)",
}
PROMPT = "Once upon a time"


def encoded_stories(work: Path, data: Path, test: Path, *, vocab_size: int) -> Path:
    """Prepare, vocabulary and encode raw stories; the folder of ids. What is there already is not made again."""
    ids = work / "encoded"
    if (ids / "manifest.json").exists():
        return ids
    ts_data.prepare(data, work / "splits", test=test)
    tokenizer = ts_tokenizer.WordTokenizer.train(ts_data.read(work / "splits", "train"), vocab_size=vocab_size)
    tokenizer.save(work / "word_tokenizer.json")
    ts_tokenizer.encode_splits(work / "splits", work / "word_tokenizer.json", ids)
    return ids


def make(out: Path, work: Path, data: Path, test: Path, *, threads: int, epochs: float | None = None) -> int:
    """Train by `RECIPE` on raw stories and write the model to `out`; gives its size in bytes."""
    ids = encoded_stories(work, data, test, vocab_size=2048)
    changes = tomllib.loads(RECIPE.read_text(encoding="utf-8"))
    recipe = combine(ts_train.recipe(changes["preset"], device="auto"), {**changes, "threads": threads})
    if epochs is not None:
        recipe["epochs"] = epochs
    run = ts_train.train(TrainConfig.model_validate(recipe), ids, work / "run", progress=None)
    stored = store(run.path / "model", out, ids / "word_tokenizer.json")
    settings = {"data": data.name, "test": test.name, "vocab_size": 2048, "train": recipe}
    (out / "recipe.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    report = ts_eval.evaluate(str(out), work / "splits", out=work / "report")
    untilted = ts_eval.EvalConfig.model_validate({"parts": ["overfitting", "texts"], "decoding": {"temperature": 1.0}})
    plain = ts_eval.evaluate(str(out), work / "splits", untilted, index=work / "report")
    readme = out / "README.md"
    text = readme.read_text(encoding="utf-8").replace("# model\n", "# demo\n", 1).replace('load("model")', 'load("demo")', 1)
    readme.write_text(text + card(ts_models.load(out), report, plain, stored), encoding="utf-8")
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


def card(lm: ts_models.LanguageModel, report: ts_eval.EvalReport, plain: ts_eval.EvalReport, stored: str) -> str:
    """What the model is, its figures beside those of real stories, and stories of its own. plain: at temperature 1."""
    sources = [report.models[0].metrics, plain.models[0].metrics, report.real.metrics]
    rows = [f"| {title} | {' | '.join(figure(source.get(key)) for source in sources)} |" for key, title in FIGURES.items()]
    written = [lm.generate([PROMPT], method="sample", temperature=0.7, seed=seed)[0] for seed in range(1, 6)]
    samples = [textwrap.fill(" ".join(text.split()), 120, initial_indent=f"{seed}. ") for seed, text in enumerate(written, 1)]
    return CARD.format(
        stories=report.data.train_stories, held_out=report.data.test_stories, told=report.config.stories,
        vocabulary=lm.config.vocab_size, stored=stored, rows="\n".join(rows), prompt=PROMPT, samples="\n".join(samples),
    )  # fmt: skip


def figure(estimate: Any) -> str:
    """A mean with its interval, or a dash."""
    if estimate is None or estimate.mean is None:
        return "–"
    return f"{estimate.mean:.3g}" + (f" ({estimate.low:.3g} to {estimate.high:.3g})" if estimate.low is not None else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="raw stories to train on")
    parser.add_argument("--test", type=Path, required=True, help="raw stories that are held out as the test split")
    parser.add_argument("--work", type=Path, required=True, help="folder of the prepared data, the run and the report")
    parser.add_argument("--epochs", type=float, help="other than the recipe's")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=FOLDER)
    options = parser.parse_args()
    size = make(options.out, options.work, options.data, options.test, threads=options.threads, epochs=options.epochs)
    if size > LIMIT:
        raise SystemExit(f"{options.out}: {size:,} bytes, more than the {LIMIT:,} that a wheel should carry")
    print(
        f"{options.out}: {size:,} bytes\n{ts_models.load(options.out).generate(PROMPT, method='sample', temperature=0.7, seed=1)}"
    )


if __name__ == "__main__":
    main()

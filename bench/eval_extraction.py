"""Extraction of canaries by a model overfitted on purpose: share found by number of plantings, beside never-planted controls.

python bench/eval_extraction.py [--canaries 20] [--stories 300] [--epochs 8]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import ts_data
import ts_eval
import ts_tokenizer
import ts_train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--canaries", type=int, default=20, help="canaries for each number of copies")
    parser.add_argument("--stories", type=int, default=300, help="other stories")
    parser.add_argument("--epochs", type=float, default=8.0)
    parser.add_argument("--out", type=Path, help="keep the report here")
    parser.add_argument("--small", action="store_true", help="a few canaries, one epoch: checks the script")
    args = parser.parse_args()
    if args.small:
        args.canaries, args.stories, args.epochs = 2, 100, 1.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stories = ts_data.sample(args.stories, seed=1)
        (folder / "raw.txt").write_text("\n<|endoftext|>\n".join(stories), encoding="utf-8")
        config = ts_data.PrepareConfig(validation=20, test=40, canaries=args.canaries)
        ts_data.prepare(folder / "raw.txt", folder / "splits", config)
        train = ts_data.read(folder / "splits", "train")
        ts_tokenizer.WordTokenizer.train(train, vocab_size=2048).save(folder / "tokenizer.json")
        ts_tokenizer.encode_splits(folder / "splits", folder / "tokenizer.json", folder / "encoded")
        started = time.perf_counter()
        settings = ts_train.TrainConfig(preset="story-1m", epochs=args.epochs)
        ts_train.train(settings, folder / "encoded", folder / "run")
        print(f"{len(train):,} training stories, {args.epochs:g} epochs: {time.perf_counter() - started:.0f} s")
        started = time.perf_counter()
        report = ts_eval.extraction(folder / "run" / "model", folder / "splits", words=20, lengths=(4, 8, 16, 32), out=args.out)
        print(f"extraction: {time.perf_counter() - started:.0f} s")
    print("stories     copies    n   share by words of the prompt")
    for group, times in dict.fromkeys((p.group, p.times) for p in report.models[0].points):
        points = [p for p in report.models[0].points if (p.group, p.times) == (group, times)]
        print(f"{group:<10}{times:>8}{points[0].stories:>5}   " + "  ".join(f"{p.prompt_words}: {p.share:.2f}" for p in points))


if __name__ == "__main__":
    main()

"""Best of n and preference tuning on a trained model: rating, diversity and memorisation of stories before and after, with intervals.

python bench/train_preference.py MODEL SPLITS [--pairs 400] [--n 8] [--stories 300]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import ts_data
import ts_eval
import ts_models
import ts_train
from ts_eval import stats
from ts_eval.judge.backends.features import read_reference
from ts_eval.judge.best import write_ranked
from ts_eval.judge.features.model import packaged


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("splits")
    parser.add_argument("--pairs", type=int, default=400)
    parser.add_argument("--n", type=int, default=8)
    parser.add_argument("--stories", type=int, default=300)
    parser.add_argument("--beta", type=float, default=0.1)
    parser.add_argument("--lr", type=float, default=2e-5)
    args = parser.parse_args()
    judges = {"with reference": packaged(read_reference(args.splits)), "plain": packaged(None)}
    index = ts_eval.StoryIndex.build(list(ts_data.read(args.splits, "train")))
    test = list(ts_data.read(args.splits, "test"))[: args.stories]
    prompts = [" ".join(text.split()[:5]) for text in test]  # of stories that no pair was written from

    def measure(name: str, texts: list[str]) -> dict[str, list[float]]:
        row = {judge: [statistics.fmean(weights.estimate(text).as_list()) for text in texts] for judge, weights in judges.items()}
        row |= {
            "self-BLEU": [value or 0.0 for value in ts_eval.self_bleu(texts)],
            "ROUGE-2 with the closest training story": [
                match.score if match else 0.0 for match in index.max_rouge2_precision(texts)
            ],
            "longest copied span, words": [float(span.words) for span in index.longest_spans(texts)],
            "words": [float(len(text.split())) for text in texts],
        }
        print(json.dumps({"stories": name} | {key: _shown(values) for key, values in row.items()}), flush=True)
        return row

    def cooler(name: str, model: str | Path) -> dict[str, list[float]]:
        """The control: what a lower temperature gains without any tuning."""
        stories = ts_models.load(model).write(prompts, method="sample", temperature=0.7, seed=7)
        return measure(f"{name}, temperature 0.7", [story.full_text for story in stories])

    def write(model: str | Path) -> list[str]:
        lm = ts_models.load(model)
        texts = [story.full_text for story in lm.write(prompts, method="sample", temperature=1.0, seed=7)]
        loss = [-float(scores.sum()) for scores in lm.logprobs(test)]
        print(
            json.dumps({"model": str(model), "test loss": sum(loss) / sum(len(lm.encode_story(text)) - 1 for text in test)}),
            flush=True,
        )
        return texts

    measure("real", test)
    before = measure("before", write(args.model))
    before_cooler = cooler("before", args.model)
    started = time.process_time()
    ranked = ts_eval.best_of(args.model, prompts, args.n, reference=args.splits, seed=7)
    best = measure(f"best of {args.n}", [row.story for row in ranked])
    with tempfile.TemporaryDirectory() as name:
        pairs = ts_eval.best_of(args.model, [""] * args.pairs, args.n, reference=args.splits, seed=1)
        write_ranked(Path(name, "pairs.jsonl"), pairs)
        config = ts_train.PreferenceConfig(beta=args.beta, lr=args.lr)
        report = ts_train.prefer(args.model, Path(name, "pairs.jsonl"), Path(name, "tuned"), config)
        print(report.model_dump_json(), f"{time.process_time() - started:.0f} s", flush=True)
        after = measure("tuned", write(Path(name, "tuned")))
        after_cooler = cooler("tuned", Path(name, "tuned"))
    rows = (("best of n", before, best), ("tuned", before, after), ("at temperature 0.7, tuned", before_cooler, after_cooler))
    for label, base, row in rows:
        for key, values in row.items():
            gain = stats.compare(key, "before", label, base[key], values)
            shown = "?" if gain is None else f"{gain.difference:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"
            print(f"{label} - before, {key}: {shown}")


def _shown(values: list[float]) -> list[float]:
    found = stats.estimate(values)
    return [round(value, 3) for value in (found.mean, found.low, found.high) if value is not None]


if __name__ == "__main__":
    main()

"""ROUGE-1/2/L of 10,000 pairs: ours against rouge-score, both stemmed, the same numbers to 1e-9.

python bench/eval_rouge.py [--small] [--data FILE]
"""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path

from _eval_corpus import Recombined, read, versions

NAMES = ["rouge1", "rouge2", "rougeL"]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--data", type=Path)
    args = parser.parse_args()
    from rouge_score.rouge_scorer import RougeScorer

    from ts_eval import rouge

    count = 500 if args.small else 10_000
    peer_count = 200 if args.small else 1_000
    made = Recombined(read(args.data), 2 * count, seed=2)
    texts = list(made)
    random.Random(1).shuffle(texts)
    a, b = texts[:count], texts[count:]
    print(versions("tinystories-eval", "rouge-score", "numba", "nltk"))
    rouge(a[:2], b[:2])
    start = time.perf_counter()
    ours = rouge(a, b)
    took = time.perf_counter() - start
    scorer = RougeScorer(NAMES, use_stemmer=True)
    start = time.perf_counter()
    theirs = [scorer.score(b[i], a[i]) for i in range(peer_count)]
    peer = (time.perf_counter() - start) * count / peer_count
    gap = max(abs(x - y) for t, o in zip(theirs, ours, strict=False) for n in NAMES for x, y in zip(t[n], o[n], strict=True))
    print(f"ours: {count:,} pairs in {took:.2f} s")
    print(f"rouge-score: {peer:.1f} s (from {peer_count:,} pairs): ratio {peer / took:.1f} x; largest difference {gap:.1e}")
    if gap > 1e-9:
        raise SystemExit("the numbers differ")


if __name__ == "__main__":
    main()

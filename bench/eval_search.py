"""The index of millions of stories: built, opened, searched three ways, against scikit-learn and rouge-score in the same run.

python bench/eval_search.py [--small] [--data FILE] [--stories 2100000] [--index DIR [--only build|search]]

`--index` keeps the index; `--only` runs one half of the bench on it, for machines that are quiet for a short while only.
Peers that would take hours are measured on a sample and extrapolated linearly; each line says so.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _eval_corpus import Recombined, read, versions

QUERIES = 100


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--stories", type=int)
    parser.add_argument("--index", type=Path)
    parser.add_argument("--only", choices=["build", "search"])
    parser.add_argument("--build", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    count = args.stories or (20_000 if args.small else 2_100_000)
    source = read(args.data)
    train, held = source[:-QUERIES], source[-QUERIES:]
    corpus = Recombined(train, count)
    if args.build:
        build(args.build, corpus)
        return
    print(versions("tinystories-eval", "scikit-learn", "rouge-score", "numba", "numpy"), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        path = args.index or Path(folder) / "index"
        if args.only != "search":
            command = [sys.executable, __file__, "--build", str(path), "--stories", str(count)]
            subprocess.run([*command, *(["--data", str(args.data)] if args.data else [])], check=True)
        if args.only != "build":
            searches(path, corpus, held, count)


def build(path: Path, corpus: Recombined) -> None:
    """In a process of its own, so that its peak is its own."""
    from ts_eval.index.store import write

    start = time.perf_counter()
    for _ in corpus:
        pass
    making = time.perf_counter() - start
    warm(corpus)
    start = time.perf_counter()
    manifest = write(path, corpus, corpus="bench")
    took = time.perf_counter() - start
    print(
        f"index built: {manifest.stories:,} stories, {manifest.words:,} words, {manifest.vocabulary:,} different: {took:.1f} s, "
        f"of which {making:.1f} s make the bench's own stories: {took - making:.1f} s; peak {peak():.2f} GiB",
        flush=True,
    )


def warm(corpus: Recombined) -> None:
    """Compile the kernels once: they are cached on disk after the first use."""
    from ts_eval import StoryIndex

    few = [corpus[i] for i in range(3)]
    index = StoryIndex.build(few)
    for search in (index.closest, index.max_rouge2_precision, index.longest_spans):
        search(few)


def searches(path: Path, corpus: Recombined, held: list[str], count: int) -> None:
    from ts_eval import StoryIndex

    warm(corpus)
    start = time.perf_counter()
    index = StoryIndex.open(path)
    print(f"index opened and its hashes checked: {time.perf_counter() - start:.1f} s", flush=True)
    planted = [held[i] for i in range(QUERIES - 20)] + [f"{held[i][:80]} {corpus[i * (count // 20)]}" for i in range(20)]
    ours = {}
    for name, search in (
        ("closest", lambda: index.closest(planted, k=1)),
        ("max ROUGE-2 precision", lambda: index.max_rouge2_precision(planted)),
        ("longest span", lambda: index.longest_spans(planted)),
    ):
        start = time.perf_counter()
        found: Any = search()
        ours[name] = time.perf_counter() - start
        print(f"{name} of {QUERIES} stories in {count:,}: {ours[name]:.2f} s; peak {peak():.2f} GiB", flush=True)
    copies = sum(span.words >= len(corpus[i * (count // 20)].split()) * 0.9 for i, span in enumerate(found[-20:]))
    print(f"planted copies found: {copies} of 20", flush=True)
    scikit_learn(corpus, planted, count, ours["closest"])
    rouge_score(corpus, planted, count, ours["max ROUGE-2 precision"])


def scikit_learn(corpus: Recombined, queries: list[str], count: int, ours: float) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.metrics.pairwise import cosine_similarity

    sample = min(count, 50_000)
    texts = [text for _, text in zip(range(sample), corpus, strict=False)]
    vectorizer = TfidfVectorizer()
    start = time.perf_counter()
    train = vectorizer.fit_transform(texts)
    fit = (time.perf_counter() - start) * count / sample
    print(f"scikit-learn, fit: {fit:.0f} s (extrapolated from {sample:,} stories)", flush=True)
    wanted = vectorizer.transform(queries)
    start = time.perf_counter()
    for i in range(5):
        cosine_similarity(wanted[i], train).argmax()
    single = (time.perf_counter() - start) * (QUERIES / 5) * count / sample
    dense = wanted.T.toarray()
    start = time.perf_counter()
    for at in range(0, sample, 10_000):
        (train[at : at + 10_000] @ dense).argmax(axis=0)
    block = (time.perf_counter() - start) * count / sample
    print(f"scikit-learn, one query at a time: {single:.0f} s (extrapolated): ratio {single / ours:.0f} x", flush=True)
    print(f"scikit-learn, sparse times dense blocks: {block:.1f} s (extrapolated): ratio {block / ours:.1f} x", flush=True)


def rouge_score(corpus: Recombined, queries: list[str], count: int, ours: float) -> None:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rouge2"], use_stemmer=True)
    pairs = [(corpus[i], queries[i % QUERIES]) for i in range(300)]
    start = time.perf_counter()
    for target, candidate in pairs:
        scorer.score(target, candidate)
    took = (time.perf_counter() - start) / len(pairs) * count * QUERIES
    print(f"rouge-score: {took / 3600:.0f} h (extrapolated from {len(pairs)} pairs): ratio {took / ours:,.0f} x", flush=True)


def peak() -> float:
    """Largest resident memory so far, GiB; mapped pages of the index count."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


if __name__ == "__main__":
    main()

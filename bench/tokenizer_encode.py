"""Encode, one process: tokens/s against spaCy's `tokenizer.pipe` on the same text, identical ids asserted.

python bench/tokenizer_encode.py [--small] [--data FILE]

Peers: `spacy.blank("en").tokenizer.pipe` over lower-cased text, warm; (a) ids taken by `vocab[t.text]` with a default,
(b) documents made and thrown away. spaCy runs on a part of the text (its rate does not depend on how much), we on all.
Cold: a new tokenizer object (an empty table) on the sample as it is, against a new `spacy.blank("en")`; imports and
Numba's compilation excluded for both.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import spacy
from _tokenizer_common import read_stories, repeat, versions

from ts_tokenizer import WordTokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--small", action="store_true", help="20 MB instead of 200")
    args = parser.parse_args()
    print(versions())
    sample = read_stories(args.data)
    trained = WordTokenizer.train(sample[: len(sample) * 9 // 10])
    trained.encode_batch(sample[:10])  # compile

    cold_project, cold_peer = [], []
    for _ in range(3):
        fresh = WordTokenizer(trained.spec)
        fresh.tokens("warm the rules up")  # spaCy's own construction, excluded for the peer as well
        started = time.perf_counter()
        ids = fresh.encode_batch(sample)
        cold_project.append(time.perf_counter() - started)
        peer = spacy.blank("en").tokenizer
        peer("warm the rules up")
        started = time.perf_counter()
        theirs = [spacy_ids(doc, trained) for doc in peer.pipe(text.lower() for text in sample)]
        cold_peer.append(time.perf_counter() - started)
    assert all(np.array_equal(a, b) for a, b in zip(ids, theirs, strict=True)), "ids differ"
    n = sum(map(len, ids))
    report("cold, the sample as it is, with ids", n / min(cold_project), n / min(cold_peer), 6)

    texts = repeat(sample, 20 if args.small else 200)
    part = texts[:4600]
    trained.encode_batch(part)
    project, with_ids, without = [], [], []
    for _ in range(2):
        started = time.perf_counter()
        ids = trained.encode_batch(texts)
        project.append(sum(map(len, ids)) / (time.perf_counter() - started))
        lowered = [text.lower() for text in part]
        started = time.perf_counter()
        theirs = [spacy_ids(doc, trained) for doc in peer.pipe(lowered)]
        n = sum(map(len, theirs))
        with_ids.append(n / (time.perf_counter() - started))
        started = time.perf_counter()
        for _doc in peer.pipe(lowered):
            pass
        without.append(n / (time.perf_counter() - started))
    assert all(np.array_equal(a, b) for a, b in zip(ids, theirs, strict=False)), "ids differ"
    report(f"warm, {sum(map(len, texts)) / 1e6:.0f} MB, with ids", max(project), max(with_ids), 50)
    report(f"warm, {sum(map(len, texts)) / 1e6:.0f} MB, spaCy without ids", max(project), max(without), 25)


def spacy_ids(doc: object, tokenizer: WordTokenizer) -> np.ndarray:
    vocab, unk = tokenizer.token_to_id, tokenizer.unk_id
    return np.array([vocab.get(token.text, unk) for token in doc], dtype=np.uint16)  # type: ignore[attr-defined]


def report(what: str, project: float, peer: float, bar: float) -> None:
    print(
        f"{what}: project {project / 1e6:.2f} M tokens/s, spaCy {peer / 1e6:.3f} M tokens/s, ratio {project / peer:.1f} (bar {bar})"
    )


if __name__ == "__main__":
    main()

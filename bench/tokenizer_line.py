"""Raw text to splits + vocabulary + encoded, two processes' worth of cores, against the straightforward way.

python bench/tokenizer_line.py [--small] [--data FILE] [--megabytes 60]

The straightforward way: Python `set` de-duplication, `str.replace` per rule, spaCy per story for the vocabulary and
again for the ids, two processes (`multiprocessing.Pool(2)`). Beyond 60 MB it runs on a part of the stories (a
tenth, 60 MB at least) and its time is scaled: of a smaller part, its start would count many times.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import spacy
from _tokenizer_common import read_stories, versions, write_recombined

import ts_data
import ts_tokenizer

RULES = [("â€œ", '"'), ("â€™", "'"), ("â€", '"'), ("“", '"'), ("”", '"'), ("‘", "'"), ("’", "'"), ("–", "-"), ("—", "-"), ("…", "..."), ("\u200b", ""), ("*", ""), ("\\", ""), ("\n", " ")]  # fmt: skip


@cache
def _nlp() -> spacy.language.Language:
    return spacy.blank("en")


def _tokens(story: str) -> list[str]:
    return [token.text for token in _nlp()(story.lower())]


def straightforward(path: Path, out: Path) -> int:
    stories = path.read_text(encoding="utf-8").split("<|endoftext|>")
    cleaned, seen = [], set()
    for story in stories:
        for old, new in RULES:
            story = story.replace(old, new)
        story = " ".join(story.split())
        if len(story) >= 180 and story not in seen:
            seen.add(story)
            cleaned.append(story)
    with multiprocessing.Pool(2) as pool:
        counts = Counter(token for tokens in pool.imap(_tokens, cleaned, 256) for token in tokens)
        vocab = {word: i for i, (word, _) in enumerate(counts.most_common(2044))}
        with out.open("wb") as file:
            for tokens in pool.imap(_tokens, cleaned, 256):
                file.write(np.array([vocab.get(token, 2046) for token in tokens], dtype=np.uint16).tobytes())
    return len(stories)


def project(path: Path, out: Path) -> None:
    ts_data.prepare(path, out / "splits")
    tokenizer = ts_tokenizer.WordTokenizer.train(ts_data.read(out / "splits", "train"))
    ts_tokenizer.encode_splits(out / "splits", tokenizer, out / "encoded", workers=2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--megabytes", type=float, default=60.0)
    parser.add_argument("--small", action="store_true", help="10 MB")
    args = parser.parse_args()
    megabytes = 10.0 if args.small else args.megabytes
    print(versions())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stories = read_stories(args.data)
        count = write_recombined(stories, folder / "raw.txt", megabytes, int(megabytes * 180))
        part = min(megabytes, max(60.0, megabytes / 10))
        write_recombined(stories, folder / "part.txt", part, int(part * 180))
        started = time.perf_counter()
        project(folder / "raw.txt", folder)
        ours = time.perf_counter() - started
        started = time.perf_counter()
        straightforward(folder / "part.txt", folder / "part.bin")
        theirs = megabytes / part * (time.perf_counter() - started)
    print(
        f"{count:,} stories, {megabytes:.0f} MB: project {ours:.1f} s, straightforward way {theirs:.1f} s (on {part:.0f} MB, scaled), ratio {theirs / ours:.1f} (bar 25)"
    )


if __name__ == "__main__":
    main()

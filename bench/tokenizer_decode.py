"""decode(encode(story)) on held-out stories, `<unk>` taken as given, against hand-made rules on the same canonical text.

python bench/tokenizer_decode.py [--small] [--data FILE | --splits FOLDER] [--held-out 300] [--folds 8]

`--splits` takes a prepared folder: train is learned from, test is held out. Misses are then counted by kind.

With `--folds` every story is held out once: the first fold is the stories held out without it, the rest is cut in equal parts,
and the figures are means over all stories (`lower` alone; `keep` is exact by construction).

Canonical text is what `ts_data.clean` gives. The peer is a rule-based detokenizer in the manner of the talk's: no blank
before , . ! ? ; : and contractions, quotes by parity, a capital at a sentence's start, for "i", and for a list of names
(here the list is taken from the training stories: words that are capital inside sentences more often than not).
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from _tokenizer_common import read_stories, versions

import ts_data
from ts_tokenizer import WordTokenizer
from ts_tokenizer.reports.check import check

BARS = "bars 93 %, 99.9 %"
FAMILY = re.compile(r"(grand)?(mom|dad|mum|ma|pa|mother|father)(my|dy)?|(ma|pa)(ma|pa)|granny|aunt|uncle")
MARKS = {'"': "after a quotation mark", "'": "after a quotation mark", ",": "after a comma"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--splits", type=Path)
    parser.add_argument("--held-out", type=int, default=300)
    parser.add_argument("--folds", type=int, default=1)
    parser.add_argument("--small", action="store_true", help="600 stories in all")
    args = parser.parse_args()
    print(versions())
    if args.splits is not None:
        train, test = (list(ts_data.read(args.splits, split)) for split in ("train", "test"))
        hold_out(train, test, kinds=True)
        return
    cleaned = [c.text for c in map(ts_data.clean, read_stories(args.data)) if c.dropped is None]
    order = np.random.default_rng(0).permutation(len(cleaned))[: 600 if args.small else None]
    if args.folds > 1:
        folds = [order[: args.held_out], *np.array_split(order[args.held_out :], args.folds - 1)]
        cross_validate([[cleaned[i] for i in fold] for fold in folds])
    else:
        hold_out([cleaned[i] for i in order[args.held_out :]], [cleaned[i] for i in order[: args.held_out]])


def hold_out(train: list[str], held_out: list[str], *, kinds: bool = False) -> None:
    print(f"{len(train)} stories to learn from, {len(held_out)} held out")
    for casing, bars in (("lower", BARS), ("keep", "bar 99.9 %")):
        tokenizer = WordTokenizer.train(train, casing=casing)  # type: ignore[arg-type]
        found = check(tokenizer, held_out)
        spelling, restore = tokenizer.extra_bits(held_out).mean(axis=0)
        print(
            f"{casing}: exact {found.exact:.2%}, ignoring case {found.caseless:.2%}, and blanks beside <unk> given "
            f"{found.caseless_blanks_given:.2%} ({bars}); markers {found.markers_per_story:.2f} a story; "
            f"bits a story: {spelling:.1f} to spell <unk>, {restore:.2f} to restore"
        )
        if casing == "lower":
            exact, caseless = peer(tokenizer, held_out, names_of(train))
            print(f"rules: exact {exact:.2%}, ignoring case {caseless:.2%}")
            show(found.errors[:15])
            if kinds:
                show_kinds(tokenizer, held_out)


def cross_validate(folds: list[list[str]]) -> None:
    sizes = np.array([len(fold) for fold in folds])
    errors: Counter[tuple[str, str]] = Counter()
    rows = []
    for number, held_out in enumerate(folds):
        train = [story for fold in folds if fold is not held_out for story in fold]
        tokenizer = WordTokenizer.train(train)
        found = check(tokenizer, held_out, examples=10_000)
        errors.update({(wrote, read): n for wrote, read, n in found.errors})
        rows.append([found.exact, found.caseless, found.caseless_blanks_given, *peer(tokenizer, held_out, names_of(train))])
        print(f"fold {number + 1}: {len(held_out)} held out, exact {found.exact:.2%}, ignoring case {found.caseless:.2%}")
    exact, caseless, given, *rules = sizes @ np.array(rows) / sizes.sum()
    print(
        f"{sizes.sum()} stories, {len(folds)} folds: exact {exact:.2%}, ignoring case {caseless:.2%}, and blanks beside <unk> given {given:.2%} ({BARS})"
    )
    print(f"rules: exact {rules[0]:.2%}, ignoring case {rules[1]:.2%}")
    show([(*pair, n) for pair, n in errors.most_common(15)])


def show_kinds(tokenizer: WordTokenizer, stories: list[str]) -> None:
    """Count the tokens that differ by kind, and the stories where all differences are of one kind."""
    tokens: Counter[str] = Counter()
    alone: Counter[str] = Counter()
    for story in stories:
        ids, places = tokenizer.encode(story, offsets=True)
        ends = [0, *(end for _, end in places)]
        real = [
            story[at:start] + ("<unk>" if i == tokenizer.unk_id else story[start:end])
            for i, at, (start, end) in zip(ids, ends, places, strict=False)
        ]
        pairs = list(zip(real, tokenizer.pieces(ids), strict=True))
        found = [miss_kind(wrote, read, real[n - 1] if n else "") for n, (wrote, read) in enumerate(pairs) if wrote != read]
        tokens.update(found)
        alone.update({found[0] if len(set(found)) == 1 else "several kinds"} if found else ())
    for kind in [*(kind for kind, _ in tokens.most_common()), "several kinds"]:
        print(f"  {kind}: {tokens[kind]} tokens; {alone[kind]} stories with this alone")


def miss_kind(wrote: str, read: str, before: str) -> str:
    word, before = wrote.strip().lower(), before.strip().lower()
    if wrote[:1].isspace() != read[:1].isspace():
        return "blank beside <unk>" if "<unk>" in (word, before) else "blank"
    if FAMILY.fullmatch(word):
        return "family word"
    if word in ("ok", "okay") or (before, word) == ("the", "end"):
        return "OK, The End"
    if before in MARKS:
        return MARKS[before]
    return "name or noun after a word" if before[-1:].isalnum() or before == "<unk>" else "after . ! ? : -"


def show(errors: Sequence[tuple[str, str, int]]) -> None:
    for wrote, read, n in errors:
        print(f"  {n} x {wrote!r} came back as {read!r}")


def names_of(stories: list[str]) -> set[str]:
    inside, capital = Counter(), Counter()
    for story in stories:
        for word in re.findall(r"(?<=[a-z,] )[A-Za-z]+", story):
            inside[word.lower()] += 1
            capital[word.lower()] += word[0].isupper()
    return {word for word, n in inside.items() if capital[word] > n / 2}


def by_rules(tokens: list[str], names: set[str]) -> str:
    text, opened, start, glue = "", False, True, True
    for token in tokens:
        before = (
            token in {",", ".", "!", "?", ";", ":", "...", ")", "-", "n't"}
            or re.fullmatch(r"'(s|m|d|re|ve|ll)", token) is not None
        )
        if token == '"':
            text += '"' if opened or glue else ' "'
            opened = not opened
            glue = opened
            start = start or opened
            continue
        shown = token[:1].upper() + token[1:] if start or token == "i" or token in names else token
        text += shown if before or glue else " " + shown
        glue = token in {"-", "("}
        start = token in {".", "!", "?"}
    return text


def peer(tokenizer: WordTokenizer, stories: list[str], names: set[str]) -> tuple[float, float]:
    exact = caseless = 0
    for story in stories:
        ids, places = tokenizer.encode(story, offsets=True)
        tokens = tokenizer.tokens(story)
        decoded = by_rules(
            [token if i != tokenizer.unk_id else f"\0{k}\0" for k, (token, i) in enumerate(zip(tokens, ids, strict=True))], names
        )
        for k, (start, end) in enumerate(places):
            decoded = decoded.replace(f"\0{k}\0", story[start:end])
        exact += decoded == story
        caseless += decoded.lower() == story.lower()
    return exact / len(stories), caseless / len(stories)


if __name__ == "__main__":
    main()

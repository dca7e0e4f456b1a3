"""Damage of every kind injected into clean stories, truth known: how many does ts-data restore byte for byte?

    python bench/data_restoration.py [--small] [--data FILE]

Truth is the canonical form of each story. Every kind of damage is injected alone and all of them at once; a story counts
as restored when `ts_data.clean` gives the truth back byte for byte. Every miss is listed. The peer is ftfy.fix_text, which
knows the encoding damage but not this corpus (on the first 200). FILE: `<|endoftext|>`-separated stories (default: the generated sample).
"""

from __future__ import annotations

import argparse
import random
import re
import sys
from collections.abc import Callable
from pathlib import Path

import ftfy

import ts_data


def curly(text: str, dice: random.Random) -> str:
    parts = text.split('"')
    return (parts[0] + "".join("“”"[i % 2] + part for i, part in enumerate(parts[1:]))).replace("'", "’")


def mojibake(text: str, dice: random.Random) -> str:
    """As in the published files: the closing quote has lost its third byte."""
    table = {"“": "â€œ", "”": "â€", "’": "â€™", "—": "â€”".replace("—", "\u201d")}
    return "".join(table.get(c, c) for c in curly(text, dice))


def invisible(text: str, dice: random.Random) -> str:
    for _ in range(5):
        at = dice.randrange(len(text))
        text = text[:at] + dice.choice("\u200b\u00ad\ufeff\u200d\u2060") + text[at:]
    return text


def ligatures(text: str, dice: random.Random) -> str:
    for letters, ligature in (("ffi", "ﬃ"), ("ff", "ﬀ"), ("fi", "ﬁ"), ("fl", "ﬂ")):
        text = text.replace(letters, ligature)
    return text


def stars(text: str, dice: random.Random) -> str:
    words = text.split(" ")
    for at in dice.sample(range(len(words)), min(3, len(words))):
        words[at] = f"*{words[at]}*"
    return " ".join(words)


def backslashes(text: str, dice: random.Random) -> str:
    return text.replace('"', '\\"').replace("'", "\\'")


def blanks(text: str, dice: random.Random) -> str:
    return "\n" + re.sub(" ", lambda _: dice.choice((" ",) * 8 + ("  ", "\n\n", " \n", "\t", "\u00a0", "\r\n")), text) + " \n"


def comma_quotes(text: str, dice: random.Random) -> str:
    return re.sub(r',( ?)"( ?)(?=[A-Za-z])', ',"', text)


def loose_quotes(text: str, dice: random.Random) -> str:
    """A blank on both sides of one mark in four."""
    return re.sub(r'(?<= )"(?=\w)|(?<=[.,!?])"(?= )', lambda mark: dice.choice(('"',) * 3 + (' " ',)), text).replace("  ", " ")


def dashes(text: str, dice: random.Random) -> str:
    return re.sub(" — ", lambda _: dice.choice((" - ", "--", " – ", "—", " -- ", "―")), text)


def ellipses(text: str, dice: random.Random) -> str:
    return text.replace("...", dice.choice(("…", "....", ". . .")))


DAMAGE: dict[str, Callable[[str, random.Random], str]] = {
    f.__name__: f
    for f in (backslashes, stars, comma_quotes, loose_quotes, ellipses, dashes, ligatures, curly, mojibake, invisible, blanks)
}


def everything(text: str, dice: random.Random) -> str:
    """All kinds in one story; an escaped curly quote does not occur, so backslashes stay out, and mojibake brings the curly."""
    for kind in ("stars", "comma_quotes", "ellipses", "dashes", "ligatures", "mojibake", "invisible", "blanks"):
        text = DAMAGE[kind](text, dice)
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="the first 300 stories")
    parser.add_argument("--data", type=Path)
    options = parser.parse_args()
    raw = options.data.read_text(encoding="utf-8").split("<|endoftext|>") if options.data else list(ts_data.sample(2_000))
    config = ts_data.PrepareConfig(min_characters=0)
    cleaned = [ts_data.clean(text, config) for text in (raw[:300] if options.small else raw)]
    truths = [result.text for result in cleaned if result.dropped is None and result.text]
    print(
        f"ts-data {ts_data.__version__}, ftfy {ftfy.__version__}, {len(truths):,} stories from {options.data or 'ts_data.sample'}"
    )
    print(f"{'damage':14} {'damaged':>8} {'restored':>9} {'ts-data':>9} {'ftfy':>8}")
    failed = 0
    total = [0, 0]
    for name, damage in {**DAMAGE, "everything": everything}.items():
        damaged = [(truth, damage(truth, random.Random(f"{name}/{i}"))) for i, truth in enumerate(truths)]
        damaged = [(truth, text) for truth, text in damaged if text != truth]
        misses = [(truth, text) for truth, text in damaged if ts_data.clean(text, config).text != truth]
        count = max(1, len(damaged))
        asked = damaged[:200]  # the peer is slow
        peer = sum(" ".join(ftfy.fix_text(text).split()) == truth for truth, text in asked)
        print(
            f"{name:14} {len(damaged):8,} {len(damaged) - len(misses):9,} {1 - len(misses) / count:9.3%} {peer / max(1, len(asked)):8.2%}"
        )
        failed += len(misses)
        total = [total[0] + len(damaged), total[1] + len(damaged) - len(misses)]
        for truth, text in misses:
            found = ts_data.clean(text, config).text
            at = next((i for i, (a, b) in enumerate(zip(truth, found, strict=False)) if a != b), min(len(truth), len(found)))
            print(f"    miss at {at}: truth {truth[max(0, at - 25) : at + 15]!r}, found {found[max(0, at - 25) : at + 15]!r}")
    share = total[1] / max(1, total[0])
    print(f"all: {total[1]:,} of {total[0]:,} restored, {share:.3%} (bar 99.9 %: {'met' if share >= 0.999 else 'NOT met'})")
    sys.exit(share < 0.999)


if __name__ == "__main__":
    main()

"""Every version of the tokenizer file ever written is read, and gives the ids that it gave."""

from __future__ import annotations

from pathlib import Path

import ts_tokenizer

GOLDEN = Path(__file__).parent / "golden"


def test_version_1() -> None:
    path = GOLDEN / "word_tokenizer.v1.json"
    tokenizer = ts_tokenizer.load(path)
    ids = tokenizer.encode('Tom said, "I don\'t!" Zebra')
    assert ids == [4, 18, 3, 1, 38, 38, 11, 5, 1, 38]
    assert tokenizer.decode(ids) == 'Tom said, "<unk> <unk>n\'t!" <unk>'
    assert tokenizer.sha256 == "ea720f9f9a7f2061a01a3a72867a721b3bdf7243c759a28f0c6a862e4ff4f5c6"

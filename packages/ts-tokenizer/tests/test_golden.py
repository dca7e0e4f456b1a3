"""Every version of the tokenizer file ever written is read, and gives the ids and the text that it gave."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import ts_tokenizer
from ts_data.artefact import sha256_file
from ts_tokenizer.errors import ArtefactError

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("version", [1, 2])
def test_golden_files(version: int, tmp_path: Path) -> None:
    path = GOLDEN / f"word_tokenizer.v{version}.json"
    tokenizer = ts_tokenizer.load(path)
    ids = tokenizer.encode('Tom said, "I don\'t!" Zebra')
    assert ids == [4, 18, 3, 1, 38, 38, 11, 5, 1, 38]
    assert tokenizer.decode(ids) == 'Tom said, "<unk> <unk>n\'t!" <unk>'
    assert tokenizer.sha256 == sha256_file(path), "encoded folders name their tokenizer by this hash"
    tokenizer.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()


# What the release that wrote version 1 gave for these ids: whole, and as a stream.
ODD = [5, 1, 4, 17, 6, 3, 1, 0, 9, 12, 29, 4, 30, 8, 33, 2, 1, 21, 7, 5]
WROTE = '!"Tom mom a, ". It They ca Tom can is THE "\n\n dog!'
SUMS = [11345, -9739, -35692]


def test_version_1_decides_as_it_did() -> None:
    tokenizer = ts_tokenizer.load(GOLDEN / "word_tokenizer.v1.json")
    assert tokenizer.decode(ODD) == WROTE
    stream = tokenizer.stream_decoder()
    assert "".join([*map(stream.push, ODD), stream.finish()]) == WROTE
    scores = tokenizer._decoder.scores(np.array(ODD))
    assert scores.sum(axis=0).tolist() == SUMS


@pytest.mark.parametrize("field", ["keys", "weights", "classes", "evidence"])
def test_a_damaged_older_file_is_refused(field: str, tmp_path: Path) -> None:
    content = json.loads((GOLDEN / "word_tokenizer.v1.json").read_text(encoding="utf-8"))
    content["decoder"][field] = "?"
    path = tmp_path / "word_tokenizer.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ArtefactError, match="decoder"):
        ts_tokenizer.load(path)

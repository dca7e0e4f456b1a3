"""Every version of the tokenizer file ever written is read, and gives the ids and the text that it gave."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest

import ts_tokenizer
from ts_data.artefact import sha256_file
from ts_tokenizer.errors import ArtefactError

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("version", [1, 2, 3])
def test_golden_files(version: int, tmp_path: Path) -> None:
    path = GOLDEN / f"word_tokenizer.v{version}.json"
    tokenizer = ts_tokenizer.load(path)
    ids = tokenizer.encode('Tom said, "I don\'t!" Zebra')
    do, word = (32, "do") if version == 3 else (38, "<unk>")
    assert ids == [4, 18, 3, 1, 38, do, 11, 5, 1, 38]
    assert tokenizer.decode(ids) == f'Tom said, "<unk> {word}n\'t!" <unk>'
    assert tokenizer.sha256 == sha256_file(path), "encoded folders name their tokenizer by this hash"
    tokenizer.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()


# What the releases that wrote versions 1 and 2 gave for these ids: whole, and as a stream.
ODD = [5, 1, 4, 17, 6, 3, 1, 0, 9, 12, 29, 4, 30, 8, 33, 2, 1, 21, 7, 5]
WROTE = '!"Tom mom a, ". It They ca Tom can is THE "\n\n dog!'
WROTE_2 = '!" Tom mom a, ". It They ca Tom can is THE "\n\n dog!'
SUMS = {1: [11345, -9739, -35692], 2: [9451, -8924, -25267]}


@pytest.mark.parametrize("version", [1, 2])
def test_older_versions_decide_as_they_did(version: int) -> None:
    tokenizer = ts_tokenizer.load(GOLDEN / f"word_tokenizer.v{version}.json")
    assert tokenizer.decode(ODD) == (WROTE if version == 1 else WROTE_2)
    stream = tokenizer.stream_decoder()
    assert "".join([*map(stream.push, ODD), stream.finish()]) == (WROTE if version == 1 else WROTE_2)
    scores = tokenizer._decoder.scores(np.array(ODD))
    assert scores.sum(axis=0).tolist() == SUMS[version]


DAMAGE = [
    *((1, field, "?") for field in ("keys", "weights", "classes", "evidence")),
    *((2, field, damage) for field in ("keys", "weights") for damage in ("?", "AAAA", "//////////8=")),
    *((3, field, damage) for field in ("templates", "keys", "weights") for damage in ("?", "AAAA")),
]


@pytest.mark.parametrize(("version", "field", "damage"), DAMAGE)
def test_a_damaged_decoder_is_refused(version: int, field: str, damage: str, tmp_path: Path) -> None:
    content = json.loads((GOLDEN / f"word_tokenizer.v{version}.json").read_text(encoding="utf-8"))
    content["decoder"][field] = damage
    path = tmp_path / "word_tokenizer.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ArtefactError, match="decoder"):
        ts_tokenizer.load(path)


def test_cut_keys_are_refused(tmp_path: Path) -> None:
    content = json.loads((GOLDEN / "word_tokenizer.v3.json").read_text(encoding="utf-8"))
    size = len(base64.b64decode(content["decoder"]["keys"]))
    content["decoder"]["keys"] = base64.b64encode(bytes(size)).decode("ascii")  # the sizes agree, but there are no ones
    path = tmp_path / "word_tokenizer.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ArtefactError, match=r"word_tokenizer\.json.*decoder"):
        ts_tokenizer.load(path)

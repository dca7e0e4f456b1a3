"""What a user holds can be copied and sent to another process."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ts_data
import ts_tokenizer
from ts_tokenizer import Encoded, EncodedSplit, WordTokenizer

TEXTS = ['Tom said, "Look, Mom!"', "zebra 5km :) ..", ""]


def _again(thing: Any, protocol: int = pickle.DEFAULT_PROTOCOL) -> Any:
    return pickle.loads(pickle.dumps(thing, protocol))  # noqa: S301 - what was written a moment ago


WAYS = [copy.deepcopy, copy.copy, _again, lambda thing: _again(thing, 2)]


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> Encoded:
    folder = tmp_path_factory.mktemp("pickle")
    (folder / "raw.txt").write_text("\n<|endoftext|>\n".join(ts_data.sample(80, seed=4)), encoding="utf-8")
    ts_data.prepare(folder / "raw.txt", folder / "splits")
    tokenizer = WordTokenizer.train(ts_data.read(folder / "splits", "train"), vocab_size=120)
    ts_tokenizer.encode_splits(folder / "splits", tokenizer, folder / "encoded")
    return ts_tokenizer.open_encoded(folder / "encoded")


@pytest.fixture(scope="module", params=["lower", "keep"])
def trained(request: pytest.FixtureRequest, stories: list[str]) -> WordTokenizer:
    return WordTokenizer.train(stories, vocab_size=64, casing=request.param)


@pytest.mark.parametrize("way", WAYS)
def test_a_tokenizer_is_copied_by_its_contents(trained: WordTokenizer, way: Callable[[Any], Any]) -> None:
    tokenizer = WordTokenizer(trained.spec)
    for used in (False, True):
        if used:
            tokenizer.encode_batch(TEXTS)
            tokenizer.clean_prompt("“a”")
        again = way(tokenizer)
        assert again.sha256 == tokenizer.sha256
        assert again.spec == tokenizer.spec
        for text in TEXTS:
            assert again.encode(text) == tokenizer.encode(text)
            assert again.decode(again.encode(text)) == tokenizer.decode(tokenizer.encode(text))
        assert repr(again) == f"<WordTokenizer: 64 entries, casing={trained.spec.casing}>"


def test_an_older_file_keeps_its_hash() -> None:
    tokenizer = ts_tokenizer.load(Path(__file__).parent / "golden" / "word_tokenizer.v1.json")
    assert _again(tokenizer).sha256 == tokenizer.sha256


@pytest.mark.parametrize("way", WAYS)
def test_a_stream_goes_on_where_it_stood(way: Callable[[Any], Any], tokenizer: WordTokenizer) -> None:
    ids = tokenizer.encode(TEXTS[0])
    stream = tokenizer.stream_decoder()
    begun = "".join(map(stream.push, ids[:5]))
    other = _again(stream) if way is copy.copy else way(stream)
    assert begun + "".join(map(other.push, ids[5:])) + other.finish() == TEXTS[0]
    assert begun + "".join(map(stream.push, ids[5:])) + stream.finish() == TEXTS[0]


@pytest.mark.parametrize("way", WAYS)
def test_encoded_folders_are_sent_as_a_place(
    way: Callable[[Any], Any], encoded: Encoded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(encoded.path.parent)
    here = ts_tokenizer.open_encoded("encoded")
    _ = here.tokenizer
    again, split = way(here), way(here["train"])
    monkeypatch.chdir("/")
    assert isinstance(split, EncodedSplit)
    assert again.manifest == encoded.manifest
    for found in (again["train"], split):
        assert len(found) == len(encoded["train"])
        assert all(np.array_equal(mine, theirs) for mine, theirs in zip(found, encoded["train"], strict=True))
    assert len(pickle.dumps(encoded)) < 10_000, "the ids stay in their files"
    assert len(pickle.dumps(encoded["train"])) < 10_000
    assert again.tokenizer.sha256 == encoded.tokenizer.sha256
    assert repr(again).startswith("<Encoded ")
    assert repr(split) == f"<EncodedSplit: {len(split):,} stories, {len(split.ids):,} tokens>"


def test_a_split_of_arrays_is_copied_with_them(encoded: Encoded) -> None:
    train = encoded["train"]
    own = EncodedSplit(np.array(train.ids), train.offsets, train.info)
    assert np.array_equal(_again(own)[3], train[3])


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_processes_of_every_kind(method: str, encoded: Encoded) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    tokenizer = encoded.tokenizer
    with multiprocessing.get_context(method).Pool(1) as pool:  # methods of the package: a worker need not import this file
        assert pool.apply(tokenizer.encode, (TEXTS[0],)) == tokenizer.encode(TEXTS[0])
        assert pool.apply(tokenizer.decode, ([1, 2],)) == tokenizer.decode([1, 2])
        stories = pool.map(encoded["train"].__getitem__, range(3))
    for story, ids in enumerate(stories):
        assert ids.tolist() == encoded["train"][story].tolist()


def test_a_dataloader_of_spawned_workers(encoded: Encoded) -> None:
    data = pytest.importorskip("torch.utils.data")
    loader = data.DataLoader(
        encoded["validation"],
        batch_size=None,
        num_workers=1,
        multiprocessing_context="spawn",
        collate_fn=encoded.tokenizer.decode,
    )
    assert list(loader) == [encoded.tokenizer.decode(ids) for ids in encoded["validation"]]

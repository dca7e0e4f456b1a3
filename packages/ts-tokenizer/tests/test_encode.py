"""encoded/: files that others can open, resumable, atomic, mismatches refused, bits per byte that cannot be gamed."""

from __future__ import annotations

import errno
import json
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ts_data
import ts_tokenizer
from ts_tokenizer import WordTokenizer, encode
from ts_tokenizer.errors import ArtefactError, ConfigError, TsTokenizerError
from ts_tokenizer.reports.stats import stats


@pytest.fixture(scope="session")
def splits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    (folder / "raw.txt").write_text("\n<|endoftext|>\n".join(ts_data.sample(260, seed=1)), encoding="utf-8")
    ts_data.prepare(folder / "raw.txt", folder / "splits")
    return folder / "splits"


@pytest.fixture(scope="session")
def trained(splits: Path) -> WordTokenizer:
    return WordTokenizer.train(ts_data.read(splits, "train"), vocab_size=300)


@pytest.fixture(scope="session")
def encoded(splits: Path, trained: WordTokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "encoded"
    ts_tokenizer.encode_splits(splits, trained, out, workers=2)
    return out


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_stories_are_whole_and_between_bos_and_eos(splits: Path, encoded: Path, trained: WordTokenizer) -> None:
    data = ts_tokenizer.open_encoded(encoded, verify=True)
    assert set(data) == {"train", "validation", "test"}
    for name in data:
        texts = ts_data.read(splits, name)
        assert len(data[name]) == len(texts) == data.manifest.splits[name].stories
        for i in (0, len(texts) - 1, -1):
            assert data[name][i].tolist() == trained.encode(texts[i], add_special_tokens=True)
        assert data.manifest.splits[name].utf8_bytes == sum(len(text.encode()) for text in texts)
    assert data.tokenizer.sha256 == trained.sha256
    assert [len(story) for story in data["train"][:3]] == [len(data["train"][i]) for i in range(3)]


def test_three_lines_of_numpy_open_it(encoded: Path) -> None:
    ids = np.memmap(encoded / "train.bin", dtype=np.uint16, mode="r")
    offsets = np.load(encoded / "train.idx.npy")
    story = ids[offsets[7] : offsets[8]]
    np.testing.assert_array_equal(story, ts_tokenizer.open_encoded(encoded)["train"][7])


def test_nanogpts_loader_opens_it(encoded: Path) -> None:
    """The lines of get_batch in nanoGPT's train.py, less torch."""
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        data = np.memmap(encoded / f"{split}.bin", dtype=np.uint16, mode="r")
        starts = rng.integers(len(data) - 64, size=4)
        x = np.stack([data[i : i + 64].astype(np.int64) for i in starts])
        y = np.stack([data[i + 1 : i + 1 + 64].astype(np.int64) for i in starts])
        np.testing.assert_array_equal(x[:, 1:], y[:, :-1])
        assert x.max() < 300


def test_one_worker_or_three_the_same_bytes(splits: Path, trained: WordTokenizer, encoded: Path, tmp_path: Path) -> None:
    ts_tokenizer.encode_splits(splits, trained, tmp_path / "one", workers=1)
    assert _files(tmp_path / "one") == _files(encoded)


class _Killed(BaseException):
    pass


@pytest.mark.parametrize("instant", range(4))
def test_killed_it_goes_on_to_the_same_bytes(
    splits: Path, trained: WordTokenizer, encoded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, instant: int
) -> None:
    whole = tmp_path / "whole"
    monkeypatch.setattr(encode, "BATCH_ROWS", 50)
    ts_tokenizer.encode_splits(splits, trained, whole)
    out, calls = tmp_path / "encoded", 0
    real = encode._Journal.add

    def add(self: encode._Journal, result: encode.BatchResult) -> None:
        nonlocal calls
        calls += 1
        if calls == instant + 2:
            self._files["bin"].write(b"torn")  # half a batch reached the disk
            raise _Killed
        real(self, result)

    monkeypatch.setattr(encode._Journal, "add", add)
    with pytest.raises(_Killed):
        ts_tokenizer.encode_splits(splits, trained, out)
    assert not out.exists()
    monkeypatch.setattr(encode._Journal, "add", real)
    ts_tokenizer.encode_splits(splits, trained, out)
    assert _files(out) == _files(whole)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_named_and_the_work_goes_on(
    number: int, splits: Path, trained: WordTokenizer, encoded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: encode._Journal, result: encode.BatchResult) -> None:
        raise OSError(number, "full")

    with monkeypatch.context() as patched:
        patched.setattr(encode._Journal, "add", full)
        with pytest.raises(TsTokenizerError, match=r"\.encoded\.ts-work: no space is left on its disk\..*it resumes"):
            ts_tokenizer.encode_splits(splits, trained, tmp_path / "encoded", workers=1)
    ts_tokenizer.encode_splits(splits, trained, tmp_path / "encoded", workers=1)
    assert _files(tmp_path / "encoded") == _files(encoded)


@pytest.mark.parametrize("lost", ["ids", "end of the journal"])
def test_what_a_power_loss_leaves_goes_on_to_the_same_bytes(
    lost: str, splits: Path, trained: WordTokenizer, encoded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal may reach the disk before the ids do, or in part."""
    out, work = tmp_path / "encoded", tmp_path / ".encoded.ts-work"
    monkeypatch.setattr(encode, "BATCH_ROWS", 16)
    real, left = encode._Journal.add, [3]

    def add(self: encode._Journal, result: encode.BatchResult) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        real(self, result)

    monkeypatch.setattr(encode._Journal, "add", add)
    with pytest.raises(KeyboardInterrupt):
        ts_tokenizer.encode_splits(splits, trained, out, workers=1)
    if lost == "ids":
        (work / "train.bin").write_bytes(b"")
    else:
        journal = (work / "train.journal").read_bytes()
        (work / "train.journal").write_bytes(journal + journal.splitlines()[0][:9])
    left[0] = 1  # one batch more, then a kill
    with pytest.raises(KeyboardInterrupt):
        ts_tokenizer.encode_splits(splits, trained, out, workers=1)
    monkeypatch.setattr(encode._Journal, "add", real)
    ts_tokenizer.encode_splits(splits, trained, out, workers=1)
    assert _files(out) == _files(encoded)


def test_a_whole_folder_is_left_alone_and_a_stranger_is_refused(
    splits: Path, trained: WordTokenizer, encoded: Path, tmp_path: Path
) -> None:
    before = (encoded / "train.bin").stat().st_mtime_ns
    ts_tokenizer.encode_splits(splits, trained, encoded)
    assert (encoded / "train.bin").stat().st_mtime_ns == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(ArtefactError, match="not an encoded folder"):
        ts_tokenizer.encode_splits(splits, trained, tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "precious"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "manifest.json").write_bytes((splits / "manifest.json").read_bytes())
    with pytest.raises(ArtefactError, match="holds another kind of artefact; it is left unchanged"):
        ts_tokenizer.encode_splits(splits, trained, tmp_path / "other")
    (tmp_path / "empty").mkdir()
    ts_tokenizer.encode_splits(splits, trained, tmp_path / "empty")
    assert _files(tmp_path / "empty") == _files(encoded)


def test_a_damaged_folder_is_written_again(splits: Path, trained: WordTokenizer, copy: Path, encoded: Path) -> None:
    (copy / "train.bin").write_bytes((copy / "train.bin").read_bytes()[:-2] + b"\0\0")
    ts_tokenizer.encode_splits(splits, trained, copy)
    assert _files(copy) == _files(encoded)


def test_a_split_is_indexed_as_a_sequence(encoded: Path) -> None:
    train = ts_tokenizer.open_encoded(encoded)["train"]
    assert [story.tolist() for story in train[:4:2]] == [train[0].tolist(), train[2].tolist()]
    assert train[-1].tolist() == train[len(train) - 1].tolist()
    with pytest.raises(IndexError, match=f"story {len(train)} of {len(train)}"):
        _ = train[len(train)]


# --- the stories that are trained on -----------------------------------------------------------


def test_the_training_stories_are_named_by_their_hashes(splits: Path, encoded: Path) -> None:
    data = ts_tokenizer.open_encoded(encoded)
    hashes = data.train_stories
    assert hashes is not None
    assert hashes.dtype == np.uint64
    expected = np.unique(ts_data.story_hashes(list(ts_data.read(splits, "train"))))
    np.testing.assert_array_equal(hashes, expected)
    assert data.manifest.train_stories is not None
    assert data.manifest.train_stories.rows == len(expected)
    np.testing.assert_array_equal(np.load(encoded / "train_stories.npy"), expected)
    shouted = [text.upper().replace(" ", "  ") for text in ts_data.read(splits, "train")[:5]]
    assert np.isin(ts_data.story_hashes(shouted), hashes).all(), "another cleaning of a story has its hash"
    assert not np.isin(ts_data.story_hashes(list(ts_data.read(splits, "test"))), hashes).any()


def test_a_folder_of_an_earlier_version_has_no_hashes_and_gets_them(
    splits: Path, trained: WordTokenizer, copy: Path, encoded: Path
) -> None:
    manifest = json.loads((copy / "manifest.json").read_text())
    del manifest["train_stories"]
    (copy / "manifest.json").write_text(json.dumps(manifest))
    (copy / "train_stories.npy").unlink()
    assert ts_tokenizer.open_encoded(copy, verify=True).train_stories is None
    ts_tokenizer.encode_splits(splits, trained, copy)
    assert _files(copy) == _files(encoded)


def test_damaged_hashes_are_refused(copy: Path) -> None:
    path = copy / "train_stories.npy"
    content = path.read_bytes()
    path.write_bytes(content[:-8] + b"\0" * 8)
    with pytest.raises(ArtefactError, match=r"train_stories\.npy: its checksum differs"):
        _ = ts_tokenizer.open_encoded(copy).train_stories
    path.write_bytes(content[:-8])
    with pytest.raises(ArtefactError, match="truncated or changed"):
        ts_tokenizer.open_encoded(copy)
    path.unlink()
    with pytest.raises(ArtefactError, match="but it does not exist"):
        ts_tokenizer.open_encoded(copy)


@pytest.fixture
def copy(encoded: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "copy"
    folder.mkdir()
    for name, content in _files(encoded).items():
        (folder / name).write_bytes(content)
    return folder


def test_damage_is_refused(copy: Path, stories: list[str]) -> None:
    content = (copy / "train.bin").read_bytes()
    (copy / "train.bin").write_bytes(content[:-2])
    with pytest.raises(ArtefactError, match="truncated or changed"):
        ts_tokenizer.open_encoded(copy)
    (copy / "train.bin").write_bytes(content[:-2] + b"\0\0")
    with pytest.raises(ArtefactError, match="checksum"):
        ts_tokenizer.open_encoded(copy, verify=True)
    (copy / "train.bin").unlink()
    with pytest.raises(ArtefactError, match="but it does not exist"):
        ts_tokenizer.open_encoded(copy)


def test_another_tokenizer_is_refused(copy: Path, tokenizer: WordTokenizer) -> None:
    tokenizer.save(copy / "word_tokenizer.json")
    with pytest.raises(ArtefactError, match="not the tokenizer"):
        _ = ts_tokenizer.open_encoded(copy).tokenizer


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 2}, "pip install -U"),
        ({"extra": 1}, "field `extra`"),
        ({"format": "ts-data/manifest"}, "another kind"),
        ({"eos_id": 99_999}, "must be four ids below `vocab_size`"),
        ({"pad_id": -1}, "must be four ids below `vocab_size`"),
        ({"bos_id": 3, "unk_id": 3}, "must be four ids below `vocab_size`"),
    ],
)
def test_foreign_manifests_are_refused(copy: Path, change: dict[str, object], message: str) -> None:
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps({**manifest, **change}))
    with pytest.raises(ArtefactError, match=message):
        ts_tokenizer.open_encoded(copy)


@pytest.mark.parametrize("wrong", [60_000, 65_535])
def test_statistics_name_an_id_outside_the_vocabulary(copy: Path, wrong: int) -> None:
    ids = np.fromfile(copy / "val.bin", "<u2")
    ids[5] = wrong
    ids.tofile(copy / "val.bin")
    with pytest.raises(ArtefactError, match=f"split validation: holds the id {wrong}, but the vocabulary has"):
        stats(ts_tokenizer.open_encoded(copy))


@pytest.mark.parametrize("workers", [0, -1, 1.5, "2"])
def test_workers_are_a_positive_integer(splits: Path, trained: WordTokenizer, tmp_path: Path, workers: Any) -> None:
    with pytest.raises(ConfigError, match="workers: at least one thread is needed, not "):
        ts_tokenizer.encode_splits(splits, trained, tmp_path / "out", workers=workers)
    assert not list(tmp_path.iterdir())


def test_files_outside_of_the_folder_are_refused(copy: Path) -> None:
    text = (copy / "manifest.json").read_text()
    (copy / "manifest.json").write_text(text.replace('"train.bin"', '"../train.bin"'))
    with pytest.raises(ArtefactError, match="outside"):
        ts_tokenizer.open_encoded(copy)


def test_offsets_that_do_not_fit_are_refused(copy: Path) -> None:
    offsets = np.load(copy / "val.idx.npy")
    offsets[1:-1] = offsets[1:-1][::-1]
    np.save(copy / "val.idx.npy", offsets)
    with pytest.raises(ArtefactError, match="offsets do not fit"):
        ts_tokenizer.open_encoded(copy)


# --- bits per byte -----------------------------------------------------------------------------


def test_bits_per_byte_by_hand() -> None:
    assert ts_tokenizer.bits_per_byte(8 * math.log(2), utf8_bytes=4, unk_spelling_bits=2.0, restore_bits=2.0) == pytest.approx(
        3.0
    )
    with pytest.raises(ConfigError, match="utf8_bytes"):
        ts_tokenizer.bits_per_byte(1.0, utf8_bytes=0, unk_spelling_bits=0, restore_bits=0)


def _bigram_nats(train: list[np.ndarray], held_out: list[np.ndarray], size: int) -> float:
    """Interpolated (half and half) with an add-one unigram; each story from its `<bos>`."""
    counts = np.zeros((size, size))
    for story in train:
        np.add.at(counts, (story[:-1], story[1:]), 1)
    unigram = counts.sum(0) + 1
    unigram /= unigram.sum()
    rows = counts.sum(1, keepdims=True)
    bigram = (counts + unigram) / (rows + 1)
    model = 0.9 * bigram + 0.1 * unigram
    return float(sum(-np.log(model[story[:-1], story[1:]]).sum() for story in held_out))


def _unigram_nats(train: list[np.ndarray], held_out: list[np.ndarray], size: int) -> float:
    counts = np.ones(size)
    for story in train:
        np.add.at(counts, story[1:], 1)
    logs = np.log(counts / counts.sum())
    return float(sum(-logs[story[1:]].sum() for story in held_out))


def test_hiding_words_gains_nothing(splits: Path) -> None:
    train, held_out = list(ts_data.read(splits, "train")), list(ts_data.read(splits, "validation"))
    size_of_text = sum(len(text.encode()) for text in held_out)
    found: dict[tuple[str, int], float] = {}
    plain: dict[int, float] = {}
    for vocab_size in (2048, 16):
        tokenizer = WordTokenizer.train(train, vocab_size=vocab_size)
        ids = [tokenizer.encode_batch(texts, add_special_tokens=True) for texts in (train, held_out)]
        spelling, restore = tokenizer.extra_bits(held_out).sum(axis=0)
        for name, model in (("unigram", _unigram_nats), ("bigram", _bigram_nats)):
            nats = model(*ids, tokenizer.vocab_size)
            found[name, vocab_size] = ts_tokenizer.bits_per_byte(
                nats, utf8_bytes=size_of_text, unk_spelling_bits=spelling, restore_bits=restore
            )
            plain[vocab_size] = nats / math.log(2) / size_of_text
    assert plain[16] < plain[2048], "the plain figure is what hiding words would improve"
    assert found["unigram", 16] > found["unigram", 2048]
    assert found["bigram", 16] > found["bigram", 2048]


def test_manifest_sums_are_extra_bits(splits: Path, encoded: Path, trained: WordTokenizer) -> None:
    info = ts_tokenizer.open_encoded(encoded).manifest.splits["validation"]
    spelling, restore = trained.extra_bits(list(ts_data.read(splits, "validation"))).sum(axis=0)
    assert info.priced_stories == info.stories
    assert info.unk_spelling_bits == pytest.approx(spelling, abs=0.01)
    assert info.restore_bits == pytest.approx(restore, abs=0.01)


def test_threads_that_share_a_tokenizer_give_spacys_tokens(tokenizer: WordTokenizer) -> None:
    """Stories whose chunks reach across blanks go through the plain table: its rows must not be mixed up by another thread."""
    texts = [f"word{i} {i} p.m. said o'clock{i}, i'm {i}am ca n't" for i in range(400)]
    expected = [tokenizer.tokens(text) for text in texts]
    for _ in range(3):
        fresh = type(tokenizer)(tokenizer.spec)
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(fresh.tokens, texts)) == expected

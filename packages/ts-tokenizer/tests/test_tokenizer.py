"""WordTokenizer: specials, vocabulary, round trips."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import spacy

import ts_tokenizer
from ts_tokenizer import WordTokenizer
from ts_tokenizer.errors import ArtefactError, ConfigError, VocabularyError


def test_specials_hold_the_last_four_ids(tokenizer: WordTokenizer) -> None:
    assert tokenizer.vocab[-4:] == ("<eos>", "<bos>", "<unk>", "<pad>")
    assert [tokenizer.eos_id, tokenizer.bos_id, tokenizer.unk_id, tokenizer.pad_id] == [60, 61, 62, 63]
    assert tokenizer.vocab_size == 64


def test_ties_are_broken_by_the_word() -> None:
    tokenizer = WordTokenizer.train(["b a c a d"], vocab_size=7)
    assert tokenizer.vocab[:3] == ("a", "b", "c")


def test_every_stage_of_training_ends_with_its_total() -> None:
    told: dict[str, tuple[int, int | None]] = {}
    WordTokenizer.train(
        ["A dog ran."] * 5, vocab_size=9, progress=lambda stage, done, total=None: told.update({stage: (done, total)})
    )
    assert told == {"vocabulary": (5, 5), "detokenizer": (5, 5)}


def test_special_names_in_a_text_never_become_special_ids(tokenizer: WordTokenizer) -> None:
    ids = tokenizer.encode("<eos> <bos> x<pad>y <pad> <|endoftext|>")
    assert not {tokenizer.eos_id, tokenizer.bos_id, tokenizer.pad_id} & set(ids)


def test_tokens_are_spacys(tokenizer: WordTokenizer, stories: list[str]) -> None:
    nlp = spacy.blank("en")
    for story in stories[:5]:
        assert tokenizer.tokens(story) == [token.text for token in nlp(story.lower())]


def test_offsets_point_at_the_tokens(tokenizer: WordTokenizer) -> None:
    text = 'İstanbul ΣΑΣ  "Don\'t",\n said Tom.'
    ids, places = tokenizer.encode(text, offsets=True)
    assert len(ids) == len(places)
    assert [text[start:end].lower() for start, end in places] == tokenizer.tokens(text)


def test_encode_batch_gives_uint16_with_specials(tokenizer: WordTokenizer) -> None:
    first, empty = tokenizer.encode_batch(["Tom said", ""], add_special_tokens=True)
    assert first.dtype == np.uint16
    assert first.tolist() == [tokenizer.bos_id, *tokenizer.encode("Tom said"), tokenizer.eos_id]
    assert empty.tolist() == [tokenizer.bos_id, tokenizer.eos_id]


def test_decode_gives_book_text(tokenizer: WordTokenizer) -> None:
    text = 'Tom said, "Look, Mom!"'
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=True)) == text
    assert "<unk>" in tokenizer.decode(tokenizer.encode("zebra"))


def test_decode_refuses_unknown_ids(tokenizer: WordTokenizer) -> None:
    with pytest.raises(VocabularyError, match="id 64 is outside"):
        tokenizer.decode([64])


def test_saved_and_loaded_it_is_the_same(tokenizer: WordTokenizer, tmp_path: Path) -> None:
    path = tmp_path / "word_tokenizer.json"
    tokenizer.save(path)
    again = ts_tokenizer.load(path)
    assert again.sha256 == tokenizer.sha256
    assert again.vocab == tokenizer.vocab


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"ts-tokenizer/word"', '"something/else"', "another kind of file"),
        ('"schema_version": 3', '"schema_version": 99', "pip install -U tinystories-tokenizer"),
        ('"casing"', '"cases"', "field `cases`"),
        ('"<pad>"', '"<eos>"', "must be <eos>, <bos>, <unk>, <pad>"),
    ],
)
def test_damaged_files_are_refused(tokenizer: WordTokenizer, tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "word_tokenizer.json"
    tokenizer.save(path)
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(ArtefactError, match=message):
        ts_tokenizer.load(path)


@pytest.mark.parametrize("size", [0, 4, 65_537])
def test_sizes_that_do_not_do(size: int) -> None:
    with pytest.raises(ConfigError, match="vocab_size"):
        WordTokenizer.train(["a"], vocab_size=size)


def test_opening_a_tokenizer_and_decoding_start_no_spacy(tokenizer: WordTokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "t.json")
    code = "import sys, ts_tokenizer; ts_tokenizer.load(sys.argv[1]).decode([0, 1, 2]); print('spacy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "t.json")], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"

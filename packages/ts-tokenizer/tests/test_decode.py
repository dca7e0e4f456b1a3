"""Decode: whole, streaming, with kept case; the same from plain and compiled loops."""

from __future__ import annotations

import time
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ts_tokenizer import WordTokenizer, load
from ts_tokenizer.detokenizer import model
from ts_tokenizer.detokenizer.model import CAPITAL, FIXED, LOWER, PAST, UPPER, WHOLE, Decoder, Walk, kinds_of
from ts_tokenizer.detokenizer.storage import ALL_CAPITALS, pack, pack_keys
from ts_tokenizer.fast import loops
from ts_tokenizer.reports.check import check
from ts_tokenizer.schemas import DecoderSpec


@pytest.fixture(scope="module")
def keep(stories: list[str]) -> WordTokenizer:
    return WordTokenizer.train(stories, vocab_size=120, casing="keep")


def _stream(tokenizer: WordTokenizer, ids: list[int]) -> str:
    decoder = tokenizer.stream_decoder()
    return "".join([*(decoder.push(i) for i in ids), decoder.finish()])


words = st.sampled_from(
    ["Tom", "tom", "TOM", "the", "The", "dog", '"', '"', ",", ".", "!", "said", "Lily", "lily", "mom", "can't", "'", "Zebra"]
)
texts = st.lists(words, max_size=30).map(" ".join)


@settings(max_examples=80, deadline=None)
@given(texts)
def test_keep_gives_back_every_letter_but_unk(keep: WordTokenizer, text: str) -> None:
    ids, places = keep.encode(text, offsets=True)
    expected, at = "", 0
    for i, (start, end) in zip(ids, places, strict=True):
        expected += text[at:start] + ("<unk>" if i == keep.unk_id else text[start:end])
        at = max(at, end)
    assert keep.decode(ids) == expected
    assert _stream(keep, ids) == expected


def test_keep_marks_only_where_the_guess_errs(keep: WordTokenizer, stories: list[str]) -> None:
    ids = keep.encode(stories[0])
    assert len(ids) - len(keep.tokens(stories[0])) <= 2
    assert keep.vocab[-9:-4] == ("<lower>", "<cap>", "<upper>", "<join>", "<space>")
    assert keep.encode_batch([stories[0]])[0].tolist() == ids
    assert keep.extra_bits([stories[0]])[0, 1] == 0.0


def test_keep_hides_what_no_marker_tells(keep: WordTokenizer) -> None:
    assert keep.encode("tOm") == [keep.unk_id]
    assert keep.extra_bits(["tOm"])[0, 0] > 0


def test_stray_markers_do_no_harm(keep: WordTokenizer) -> None:
    marks = [keep.token_to_id[name] for name in ("<upper>", "<cap>", "<join>")]
    assert keep.decode([*marks, *keep.encode("said"), *marks]) == "Said"


@settings(max_examples=100, deadline=None)
@given(texts)
def test_the_stream_ends_as_decode_without_later_evidence(tokenizer: WordTokenizer, text: str) -> None:
    ids = tokenizer.encode(text, add_special_tokens=True)
    assert _stream(tokenizer, ids) == "".join(tokenizer.pieces(tokenizer.checked(ids), streaming=True))
    assert _stream(tokenizer, ids).lower() == tokenizer.decode(ids).lower(), "later evidence may change capitals alone"


GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def older() -> WordTokenizer:
    return load(GOLDEN / "word_tokenizer.v1.json")


@settings(max_examples=200, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("kind", ["tokenizer", "keep", "older"])
def test_a_stream_decides_each_token_once_and_as_the_whole_does(
    kind: str, data: st.DataObject, tokenizer: WordTokenizer, keep: WordTokenizer, older: WordTokenizer
) -> None:
    used = {"tokenizer": tokenizer, "keep": keep, "older": older}[kind]
    ids = data.draw(st.lists(st.integers(0, used.vocab_size - 1), max_size=150))
    assert _stream(used, ids) == "".join(used.pieces(used.checked(ids), streaming=True))


def test_a_stream_of_sixteen_thousand_tokens_takes_no_minute(tokenizer: WordTokenizer) -> None:
    ids = [i % 60 for i in range(16_000)]
    _stream(tokenizer, ids[:9])  # compiles
    begun = time.process_time()
    text = _stream(tokenizer, ids)
    assert time.process_time() - begun < 10  # 5 minutes where every token decides all before it again
    assert text == "".join(tokenizer.pieces(ids, streaming=True))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 59), max_size=40))
def test_plain_and_compiled_loops_agree(tokenizer: WordTokenizer, plain_loops: ModuleType, ids: list[int]) -> None:
    compiled = _decisions(tokenizer, ids)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "loops", plain_loops)
        plain = _decisions(tokenizer, ids)
    assert len(plain) == len(compiled) == 10
    for one, other in zip(plain, compiled, strict=True):
        np.testing.assert_array_equal(one, other)


def _decisions(tokenizer: WordTokenizer, ids: list[int]) -> list[np.ndarray]:
    """All that the decoder says of ids: scores of every mode, without and with known decisions, and the walks' decisions."""
    decoder = Decoder(tokenizer.spec.decoder, tokenizer.vocab)
    array = np.array(ids, dtype=np.int64)
    marks = np.column_stack([array % 3 - 1, array % 4 - 1])
    found = [decoder.scores(array, mode, fixed) for mode in (WHOLE, PAST, FIXED) for fixed in (None, marks)]
    found += decoder.predict_rest(array, marks)
    for mode in (PAST, FIXED):
        walk = Walk(decoder)
        for token, fixed in zip(ids, marks.tolist(), strict=True):
            walk.add(token, fixed)
        found.append(np.array(walk.decide(len(ids), mode)))
    return found


def test_what_was_learned_comes_back(tokenizer: WordTokenizer, stories: list[str]) -> None:
    found = check(tokenizer, stories[:5])
    assert found.stories == 5
    assert found.exact is not None
    assert found.exact >= 0.8
    assert check(tokenizer, []).exact is None


def test_unsure_occurrences_of_a_word_are_decided_together() -> None:
    vocab = ["ask", "mom", "tell", ".", "<eos>", "<bos>", "<unk>", "<pad>"]
    keys = np.array([34 << 48 | 1, 34 << 48 | 2 << 16 | 1], dtype=np.int64)  # "ask mom", "tell mom"
    templates, packed = pack_keys(keys)
    ids = np.array([0, 1, 3, 2, 1, 3])

    def cases(together: int, low: int, high: int, mode: int = WHOLE, witness: int = 0) -> list[int]:
        weights = pack(np.array([low, high]), "<i2")
        spec = DecoderSpec(together=together, witness=witness, templates=templates, keys=packed, weight_bytes=2, weights=weights)
        found = Decoder(spec, vocab).predict(ids, mode)[1]
        return found[[1, 4]].tolist()

    assert cases(0, -300, 500) == [0, 1]
    assert cases(1536, -300, 500) == [1, 1], "the mean is 100"
    assert cases(1536, -500, 300) == [0, 0]
    assert cases(1536, -500, 1600) == [0, 1], "a sure one is decided alone"
    assert cases(1536, -300, 500, PAST) == [0, 1], "a stream cannot know the later one"
    assert cases(1536, -500, 1600, witness=3072) == [1, 1], "the sure one counts in the mean"
    assert cases(1536, -1600, 500, witness=3072) == [0, 0]
    assert cases(1536, -500, 4000, witness=3072) == [0, 1], "a surer one does not"


def test_all_capitals_hold_at_doubtful_places() -> None:
    vocab = ["on", "tv", ".", "<eos>", "<bos>", "<unk>", "<pad>"]
    inside, start = 34 << 48 | 1, 34 << 48 | 2 << 16 | 1  # "on tv", ". tv"
    keys = np.array([start, inside | ALL_CAPITALS, start | ALL_CAPITALS], dtype=np.int64)
    templates, packed = pack_keys(keys)

    def cases(surplus: int, lack: int, witness: int) -> list[int]:
        weights = pack(np.array([2000, surplus, 2000 - lack]), "<i2")
        spec = DecoderSpec(together=1, witness=witness, templates=templates, keys=packed, weight_bytes=2, weights=weights)
        return Decoder(spec, vocab).predict(np.array([0, 1, 2, 1, 2]))[1][[1, 3]].tolist()

    assert cases(900, 600, 0) == [UPPER, CAPITAL]
    assert cases(900, 600, 3072) == [UPPER, UPPER]
    assert cases(500, 600, 3072) == [UPPER, CAPITAL], "it lacks more than is sure elsewhere"
    assert cases(-500, 600, 3072) == [LOWER, CAPITAL]


def test_single_quotes_learn_from_double_ones() -> None:
    vocab = ["said", ",", '"', "'", "yes", "<eos>", "<bos>", "<unk>", "<pad>"]
    kinds = kinds_of(vocab, np.zeros(0, dtype=np.int64))
    rows = np.full((2, loops.SPACE_FEATURES), -1, dtype=np.int64)
    for row, mark in zip(rows, (2, 3), strict=True):
        loops.space_context(np.array([0, 1, mark, 4]), 2, 0, 0, kinds, len(vocab) - 1, row)
    shared = rows[0] == rows[1]
    assert shared[28:].all()
    assert (rows[0][28:] >= 0).all()
    assert not shared[21:26].any()


def test_check_counts_an_error() -> None:
    tokenizer = WordTokenizer.train(["the cat sat."] * 20, vocab_size=12)
    found = check(tokenizer, ["The cat sat.", "the cat sat."])
    assert (found.exact, found.caseless) == (0.5, 1.0)
    assert found.errors == (("The cat", "the cat", 1),)


@pytest.mark.real_data
@pytest.mark.slow
def test_held_out_real_stories_come_back(real_stories: list[str]) -> None:
    import ts_data

    cleaned = [c.text for c in map(ts_data.clean, real_stories) if c.dropped is None]
    rng = np.random.default_rng(0)
    order = rng.permutation(len(cleaned))
    held_out = [cleaned[i] for i in order[-200:]]
    tokenizer = WordTokenizer.train([cleaned[i] for i in order[:-200]])
    found = check(tokenizer, held_out)
    assert found.exact is not None
    assert found.caseless is not None
    assert found.exact >= 0.75  # far above the 0.55 of hand-made rules; the benchmark prints the figure
    assert found.caseless >= 0.96

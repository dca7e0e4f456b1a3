"""The tokens are spaCy's, always: on realistic and hostile text, from the table, from the compiled scan, from a file."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ts_tokenizer import WordTokenizer, fast
from ts_tokenizer.detokenizer import fit, log_linear, model
from ts_tokenizer.errors import ConfigError
from ts_tokenizer.fast import table as fast_table
from ts_tokenizer.fast.table import Bulk, utf8
from ts_tokenizer.rules.chunks import ChunkTable
from ts_tokenizer.rules.pinned import Rules, pin
from ts_tokenizer.rules.text import spans

PIECES = [
    "the", "Tom", "Don't", "can't", "cannot", "we'll", "he's", "Tom's", "boys'", "'Twas", "'em", "o'clock", "y'all", "gonna",
    "Mr.", "p.m.", "a.m.", "U.S.", "e.g.", "5kg", "10KM", "3.14", "1,000", "$5", "50%", "http://a.com/x?y=1", "WWW.B.ORG", "me@x.org",
    ":)", ":-(", "8(", ":}8", ":", ")", "(", "-", "8", "o.O", "O_o", "<3", "\\n", "--", "...", "….", "—", "well-known", "and/or",
    '"', "'", '"Hi!"', "''", "“", "”", "İ", "ΣΑΣ", "ß", "ǅ", "é", "🙂", "👩‍👧", "\u00a0", "\u2003", "\u0085", "\u200b", "\x00", "\x01",
    "\x1c", "\t", "\n", "\n\n", " ", "  ", " \n ", "<|endoftext|>", "<unk>", "<eos>", "a" * 17, "B" * 33, "x" * 15 + "é", "#", "@",
]  # fmt: skip


@cache
def _rules() -> Rules:
    return Rules(pin())


@cache
def _spacy() -> Any:
    import spacy

    return spacy.blank("en").tokenizer


@cache
def _tables() -> tuple[ChunkTable, Bulk, dict[str, int]]:
    pytest.importorskip("numba")
    ids: dict[str, int] = {}
    table = ChunkTable(_rules())
    return table, Bulk(table, lambda token: ids.setdefault(token, len(ids) % 60_000)), ids


def _same(texts: list[str]) -> None:
    table, bulk, ids = _tables()
    expected = [[token.text for token in _spacy()(text.lower())] for text in texts]
    assert [table.split(text.lower()) for text in texts] == expected
    array = utf8(texts)
    if array is not None:
        flat, lengths = bulk.encode(array)
        assert lengths.tolist() == [len(tokens) for tokens in expected]
        assert flat.tolist() == [ids[token] for tokens in expected for token in tokens]


joined = st.lists(st.sampled_from(PIECES), max_size=12).flatmap(
    lambda parts: st.lists(st.sampled_from([" ", "", " ", "  ", "\n"]), min_size=len(parts), max_size=len(parts)).map(
        lambda gaps: "".join(part + gap for part, gap in zip(parts, gaps, strict=True))
    )
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(joined, min_size=1, max_size=4))
def test_realistic_and_hostile_pieces(texts: list[str]) -> None:
    _same(texts)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.text(max_size=40), min_size=1, max_size=3))
def test_any_unicode(texts: list[str]) -> None:
    _same(texts)


@settings(max_examples=120, deadline=None)
@given(st.text(alphabet=" \t\n:;()-8oO0._<>=^*\\'\"xXdDpP3/|[]{}@\u00a0", max_size=24))
def test_emoticons_across_blanks(text: str) -> None:
    _same([text])


def test_a_match_across_a_blank_is_caught() -> None:
    table, _, _ = _tables()
    text = "8( :}8"
    alone = [token for chunk in text.split() for token in _rules().split(chunk)]
    assert [token.text for token in _spacy()(text)] == table.split(text)
    assert alone != table.split(text), "the example no longer shows what the guard is for"


def test_chunks_asked_together_are_split_as_if_alone() -> None:
    chunks = [piece.lower() for piece in PIECES]
    assert _rules().split_chunks(chunks) == [_rules().split(chunk) for chunk in chunks]


def test_the_whole_real_sample(real_stories: list[str]) -> None:
    _same(real_stories)
    table, _, _ = _tables()
    from ts_tokenizer.rules.chunks import split_chunks

    flagged = sum(table.crossing(table.numbers(split_chunks(story.lower()))) for story in real_stories)
    assert flagged <= 5, "the guard should send next to none of the real stories to spaCy"


@settings(max_examples=80, deadline=None)
@given(joined)
def test_offsets_give_the_tokens_back(text: str) -> None:
    table, _, _ = _tables()
    tokens = table.split(text.lower())
    found = spans(text, tokens)
    assert all(0 <= start <= end <= len(text) for start, end in found)
    if len(text) == len(text.lower()):
        assert [text.lower()[start:end] for start, end in found] == tokens


def test_plain_and_compiled_give_the_same_ids(
    tokenizer: WordTokenizer, stories: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [*stories[:5], *PIECES, " ".join(PIECES)]
    compiled = tokenizer.encode_batch(texts, add_special_tokens=True)
    monkeypatch.setattr(fast_table, "available", lambda: False)
    plain = WordTokenizer(tokenizer.spec)
    assert plain._bulk is None
    assert [ids.tolist() for ids in plain.encode_batch(texts, add_special_tokens=True)] == [ids.tolist() for ids in compiled]
    assert [plain.encode(text) for text in texts] == [ids[1:-1].tolist() for ids in compiled]


@pytest.mark.parametrize("misses", [1, 3, 50])
def test_a_scan_that_stops_for_new_chunks_goes_on_where_it_stopped(
    tokenizer: WordTokenizer, monkeypatch: pytest.MonkeyPatch, misses: int
) -> None:
    texts = [
        "",
        " ".join(PIECES),
        *PIECES,
        "",
        "a" * 40 + " " + "b" * 40 + " " + "a" * 39 + "b",
        " ".join(f"w{i}x" for i in range(3000)),
    ]
    monkeypatch.setattr(fast_table, "MISSES", misses)
    fresh = WordTokenizer(tokenizer.spec)
    assert fresh._bulk is not None
    assert [ids.tolist() for ids in fresh.encode_batch(texts)] == [tokenizer.encode(text) for text in texts]


def test_threads_that_share_a_growing_table_give_the_same_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long, short and new chunks from four threads at once: what one inserts the others may read half-made."""
    pytest.importorskip("numba")
    monkeypatch.setattr(fast_table, "MISSES", 100)
    texts = [" ".join(chr(97 + (i * j) % 26) * (1 + (i + j) % 40) for j in range(60)) + f" {i}th" for i in range(400)]
    parts = [utf8(texts[start::4]) for start in range(4)]
    for _ in range(3):
        table, ids, lock = ChunkTable(_rules()), {}, threading.Lock()

        def number(token: str, ids: dict[str, int] = ids, lock: threading.Lock = lock) -> int:
            with lock:
                return ids.setdefault(token, len(ids))

        bulk = Bulk(table, number)
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(bulk.encode, parts))
        for start, (flat, _) in enumerate(found):
            assert flat.tolist() == [ids[token] for text in texts[start::4] for token in table.split(text)]


def test_plain_and_compiled_train_the_same_vocabulary(stories: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from ts_tokenizer.vocabulary import count_tokens

    texts = [*stories, "8( :}8", *PIECES]
    compiled = count_tokens(texts, ChunkTable(_rules()), 10)
    monkeypatch.setattr(fast_table, "available", lambda: False)
    assert count_tokens(texts, ChunkTable(_rules()), 10) == compiled


def test_plain_and_compiled_learn_the_same_decoder(
    stories: list[str], plain_loops: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = WordTokenizer.train(stories[:12], vocab_size=64)
    for module in (model, fit, log_linear):
        monkeypatch.setattr(module, "loops", plain_loops)
    monkeypatch.setattr(fast_table, "available", lambda: False)
    assert WordTokenizer.train(stories[:12], vocab_size=64).spec == compiled.spec


@pytest.mark.parametrize(
    ("wanted", "jit_off", "expected"), [("", 0, True), ("plain", 0, False), ("", 1, False), ("compiled", 0, True)]
)
def test_the_environment_chooses_the_loops(wanted: str, jit_off: int, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TS_TOKENIZER_KERNELS", wanted)
    monkeypatch.setattr("numba.config.DISABLE_JIT", jit_off)
    assert fast.available.__wrapped__() is expected


@pytest.mark.parametrize(("wanted", "message"), [("fast", "Choose plain or compiled"), ("compiled", "NUMBA_DISABLE_JIT is set")])
def test_loops_that_cannot_be_had(wanted: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TS_TOKENIZER_KERNELS", wanted)
    monkeypatch.setattr("numba.config.DISABLE_JIT", 1)
    with pytest.raises(ConfigError, match=message):
        fast.available.__wrapped__()


def test_without_numba_the_loops_are_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TS_TOKENIZER_KERNELS", raising=False)
    monkeypatch.setitem(sys.modules, "numba", None)
    assert fast.available.__wrapped__() is False

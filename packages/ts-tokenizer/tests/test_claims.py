"""What the README and the pages say of all texts, all files and all machines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ts_data
import ts_tokenizer
from ts_data.console import run
from ts_tokenizer import WordTokenizer
from ts_tokenizer.cli import app
from ts_tokenizer.errors import ArtefactError
from ts_tokenizer.reports.check import check

WORDS = [
    "Tom", "tom", "TOM", "Lily's", "can't", "Can't", "said", "the", "The", "U.S.", "p.m.", "well-known", "5kg", "(a)", '"Look', 'Mom!"',
    "'Twas", "boys'", "...", "—", "x...", "A", "a", "I", "i", "it", "It", '"', "'", "!", "?!", ":)", "é", "É", "ß", "Mr.", "McDonald", "tOm",
]  # fmt: skip


@pytest.fixture(scope="module")
def keep() -> WordTokenizer:
    texts = [" ".join(WORDS[n:] + WORDS[:n]) for n in range(len(WORDS))]
    return WordTokenizer.train(texts * 2, vocab_size=80, casing="keep")


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.one_of(st.sampled_from(WORDS), st.text("aTom'\".,!?-:5é", min_size=1, max_size=6)), min_size=1, max_size=25))
def test_keep_gives_all_but_unk_back_to_the_letter(keep: WordTokenizer, words: list[str]) -> None:
    found = check(keep, [" ".join(words)])
    assert found.exact == 1.0, found.errors


def test_keep_gives_real_stories_back_to_the_letter(real_stories: list[str]) -> None:
    cleaned = [found.text for story in real_stories[:400] if (found := ts_data.clean(story)).dropped is None]
    tokenizer = WordTokenizer.train(cleaned[:300], casing="keep")
    assert check(tokenizer, cleaned).exact == 1.0


def test_a_tokenizer_file_asks_nothing_of_the_installed_rules(
    tokenizer: WordTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a later spaCy gives the same ids."""
    import spacy
    from spacy.lang.en import English

    texts = ["He can't go at 5 p.m. :) (x/y)", "don't" + "!" * 300, "8( :}8 a-b 5km"]
    expected = [tokenizer.tokens(text) for text in texts]
    tokenizer.save(tmp_path / "t.json")

    def gone(*_: Any, **__: Any) -> Any:
        raise AssertionError("the installed rules were asked for")

    monkeypatch.setattr(spacy, "blank", gone)
    for name in ("prefixes", "suffixes", "infixes", "tokenizer_exceptions", "url_match", "token_match"):
        monkeypatch.setattr(English.Defaults, name, None)
    assert [ts_tokenizer.load(tmp_path / "t.json").tokens(text) for text in texts] == expected


def test_other_patterns_than_the_proven_ones_give_spacys_tokens_all_the_same(tokenizer: WordTokenizer) -> None:
    from ts_tokenizer.rules.pinned import Rules

    spec = tokenizer.spec.rules.model_copy(update={"infix": tokenizer.spec.rules.infix + "|~", "spacy_version": "4.0"})
    other = WordTokenizer(tokenizer.spec.model_copy(update={"rules": spec}))
    spacys = Rules(spec)._tokenizer
    for text in ("a~b ca~n't tom~", "(a~b) " + "c~" * 100, "no change, p.m."):
        assert other.tokens(text) == [token.text for token in spacys(text)]
    assert other.tokens("a~b") == ["a", "~", "b"]


CODE = """
import json, sys
sys.modules["numba"] = None
from ts_tokenizer import WordTokenizer
texts = json.loads(sys.stdin.read())
tokenizer = WordTokenizer.train(texts, vocab_size=64)
print(json.dumps([tokenizer.sha256, [ids.tolist() for ids in tokenizer.encode_batch(texts)], tokenizer.decode(range(60))]))
"""


def test_without_numba_the_same_file_ids_and_text(stories: list[str]) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TS_TOKENIZER_KERNELS"}
    done = subprocess.run(
        [sys.executable, "-c", CODE], input=json.dumps(stories), capture_output=True, text=True, check=True, env=environment
    )
    tokenizer = WordTokenizer.train(stories, vocab_size=64)
    ids = [story.tolist() for story in tokenizer.encode_batch(stories)]
    assert json.loads(done.stdout) == [tokenizer.sha256, ids, tokenizer.decode(range(60))]


def test_an_encoded_folder_opens_without_spacy_and_numba(tmp_path: Path, stories: list[str]) -> None:
    (tmp_path / "raw.txt").write_text("\n<|endoftext|>\n".join(ts_data.sample(40, seed=8)), encoding="utf-8")
    ts_data.prepare(tmp_path / "raw.txt", tmp_path / "splits")
    tokenizer = WordTokenizer.train(ts_data.read(tmp_path / "splits", "train"), vocab_size=64)
    ts_tokenizer.encode_splits(tmp_path / "splits", tokenizer, tmp_path / "encoded")
    code = (
        "import sys, ts_tokenizer; data = ts_tokenizer.open_encoded(sys.argv[1], verify=False); data['train'][0]; data.train_stories;"
        "print(sorted({'spacy', 'numba', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "encoded")], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_stream_is_a_beginning_of_what_follows(tokenizer: WordTokenizer, stories: list[str]) -> None:
    for story in stories[:5]:
        stream = tokenizer.stream_decoder()
        ids = tokenizer.encode(story)
        said = [stream.push(i) for i in ids] + [stream.finish()]
        whole = "".join(tokenizer.pieces(ids, streaming=True))
        assert all(whole.startswith("".join(said[:n])) for n in range(len(said) + 1))
        assert "".join(said) == whole


# --- files that do not do ----------------------------------------------------------------------


def _newer(text: str) -> bytes:
    return text.replace('"schema_version": 3', '"schema_version": 99', 1).encode()


HARM: dict[str, tuple[Any, str]] = {
    "newer": (_newer, "pip install -U tinystories-tokenizer"),
    "cut": (lambda text: text[: len(text) // 2].encode(), "not JSON"),
    "empty": (lambda text: b"", "not JSON"),
    "utf-16": (lambda text: text.encode("utf-16"), "not UTF-8"),
    "byte order mark": (lambda text: ("\ufeff" + text).encode(), "not JSON"),
    "binary": (lambda text: bytes(range(256)), "not UTF-8"),
    "deep": (lambda text: b"[" * 100_000, "nested too deeply"),
    "list": (lambda text: b"[]", "holds a JSON list"),
    "other": (lambda text: b'{"format": "ts-data/manifest"}', "another kind of file"),
    "pattern": (lambda text: text.replace('"infix": "', '"infix": "(', 1).encode(), "not a regular expression"),
    "field": (lambda text: text.replace('"casing"', '"cases"', 1).encode(), "field `cases`"),
    "fingerprint": (lambda text: text.replace('"splits_fingerprint": null', '"splits_fingerprint": "x"', 1).encode(), "splits_fingerprint"),
}  # fmt: skip


@pytest.mark.parametrize("harm", HARM)
def test_a_tokenizer_file_that_does_not_do_is_one_sentence(
    harm: str, tokenizer: WordTokenizer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "word_tokenizer.json"
    tokenizer.save(path)
    change, message = HARM[harm]
    path.write_bytes(change(path.read_text(encoding="utf-8")))
    with pytest.raises(ArtefactError, match=message.replace("(", r"\(")) as found:
        ts_tokenizer.load(path)
    assert str(path) in str(found.value)
    (tmp_path / "raw.txt").write_text("\n<|endoftext|>\n".join(ts_data.sample(40, seed=8)), encoding="utf-8")
    splits = tmp_path / "splits"
    ts_data.prepare(tmp_path / "raw.txt", splits)
    for words in (
        ("encode", splits, "-t", path, "-o", tmp_path / "encoded"),
        ("check", path, splits),
        ("compare", path, path, splits),
    ):
        with pytest.raises(SystemExit) as stop:
            run(app, [str(word) for word in words])
        assert stop.value.code == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert error.count("\n") == 1, error
    assert not (tmp_path / "encoded").exists()

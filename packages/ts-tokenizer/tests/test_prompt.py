"""A prompt is read as the corpus was cleaned."""

from __future__ import annotations

from pathlib import Path

import pytest

import ts_data
import ts_tokenizer
from ts_tokenizer import WordTokenizer

TYPED = {
    "“Look, Mom!” Tom said.": '"Look, Mom!" Tom said.',
    "Tom can‘t find Lily’s ball.": "Tom can't find Lily's ball.",
    "''Look, Mom!'' Tom said.": '"Look, Mom!" Tom said.',
    "Once  upon a time,\tthere was a girl": "Once upon a time, there was a girl",
    "Once upon a time\n": "Once upon a time",
    " \r\nOnce upon a time\u00a0": "Once upon a time",
    "It was big… so big": "It was big... so big",
    "It was big . . . so big": "It was big... so big",
    "The cat\u00ad sat\ufeff.": "The cat sat.",
    "the ﬁsh": "the fish",
    "''I like the 'red ball''' Tom said.": "\"I like the 'red ball'\" Tom said.",
}
CLEAN = ['"Look, Mom!" Tom said: "It is so big..." The fish sat. The cat sat. It was a red ball. I like the \'red ball\'.']


@pytest.fixture(scope="module")
def older(stories: list[str]) -> WordTokenizer:
    """A tokenizer that does not name the rules of its corpus, as all files of earlier versions; its corpus was clean."""
    texts = [ts_data.clean(story, ts_data.PrepareConfig(min_characters=0)).text for story in [*stories, *CLEAN, "big... so big"]]
    return WordTokenizer.train(texts, vocab_size=200)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, WordTokenizer]:
    folder = tmp_path_factory.mktemp("prompt")
    (folder / "raw.txt").write_text("\n<|endoftext|>\n".join(ts_data.sample(120, seed=3)), encoding="utf-8")
    manifest = ts_data.prepare(folder / "raw.txt", folder / "splits")
    texts = ts_data.read(folder / "splits", "train")
    return folder / "splits", WordTokenizer.train(texts, vocab_size=300, manifest=manifest)


@pytest.mark.parametrize("typed", TYPED)
def test_what_a_person_types_is_read_as_the_corpus_writes_it(older: WordTokenizer, typed: str) -> None:
    assert older.encode_prompt(typed) == older.encode(TYPED[typed]), older.clean_prompt(typed)
    assert older.unk_id not in older.encode_prompt(typed)


def test_encode_itself_changes_nothing(older: WordTokenizer) -> None:
    assert older.unk_id in older.encode("“Look")
    assert older.unk_id in older.encode("Tom  said")


def test_the_rules_of_the_splits_are_recorded_and_applied(recorded: tuple[Path, WordTokenizer], tmp_path: Path) -> None:
    splits, tokenizer = recorded
    manifest = ts_data.open_manifest(splits)
    assert tokenizer.spec.trained_on.splits_fingerprint == manifest.fingerprint
    assert tokenizer.spec.trained_on.cleaning == manifest.config.steps
    tokenizer.save(tmp_path / "t.json")
    again = ts_tokenizer.load(tmp_path / "t.json")
    for typed in TYPED:
        assert again.clean_prompt(typed) == ts_data.clean(typed, manifest.config).text
    assert again.clean_prompt("a — b - c -- d") == ts_data.clean("a — b - c -- d", manifest.config).text
    assert again.clean_prompt("漢") == "漢", "no prompt is dropped"


def test_rules_that_the_corpus_left_out_are_left_out(stories: list[str], recorded: tuple[Path, WordTokenizer]) -> None:
    manifest = ts_data.open_manifest(recorded[0])
    config = ts_data.PrepareConfig(steps=("whitespace",))
    tokenizer = WordTokenizer.train(stories, vocab_size=64, manifest=manifest.model_copy(update={"config": config}))
    assert tokenizer.clean_prompt("“a”  b") == "“a” b"


def test_a_corpus_with_curly_quotes_and_breaks_keeps_them() -> None:
    tokenizer = WordTokenizer.train(["“Look,” said Tom.\n\nHe ran - fast.", "It’s so…  big"] * 5, vocab_size=64)
    for text in ("“Look,” said Tom.\n\nHe ran - fast.", "It’s so…  big"):
        assert tokenizer.clean_prompt(text) == text


def test_a_rule_of_another_version_is_passed_over(recorded: tuple[Path, WordTokenizer]) -> None:
    _, tokenizer = recorded
    trained = tokenizer.spec.trained_on.model_copy(update={"cleaning": ("quotes", "of_the_future", "whitespace")})
    other = WordTokenizer(tokenizer.spec.model_copy(update={"trained_on": trained}))
    assert other.clean_prompt("“a”  b") == '"a" b'


def test_beginnings_of_clean_stories_are_read_as_they_are(real_stories: list[str]) -> None:
    config = ts_data.PrepareConfig()
    cleaned = [found.text for story in real_stories[:600] if (found := ts_data.clean(story, config)).dropped is None]
    tokenizer = WordTokenizer.train(cleaned, vocab_size=2048)
    for n, story in enumerate(cleaned):
        words = story.split(" ")
        beginning = " ".join(words[: 3 + n % 40])
        assert tokenizer.encode_prompt(beginning) == tokenizer.encode(beginning), beginning

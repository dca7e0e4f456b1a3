"""to_huggingface: the same ids where its rules can say spaCy's, and where they cannot."""

from __future__ import annotations

import pytest

from ts_tokenizer import WordTokenizer
from ts_tokenizer.errors import ConfigError

pytest.importorskip("transformers", reason="needs the extra `huggingface`; run by `nox -s integration`")

SAME = [
    "Tom said, \"I don't want to go!\" Lily's mom smiled.",
    "They can't find Tom's ball. It isn't there, is it?",
    '"We\'ll go," he said... "You\'re my well-known friend."',
    "She counted: one, two, three! (They'd won.)",
]
DIFFERENT = [
    "Mr. Fox came at 5 p.m. on Monday.",
    "He cannot go.",
    "He was happy :-) again",
    "See http://a.com/x?y=1 now",
    "It weighs 5kg.",
    "a  b",
]


@pytest.fixture(scope="module")
def pair() -> tuple[WordTokenizer, object]:
    tokenizer = WordTokenizer.train([*SAME, *DIFFERENT], vocab_size=400)
    return tokenizer, tokenizer.to_huggingface()


@pytest.mark.parametrize("text", SAME)
def test_the_same_ids(pair: tuple[WordTokenizer, object], text: str) -> None:
    tokenizer, theirs = pair
    assert theirs(text)["input_ids"] == tokenizer.encode(text)  # type: ignore[operator]


@pytest.mark.parametrize("text", DIFFERENT)
def test_where_they_differ(pair: tuple[WordTokenizer, object], text: str) -> None:
    tokenizer, theirs = pair
    assert theirs(text)["input_ids"] != tokenizer.encode(text)  # type: ignore[operator]


def test_specials_keep_their_ids(pair: tuple[WordTokenizer, object]) -> None:
    tokenizer, theirs = pair
    names = ("bos_token_id", "eos_token_id", "unk_token_id", "pad_token_id")
    assert [getattr(theirs, name) for name in names] == [tokenizer.bos_id, tokenizer.eos_id, tokenizer.unk_id, tokenizer.pad_id]


@pytest.mark.real_data
def test_real_stories_mostly_agree(real_stories: list[str]) -> None:
    import ts_data

    stories = [ts_data.clean(story).text for story in real_stories[:400]]
    tokenizer = WordTokenizer.train(stories)
    theirs = tokenizer.to_huggingface()
    same = sum(theirs(story)["input_ids"] == tokenizer.encode(story) for story in stories)
    assert same / len(stories) >= 0.9


def test_keep_is_refused() -> None:
    tokenizer = WordTokenizer.train(["a b"], vocab_size=20, casing="keep")
    with pytest.raises(ConfigError, match="needs lower"):
        tokenizer.to_huggingface()

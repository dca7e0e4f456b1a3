"""The numbers that `coverage` reports, against a count by hand."""

from __future__ import annotations

import pytest

from ts_tokenizer.reports.coverage import coverage

STORIES = ["the cat sat.", "the cat ran.", "the dog ran."]  # the 3, . 3, cat 2, ran 2, dog 1, sat 1


@pytest.mark.parametrize(
    ("vocab_size", "kept", "rarest", "hidden"),
    [
        (5, 3, (".", 3), (("the", 3), ("cat", 2), ("ran", 2), ("dog", 1), ("sat", 1))),
        (8, 10, ("ran", 2), (("dog", 1), ("sat", 1))),
        (9, 11, ("dog", 1), (("sat", 1),)),
        (10, 12, ("sat", 1), ()),
        (99, 12, ("sat", 1), ()),
    ],
)
def test_the_rarest_kept_is_the_last_before_the_hidden(
    vocab_size: int, kept: int, rarest: tuple[str, int], hidden: tuple[tuple[str, int], ...]
) -> None:
    found = coverage(STORIES, vocab_size)
    assert (found.stories, found.tokens, found.distinct) == (3, 12, 6)
    assert found.kept == pytest.approx(kept / 12)
    assert (found.rarest, found.hidden) == (rarest, hidden)
    assert dict(found.curve)[vocab_size] == found.kept


def test_no_stories_have_no_rarest() -> None:
    found = coverage([], 10)
    assert (found.tokens, found.kept, found.rarest, found.hidden) == (0, 0.0, None, ())

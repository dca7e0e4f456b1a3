"""Capitals and blanks that a stranger's tokenizer loses are paid for."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ts_eval import open_model
from ts_eval.models.restoration import price, restore_bits


def test_by_hand() -> None:
    # A: one of two; the blank: one of two; a: half a case for it (the general share), one against it.
    assert restore_bits(["A a"], ["a a"]) == pytest.approx([1 + 1 + -math.log2(0.5 / 2)])


def test_nothing_lost_costs_nothing_and_needs_no_note() -> None:
    bits, note = price(["Tom ran.", "é"], ["Tom ran.", "é"])
    assert bits is not None
    assert not bits.any()
    assert note == ""


def test_what_repeats_gets_cheap_and_what_is_arbitrary_does_not() -> None:
    story = "Lily saw a cat. The cat saw Lily."
    regular = restore_bits([story] * 50, [story.lower()] * 50)
    rng = np.random.default_rng(0)
    flipped = ["".join(c.upper() if rng.random() < 0.5 else c for c in story.lower()) for _ in range(50)]
    arbitrary = restore_bits(flipped, [story.lower()] * 50)
    assert regular is not None
    assert arbitrary is not None
    assert regular[-1] < 2 < regular[0]
    letters = sum(c.isalpha() for c in story)
    assert arbitrary.mean() > 0.95 * letters  # a fair coin each


def test_moved_blanks_are_paid_for() -> None:
    bits, note = price(['Tom said, "Hi."'] * 30, ['tom said, " hi. "'] * 30)
    assert bits is not None
    assert bits[0, 1] > bits[-1, 1] > 0
    assert not bits[:, 0].any()
    assert "cost of restoring them" in note


@pytest.mark.parametrize(("text", "plain"), [("a cat", "a dog"), ("a cat", "a ca"), ("a  cat", "a cat"), ("an é", "an [UNK]")])
def test_more_than_that_has_no_price(text: str, plain: str) -> None:
    bits, note = price([text], [plain])
    assert bits is None
    assert "no bits per byte" in note


@settings(deadline=None)
@given(st.lists(st.text("ab AB.\"'İß", max_size=12).map(lambda text: " ".join(text.split())), min_size=1, max_size=4))
def test_the_shares_of_all_texts_with_one_decoded_form_are_one(texts: list[str]) -> None:
    """Of the last text, whatever came before it: Kraft's sum over all its capitals and blanks."""
    letters = [(c, c.upper()) for c in "aba"]
    spellings = ["".join(parts) for parts in itertools.product(letters[0], ("", " "), letters[1], ("", " "), letters[2])]
    plain = [text.lower() for text in texts]
    if restore_bits(texts, plain) is None:
        return  # İ lower-cases to two characters
    total = 0.0
    for spelling in spellings:
        bits = restore_bits([*texts, spelling], [*plain, "aba"])
        assert bits is not None
        total += 2.0 ** -bits[-1]
    assert total == pytest.approx(1.0)


def test_a_lower_casing_model_gets_bits_per_byte(tmp_path) -> None:  # type: ignore[no-untyped-def]
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    letters = [*"abcdefghijklmnopqrstuvwxyz.,", *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz")]
    vocabulary = {token: n for n, token in enumerate(["[UNK]", "[EOS]", *letters])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(cleanup=False)
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", eos_token="[EOS]")
    fast.save_pretrained(tmp_path)
    config = transformers.LlamaConfig(
        vocab_size=len(vocabulary), hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=64, bos_token_id=1, eos_token_id=1,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(tmp_path)
    scored = open_model(tmp_path).score(["Tom ran, and Sue sat.", "Tom sat."])
    assert scored.bits is not None
    assert (scored.bits[:, 1] > 0).all()
    assert "cost of restoring them" in scored.note
    assert open_model(tmp_path).score(["Tom ran 3 times."]).bits is None  # [UNK]

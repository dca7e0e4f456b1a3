"""What is no text and no id is refused in one sentence that names the row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import ts_tokenizer
from ts_tokenizer import WordTokenizer, load
from ts_tokenizer.errors import ArtefactError, ConfigError, TextError, TsTokenizerError, VocabularyError
from ts_tokenizer.reports.check import check
from ts_tokenizer.reports.compare import compare
from ts_tokenizer.reports.coverage import coverage

NAN = float("nan")
TEXT_METHODS = ["tokens", "encode", "align", "clean_prompt", "encode_prompt"]
BATCH_METHODS = ["encode_batch", "encode_flat", "extra_bits", "stories"]


@pytest.mark.parametrize("method", TEXT_METHODS)
@pytest.mark.parametrize("value", [None, NAN, 7, True, b"Tom", ["Tom", "Lily"], ("Tom",), {"text": "Tom"}, np.array(["Tom"])])
def test_what_is_no_text(tokenizer: WordTokenizer, method: str, value: Any) -> None:
    with pytest.raises(TypeError, match=r"^text: expected a str, got [^.]+\. .+\.$"):
        getattr(tokenizer, method)(value)


@pytest.mark.parametrize("method", BATCH_METHODS)
@pytest.mark.parametrize("value", ["Tom said", b"Tom", None, 7, {"text": ["Tom"]}])
def test_what_is_no_list_of_texts(tokenizer: WordTokenizer, method: str, value: Any) -> None:
    with pytest.raises(TypeError, match=r"^texts: expected a list of texts, got .+\. Pass .+\.$"):
        getattr(tokenizer, method)(value)


@pytest.mark.parametrize("method", BATCH_METHODS)
@pytest.mark.parametrize("value", [None, NAN, 7, False, b"Tom", ["Tom"], {"text": "Tom"}])
def test_the_row_that_is_no_text_is_named(tokenizer: WordTokenizer, method: str, value: Any) -> None:
    with pytest.raises(TypeError, match=r"^texts\[2\]: expected a str, got "):
        getattr(tokenizer, method)(["Tom", "Lily", value, None])


@pytest.mark.parametrize("call", [check, lambda tokenizer, texts: compare({"a": tokenizer}, texts)])
def test_reports_refuse_one_text(tokenizer: WordTokenizer, call: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match="texts: expected a list of texts"):
        call(tokenizer, "Tom said")


@pytest.mark.parametrize("train", [WordTokenizer.train, coverage])
@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("abc", r"texts: expected a list of texts, got a value of type str\. Pass \[text\]\."),
        ({"text": ["abc"]}, "texts: expected a list of texts, got a dict. Pass the column"),
        (np.array([["abc"]]), "texts: expected a list of texts, got a ndarray. Pass the column"),
        (None, "texts: expected a list of texts"),
        (7, "texts: expected a list of texts"),
        (["Tom", None], r"texts\[1\]: expected a str, got None"),
        (["Tom"] * 20_500 + [NAN], r"texts\[20500\]: expected a str, got nan"),
        ((b"Tom" for _ in range(3)), r"texts\[0\]: expected a str, got a value of type bytes\. Decode it"),
        ([{"text": "Tom"}], r"texts\[0\]: expected a str, got a value of type dict\. Pass the value"),
    ],
)
def test_training_texts(train: Callable[..., Any], value: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        train(value)


@pytest.mark.parametrize("kernels", ["compiled", "plain"])
@pytest.mark.parametrize("casing", ["lower", "keep"])
def test_half_a_surrogate_pair(casing: str, kernels: str, stories: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TS_TOKENIZER_KERNELS", kernels)
    tokenizer = WordTokenizer.train(stories, vocab_size=64, casing=casing)  # type: ignore[arg-type]
    for method in TEXT_METHODS:
        with pytest.raises(TextError, match=r"text: character 4 is a lone surrogate \('\\ud800'\).*Repair it"):
            getattr(tokenizer, method)("Tom \ud800 said")
    for method in BATCH_METHODS:
        with pytest.raises(TextError, match=r"texts\[1\]: character 4 is a lone surrogate"):
            getattr(tokenizer, method)(["Tom", "Tom \ud800 said"])
    with pytest.raises(TextError, match=r"texts\[1\]: character 0 is a lone surrogate"):
        WordTokenizer.train(["Tom", "\udfff"])
    whole = "Tom \ud83d\ude42".encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert tokenizer.tokens(whole) == ["tom", "🙂"]


def test_arrow_columns(tokenizer: WordTokenizer) -> None:
    texts = ["Tom said", "", "Lily"]
    expected = tokenizer.encode_flat(texts)[0].tolist()
    column = pa.array(texts)
    for given in (column, pa.chunked_array([texts[:1], texts[1:]]), column.dictionary_encode(), column.cast(pa.string_view())):
        assert tokenizer.encode_flat(given)[0].tolist() == expected
        assert np.concatenate(tokenizer.encode_batch(given)).tolist() == expected
        assert WordTokenizer.train(given, vocab_size=20).vocab == WordTokenizer.train(texts, vocab_size=20).vocab
    with pytest.raises(TextError, match=r"texts\[1\]: is null"):
        tokenizer.encode_flat(pa.array(["Tom", None]))
    for column in (pa.array([1, 2]), pa.array([b"Tom"]), pa.array([["Tom"]])):
        with pytest.raises(TypeError, match="expected an Arrow column of strings, got"):
            tokenizer.encode_flat(column)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("Tom", "ids: expected the ids of one text, got a value of type str; call encode"),
        (b"\x01\x02", "got a value of type bytes; pass a list of integers"),
        (3, "got 3; pass a list of integers"),
        (None, "got None; pass"),
        ({"input_ids": [1]}, "got a value of type dict; pass"),
        ([1, 2.0], r"ids\[1\]: expected an integer, got 2\.0"),
        ([1, NAN], r"ids\[1\]: expected an integer, got nan"),
        ([True], r"ids\[0\]: expected an integer, got True"),
        ([None], r"ids\[0\]: expected an integer, got None"),
        (["1"], r"ids\[0\]: expected an integer, got a value of type str"),
        ([[1, 2]], r"ids\[0\]: expected an integer, got a list\. Decode one text at a time\."),
        (np.ones((2, 3), dtype=np.int64), r"ids\[0\]: expected an integer, got a list"),
        (np.ones(3), r"ids\[0\]: expected an integer, got 1\.0"),
        (np.array([True]), r"ids\[0\]: expected an integer, got True"),
        ([np.float32(1)], r"ids\[0\]: expected an integer"),
        ([np.bool_(True)], r"ids\[0\]: expected an integer"),
        (np.array(5), r"got a single 5\. Pass \[5\]"),
        ([np.zeros(2, dtype=int)], r"ids\[0\]: expected an integer, got a ndarray"),
    ],
)
def test_what_is_no_list_of_ids(tokenizer: WordTokenizer, value: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        tokenizer.decode(value)


@pytest.mark.parametrize("value", [-1, 64, 65_536, -(2**70)])
def test_ids_outside_are_named_with_their_row(tokenizer: WordTokenizer, value: int) -> None:
    with pytest.raises(VocabularyError, match=rf"ids\[2\]: id {value} is outside this vocabulary of 64 entries"):
        tokenizer.decode([1, 2, value])
    stream = tokenizer.stream_decoder()
    with pytest.raises(VocabularyError, match=f"id {value} is outside"):
        stream.push(value)
    with pytest.raises(TypeError, match="expected an integer"):
        stream.push(1.0)  # type: ignore[arg-type]


def test_ids_of_every_whole_kind(tokenizer: WordTokenizer) -> None:
    ids = tokenizer.encode("Tom said")
    kinds: list[Any] = [
        tuple(ids),
        iter(ids),
        np.array(ids, dtype=np.uint16),
        np.array(ids, dtype=np.int32),
        [np.int64(i) for i in ids],
    ]
    kinds += [pa.array(ids)]
    torch = pytest.importorskip("torch")
    kinds += [torch.tensor(ids), list(torch.tensor(ids))]
    for given in kinds:
        assert tokenizer.decode(given) == "Tom said"
    for given in (
        torch.tensor(ids).float(),
        torch.tensor([ids]),
        torch.tensor(ids) > 0,
        torch.tensor(ids[0]),
        list(torch.tensor([ids])),
    ):
        with pytest.raises(TypeError, match="ids"):
            tokenizer.decode(given)


@pytest.mark.parametrize("size", [64.0, "64", None, True, NAN])
def test_a_size_that_is_no_whole_number(size: Any) -> None:
    with pytest.raises(ConfigError, match=r"vocab_size: .* is not an integer"):
        WordTokenizer.train(["Tom"], vocab_size=size)


def test_a_size_of_numpy(tmp_path: Path) -> None:
    made = WordTokenizer.train(["Tom saw a dog."], vocab_size=np.int64(7))
    made.save(tmp_path / "made.json")
    assert load(tmp_path / "made.json").sha256 == WordTokenizer.train(["Tom saw a dog."], vocab_size=7).sha256


def test_a_folder_where_the_tokenizer_is_to_be_saved(tmp_path: Path) -> None:
    made = WordTokenizer.train(["Tom saw a dog."], vocab_size=7)
    with pytest.raises(ArtefactError, match="is a folder, where a file is to be written"):
        made.save(tmp_path)


@pytest.mark.parametrize("field", ["nll_nats", "utf8_bytes", "unk_spelling_bits", "restore_bits"])
@pytest.mark.parametrize("value", [NAN, float("inf"), -1])
def test_sums_that_are_no_numbers(field: str, value: Any) -> None:
    sums: dict[str, Any] = {"nll_nats": 8.0, "utf8_bytes": 4, "unk_spelling_bits": 0.0, "restore_bits": 0.0, field: value}
    with pytest.raises(ConfigError, match=f"{field}: "):
        ts_tokenizer.bits_per_byte(sums.pop("nll_nats"), **sums)


def test_every_error_is_the_packages() -> None:
    assert issubclass(TextError, TsTokenizerError)
    assert issubclass(TextError, ValueError)

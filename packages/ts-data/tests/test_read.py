"""Opening splits/: the sequence, the batches, and every refusal."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ts_data import ArtefactError, DatasetManifest, PrepareConfig, TsDataError, open_manifest, prepare, read, removed

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def splits(raw: Path, tmp_path: Path) -> Path:
    prepare(raw, tmp_path / "splits", PrepareConfig(validation=20), workers=1)
    return tmp_path / "splits"


def test_a_split_pickles_by_its_path(splits: Path) -> None:
    split = read(splits, "train")
    for again in (pickle.loads(pickle.dumps(split)), copy.deepcopy(split)):  # noqa: S301
        assert (again.name, list(again)) == (split.name, list(split))


@pytest.mark.usefixtures("small_blocks")
def test_a_split_is_a_sequence_over_shards_and_row_groups(splits: Path) -> None:
    train = read(splits, "train")
    texts = list(train)
    assert len(train.files) > 3
    assert len(train) == len(texts)
    assert [train[i] for i in (0, 57, -1)] == [texts[0], texts[57], texts[-1]]
    assert train[10:200:7] == texts[10:200:7]
    assert [text for batch in train.batches(33) for text in batch.column("text").to_pylist()] == texts
    assert max(len(batch) for batch in train.batches(10)) == 10
    assert repr(train) == f"<Split 'train': {len(texts):,} stories>"
    with pytest.raises(IndexError):
        train[len(texts)]


def edit(splits: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads((splits / "manifest.json").read_text(encoding="utf-8"))
    change(content)
    (splits / "manifest.json").write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(schema_version=2), "pip install -U ts-data"),
        (lambda m: m.update(schema_version="1"), "whole number"),
        (lambda m: m.update(format="ts-data/other"), "another kind of file"),
        (lambda m: m.update(format="ts-data/other"), r"To make what is needed: ts-data prepare raw\.txt --out splits/"),
        (lambda m: m.update(extra=1), "`extra`: is not a known field"),
        (lambda m: m.pop("fingerprint"), "`fingerprint`: is missing"),
        (lambda m: m.update(kept=-1), "`kept`"),
        (lambda m: m["splits"]["train"]["files"][0].update(name="../../etc/passwd"), "outside of the folder"),
        (lambda m: m["splits"]["train"]["files"][0].update(rows=1), "its manifest says 1"),
        (lambda m: m["splits"]["train"]["files"][0].update(name="gone.parquet"), "missing, though the manifest names it"),
    ],
)
def test_a_manifest_that_does_not_hold_is_refused(splits: Path, change: Callable[[dict[str, Any]], object], message: str) -> None:
    edit(splits, change)
    with pytest.raises(ArtefactError, match=message):
        read(splits, "train")


def test_a_cut_or_damaged_file_is_refused(splits: Path) -> None:
    path = splits / "validation.parquet"
    content = path.read_bytes()
    path.write_bytes(content[:-10])
    with pytest.raises(ArtefactError, match="truncated or changed"):
        read(splits, "validation")
    path.write_bytes(content[:-4] + b"XXXX")
    with pytest.raises(ArtefactError, match="not readable as Parquet"):
        read(splits, "validation")
    path.unlink()
    with pytest.raises(ArtefactError, match="missing"):
        read(splits, "validation")


def skip_first_page(path: Path) -> None:
    """Give the first page of a Parquet file a kind that Arrow does not know, and so leaves out without an error."""
    content = bytearray(path.read_bytes())
    assert content[4:6] == b"\x15\x00", "a page's header begins with its kind, 0: data"
    content[5] = 1
    path.write_bytes(content)


def test_a_page_of_an_unknown_kind_is_not_left_out(splits: Path) -> None:
    skip_first_page(splits / "validation.parquet")
    with pytest.raises(ArtefactError, match=r"validation\.parquet: damaged: 0 of its \d+ rows can be read"):
        list(read(splits, "validation"))
    skip_first_page(splits / "removed.parquet")
    with pytest.raises(ArtefactError, match=r"removed\.parquet: damaged: "):
        list(removed(splits))


def test_what_is_not_there_is_named(splits: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="there are: train, validation, test, removed"):
        read(splits, "dev")
    with pytest.raises(ArtefactError, match="To make what is needed: ts-data prepare"):
        open_manifest(tmp_path)
    with pytest.raises(ArtefactError, match="nothing was removed for 'stars'"):
        next(removed(splits, "stars"))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_bytes_at_random_places_raise_our_error_or_nothing(splits: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["manifest.json", "test.parquet", "removed.parquet"]))
    content = (splits / name).read_bytes()
    at = data.draw(st.integers(0, len(content) - 1))
    new = data.draw(st.binary(min_size=1, max_size=4))
    try:
        (splits / name).write_bytes(content[:at] + new + content[at + len(new) :])
        try:
            list(read(splits, "test"))
            list(removed(splits))
        except TsDataError:
            pass
    finally:
        (splits / name).write_bytes(content)


def test_a_number_of_thousands_of_digits_is_refused(splits: Path) -> None:
    path = splits / "manifest.json"
    path.write_text(
        path.read_text(encoding="utf-8").replace('"schema_version": 1', '"schema_version": ' + "1" * 5000), encoding="utf-8"
    )
    with pytest.raises(ArtefactError, match="a number in it is too long"):
        open_manifest(splits)


def test_golden_manifests_are_read() -> None:
    """Every version ever written. The file's name says its schema version."""
    files = sorted(GOLDEN.glob("manifest-v*.json"))
    assert files
    for path in files:
        folder = path.parent
        content = json.loads(path.read_text(encoding="utf-8"))
        assert path.stem == f"manifest-v{content['schema_version']}"
        manifest = DatasetManifest.model_validate(content)
        assert manifest.splits["train"].stories > 0
        assert folder

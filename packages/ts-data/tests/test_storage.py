"""Sources and results by URI: the same bytes as by path, and clear refusals. The object store is moto's, on loopback."""

from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ts_data import ConfigError, PrepareConfig, SourceError, TsDataError, open_manifest, prepare
from ts_data.reports.show import page_of_changes

CONFIG = PrepareConfig(validation=20)


def sha256_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def tree(folder: Path) -> dict[str, str]:
    """Every file but the two that name the source."""
    return {path.name: sha256_file(path) for path in folder.glob("*.parquet") if path.name != "removed.parquet"}


@pytest.mark.usefixtures("small_blocks")
def test_a_uri_gives_the_same_splits_as_the_path(raw: Path, tmp_path: Path) -> None:
    by_path = prepare(raw, tmp_path / "one", CONFIG, workers=2)
    by_uri = prepare(raw.as_uri(), (tmp_path / "two").as_uri(), CONFIG, workers=2, work=tmp_path / "work")
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    assert by_uri.fingerprint == by_path.fingerprint == open_manifest(tmp_path / "two").fingerprint
    assert by_uri.sources[0].sha256 == by_path.sources[0].sha256
    assert by_uri.sources[0].name == raw.as_uri()
    shown = [page_of_changes(tmp_path / name, "any", 0, 9, color=False) for name in ("one", "two")]
    assert [item["story"] for item, _ in shown[0]] == [item["story"] for item, _ in shown[1]]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "raw.txt", "two"], "the work is cleared away"


def test_a_packed_file_behind_a_uri(raw: Path, tmp_path: Path) -> None:
    packed = tmp_path / "raw.txt.gz"
    packed.write_bytes(gzip.compress(raw.read_bytes()))
    prepare(raw, tmp_path / "one", CONFIG, workers=1)
    prepare(packed.as_uri(), tmp_path / "two", CONFIG, workers=1)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_what_a_uri_cannot_be_is_said(raw: Path, tmp_path: Path) -> None:
    for uri, message in (
        ((tmp_path / "none.txt").as_uri(), "no such file"),
        (tmp_path.as_uri(), "is a folder"),
        ("nowhere://bucket/raw.txt", "not a place that pyarrow knows"),
        ("https://example.org/raw.txt", "Download the file and name it"),
    ):
        with pytest.raises(SourceError, match=message):
            prepare(uri, tmp_path / "splits", CONFIG, workers=1)
    with pytest.raises(ConfigError, match="--work"):
        prepare(raw, "s3://bucket/splits", CONFIG, workers=1)
    (tmp_path / "file").write_text("x")
    with pytest.raises(TsDataError, match="cannot be written"):
        prepare(raw, (tmp_path / "file" / "splits").as_uri(), CONFIG, workers=1, work=tmp_path / "work")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server_module = pytest.importorskip("moto.server", reason="needs moto[server]; run by `nox -s integration`")
    import pyarrow.fs

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    query = f"?endpoint_override={host}:{port}&scheme=http&region=us-east-1&allow_bucket_creation=true"
    system, _ = pyarrow.fs.FileSystem.from_uri(f"s3://stories/{query}")
    system.create_dir("stories")
    yield query
    server.stop()


@pytest.mark.integration
@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("engine", ["local", "ray"])
def test_stories_come_from_and_go_to_an_object_store(engine: str, bucket: str, raw: Path, tmp_path: Path) -> None:
    import pyarrow.fs

    if engine == "ray":
        pytest.importorskip("ray", reason="needs the extra `ray`; run by `nox -s integration`")

    system, _ = pyarrow.fs.FileSystem.from_uri(f"s3://stories/{bucket}")
    with system.open_output_stream("stories/raw.txt") as target:
        target.write(raw.read_bytes())
    prepare(raw, tmp_path / "one", CONFIG, workers=2)
    given, out = f"s3://stories/raw.txt{bucket}", f"s3://stories/splits{bucket}"
    prepare(given, out, CONFIG, workers=2, engine=engine, work=tmp_path / "work")
    (tmp_path / "two").mkdir()
    for info in system.get_file_info(pyarrow.fs.FileSelector("stories/splits")):
        (tmp_path / "two" / info.base_name).write_bytes(system.open_input_stream(info.path).read())
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    assert open_manifest(tmp_path / "two").fingerprint == open_manifest(tmp_path / "one").fingerprint


def test_splits_behind_a_uri_are_not_replaced_by_others_unasked(raw: Path, tmp_path: Path) -> None:
    uri = f"file://{tmp_path}/splits"
    prepare(raw, uri, CONFIG, work=tmp_path / "work", workers=1)
    before = sha256_file(tmp_path / "splits" / "manifest.json")
    other = PrepareConfig(validation=20, seed=2)
    with pytest.raises(ConfigError, match=r"holds splits made with other settings \(seed 1 there, 2 here\)"):
        prepare(raw, uri, other, work=tmp_path / "work", workers=1)
    assert sha256_file(tmp_path / "splits" / "manifest.json") == before
    prepare(raw, uri, CONFIG, work=tmp_path / "work", workers=1)
    assert sha256_file(tmp_path / "splits" / "manifest.json") == before
    assert prepare(raw, uri, other, work=tmp_path / "work", workers=1, force=True).config.seed == 2
    assert not (tmp_path / "work").exists()

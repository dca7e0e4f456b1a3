"""`download` against a Hub of our own on loopback: resumed, checked, pinned."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ts_data import ConfigError, SourceError, download
from ts_data.sources.download import CORPORA, REPOSITORY, REVISION, Remote

pytest.importorskip("huggingface_hub")

TRAIN, VALID = b"One story.\n<|endoftext|>\n" * 1_000_000, b"Another.\n<|endoftext|>\n" * 1_000


class Hub(ThreadingHTTPServer):
    """Serves two files; `cut` bytes after which the next answers break off; records the requests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {"train.txt": TRAIN, "valid.txt": VALID}
        self.stated: dict[str, str] = {}
        self.cut: list[int] = []
        self.seen: list[tuple[str, str, str | None]] = []

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        self.server.seen.append((self.command, self.path, self.headers.get("Range")))
        prefix = f"/datasets/{REPOSITORY}/resolve/{REVISION}/"
        content = self.server.files.get(self.path.removeprefix(prefix)) if self.path.startswith(prefix) else None
        if content is None:
            self.send_error(404)
            return
        first = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").split("-")[0])
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(content) - first))
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        self.send_header("X-Repo-Commit", REVISION)
        self.send_header("X-Linked-Size", str(len(content)))
        name = self.path.removeprefix(prefix)
        self.send_header("ETag", f'"{self.server.stated.get(name, hashlib.sha256(content).hexdigest())}"')
        self.send_header("Accept-Ranges", "bytes")
        self.end_headers()
        if body:
            self.wfile.write(content[first : first + self.server.cut.pop(0)] if self.server.cut else content[first:])
            self.close_connection = True

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setattr(
        "ts_data.sources.download.CORPORA",
        {"tinystories-v1": (Remote("train.txt", len(TRAIN), hashlib.sha256(TRAIN).hexdigest()), Remote("valid.txt", len(VALID)))},
    )
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def test_the_published_files_are_pinned() -> None:
    assert len(REVISION) == 40
    assert {name: [file.name for file in files] for name, files in CORPORA.items()} == {
        "tinystories-v1": ["TinyStories-train.txt", "TinyStories-valid.txt"],
        "tinystories-v2": ["TinyStoriesV2-GPT4-train.txt", "TinyStoriesV2-GPT4-valid.txt"],
    }


def test_files_arrive_whole_and_are_not_fetched_twice(hub: Hub, tmp_path: Path) -> None:
    train, valid = download("tinystories-v1", tmp_path / "raw", endpoint=hub.endpoint)
    assert train.read_bytes() == TRAIN
    assert valid.read_bytes() == VALID
    assert all(REVISION in path for _, path, _ in hub.seen)
    gets = len([method for method, _, _ in hub.seen if method == "GET"])
    download("tinystories-v1", tmp_path / "raw", endpoint=hub.endpoint)
    assert len([method for method, _, _ in hub.seen if method == "GET"]) == gets


def test_a_broken_connection_is_resumed(hub: Hub, tmp_path: Path) -> None:
    hub.cut = [23_000_000]  # the library writes pieces of 10 MB
    for _ in range(3):  # the library may retry by itself; if not, the next call goes on
        try:
            train, _ = download("tinystories-v1", tmp_path / "raw", endpoint=hub.endpoint)
            break
        except SourceError as problem:
            assert "Run the same command again" in str(problem)  # noqa: PT017
    assert train.read_bytes() == TRAIN
    assert any(given and not given.startswith("bytes=0-") for _, _, given in hub.seen), "the rest was asked for, not the whole"


@pytest.mark.parametrize(("there", "asked"), [(TRAIN[:9_000_000], {"bytes=9000000-"}), (TRAIN, set()), (TRAIN + b"more", set())])
def test_what_a_killed_download_has_is_not_fetched_again(hub: Hub, tmp_path: Path, there: bytes, asked: set[str]) -> None:
    """hf_hub_download of today's libraries begins anew in each call, and never removes what a killed one left."""
    (tmp_path / ".train.txt.ts-partial").write_bytes(there)
    train, _ = download("tinystories-v1", tmp_path, endpoint=hub.endpoint)
    assert train.read_bytes() == TRAIN
    assert {given for method, _, given in hub.seen if method == "GET" and given} == asked
    assert {path.name for path in tmp_path.iterdir()} == {"train.txt", "valid.txt"}


def test_a_file_that_is_not_what_was_published_is_refused(hub: Hub, tmp_path: Path) -> None:
    hub.files["train.txt"] = TRAIN.replace(b"One", b"Two", 1)
    with pytest.raises(SourceError, match="SHA-256 is"):
        download("tinystories-v1", tmp_path / "raw", endpoint=hub.endpoint)
    assert not (tmp_path / "raw" / "train.txt").exists()
    hub.files["train.txt"] = TRAIN[:-5]
    with pytest.raises(SourceError, match="were published"):
        download("tinystories-v1", tmp_path / "raw2", endpoint=hub.endpoint)
    hub.files["train.txt"] = TRAIN
    hub.stated["valid.txt"] = "0" * 64
    with pytest.raises(SourceError, match="SHA-256 is"):
        download("tinystories-v1", tmp_path / "raw3", endpoint=hub.endpoint)


def test_a_missing_file_and_an_unknown_corpus_are_refused(hub: Hub, tmp_path: Path) -> None:
    del hub.files["train.txt"]
    with pytest.raises(SourceError, match="cannot be downloaded"):
        download("tinystories-v1", tmp_path / "raw", endpoint=hub.endpoint)
    with pytest.raises(ConfigError, match="tinystories-v1"):
        download("tinystories-v9", tmp_path / "raw")


@pytest.mark.parametrize("corpus", ["tinystories-v1", "tinystories-v2"])
@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9", "no address", "ftp://127.0.0.1/x"])
def test_without_a_network_one_sentence_is_printed(corpus: str, endpoint: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ts_data", "download", corpus, "--out", str(tmp_path / "raw"), "--endpoint", endpoint, "-q"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "cannot be downloaded (" in done.stderr
    assert "Check the network" in done.stderr


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "raw").write_text("mine")
    with pytest.raises(ConfigError, match="is a file, the raw files need a folder"):
        download("tinystories-v1", tmp_path / "raw")
    assert (tmp_path / "raw").read_text() == "mine"


def test_a_whole_file_needs_no_network(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remote = Remote("train.txt", len(TRAIN), hashlib.sha256(TRAIN).hexdigest())
    monkeypatch.setattr("ts_data.sources.download.CORPORA", {"tinystories-v1": (remote,)})
    (tmp_path / "train.txt").write_bytes(TRAIN)
    assert download("tinystories-v1", tmp_path, endpoint=hub.endpoint) == [tmp_path / "train.txt"]
    assert hub.seen == []


def test_retries_of_the_hub_are_not_printed_by_a_fresh_process() -> None:
    """The first import of the library sets its loggers' levels; it must not happen while they are turned off."""
    code = (
        "import logging; from ts_data.sources.download import silent; from ts_data.sources.hub import _library\n"
        "_library('hub:a/b')\n"
        "with silent('huggingface_hub'): logging.getLogger('huggingface_hub.utils._http').warning('Retrying')\n"
        "logging.getLogger('huggingface_hub.utils._http').warning('heard again')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "heard again"

"""Stores the arrays of a StoryIndex on disk: atomic writes, memory-mapped reads, checks against the stories."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ts_data import artefact

from ..checks import Progress, each_text
from ..errors import ArtefactError, ConfigError, IndexMismatchError
from ..schemas import IndexManifest
from ..texts import TOKENISATION
from .build import Arrays, build_arrays

WAIT = 600.0
"""Seconds to wait for another process that builds the same index."""
ARRAYS = ("offsets", "second", "df", "norms")


def cached(path: Path, stories: Sequence[str], *, corpus: str | None, progress: Progress | None) -> tuple[Arrays, str]:
    """Load the index at `path` if it belongs to these stories; otherwise build it there first."""
    artefact.recover(path)
    check_place(path)
    found = _fitting(path, stories, corpus)
    if found is not None:
        return found
    with artefact.lock(path, wait=WAIT, option="--index", error=ConfigError):
        found = _fitting(path, stories, corpus)  # another process may have built it meanwhile
        if found is None:
            write(path, stories, corpus=corpus, progress=progress)
            found = load(path, stories)
    return found


def _fitting(path: Path, stories: Sequence[str], corpus: str | None) -> tuple[Arrays, str] | None:
    """The index at `path`; None if there is none, or if it is damaged, of other stories or of another version."""
    if not (path / "index.json").exists():
        return None
    try:
        return load(path, stories, corpus=corpus or corpus_hash(stories))
    except ArtefactError:
        return None


def check_place(path: Path) -> None:
    """Raise, before any work, for a folder that an index must not replace: of another kind, or with a truncated index.json."""
    if (path / "index.json").is_file() and any((path / f"{name}.npy").exists() for name in ARRAYS):
        try:
            if artefact.read_json(path / "index.json", error=ArtefactError).get("format") == "ts-eval/index":
                return  # need not be writable: it may only be read
        except ArtefactError:
            raise ArtefactError(f"{path / 'index.json'}: damaged. Delete the folder {path}; it is rebuilt.") from None
    artefact.check_target(path, "index.json", "ts-eval/index", error=ConfigError)


def corpus_hash(stories: Sequence[str]) -> str:
    """The hash of stories without a known fingerprint, as `build_arrays` computes it."""
    import hashlib

    digest = hashlib.sha256()
    for text in each_text(stories, "stories"):
        digest.update(f"{len(text)}:{text}".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def write(path: Path, stories: Sequence[str], *, corpus: str | None = None, progress: Progress | None = None) -> IndexManifest:
    """Build the index of the stories in a folder, atomically."""
    artefact.need_space(path.parent, 3 * 200 * len(stories), "the index of the training stories", error=ArtefactError)
    with artefact.write_folder(path, "index.json", "ts-eval/index") as folder:
        arrays = build_arrays(stories, len(stories), corpus=corpus, stream_file=folder / "stream.bin", progress=progress)
        for name in ARRAYS:
            np.save(folder / f"{name}.npy", getattr(arrays, name))
        (folder / "words.txt").write_text("\n".join(arrays.words), encoding="utf-8", errors="surrogatepass", newline="\n")
        files = {file.name: artefact.sha256_file(file) for file in sorted(folder.iterdir())}
        manifest = IndexManifest(
            tokenisation=TOKENISATION,
            corpus=arrays.corpus,
            stories=len(arrays.offsets) - 1,
            words=len(arrays.stream),
            second=len(arrays.stream) - int(arrays.offsets[-1]),
            vocabulary=len(arrays.words),
            id_type="uint32" if arrays.stream.dtype == np.uint32 else "uint16",
            names=arrays.names,
            files=files,
        )
        del arrays
        artefact.write_model(folder / "index.json", manifest)
    return manifest


def load(path: Path, stories: Sequence[str] | None = None, *, corpus: str | None = None) -> tuple[Arrays, str]:
    """Load the arrays of an index and its hash. IndexMismatchError if it is of other stories, ArtefactError if it is damaged."""
    manifest = artefact.read_model(path / "index.json", IndexManifest, package="tinystories-eval", error=ArtefactError)
    _check(path, manifest, stories, corpus)
    return _arrays(path, manifest), artefact.sha256_file(path / "index.json")


def _check(path: Path, manifest: IndexManifest, stories: Sequence[str] | None, corpus: str | None) -> None:
    if manifest.tokenisation != TOKENISATION:
        raise IndexMismatchError(
            f"{path}: made with tokenisation {manifest.tokenisation}, this version has {TOKENISATION}. Delete the folder; it is rebuilt."
        )
    if stories is not None and len(stories) != manifest.stories:
        raise IndexMismatchError(
            f"{path}: is of {manifest.stories:,} stories, but {len(stories):,} were given. Delete the folder."
        )
    if corpus is not None and corpus != manifest.corpus:
        raise IndexMismatchError(
            f"{path}: is of other stories (corpus {manifest.corpus[:12]}…, expected {corpus[:12]}…). Delete the folder."
        )
    expected = {"stream.bin", "words.txt", *(f"{name}.npy" for name in ARRAYS)}
    if set(manifest.files) != expected:
        raise ArtefactError(f"{path}/index.json: field `files` names {sorted(manifest.files)}, expected {sorted(expected)}.")
    for name, sha256 in manifest.files.items():
        if not (path / name).is_file() or artefact.sha256_file(path / name) != sha256:
            raise ArtefactError(f"{path / name}: missing or damaged. Delete the folder {path}; it is rebuilt.")


def _arrays(path: Path, manifest: IndexManifest) -> Arrays:
    """Load the arrays and check that their sizes and ids fit each other: the compiled loops do not check bounds."""
    try:
        stream = np.memmap(path / "stream.bin", manifest.id_type, "r") if manifest.words else np.zeros(0, manifest.id_type)
        loaded: dict[str, NDArray[Any]] = {name: np.load(path / f"{name}.npy", allow_pickle=False) for name in ARRAYS}
        text = (path / "words.txt").read_bytes().decode("utf-8", "surrogatepass")
        words = text.split("\n") if text else []
        sound = _sound(manifest, stream, words, **loaded)
    except Exception:  # NumPy parses headers as Python: damaged ones raise undocumented errors (TokenError …)
        sound = False
    if not sound:
        raise ArtefactError(f"{path}: its arrays do not fit each other. Delete the folder; it is rebuilt.")
    return Arrays(stream=stream, words=words, names=manifest.names, corpus=manifest.corpus, **loaded)


def _sound(manifest: IndexManifest, stream: Any, words: list[str], *, offsets: Any, second: Any, df: Any, norms: Any) -> bool:
    kinds = (offsets.dtype, second.dtype, df.dtype, norms.dtype) == (np.int64, np.int64, np.int64, np.float32)
    shapes = (offsets.shape, second.ndim, second.shape[1:], df.shape, norms.shape)
    expected = ((manifest.stories + 1,), 2, (3,), (len(words),), (manifest.stories,))
    if not kinds or shapes != expected or len(stream) != manifest.words or len(words) != manifest.vocabulary:
        return False
    first, last = offsets[0], offsets[-1]
    inside = first == 0 and last == len(stream) - manifest.second and not (np.diff(offsets) < 0).any()
    story, start, end = second.T
    beside = ((story >= 0) & (story < manifest.stories) & (start >= last) & (start <= end) & (end <= len(stream))).all()
    counts = ((df >= 0) & (df <= manifest.stories)).all() and np.isfinite(norms).all() and (norms >= 0).all()
    return bool(inside and beside and counts and (not len(stream) or stream.max() < len(words)))

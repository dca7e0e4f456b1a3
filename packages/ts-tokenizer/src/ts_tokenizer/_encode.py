"""Splits to an encoded/ folder: resumable, atomic, the same bytes for any number of workers.

Work stands in `.<name>.work` beside the folder: each split's ids grow batch by batch, and a journal says up to where
they are good. A rerun cuts what lies behind the journal's last line and goes on; the finished folder appears by a rename.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ts_data.artefact import need_space, read_json, recover, sha256_file, write_folder, write_model, write_text
from ts_data.schemas import FileInfo

from ._encoded import STEMS, TOKENIZER_FILE, open_encoded
from ._tokenizer import WordTokenizer, load
from .errors import ArtefactError
from .schemas import EncodedManifest, EncodedSplitInfo

if TYPE_CHECKING:
    from ts_data.console import Progress

__all__ = ["BatchResult", "encode_batch_of_texts", "encode_splits"]

BATCH_ROWS = 20_000
PRICED = 2_000
"""Stories of a split whose extra bits are measured, spread evenly; their sum is scaled to all."""


@dataclass(frozen=True)
class Sums:
    """What a manifest counts, over the stories so far."""

    stories: int = 0
    tokens: int = 0
    unk_tokens: int = 0
    utf8_bytes: int = 0
    unk_spelling_bits: float = 0.0
    restore_bits: float = 0.0
    priced_stories: int = 0

    def __add__(self, other: Sums) -> Sums:
        return Sums(*(a + b for a, b in zip(asdict(self).values(), asdict(other).values(), strict=True)))


@dataclass(frozen=True)
class BatchResult:
    """A batch's ids in a row (uint16), each story's length (int64), and the sums."""

    ids: np.ndarray
    lengths: np.ndarray
    sums: Sums


def encode_batch_of_texts(tokenizer: WordTokenizer, texts: pa.Array, first: int, stride: int) -> BatchResult:
    """The pure function of `encode`: an Arrow array of stories to ids; `first` is the number of its first in the split.

    Every `stride`-th story of the split is priced: what `<unk>` hides, and what decode would get wrong.
    """
    ids, lengths = tokenizer.encode_flat(texts, add_special_tokens=True)
    priced = [texts[i].as_py() for i in range(-first % stride, len(texts), stride)]
    spelling, restore = tokenizer.extra_bits(priced).sum(axis=0).tolist()
    sums = Sums(
        stories=len(texts),
        tokens=len(ids),
        unk_tokens=int((ids == tokenizer.unk_id).sum()),
        utf8_bytes=int(pc.sum(pc.binary_length(texts)).as_py() or 0),
        unk_spelling_bits=spelling,
        restore_bits=restore,
        priced_stories=len(priced),
    )
    return BatchResult(ids.astype("<u2", copy=False), lengths, sums)


def encode_splits(
    splits: str | os.PathLike[str],
    tokenizer: WordTokenizer | str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> EncodedManifest:
    """Write `out` (encoded/) from `splits` (what `ts_data.prepare` wrote) under a tokenizer.

    Killed at any instant, the same call finishes with the same bytes. A folder that is already whole, for this tokenizer
    and these splits, is left as it is. Raises `ArtefactError` where `out` is a folder of something else.
    """
    import ts_data

    tokenizer = tokenizer if isinstance(tokenizer, WordTokenizer) else load(tokenizer)
    source = ts_data.open_manifest(splits)
    target = Path(out)
    recover(target)
    identity = {
        "tokenizer_sha256": tokenizer.sha256,
        "splits_fingerprint": source.fingerprint,
        "cleaner_hash": source.cleaner_hash,
        "vocab_size": tokenizer.vocab_size,
        "bos_id": tokenizer.bos_id,
        "eos_id": tokenizer.eos_id,
        "unk_id": tokenizer.unk_id,
        "pad_id": tokenizer.pad_id,
    }
    if (done := _already_whole(target, identity)) is not None:
        return done
    need_space(target, sum(info.utf8_bytes for info in source.splits.values()), "encoding", error=ArtefactError)
    work = _open_work(target, {**identity, "batch_rows": BATCH_ROWS})  # a journal's lines stand between two batches
    infos: dict[str, EncodedSplitInfo] = {}
    for name in STEMS:
        if name in source.splits:
            infos[name] = _encode_split(work, name, ts_data.read(splits, name), tokenizer, workers, progress)
    manifest = EncodedManifest.model_validate({**identity, "splits": infos})
    with write_folder(target) as aside:
        for file in sorted(work.iterdir()):
            if file.suffix in (".bin", ".npy"):
                _link(file, aside / file.name)
        tokenizer.save(aside / TOKENIZER_FILE)
        write_model(aside / "manifest.json", manifest)
    shutil.rmtree(work)
    return manifest


def _already_whole(target: Path, identity: dict[str, Any]) -> EncodedManifest | None:
    if not target.exists():
        return None
    if not (target / "manifest.json").is_file():
        if target.is_dir() and not any(target.iterdir()):
            return None
        raise ArtefactError(f"{target}: exists and is not an encoded folder; it is left alone. Choose another --out.")
    if read_json(target / "manifest.json", error=ArtefactError).get("format") != "ts-tokenizer/encoded":
        raise ArtefactError(f"{target}: holds another kind of artefact; it is left alone. Choose another --out.")
    try:
        encoded = open_encoded(target, verify=True)
    except ArtefactError:
        return None  # a damaged or older one is written again
    same = all(getattr(encoded.manifest, field) == value for field, value in identity.items())
    return encoded.manifest if same else None


def _open_work(target: Path, identity: dict[str, Any]) -> Path:
    work = target.with_name(f".{target.name}.work")
    note = work / "identity.json"
    if work.exists() and (not note.is_file() or read_json(note, error=ArtefactError) != identity):
        shutil.rmtree(work)  # left by a run on other inputs
    work.mkdir(parents=True, exist_ok=True)
    if not note.exists():
        write_text(note, json.dumps(identity))
    return work


def _encode_split(
    work: Path, name: str, stories: Any, tokenizer: WordTokenizer, workers: int | None, progress: Progress | None
) -> EncodedSplitInfo:
    bin_path, idx_path = work / f"{STEMS[name]}.bin", work / f"{STEMS[name]}.idx.npy"
    total = len(stories)
    stride = max(1, total // PRICED)
    with _Journal(work, STEMS[name]) as journal:
        for result in _in_order(stories, journal.sums.stories, tokenizer, stride, workers or os.cpu_count() or 1):
            journal.add(result)
            if progress is not None:
                progress(f"encode {name}", journal.sums.stories, total)
        sums, offsets = journal.sums, journal.offsets()
    np.save(idx_path, offsets)
    scale = sums.stories / sums.priced_stories if sums.priced_stories else 1.0
    return EncodedSplitInfo.model_validate(
        {
            **asdict(sums),
            "unk_spelling_bits": round(sums.unk_spelling_bits * scale, 3),
            "restore_bits": round(sums.restore_bits * scale, 3),
            "bin": _file_info(bin_path, sums.tokens),
            "idx": _file_info(idx_path, sums.stories + 1),
        }
    )


def _in_order(stories: Any, start: int, tokenizer: WordTokenizer, stride: int, workers: int) -> Iterator[BatchResult]:
    """Encode batches on `workers` threads; results come in the stories' order, with few batches in the air.

    Batches are cut alike in every run, so that `start`, which a journal gives, falls between two.
    """
    pending: deque[Future[BatchResult]] = deque()
    first = 0
    with ThreadPoolExecutor(workers) as pool:
        for batch in stories.batches(BATCH_ROWS):
            if first >= start:
                pending.append(pool.submit(encode_batch_of_texts, tokenizer, _large(batch.column("text")), first, stride))
            first += len(batch)
            if len(pending) > workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _large(texts: pa.Array) -> pa.Array:
    return texts.cast(pa.large_string())


class _Journal:
    """A split's growing files; each line of the journal stands for bytes that are on disk."""

    def __init__(self, work: Path, stem: str) -> None:
        self._paths = {kind: work / f"{stem}.{kind}" for kind in ("bin", "lengths", "journal")}
        self.sums = self._last()

    def _last(self) -> Sums:
        if not self._paths["journal"].exists():
            return Sums()
        lines = self._paths["journal"].read_bytes().splitlines(keepends=True)
        whole = [line for line in lines if line.endswith(b"\n")]
        return Sums(**json.loads(whole[-1])) if whole else Sums()

    def __enter__(self) -> _Journal:
        self._files = {kind: path.open("ab") for kind, path in self._paths.items()}
        if (
            self._paths["bin"].stat().st_size < 2 * self.sums.tokens
            or self._paths["lengths"].stat().st_size < 8 * self.sums.stories
        ):
            self.sums = Sums()  # the journal reached the disk, the ids did not (a power loss): begin again
        self._files["bin"].truncate(2 * self.sums.tokens)
        self._files["lengths"].truncate(8 * self.sums.stories)
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()

    def add(self, result: BatchResult) -> None:
        self._files["bin"].write(result.ids.tobytes())
        self._files["lengths"].write(result.lengths.astype("<i8").tobytes())
        self._files["bin"].flush()
        self._files["lengths"].flush()
        self.sums = self.sums + result.sums
        self._files["journal"].write(json.dumps(asdict(self.sums)).encode() + b"\n")
        self._files["journal"].flush()

    def offsets(self) -> np.ndarray:
        lengths = np.fromfile(self._paths["lengths"], dtype="<i8")
        return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def _file_info(path: Path, rows: int) -> FileInfo:
    return FileInfo(name=path.name, sha256=sha256_file(path), bytes=path.stat().st_size, rows=rows)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)  # the work stays whole until the folder stands
    except OSError:
        shutil.copyfile(source, target)

"""`encode_splits` writes an encoded/ folder: resumable, atomic, the same bytes for any number of workers.

Intermediate files are in `.<name>.ts-work` beside the folder: each split's ids grow batch by batch, and a journal records the
length that is complete. A rerun truncates the files to the journal's last line and resumes; a rename publishes the result.
"""

import contextlib
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import numpy as np

import ts_data
from ts_data.artefact import (
    StrPath,
    beside,
    check_target,
    keep_apart,
    link_or_copy,
    lock,
    need_space,
    read_json,
    recover,
    write_folder,
    write_model,
    write_text,
)
from ts_data.console import Progress
from ts_data.dataset import file_info
from ts_data.errors import naming_full_disk
from ts_data.schemas import DatasetManifest, FileInfo, whole_number

from . import engines
from .encoded import STEMS, TOKENIZER_FILE, TRAIN_STORIES, open_encoded
from .engines.batch import BatchResult, Sums
from .errors import ArtefactError, ConfigError, TsTokenizerError
from .schemas import EncodedManifest, EncodedSplitInfo
from .tokenizer import WordTokenizer, load

PARTS = [f"{stem}.{end}" for stem in STEMS.values() for end in ("bin", "idx.npy", "prompts.npy")]
"""The files of the splits."""
OWNED = ("manifest.json", TOKENIZER_FILE, TRAIN_STORIES, *PARTS)
"""The files of an encoded folder; any other file in it belongs to the user."""
COLUMNS = ("lengths", "prompts", "hashes")
"""One number per story, in files of the work folder."""
WORK_FILES = (*OWNED[1:], *(f"{stem}.{end}" for stem in STEMS.values() for end in (*COLUMNS, "journal")))
BATCH_ROWS = 8_000
"""A kill loses the work on about three times as many stories."""
NOTE = "identity.json"
"""Identifies a work folder: the inputs that it belongs to."""
PRICED = 2_000
"""Number of evenly spread stories per split whose extra bits are measured; the sum is scaled to the whole split."""


def encode_splits(
    splits: StrPath,
    tokenizer: WordTokenizer | StrPath,
    out: StrPath,
    *,
    workers: int | None = None,
    engine: str = "local",
    force: bool = False,
    progress: Progress | None = None,
) -> EncodedManifest:
    """Encode `splits` (written by `ts_data.prepare`) with a tokenizer into the folder `out`.

    Resumes an interrupted call and gives the same bytes. A complete folder of this tokenizer and these splits is left
    unchanged; a damaged one is written again.

    Args:
        splits: the splits/ folder.
        tokenizer: a tokenizer, or its path.
        out: the folder to write; a link to a folder stays a link. Other files in it are kept.
        workers: threads; all cores by default. The result does not depend on it.
        engine: "local", or "ray" for a cluster (extra `ray`) whose machines share the splits and `out`.
        force: replace ids of other splits or of another tokenizer.
        progress: called with the number of stories encoded.

    Raises:
        ConfigError: `workers` is no positive integer.
        ArtefactError: `out` contains ids of other inputs or other files; it overlaps with `splits`; or another process is
            writing it.
    """
    if workers is not None and (whole_number(workers) or 0) < 1:
        raise ConfigError(f"workers: at least one thread is needed, not {workers!r}. Leave it out for one per core.")
    tokenizer = tokenizer if isinstance(tokenizer, WordTokenizer) else load(tokenizer)
    source = ts_data.open_manifest(splits)
    target = Path(out)
    keep_apart(target, [splits], error=ArtefactError)
    with lock(target, error=ArtefactError):
        recover(target)
        identity = _identity(source, tokenizer)
        if (done := _check_earlier(target, identity, force=force)) is None:
            check_target(target, "manifest.json", "ts-tokenizer/encoded", error=ArtefactError)  # now, not after the work
            need_space(target, sum(info.utf8_bytes for info in source.splits.values()), "encoding", error=ArtefactError)
            work = _open_work(target, {**identity, "batch_rows": BATCH_ROWS})  # journal lines refer to batch boundaries
            with naming_full_disk(work, TsTokenizerError), _loaded(engine, splits, tokenizer, work, workers) as running:
                infos = {
                    name: _encode_split(work, name, ts_data.read(splits, name), running, progress)
                    for name in STEMS
                    if name in source.splits
                }
                hashes = _write_train_stories(work)
            made = None if source.instruct is None else source.instruct.prompts
            done = EncodedManifest.model_validate({**identity, "splits": infos, "train_stories": hashes, "prompts": made})
            _finish(work, target, tokenizer, done)
        _clear_work(beside(target, "work"))
    return done


def _loaded(engine: str, splits: StrPath, tokenizer: WordTokenizer, work: Path, workers: int | None) -> engines.Engine:
    """Load the engine; on failure, remove an empty work folder."""
    try:
        return engines.load(engine, splits, tokenizer, work, workers or os.cpu_count() or 1)
    except Exception:
        if not any(work.glob("*.journal")):
            _clear_work(work)
        raise


def _identity(source: DatasetManifest, tokenizer: WordTokenizer) -> dict[str, Any]:
    """The manifest fields that identify the inputs of a folder."""
    return {
        "tokenizer_sha256": tokenizer.sha256,
        "splits_fingerprint": source.fingerprint,
        "cleaner_hash": source.cleaner_hash,
        "vocab_size": tokenizer.vocab_size,
        "bos_id": tokenizer.bos_id,
        "eos_id": tokenizer.eos_id,
        "unk_id": tokenizer.unk_id,
        "pad_id": tokenizer.pad_id,
    }


def _finish(work: Path, target: Path, tokenizer: WordTokenizer, manifest: EncodedManifest) -> None:
    with write_folder(target, "manifest.json", "ts-tokenizer/encoded", owned=OWNED) as aside:
        for file in sorted(work.iterdir()):
            if file.name in OWNED and file.name != TOKENIZER_FILE:
                link_or_copy(file, aside / file.name)  # the work files stay complete until the folder is published
        tokenizer.save(aside / TOKENIZER_FILE)
        write_model(aside / "manifest.json", manifest)
        # The work files are hard links to the result from here on: a later call must not append to them.
        write_text(work / NOTE, json.dumps({**(_noted(work) or {}), "finished": True}))


def _check_earlier(target: Path, identity: dict[str, Any], *, force: bool) -> EncodedManifest | None:
    """The manifest of a complete folder of the same inputs, else None. Raises ArtefactError for results of other inputs
    (unless `force`) and for any other folder."""
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return None
    if not (target / "manifest.json").is_file():
        raise ArtefactError(f"{target}: exists and is not an encoded folder; it is left unchanged. Choose another --out.")
    content = read_json(target / "manifest.json", error=ArtefactError)
    if content.get("format") != "ts-tokenizer/encoded":
        raise ArtefactError(f"{target}: holds another kind of artefact; it is left unchanged. Choose another --out.")
    found = {"splits_fingerprint": "other splits", "tokenizer_sha256": "another tokenizer"}
    other = [name for field, name in found.items() if content.get(field) != identity[field]]
    if other and not force:
        raise ArtefactError(
            f"{target}: holds ids of {' and '.join(other)}. Pass --force (force=True) to replace them, or choose another --out."
        )
    try:
        encoded = open_encoded(target, verify=True)
    except ArtefactError:
        return None  # damaged: it is written again
    return None if other or encoded.manifest.train_stories is None else encoded.manifest


# --- the work folder ---------------------------------------------------------------------------


def _open_work(target: Path, identity: dict[str, Any]) -> Path:
    """Open the work folder; keeps the files of an interrupted call on the same inputs."""
    work = beside(target, "work")
    if work.exists() and _noted(work) is None and (not work.is_dir() or any(work.iterdir())):
        raise ArtefactError(
            f"{work}: exists and is not a work folder of ts-tokenizer; it is left unchanged. Move it, or choose another --out."
        )
    if _noted(work) != identity:
        _clear_work(work)
    work.mkdir(parents=True, exist_ok=True)
    write_text(work / NOTE, json.dumps(identity))
    return work


def _noted(work: Path) -> dict[str, Any] | None:
    """The inputs that a work folder belongs to; None if it is not a work folder of this package."""
    try:
        content = read_json(work / NOTE, error=ArtefactError)
    except (ArtefactError, OSError):
        return None
    return content if "tokenizer_sha256" in content else None


def _clear_work(work: Path) -> None:
    """Remove this package's files from a work folder, the note last, and then the folder if it is empty."""
    if _noted(work) is None:
        return
    for name in (*WORK_FILES, NOTE):
        (work / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        work.rmdir()


# --- splits ------------------------------------------------------------------------------------


def _encode_split(
    work: Path, name: str, stories: ts_data.Split, engine: engines.Engine, progress: Progress | None
) -> EncodedSplitInfo:
    bin_path, idx_path = work / f"{STEMS[name]}.bin", work / f"{STEMS[name]}.idx.npy"
    total = len(stories)
    stride = max(1, total // PRICED)
    with _Journal(work, STEMS[name]) as journal:
        # Every run uses the same cuts, so a journal always ends at one of them.
        cuts = [cut for cut in stories.cuts(BATCH_ROWS) if cut[0] >= journal.sums.stories]
        for result in engine.run(name, cuts, stride):
            journal.add(result)
            if progress is not None:
                progress(f"encode {name}", journal.sums.stories, total)
        sums, offsets, prompts = journal.sums, journal.offsets(), journal.column("prompts")
    np.save(idx_path, offsets)
    prompts_path = work / f"{STEMS[name]}.prompts.npy"
    if has_prompts := stories.manifest is not None and stories.manifest.instruct is not None:
        np.save(prompts_path, prompts)
    scale = sums.stories / sums.priced_stories if sums.priced_stories else 1.0
    return EncodedSplitInfo.model_validate(
        {
            **asdict(sums),
            "unk_spelling_bits": round(sums.unk_spelling_bits * scale, 3),
            "restore_bits": round(sums.restore_bits * scale, 3),
            "bin": file_info(bin_path, sums.tokens),
            "idx": file_info(idx_path, sums.stories + 1),
            "prompts": file_info(prompts_path, sums.stories) if has_prompts else None,
        }
    )


def _write_train_stories(work: Path) -> FileInfo:
    """Write the hashes of the training stories, so that an evaluation can recognise them."""
    hashes = np.unique(np.fromfile(work / "train.hashes", dtype="<u8"))
    np.save(work / TRAIN_STORIES, hashes)
    return file_info(work / TRAIN_STORIES, len(hashes))


class _Journal(contextlib.ExitStack):
    """The growing files of a split; each journal line describes bytes that are on disk."""

    def __init__(self, work: Path, stem: str) -> None:
        super().__init__()
        self._paths = {kind: work / f"{stem}.{kind}" for kind in ("bin", *COLUMNS, "journal")}
        self._written, self.sums = self._last()

    def _last(self) -> tuple[int, Sums]:
        """The length of the journal's complete lines in bytes, and the sums on the last of them."""
        if not self._paths["journal"].exists():
            return 0, Sums()
        content = self._paths["journal"].read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        return len(whole), Sums(**json.loads(whole.splitlines()[-1])) if whole else Sums()

    def __enter__(self) -> Self:
        self._files = {kind: self.enter_context(path.open("ab")) for kind, path in self._paths.items()}
        if any(self._paths[kind].stat().st_size < self._size(kind) for kind in ("bin", *COLUMNS)):
            self.sums = Sums()  # after a power loss the journal can be ahead of the ids: start over
        self._files["journal"].truncate(self._written)  # drop an incomplete line
        for kind in ("bin", *COLUMNS):
            self._files[kind].truncate(self._size(kind))
        return self

    def _size(self, kind: str) -> int:
        """Bytes of a file by the sums."""
        return 2 * self.sums.tokens if kind == "bin" else 8 * self.sums.stories

    def add(self, result: BatchResult) -> None:
        self._files["bin"].write(result.ids.tobytes())
        self._files["bin"].flush()
        for kind in COLUMNS:
            self._files[kind].write(getattr(result, kind).tobytes())
            self._files[kind].flush()
        self.sums = self.sums + result.sums
        self._files["journal"].write(json.dumps(asdict(self.sums)).encode() + b"\n")
        self._files["journal"].flush()

    def offsets(self) -> np.ndarray:
        return np.concatenate([[0], np.cumsum(self.column("lengths"))]).astype(np.int64)

    def column(self, kind: str) -> np.ndarray:
        return np.fromfile(self._paths[kind], dtype="<i8")

"""Reader of encoded/ folders: token ids as memory maps. It imports neither spaCy nor Numba."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from ts_data.artefact import StrPath, member, read_model, recover, sha256_file
from ts_data.schemas import FileInfo

from .errors import ArtefactError
from .schemas import EncodedManifest, EncodedSplitInfo

if TYPE_CHECKING:
    from .tokenizer import WordTokenizer

STEMS = {"train": "train", "validation": "val", "test": "test"}
"""Split -> stem of its file names; nanoGPT's loader expects train.bin and val.bin."""

TOKENIZER_FILE = "word_tokenizer.json"
TRAIN_STORIES = "train_stories.npy"


class EncodedSplit(Sequence[np.ndarray]):
    """One split: `split[i]` is story i, `<bos> … <eos>`, uint16 [tokens], a view of the file."""

    def __init__(
        self,
        ids: np.ndarray,
        offsets: np.ndarray,
        info: EncodedSplitInfo,
        prompts: np.ndarray | None = None,
        *,
        folder: Path | None = None,
    ) -> None:
        self._folder = folder
        self.ids = ids
        """All stories, concatenated, uint16 [tokens]."""
        self.offsets = offsets
        """The start of each story, and the end of the last, int64 [stories + 1]."""
        self.info = info
        self.prompts = prompts
        """Tokens before each story itself (`<bos>` and its prompt), int64 [stories]; None if the stories have no prompts."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the path instead of the ids if the split was opened from a folder."""
        if self._folder is None:
            return EncodedSplit, (self.ids, self.offsets, self.info, self.prompts)
        return _open_split, (self._folder, self.info)

    def __repr__(self) -> str:
        return f"<EncodedSplit: {len(self):,} stories, {len(self.ids):,} tokens>"

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice) -> list[np.ndarray]: ...
    def __getitem__(self, index: int | slice) -> np.ndarray | list[np.ndarray]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = operator.index(index)
        if not -len(self) <= index < len(self):
            raise IndexError(f"story {index} of {len(self)}")
        index %= len(self)
        return self.ids[self.offsets[index] : self.offsets[index + 1]]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self.ids[start:end] for start, end in zip(self.offsets[:-1], self.offsets[1:], strict=True))


class Encoded(Mapping[str, EncodedSplit]):
    """An encoded/ folder, split name -> `EncodedSplit`."""

    def __init__(self, path: Path, manifest: EncodedManifest) -> None:
        self.path = path
        self.manifest = manifest
        self.vocab_size = manifest.vocab_size
        self._splits = {name: _open_split(path, info) for name, info in manifest.splits.items()}
        if manifest.train_stories is not None:
            _whole(path, manifest.train_stories)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the path and the manifest, not the ids."""
        return Encoded, (self.path.absolute(), self.manifest)

    def __repr__(self) -> str:
        return f"<Encoded {str(self.path)!r}: {', '.join(f'{name} {len(split):,}' for name, split in self.items())}>"

    def __getitem__(self, name: str) -> EncodedSplit:
        return self._splits[name]  # type: ignore[index]

    def __iter__(self) -> Iterator[str]:
        return iter(self._splits)

    def __len__(self) -> int:
        return len(self._splits)

    @cached_property
    def tokenizer(self) -> WordTokenizer:
        """The tokenizer that wrote the ids, from the copy in the folder. Raises `ArtefactError` if the copy is another one."""
        from .tokenizer import load

        path = self.path / TOKENIZER_FILE
        tokenizer = load(path)
        if sha256_file(path) != self.manifest.tokenizer_sha256:
            raise ArtefactError(f"{path}: is not the tokenizer that encoded this folder. Encode the splits again.")
        return tokenizer

    @cached_property
    def train_stories(self) -> np.ndarray | None:
        """The hashes of the train split's stories (`ts_data.story_hashes`), sorted and distinct, uint64; None in an older folder.

        Raises ArtefactError if the file is damaged.
        """
        file = self.manifest.train_stories
        if file is None:
            return None
        path = _verified(self.path, file)
        hashes = _load_array(path)
        if hashes.dtype != np.uint64 or hashes.shape != (file.rows,) or (hashes[1:] <= hashes[:-1]).any():
            raise ArtefactError(f"{path}: does not contain sorted uint64 hashes; it is damaged. Encode the splits again.")
        return hashes

    def verify(self) -> None:
        """Read every file and compare checksums. Raises `ArtefactError` that names the first mismatch."""
        for info in self.manifest.splits.values():
            for file in filter(None, (info.bin, info.idx, info.prompts)):
                _verified(self.path, file)
        _ = self.train_stories, self.tokenizer


def open_encoded(path: StrPath, *, verify: bool = False) -> Encoded:
    """Open an encoded folder. Checks sizes and offsets, and with `verify` also checksums.

    Raises `ArtefactError` if the folder is missing, damaged, cut short, or written by a newer version.
    """
    folder = Path(path)
    recover(folder)
    manifest = read_model(folder / "manifest.json", EncodedManifest, package="tinystories-tokenizer", error=ArtefactError)
    encoded = Encoded(folder, manifest)
    if verify:
        encoded.verify()
    return encoded


def _open_split(folder: Path, info: EncodedSplitInfo) -> EncodedSplit:
    bin_path, idx_path = _whole(folder, info.bin), _whole(folder, info.idx)
    if info.bin.bytes != 2 * info.tokens:
        raise ArtefactError(
            f"{bin_path}: has {info.bin.bytes:,} bytes for {info.tokens:,} tokens of two bytes each. Encode the splits again."
        )
    ids = np.memmap(bin_path, dtype="<u2", mode="r") if info.tokens else np.zeros(0, dtype="<u2")
    offsets = _load_array(idx_path)
    sound = offsets.dtype == np.int64 and offsets.shape == (info.stories + 1,) and offsets[0] == 0 and offsets[-1] == len(ids)
    if not sound or len(ids) != info.tokens or (np.diff(offsets) < 0).any():
        raise ArtefactError(
            f"{idx_path}: its offsets do not fit {bin_path.name}; one of them is damaged. Encode the splits again."
        )
    prompts = None if info.prompts is None else _load_array(_whole(folder, info.prompts))
    if prompts is not None and (prompts.shape != (info.stories,) or (prompts < 1).any() or (prompts >= np.diff(offsets)).any()):
        raise ArtefactError(f"{folder}: the lengths of the prompts do not fit {bin_path.name}. Encode the splits again.")
    return EncodedSplit(ids, offsets, info, prompts, folder=folder.absolute())


def _load_array(path: Path) -> np.ndarray:
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except Exception as problem:  # NumPy parses the header as Python: damaged ones raise undocumented errors (TokenError …)
        raise ArtefactError(f"{path}: not a NumPy file ({problem}); it is damaged. Encode the splits again.") from None


def _verified(folder: Path, file: FileInfo) -> Path:
    """The path of a file whose checksum matches the manifest."""
    path = _whole(folder, file)
    if sha256_file(path) != file.sha256:
        raise ArtefactError(f"{path}: its checksum differs from the manifest; the file is damaged. Encode the splits again.")
    return path


def _whole(folder: Path, file: FileInfo) -> Path:
    path = member(folder, file.name, error=ArtefactError)
    if not path.is_file():
        raise ArtefactError(f"{path}: the manifest names this file, but it does not exist. Encode the splits again.")
    if path.stat().st_size != file.bytes:
        raise ArtefactError(
            f"{path}: has {path.stat().st_size:,} bytes, the manifest says {file.bytes:,}; it was truncated or changed. Encode the splits again."
        )
    return path

"""Open the data of a run, check them against their vocabulary, and fingerprint them."""

import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ArtefactError, DataError
from ..schemas import TrainConfig
from .batches import Batches, Stories, story_difficulty


@dataclass(frozen=True)
class TrainingData:
    path: str
    train: Stories
    validation: Stories | None
    """None if the data have no validation stories; the run then trains without validation."""
    vocab_size: int
    pad_id: int
    fingerprint: str
    """SHA-256 over the hashes of tokenizer and files."""
    tokenizer_sha256: str
    tokenizer_file: Path | None
    source: Any
    splits_fingerprint: str | None = None
    """Of the encoded splits; None if unknown."""

    def batches(self, config: TrainConfig, context: int, tokens_per_step: int | None = None) -> Batches:
        """The batches of the training split, by `config.batch`; `tokens_per_step` if it leaves the size open."""
        batch = config.batch
        batches = Batches(
            self.train, context=context, seed=config.seed, pad_id=self.pad_id, batch_size=batch.batch_size,
            max_tokens=batch.tokens_per_step or tokens_per_step, arrangement=batch.arrangement, bucket=batch.bucket, pad_to=batch.pad_to,
            scores=story_difficulty(self.train) if batch.curriculum == "difficulty" else None,
            score_epochs=batch.curriculum_epochs,
        )  # fmt: skip
        if batch.curriculum == "length":
            batches.scores = batches.lengths.astype(float)
        return batches

    @property
    def tokenizer(self) -> Any:
        """The folder's tokenizer; None for data without one. Raises ArtefactError where it is damaged."""
        with _own_errors():
            return getattr(self.source, "tokenizer", None)

    @property
    def prompt_format(self) -> dict[str, Any] | None:
        """How the prompts of the stories are written; None if they have none."""
        prompts = getattr(getattr(self.source, "manifest", None), "prompts", None)
        return None if prompts is None else prompts.model_dump()

    @property
    def train_stories(self) -> NDArray[np.uint64] | None:
        """Hashes of the stories of the train split; None if the data do not list them."""
        hashes = getattr(self.source, "train_stories", None)
        return None if hashes is None else np.asarray(hashes)


@contextlib.contextmanager
def _own_errors() -> Iterator[None]:
    """Raise ArtefactError of this package for what ts_tokenizer cannot read."""
    from ts_tokenizer.errors import TsTokenizerError

    try:
        yield
    except TsTokenizerError as problem:
        raise ArtefactError(str(problem)) from problem


def open_data(data: Any) -> TrainingData:
    """Open an encoded/ folder, or wrap a mapping of "train" and "validation" to ids with offsets.

    A mapping of another package needs the attributes `vocab_size` and `pad_id`; its content is hashed.

    Raises:
        ArtefactError: the folder is missing, damaged, or of another kind.
        DataError: the split `train` is missing, an id is not in the vocabulary, or the mapping lacks an attribute.
    """
    if isinstance(data, str | os.PathLike):
        from ts_tokenizer import open_encoded

        with _own_errors():
            data = open_encoded(data)
    if not isinstance(data, Mapping) or "train" not in data:
        raise DataError("the data have no split `train`. Give an encoded/ folder, or a mapping with `train` and `validation`.")
    manifest = getattr(data, "manifest", None)
    if manifest is None:
        return _foreign(data)
    folder = Path(getattr(data, "path", "."))
    hashes = [
        manifest.tokenizer_sha256,
        *(f"{name}:{s.bin.sha256}:{s.idx.sha256}" for name, s in sorted(manifest.splits.items())),
        *(f"{name}:{s.prompts.sha256}" for name, s in sorted(manifest.splits.items()) if getattr(s, "prompts", None)),
    ]
    tokenizer_file = folder / "word_tokenizer.json"
    train, validation = _splits(data, manifest.vocab_size, str(folder))
    return TrainingData(
        path=str(folder.resolve()), train=train, validation=validation, vocab_size=manifest.vocab_size,
        pad_id=manifest.pad_id, fingerprint=_hash(hashes), tokenizer_sha256=manifest.tokenizer_sha256,
        tokenizer_file=tokenizer_file if tokenizer_file.exists() else None, source=data,
        splits_fingerprint=getattr(manifest, "splits_fingerprint", None) or None,
    )  # fmt: skip


def _foreign(data: Any) -> TrainingData:
    missing = [name for name in ("vocab_size", "pad_id") if not hasattr(data, name)]
    if missing:
        raise DataError(
            f"the data have no {' and no '.join(missing)}; a mapping of your own needs both as attributes, beside its splits `train` and `validation`."
        )
    train, validation = _splits(data, int(data.vocab_size), "data")
    kept = [a for s in (train, validation) if s is not None for a in (s.ids, s.offsets, getattr(s, "prompts", None))]
    arrays = [np.ascontiguousarray(a) for a in kept if a is not None]
    hashes = [hashlib.sha256(a.tobytes()).hexdigest() for a in arrays]
    return TrainingData(
        path="", train=train, validation=validation, vocab_size=int(data.vocab_size), pad_id=int(data.pad_id),
        fingerprint=_hash([str(data.vocab_size), *hashes]), tokenizer_sha256="", tokenizer_file=None, source=data,
    )  # fmt: skip


def _splits(data: Any, vocab_size: int, where: str) -> tuple[Stories, Stories | None]:
    """The splits train and validation, checked; None for a validation split without stories."""
    train = data["train"]
    _check_split(train, vocab_size, f"{where}, split `train`")
    validation = data.get("validation")
    if validation is None or len(validation.offsets) < 2:
        return train, None
    _check_split(validation, vocab_size, f"{where}, split `validation`")
    return train, validation


def _check_split(split: Any, vocab_size: int, where: str) -> None:
    try:
        ids, offsets = np.asarray(split.ids), np.asarray(split.offsets)
    except AttributeError:
        raise DataError(f"{where}: is a {type(split).__name__}; it needs the arrays `ids` and `offsets`.") from None
    for name, array in (("ids", ids), ("offsets", offsets)):
        if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
            raise DataError(
                f"{where}: `{name}` holds {array.dtype} of shape {list(array.shape)}; one row of whole numbers is needed."
            )
    if len(offsets) < 2:
        raise DataError(f"{where}: holds no story.")
    if int(offsets[0]) < 0 or int(offsets[-1]) > len(ids) or (np.diff(offsets.astype(np.int64)) < 2).any():
        raise DataError(
            f"{where}: its offsets do not cut the {len(ids):,} ids into stories of two tokens or more. "
            "They must rise by at least 2, from 0 to the number of ids."
        )
    prompts = getattr(split, "prompts", None)
    if prompts is not None and not _are_prompts(np.asarray(prompts), np.diff(offsets)):
        raise DataError(f"{where}: `prompts` does not give each story a number from 1 to below its length.")
    least, most = int(ids.min()), int(ids.max())
    if least < 0 or most >= vocab_size:
        raise DataError(
            f"{where}: holds the id {most if most >= vocab_size else least}, but the vocabulary has {vocab_size:,} entries. "
            "Encode again, or correct `vocab_size`."
        )


def _are_prompts(prompts: NDArray[Any], lengths: NDArray[Any]) -> bool:
    if prompts.shape != lengths.shape or not np.issubdtype(prompts.dtype, np.integer):
        return False
    return bool(((prompts >= 1) & (prompts < lengths)).all())


def _hash(parts: list[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()

"""The real stories of an evaluation: opens a splits/ folder, and compares its held-out stories with those that a model was trained on.

Compares hashes (`ts_data.story_hashes`): a model carries those of its training stories; the stories of the splits are hashed here.
An evaluation on training stories is refused, or the report warns.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .checks import StrPath, need_path
from .errors import ArtefactError, ConfigError
from .models import ModelAdapter
from .places import format_of
from .schemas import Provenance

Hashes = NDArray[np.uint64]
UNKNOWN = "carries no record of its training stories, so whether it was trained on held-out ones cannot be checked"
MEND = "--data takes the splits/ folder that `ts-data prepare` writes."


@dataclass(frozen=True)
class Splits:
    """The stories of train and test, and the fingerprint that identifies them."""

    path: Path
    fingerprint: str
    train: Sequence[str]
    test: Sequence[str]


def open_splits(splits: StrPath) -> Splits:
    """Open train and test. ArtefactError for another kind of folder or a damaged one, ConfigError for an empty split."""
    import ts_data

    path = need_path(splits, "splits")
    _check_kind(path)
    manifest = ts_data.open_manifest(path)
    absent = [name for name in ("train", "test") if name not in manifest.splits]
    if absent:
        raise ConfigError(
            f"{path}: has no {absent[0]} split; an evaluation needs train and test. Run `ts-data prepare` with --test."
        )
    train, test = ts_data.read(path, "train"), ts_data.read(path, "test")
    if not len(train) or not len(test):
        raise ConfigError(
            f"{path}: train has {len(train):,} and test {len(test):,} stories; an evaluation needs at least one of each. "
            "Run `ts-data prepare` on more stories, or with --test."
        )
    return Splits(path, manifest.fingerprint, train, test)


def _check_kind(path: Path) -> None:
    """Raise for a path that is not a splits/ folder; the message says what it is instead."""
    if path.is_file():
        raise ArtefactError(f"{path}: is a file; {MEND}")
    if not path.is_dir() or (path / "manifest.json").is_file():
        written = format_of(path / "manifest.json")
        if isinstance(written, str) and written != "ts-data/manifest":
            raise ArtefactError(f"{path}: is a folder of {written}; {MEND}")
        if path.is_dir():
            return
        raise ArtefactError(f"{path}: no such folder; {MEND}")
    inner = path / "splits"
    hint = f" Did you mean {inner}?" if (inner / "manifest.json").is_file() else ""
    kind = "a model folder" if (path / "config.json").is_file() else "no splits/ folder: it has no manifest.json"
    raise ArtefactError(f"{path}: is {kind}; {MEND}{hint}")


# --- were the held-out stories held out? -------------------------------------------------------


@dataclass(frozen=True)
class Findings:
    """The provenance of each model, in order, and the warnings of the report."""

    provenance: tuple[Provenance | None, ...]
    test_in_train: int
    warnings: tuple[str, ...]


def check_provenance(
    adapters: Sequence[ModelAdapter], splits: Splits, held_out: Sequence[str], train: Sequence[str] = (), *, allow_overlap: bool
) -> Findings:
    """Count, per model, the held-out stories that it was trained on. `train`: training stories used as prompts.

    On the model's own splits there is nothing to check. On other splits, any overlap raises ConfigError with the numbers;
    `allow_overlap` turns it into a warning. A model without a record gets a note. A note also counts the stories of `train` that the
    model knows. Held-out stories that also stand in the splits' own train split are a warning for every model.
    """
    import ts_data

    hashes = ts_data.story_hashes(held_out)
    found = [_compare(adapter, splits, hashes) for adapter in adapters]
    overlaps = [
        f"{adapter.name} was trained on {p.trained_on:,} of the {p.held_out:,} held-out stories evaluated"
        for adapter, p in zip(adapters, found, strict=True)
        if p is not None and p.checked == "story hashes" and p.trained_on
    ]
    if overlaps and not allow_overlap:
        raise ConfigError(
            f"{splits.path}: {'; '.join(overlaps)}. Evaluate on the splits that it was trained on, or pass --allow-overlap "
            "(allow_overlap=True in Python): the report then says so."
        )
    for adapter, provenance in zip(adapters, found, strict=True):
        adapter.notes += _notes(adapter, provenance, held_out, train)
    own = _own_overlap(adapters, splits, hashes)
    warnings = [f"{overlap}: these numbers do not say how it does on new stories" for overlap in overlaps]
    if own:
        warnings.append(
            f"{own:,} of the {len(held_out):,} held-out stories evaluated also stand in the train split of {splits.path}: "
            "numbers on them flatter every model, and every n-gram model, fitted on it"
        )
    return Findings(tuple(found), own, tuple(warnings))


def _compare(adapter: ModelAdapter, splits: Splits, held_out: Hashes) -> Provenance | None:
    """None for a file of stories, which has no model."""
    if adapter.stories is not None:
        return None
    trained, known = adapter.trained_on, None
    checked: Literal["same splits", "story hashes", "not possible"] = "same splits"
    if trained.splits != splits.fingerprint:
        checked = "not possible" if trained.stories is None else "story hashes"
        known = None if trained.stories is None else _members(held_out, trained.stories)
    return Provenance(checked=checked, splits_fingerprint=trained.splits, held_out=len(held_out), trained_on=known)


def _notes(adapter: ModelAdapter, provenance: Provenance | None, held_out: Sequence[str], train: Sequence[str]) -> list[str]:
    import ts_data

    if provenance is None or provenance.checked == "same splits" or not (held_out or train):
        return []
    stories = adapter.trained_on.stories
    if stories is None:
        return [UNKNOWN]
    if not train:
        return []
    known = _members(ts_data.story_hashes(train), stories)
    others = "splits that it does not name" if provenance.splits_fingerprint is None else "other splits"
    counted = f"it knows {known:,} of the {len(train):,} training stories used as prompts"
    return [
        f"was trained on {others}: {counted}, and searches for the closest story are over the train split given, not over its own"
    ]


def _own_overlap(adapters: Iterable[ModelAdapter], splits: Splits, held_out: Hashes) -> int:
    """Number of held-out stories that also stand in the splits' own train; uses the hashes of a model of these splits, if there is one."""
    import ts_data

    if not len(held_out):
        return 0
    carried: Iterable[Any] = (s.trained_on.stories for s in adapters if s.trained_on.splits == splits.fingerprint)
    known = next((hashes for hashes in carried if hashes is not None), None)
    return _members(held_out, np.unique(ts_data.story_hashes(splits.train)) if known is None else known)


def _members(hashes: Hashes, among: Hashes) -> int:
    """Number of the hashes that occur in a sorted array."""
    if not len(hashes) or not len(among):
        return 0
    at = np.minimum(np.searchsorted(among, hashes), len(among) - 1)
    return int((among[at] == hashes).sum())

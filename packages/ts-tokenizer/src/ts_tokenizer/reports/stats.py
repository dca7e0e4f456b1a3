"""`stats`: story lengths, rare tokens and the share of `<unk>` in an encoded folder."""

from dataclasses import dataclass

import numpy as np

from ts_data.console import Progress

from ..encoded import Encoded
from ..errors import ArtefactError


@dataclass(frozen=True)
class SplitStats:
    """Statistics of one split of encoded/; lengths exclude `<bos>` and `<eos>`."""

    stories: int
    tokens: int
    distinct: int
    """Vocabulary entries that occur."""
    mean_length: float
    sd_length: float
    longest: int
    over_256: float
    """Share of stories longer than 256 tokens, `<bos>` and `<eos>` included."""
    unk_share: float
    rare_quantiles: tuple[int, int]
    """Lower quartile and median of the counts of the entries that occur."""
    histogram: tuple[int, ...]
    """Number of stories per length bin of `step` tokens."""
    step: int


def stats(encoded: Encoded, *, progress: Progress | None = None) -> dict[str, SplitStats]:
    """Statistics of each split of an encoded folder. Raises ArtefactError for an id outside its vocabulary."""
    unk = encoded.manifest.unk_id
    found = {}
    for name, split in encoded.items():
        lengths = np.maximum(np.diff(split.offsets) - 2, 0)
        counts = np.zeros(encoded.vocab_size, dtype=np.int64)
        for start in range(0, len(split.ids), 1 << 24):
            found_ids = np.bincount(split.ids[start : start + (1 << 24)], minlength=encoded.vocab_size)
            if len(found_ids) > encoded.vocab_size:
                raise ArtefactError(
                    f"{encoded.path}, split {name}: holds the id {len(found_ids) - 1}, but the vocabulary has "
                    f"{encoded.vocab_size:,} entries. Encode the splits again."
                )
            counts += found_ids
        counts[[encoded.manifest.bos_id, encoded.manifest.eos_id]] = 0
        seen, tokens = counts[counts > 0], int(counts.sum())
        step = 25
        found[name] = SplitStats(
            stories=len(lengths),
            tokens=tokens,
            distinct=len(seen),
            mean_length=float(lengths.mean()) if len(lengths) else 0.0,
            sd_length=float(lengths.std()) if len(lengths) else 0.0,
            longest=int(lengths.max(initial=0)),
            over_256=float((lengths + 2 > 256).mean()) if len(lengths) else 0.0,
            unk_share=float(counts[unk] / tokens) if tokens else 0.0,
            rare_quantiles=quantiles(seen),
            histogram=tuple(np.bincount(lengths // step).tolist()),
            step=step,
        )
        if progress is not None:
            progress("stats", len(found), len(encoded))
    return found


def quantiles(counts: np.ndarray) -> tuple[int, int]:
    """The lower quartile and the median of counts, both 0 if there are none."""
    if not len(counts):
        return 0, 0
    quarter, half = np.quantile(counts, [0.25, 0.5], method="lower")
    return int(quarter), int(half)

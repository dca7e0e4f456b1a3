"""Log-probability differences of pairs by a network of ts_models. What the two sentences of a pair begin with is read once."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ids = tuple[int, ...]
BATCH = 256
"""Pairs read at once."""


def differences(network: Any, pairs: Sequence[tuple[Ids, Ids]]) -> NDArray[np.float64]:
    """Log-probability of each pair's first sentence minus its second's; 0 for equal ids.

    The log-probabilities of the common beginning cancel, so the output layer reads only what follows. Pairs whose beginnings have the
    same length go together and need no padding there.
    """
    found = np.zeros(len(pairs))
    by_length: dict[int, list[int]] = {}
    for number, (good, bad) in enumerate(pairs):
        if good != bad:
            by_length.setdefault(_common(good, bad), []).append(number)
    for common, numbers in by_length.items():
        for at in range(0, len(numbers), BATCH):
            some = numbers[at : at + BATCH]
            found[some] = _batch(network, [pairs[n] for n in some], common)
    return found


def _common(good: Ids, bad: Ids) -> int:
    """Number of ids that both begin with."""
    return next((i for i, (a, b) in enumerate(zip(good, bad, strict=False)) if a != b), min(len(good), len(bad)))


def _batch(network: Any, pairs: Sequence[tuple[Ids, Ids]], common: int) -> NDArray[np.float64]:
    import torch
    from torch.nn.functional import cross_entropy
    from torch.nn.utils.rnn import pad_sequence

    place = {ids: i for i, ids in enumerate(dict.fromkeys(good[:common] for good, _ in pairs))}
    endings = [torch.tensor(ids[common:]) for pair in pairs for ids in pair]
    padded = pad_sequence(endings, batch_first=True).to(network.device)
    rows = torch.tensor([place[good[:common]] for good, _ in pairs], device=network.device).repeat_interleave(2)
    lengths = torch.tensor([len(ids) for ids in endings], device=network.device)
    with torch.inference_mode():
        state = network.init_state(len(place), common + padded.shape[1])
        first = network.hidden(torch.tensor(list(place), device=network.device), state=state)[:, -1:]
        state.reorder(rows)
        hidden = torch.cat([first[rows], network.hidden(padded[:, :-1], state=state)], dim=1)
        real = torch.arange(padded.shape[1], device=network.device) < lengths[:, None]
        losses = cross_entropy(network.logits(hidden[real]).float(), padded[real], reduction="none").double()
        sums = torch.zeros(len(endings), dtype=torch.float64, device=network.device).index_add_(0, real.nonzero()[:, 0], -losses)
    different: NDArray[np.float64] = (sums[0::2] - sums[1::2]).cpu().numpy()
    return different

"""The passages of a corpus that activate each neuron most, and the words that a neuron makes likelier or less likely.

The corpus is streamed: memory holds one batch and the passages kept, however long it is.
"""

import copy
from collections.abc import Iterable, Iterator, Sized
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from ..console import Progress
from ..errors import ConfigError
from ..language_model import LanguageModel
from ..layers.linear import Linear
from ..scoring import groups_of, windows_of
from ..state import pad_right
from .analysis import logit_effects
from .tracing import Points, points_of, trace

BEFORE, _AFTER = 16, 8
"""Tokens of a passage before its most active one, and after it."""
_WORDS = 8
"""Words named that a neuron raises, and that it lowers."""
_STORIES, _TOKENS = 4096, 4096
"""Stories sorted by length at a time, and tokens of a batch."""


@dataclass(frozen=True)
class LayerNeurons:
    """The neurons of one layer (N), each with its passages (K), the strongest first, of T tokens."""

    mean: NDArray[np.float32]
    """[N] mean of |activation| over all tokens but special ones."""
    activation: NDArray[np.float32]
    """[N, K] at the passage's most active token, with its sign; passages are ranked by its size. 0: no more passages."""
    story: NDArray[np.int64]
    """[N, K] number of the story in the corpus."""
    token: NDArray[np.int64]
    """[N, K] place of the most active token in its story."""
    ids: NDArray[np.int64]
    """[N, K, T] tokens of the passage, -1 beyond its ends; the most active one is at BEFORE."""
    values: NDArray[np.float32]
    """[N, K, T] activation at each of them."""
    raised: NDArray[np.int64]
    """[N, W] ids whose logits a positive activation raises most; empty where a neuron writes into the next layer alone."""
    lowered: NDArray[np.int64]
    raised_by: NDArray[np.float32]
    """[N, W] by how much, for each unit of activation, before the final norm's division."""
    lowered_by: NDArray[np.float32]


@torch.inference_mode()
def find_passages(
    lm: LanguageModel, stories: Iterable[ArrayLike], *, passages: int = 8, exact: bool = False, progress: Progress | None = None
) -> list[LayerNeurons]:
    """Read stories of ids `<bos> … <eos>` and keep the passages that activate each neuron most, by layer.

    Long stories are read in windows, as in `score_ids`; a window gives a neuron one passage at most. Special tokens do not count.
    exact: multiply in float32, also on a CPU with bfloat16 instructions, which change activations by up to about 1 %.
    """
    points = points_of(lm.model)
    if points is None:
        raise ConfigError(f"a network of kind {lm.config.kind!r} names no neurons; see ts_models.inspection.tracing.Points.")
    if passages < 1:
        raise ConfigError(f"passages is {passages}; a neuron needs at least one.")
    network: Any = lm.model if exact or not _has_bfloat16(lm.model) else _in_bfloat16(lm.model)
    total = len(stories) if isinstance(stories, Sized) else None
    special = torch.tensor([lm.config.eos_id, *lm.config.banned_ids])
    best: list[_Best] = []
    for batch, done in _batches(stories, lm.config.max_seq_len):
        counted = batch.counted & ~torch.isin(batch.ids, special)
        with trace(network, points.neurons) as t:
            getattr(network, "hidden", network)(batch.ids.to(network.device))
        for layer, name in enumerate(t):
            if layer == len(best):
                best.append(_Best(t[name].shape[-1], passages))
            best[layer].add(t[name].float().cpu(), counted, batch)
        if progress is not None:
            progress("read", done, total)
    if not best:
        raise ConfigError("there is no story to read.")
    return [layer.found(*_words(lm, points, number)) for number, layer in enumerate(best)]


@dataclass(frozen=True)
class _Batch:
    ids: Tensor
    """[B, T], padded."""
    counted: Tensor
    """[B, T] whether a token is one of the story that no earlier window has read."""
    story: Tensor
    start: Tensor
    """[B] the window's story, and its first token there."""


def _batches(stories: Iterable[ArrayLike], context: int) -> Iterator[tuple[_Batch, int]]:
    """Windows of like length, and the number of stories taken from the corpus."""
    numbered, done = enumerate(stories), 0
    while some := {number: np.asarray(story, dtype=np.int64) for number, story in islice(numbered, _STORIES)}:
        windows = sorted(
            (w for number, ids in some.items() for w in windows_of(number, len(ids), context)), key=lambda w: w[3] - w[1]
        )
        read = 0
        for group in groups_of(windows, _TOKENS):
            read += len(group)
            ids, lengths = pad_right([some[number][start:end] for number, start, _, end in group])
            story, begin, first, _ = (torch.tensor(column) for column in zip(*group, strict=True))
            new, places = torch.where(begin > 0, first - begin, 0), torch.arange(ids.shape[1])
            counted = (places >= new[:, None]) & (places < lengths[:, None])
            yield _Batch(ids, counted, story, begin), done + len(some) * read // len(windows)
        done += len(some)


class _Best:
    """The passages kept for the neurons of one layer. N neurons, K passages, T tokens of a passage, B windows of a batch."""

    def __init__(self, neurons: int, passages: int) -> None:
        kept, width = (neurons, passages), BEFORE + 1 + _AFTER
        self.total, self.tokens = torch.zeros(neurons), 0
        self.strength = torch.zeros(kept)
        self.story, self.token = torch.zeros((2, *kept), dtype=torch.int64)
        self.ids, self.values = torch.full((*kept, width), -1), torch.zeros((*kept, width))

    def add(self, activations: Tensor, counted: Tensor, batch: _Batch) -> None:
        """Take in activations [B, time, N]."""
        sizes = activations.abs() * counted[..., None]
        self.total += sizes.sum((0, 1))
        self.tokens += int(counted.sum())
        strength, place = sizes.max(1)
        kept = self.strength.shape[1]
        order = torch.cat([self.strength, strength.T], dim=1).sort(dim=1, descending=True, stable=True)
        self.strength, chosen = order.values[:, :kept], order.indices[:, :kept]
        neuron, rank = (chosen >= kept).nonzero(as_tuple=True)
        if not len(neuron):
            return
        old = chosen.clamp(max=kept - 1)
        self.story, self.token = self.story.gather(1, old), self.token.gather(1, old)
        wide = old[..., None].expand_as(self.ids)
        self.ids, self.values = self.ids.gather(1, wide), self.values.gather(1, wide)
        row = chosen[neuron, rank] - kept
        peak = place[row, neuron]
        self.story[neuron, rank], self.token[neuron, rank] = batch.story[row], batch.start[row] + peak
        places = peak[:, None] + torch.arange(-BEFORE, 1 + _AFTER)
        lengths = counted.shape[1] - counted.flip(1).int().argmax(1)  # up to the last token that counts
        inside = (places >= 0) & (places < lengths[row, None])
        places = places.clamp(0, counted.shape[1] - 1)
        self.ids[neuron, rank] = batch.ids[row[:, None], places].masked_fill(~inside, -1)
        self.values[neuron, rank] = activations[row[:, None], places, neuron[:, None]] * inside

    def found(self, raised: Tensor, raised_by: Tensor, lowered: Tensor, lowered_by: Tensor) -> LayerNeurons:
        """Everything kept, as arrays."""
        tensors = {
            "mean": self.total / max(self.tokens, 1), "activation": self.values[:, :, BEFORE], "story": self.story, "token": self.token,
            "ids": self.ids, "values": self.values, "raised": raised, "raised_by": raised_by, "lowered": lowered, "lowered_by": lowered_by,
        }  # fmt: skip
        return LayerNeurons(**{name: tensor.numpy() for name, tensor in tensors.items()})


def _words(lm: LanguageModel, points: Points, layer: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Ids that each neuron of a layer raises most and by how much, then those that it lowers."""
    outputs = points.neuron_output(layer)
    if outputs is None:
        return torch.zeros(0, 0, dtype=torch.int64), torch.zeros(0, 0), torch.zeros(0, 0, dtype=torch.int64), torch.zeros(0, 0)
    effects = logit_effects(lm, outputs)
    count = min(_WORDS, effects.shape[1] - len(lm.config.banned_ids))
    up, down = effects.topk(count), (-effects.masked_fill(effects.isinf(), torch.inf)).topk(count)
    return up.indices, up.values, down.indices, -down.values


def _has_bfloat16(network: Any) -> bool:
    """Whether the processor multiplies bfloat16 natively: torch emulates it elsewhere, at a loss."""
    on_cpu = network.device.type == "cpu" and network.dtype == torch.float32
    return on_cpu and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


class _BFloat16(nn.Module):
    """A linear layer that multiplies in bfloat16 and sums in float32."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = layer.weight.bfloat16(), None if layer.bias is None else layer.bias.bfloat16()

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] float32 → [..., out] float32."""
        return F.linear(x.bfloat16(), self.weight, self.bias).float()


def _in_bfloat16(network: nn.Module) -> nn.Module:
    """A copy of a network with such layers. Everything else, the norms and the attention, stays in float32."""
    network = copy.deepcopy(network)
    for module in list(network.modules()):
        for name, part in module.named_children():
            if isinstance(part, Linear):
                setattr(module, name, _BFloat16(part))
    return network

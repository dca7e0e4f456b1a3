"""A Transformer's fast path on the CPU: kernels for few rows, whole-batch matrix products for many, keys never copied."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .._kernels import choose
from .._kernels.weights import Cache, Weights
from ._stepper import pad_right
from ._weights import read_weights

__all__ = ["FastStepper"]

_lock = threading.Lock()
"""Numba's simplest thread pool stands one caller at a time."""
_THREADS_FROM = 8_000_000
"""Weights from which on a token waits for memory, so that a second thread pays for being woken several times per layer."""
Linear = Callable[[Tensor], Tensor]
_packed: WeakKeyDictionary[Any, tuple[Weights, list[tuple[Any, ...]], Linear]] = WeakKeyDictionary()
"""Per network what `_pack` made, and of which weights."""
_ACTIVATIONS = (
    F.gelu,
    lambda x: F.gelu(x, approximate="tanh"),
    lambda x: F.relu(x).square_(),
    lambda x: F.silu(x[:, : x.shape[1] // 2]).mul_(x[:, x.shape[1] // 2 :]),
)


class FastStepper:
    """Reads prompts through the network itself, then steps through the kernels. Equal to TorchStepper to rounding."""

    def __init__(self, network: Any, *, precision: str = "float32", kernels: str | None = None) -> None:
        self.network, self.kernels = network, choose(kernels)
        self.weights: Weights = read_weights(network, precision)
        self.precision = precision
        size = sum(getattr(self.weights, name).value.size for name in ("qkv", "out", "up", "down", "head"))
        self.threads = torch.get_num_threads() if size >= _THREADS_FROM else 1

    def start(self, prompts: Sequence[Sequence[int]], room: int, *, width: int) -> Tensor:
        """See Stepper."""
        w, self.width = self.weights, width
        ids, lengths = pad_right(prompts)
        count, longest = ids.shape
        state = self.network.init_state(count, longest)
        hidden = self.network.hidden(ids, state=state)
        rows = count * width
        shape = (w.norms.shape[0], rows, w.kv_heads, room, state.keys[0].shape[3])
        keys, values = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        for layer, (k, v) in enumerate(zip(state.keys, state.values, strict=True)):
            keys[layer, ::width, :, :longest] = k.numpy()
            values[layer, ::width, :, :longest] = v.numpy()
        self.slots = np.arange(rows)
        where = np.repeat(self.slots[::width].astype(np.int32), width)[:, None].repeat(room, axis=1)
        self.cache = Cache(keys, values, where, np.repeat(lengths.numpy(), width))
        logits: Tensor = self.network.logits(hidden[torch.arange(count), lengths - 1])
        return logits.repeat_interleave(width, dim=0)

    def step(self, tokens: Tensor, rows: Tensor | None) -> Tensor:
        """See Stepper."""
        if rows is not None:
            self._select(rows.numpy())
        cache, slots, ids = self.cache, self.slots, tokens.numpy()
        cache.where[np.arange(len(ids)), cache.lengths] = slots
        if len(ids) <= self.kernels.SMALL:
            logits = torch.empty(len(ids), self.weights.embedding.shape[0])
            with _lock:
                self.kernels.forward(self.weights, cache, slots, ids, logits.numpy(), self.threads)
        else:
            logits = self._batch(tokens)
        cache.lengths[:] += 1
        return logits

    def _select(self, rows: np.ndarray[Any, np.dtype[np.int64]]) -> None:
        """Keep rows in that order. A row's own slot is where it writes from now on: two rows never share one.

        Rows that part (beams of one prompt) are given the slots of their prompt's own rows, because only those have
        nothing at the positions still to come.
        """
        unique = len(set(rows.tolist())) == len(rows)
        self.slots = self.slots[rows] if unique else self.slots.reshape(-1, self.width)[rows[:: self.width] // self.width].ravel()
        self.cache = self.cache._replace(where=self.cache.where[rows], lengths=self.cache.lengths[rows])

    def _batch(self, tokens: Tensor) -> Tensor:
        """One token in each row by matrix products over the batch; logits [rows, V]."""
        w = self.weights
        known = _packed.get(self.network)
        if known is None or known[0] is not w:
            known = _packed[self.network] = (w, *self._pack(len(tokens)))
        _, layers, head = known
        x = self._embed(tokens)
        mixed = torch.empty(len(tokens), w.out.value.shape[2])
        for layer, (norm1, bias1, norm2, bias2, qkv, out, up, down) in enumerate(layers):
            h = qkv(self._norm(x, norm1, bias1) if w.norm_first else x)
            with _lock:
                self.kernels.attend(w, layer, self.cache, self.slots, h.numpy(), mixed.numpy(), torch.get_num_threads())
            x = x + out(mixed)
            x = x if w.norm_first else self._norm(x, norm1, bias1)
            h = _ACTIVATIONS[w.activation](up(self._norm(x, norm2, bias2) if w.norm_first else x))
            x = x + down(h)
            x = x if w.norm_first else self._norm(x, norm2, bias2)
        return head(self.network.norm(x))

    def _embed(self, tokens: Tensor) -> Tensor:
        config, places = self.network.config, torch.from_numpy(self.cache.lengths)
        x: Tensor = self.network.embedding(tokens)
        if config.positions in {"sinusoidal", "learned"}:
            return x + torch.from_numpy(self.weights.added)[places]
        if config.positions == "rope-embedding":
            return self.network.positions(x[:, None], places[:, None])[:, 0]  # type: ignore[no-any-return]
        return x

    def _norm(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        if self.weights.rms:
            return F.rms_norm(x, x.shape[1:], weight, self.weights.eps)
        return F.layer_norm(x, x.shape[1:], weight, bias, self.weights.eps)

    def _pack(self, rows: int) -> tuple[list[tuple[Any, ...]], Linear]:
        """Per block its norms and linear layers, and the output layer, in float32, as the network holds them."""
        network = self.network
        layers = []
        for number, block in enumerate(network.blocks):
            affine = torch.from_numpy(self.weights.norms[number])
            linear = (block.attention.qkv, block.attention.out, block.feed_forward.up, block.feed_forward.down)
            packed = [_linear(layer.weight, layer.bias, rows) for layer in linear]
            layers.append((affine[0, 0], affine[0, 1], affine[1, 0], affine[1, 1], *packed))
        if network.config.tie_embeddings:
            return layers, _linear(network.embedding.weight, None, rows)
        return layers, _linear(network.head.weight, network.head.bias, rows)


def _linear(weight: Tensor, bias: Tensor | None, rows: int) -> Linear:
    """A linear layer for about so many rows. Where torch has oneDNN, the weight is laid out for it once, here: the products
    of 100 rows then take a fifth less time than `F.linear` at 5M and 35M."""
    weight, bias = weight.detach(), None if bias is None else bias.detach()
    onednn = torch.ops.mkldnn
    if not (torch._C._has_mkldnn and hasattr(onednn, "_linear_pointwise")):
        return lambda x: F.linear(x, weight, bias)
    try:
        packed = onednn._reorder_linear_weight(weight, rows)
        onednn._linear_pointwise(weight[:1], packed, bias, "none", [], "")
    except (RuntimeError, TypeError):  # torch's own operators, not public: another version may have others
        return lambda x: F.linear(x, weight, bias)
    return lambda x: onednn._linear_pointwise(x, packed, bias, "none", [], "")

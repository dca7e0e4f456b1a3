"""The named tensors of a Transformer. Tensors of heads are [batch, heads, time, …].

The pass is `Transformer.hidden` in explicit steps. Scores and pattern of attention are computed only where they are asked for.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..architectures.base import embed
from ..architectures.transformer import Block, Transformer
from ..layers.attention import Attention
from ..layers.positions import apply_rope
from .tracing import Trace


class TransformerPoints:
    """See tracing.Points."""

    stream, neurons, patterns = "blocks.*.resid_post", "blocks.*.feed_forward.post", "blocks.*.attention.pattern"

    def __init__(self, network: Transformer) -> None:
        self.network = network

    def names(self) -> dict[str, str]:
        c, flow = self.network.config, "[batch, time, d_model]"
        up = "2·d_ff" if c.feed_forward == "swiglu" else "d_ff"
        parts = {
            "resid_pre": flow,
            "norm1": flow,
            "attention.q": "[batch, heads, time, head_dim]",
            "attention.k": "[batch, kv_heads, time, head_dim]",
            "attention.v": "[batch, kv_heads, time, head_dim]",
            "attention.scores": "[batch, heads, time, seen]",
            "attention.pattern": "[batch, heads, time, seen]",
            "attention.z": "[batch, heads, time, head_dim]",
            "attention.out": flow,
            "resid_mid": flow,
            "norm2": flow,
            "feed_forward.pre": f"[batch, time, {up}]",
            "feed_forward.post": "[batch, time, d_ff]",
            "feed_forward.out": flow,
            "resid_post": flow,
        }
        if not c.norm_first:  # the norms' outputs are the residual stream
            del parts["norm1"], parts["norm2"]
        blocks = {f"blocks.{layer}.{name}": shape for layer in range(c.n_layers) for name, shape in parts.items()}
        return {"embedding": flow, **blocks, "final": flow, "logits": "[batch, time, vocab_size]"}

    def neuron_output(self, layer: int) -> Tensor | None:
        block = self.network.blocks[layer]
        assert isinstance(block, Block)
        return block.feed_forward.down.weight.T

    def methods(self, at: Trace) -> dict[str, Callable[..., Any]]:
        return {"hidden": partial(self._hidden, at), "logits": lambda x: at("logits", Transformer.logits(self.network, x))}

    def _hidden(self, at: Trace, ids: Tensor, *, state: Any = None, segments: Any = None, lengths: Any = None) -> Tensor:
        net = self.network
        x = at("embedding", embed(net.embedding, ids))
        net._check_length(ids.shape[1], state)
        mask, positions = net._mask_and_positions(ids, state, segments)
        x, rope = net.positions(x, positions), net.positions.rotation(positions)
        for layer, block in enumerate(net.blocks):
            assert isinstance(block, Block)
            x = _block(at, f"blocks.{layer}.", block, x, rope=rope, mask=mask, state=state)
        if state is not None:
            state.advance(ids.shape[1], lengths)
        return at("final", net.norm(x))


def _block(at: Trace, name: str, block: Block, x: Tensor, **context: Any) -> Tensor:
    def attend(y: Tensor) -> Tensor:
        return block.dropout(at(f"{name}attention.out", _attention(at, f"{name}attention.", block.attention, y, **context)))  # type: ignore[no-any-return]

    def feed(y: Tensor) -> Tensor:
        net = block.feed_forward
        post = at(f"{name}feed_forward.post", net.activation(at(f"{name}feed_forward.pre", net.up(y))))
        return block.dropout(at(f"{name}feed_forward.out", net.down(net.dropout(post))))  # type: ignore[no-any-return]

    x = at(f"{name}resid_pre", x)
    if block.norm_first:
        x = at(f"{name}resid_mid", x + attend(at(f"{name}norm1", block.norm1(x))))
        return at(f"{name}resid_post", x + feed(at(f"{name}norm2", block.norm2(x))))
    x = at(f"{name}resid_mid", block.norm1(x + attend(x)))
    return at(f"{name}resid_post", block.norm2(x + feed(x)))


def _attention(at: Trace, name: str, layer: Attention, x: Tensor, *, rope: Any, mask: Tensor | None, state: Any) -> Tensor:
    batch, time, _ = x.shape
    q, k, v = layer._project(x)
    if rope is not None:
        q, k = apply_rope(q, *rope), apply_rope(k, *rope)
    q, k, v = at(f"{name}q", q), at(f"{name}k", k), at(f"{name}v", v)
    if state is not None:
        k, v = state.append(layer.layer, k, v)
    if layer.window is not None:
        mask = layer._local(mask, time, k.shape[2], x.device)
    explicit = at.needs(f"{name}scores", f"{name}pattern")
    mixed = _explicit(at, name, layer, q, k, v, mask) if explicit else layer._attend(q, k, v, mask)
    return layer.out(at(f"{name}z", mixed).transpose(1, 2).reshape(batch, time, -1))  # type: ignore[no-any-return]


def _explicit(at: Trace, name: str, layer: Attention, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Attention with its weights as a tensor: equal to the fused one up to rounding."""
    copies = layer.heads // layer.kv_heads
    k, v = k.repeat_interleave(copies, dim=1), v.repeat_interleave(copies, dim=1)
    scores = q @ k.transpose(-2, -1) * (layer.head_dim**-0.5 if layer.scale is None else layer.scale)
    if mask is None:
        seen = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device)
        mask = seen.tril(scores.shape[-1] - scores.shape[-2])
    scores = at(f"{name}scores", scores.masked_fill(~mask, -torch.inf))
    pattern = at(f"{name}pattern", scores.softmax(dim=-1))
    return F.dropout(pattern, layer.dropout, layer.training) @ v

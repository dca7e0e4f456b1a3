"""Causal self-attention through `scaled_dot_product_attention`, with or without a KV cache.

Letters: B batch, T time, H heads, K heads of keys and values, D head width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..fast.attention import attention_fits, fused_causal_attention
from ..schemas import TransformerConfig
from ..state import KVCache
from .linear import Linear
from .norms import make_norm
from .positions import apply_rope


class Attention(nn.Module):
    """Multi-head (or grouped-query) attention. `qkv` holds the rows of queries, keys and values, in that order."""

    def __init__(self, config: TransformerConfig, layer: int) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = config.n_heads, config.kv_heads, config.head_size
        self.layer, self.dropout, self.scale = layer, config.dropout, config.attention_scale
        self.window = config.local_window if layer in config.local_layers else None
        rows = (self.heads + 2 * self.kv_heads) * self.head_dim
        self.qkv = Linear(config.d_model, rows, bias=config.has_qkv_bias)
        self.out = Linear(self.heads * self.head_dim, config.d_model, bias=config.bias)
        self.q_norm = make_norm(config, self.head_dim) if config.qk_norm else nn.Identity()
        self.k_norm = make_norm(config, self.head_dim) if config.qk_norm else nn.Identity()

    def forward(
        self, x: Tensor, *, rope: tuple[Tensor, Tensor] | None = None, mask: Tensor | None = None, state: KVCache | None = None
    ) -> Tensor:
        """x [B, T, d_model] → the same shape.

        Without `mask` every token sees itself and all before it; with it, [B, 1, T, S] bool says which it sees.
        With `state` the keys and values are written to the cache at each row's own position, then read back whole.
        """
        time = x.shape[1]
        q, k, v = self._project(x)
        if rope is not None:
            q, k = apply_rope(q, *rope), apply_rope(k, *rope)
        if state is not None:
            k, v = state.append(self.layer, k, v)
        if self.window is not None:
            mask = self._local(mask, time, k.shape[2], x.device)
        mixed = self._attend(q, k, v, mask)
        return self.out(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        batch, time, _ = x.shape
        heads = [self.heads, self.kv_heads, self.kv_heads]
        q, k, v = self.qkv(x).view(batch, time, sum(heads), self.head_dim).split(heads, dim=2)
        return self.q_norm(q).transpose(1, 2), self.k_norm(k).transpose(1, 2), v.transpose(1, 2)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        p = self.dropout if self.training else 0.0
        grouped = self.heads != self.kv_heads
        if grouped and torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]  # ONNX has no grouped attention
            k, v = (x.repeat_interleave(self.heads // self.kv_heads, dim=1) for x in (k, v))
            grouped = False
        causal = mask is None and bool(q.shape[2] > 1)  # a tracer gives a tensor
        if causal and not grouped and attention_fits(q):
            return fused_causal_attention(q, k, v, p, self.scale)
        return F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, dropout_p=p, is_causal=causal, scale=self.scale, enable_gqa=grouped
        )

    def _local(self, mask: Tensor | None, time: int, seen: int, device: torch.device) -> Tensor | None:
        """Narrow the mask to the last `window` tokens; None where the window takes in everything anyway."""
        assert self.window is not None
        if not torch.jit.is_tracing() and seen <= self.window:  # type: ignore[attr-defined, no-untyped-call]
            return mask
        if mask is None:
            steps = torch.arange(seen, device=device)
            mask = (steps[None, :] <= steps[-time:, None])[None, None]
        # A row's newest visible key is the token itself: counting back from it gives the distance for any offset of the row.
        distance = mask.long().flip(-1).cumsum(-1).flip(-1)
        return mask & (distance <= self.window)

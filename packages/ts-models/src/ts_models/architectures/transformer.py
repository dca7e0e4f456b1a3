"""The causal Transformer: config → network. Its layers are in `layers/`, generation in `generation/`."""

import torch
from torch import Tensor, nn

from ..errors import ContextError
from ..fast.linear import linear
from ..layers.attention import Attention
from ..layers.dropout import Dropout
from ..layers.feed_forward import FeedForward
from ..layers.linear import Linear
from ..layers.norms import make_norm
from ..layers.positions import make_positions
from ..schemas import TransformerConfig
from ..state import KVCache
from .base import StoryModel, check_exclusive, embed


class Block(nn.Module):
    """Attention, then feed-forward, each with a residual; the norm before (pre) or after (post) them."""

    def __init__(self, config: TransformerConfig, layer: int) -> None:
        super().__init__()
        self.attention = Attention(config, layer)
        self.feed_forward = FeedForward(config)
        self.norm1, self.norm2 = make_norm(config), make_norm(config)
        self.dropout = Dropout(config.dropout)
        self.norm_first = config.norm_first

    def reset_parameters(self, config: TransformerConfig) -> None:
        """nn.MultiheadAttention's own initial values, unless the config gives a standard deviation; then `zero_init`."""
        qkv, out = self.attention.qkv, self.attention.out
        if config.init_std is None:
            nn.init.xavier_uniform_(qkv.weight)
            for bias in (qkv.bias, out.bias):
                if bias is not None:
                    nn.init.zeros_(bias)
        if config.zero_init:
            nn.init.zeros_(out.weight)
            nn.init.zeros_(self.feed_forward.down.weight)

    def forward(self, x: Tensor, *, rope: tuple[Tensor, Tensor] | None, mask: Tensor | None, state: KVCache | None) -> Tensor:
        """[batch, time, d_model] → the same shape."""
        if self.norm_first:
            x = x + self.dropout(self.attention(self.norm1(x), rope=rope, mask=mask, state=state))
            return x + self.dropout(self.feed_forward(self.norm2(x)))  # type: ignore[no-any-return]
        x = self.norm1(x + self.dropout(self.attention(x, rope=rope, mask=mask, state=state)))
        return self.norm2(x + self.dropout(self.feed_forward(x)))  # type: ignore[no-any-return]


class Transformer(StoryModel):
    """Embedding, positions, blocks, (norm,) output layer. With tied embeddings there is no `head`."""

    config: TransformerConfig
    config_class = TransformerConfig
    points = "ts_models.inspection.transformer:TransformerPoints"

    def __init__(self, config: TransformerConfig, *, torchtune: bool = True) -> None:
        super().__init__(config, torchtune=torchtune)
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.positions = make_positions(config, torchtune=torchtune)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.n_layers))
        self.norm = make_norm(config) if config.final_norm else nn.Identity()
        if not config.tie_embeddings:
            self.head = Linear(config.d_model, config.vocab_size, bias=config.has_head_bias)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initial weights: PyTorch's own (as nn.TransformerEncoder's), or normal with `init_std`; then `zero_init`."""
        std = self.config.init_std
        if std is not None:
            for module in self.modules():
                if isinstance(module, nn.Linear | nn.Embedding):
                    nn.init.normal_(module.weight, std=std)
                if isinstance(module, nn.Linear) and module.bias is not None:
                    nn.init.zeros_(module.bias)
        for block in self.modules():
            if isinstance(block, Block):
                block.reset_parameters(self.config)

    def hidden(
        self, ids: Tensor, *, state: KVCache | None = None, segments: Tensor | None = None, lengths: Tensor | None = None
    ) -> Tensor:
        """ids [batch, time] → what the output layer reads, [batch, time, d_model]."""
        x = embed(self.embedding, ids)
        time = ids.shape[1]
        self._check_length(time, state)
        mask, positions = self._mask_and_positions(ids, state, segments)
        x, rope = self.positions(x, positions), self.positions.rotation(positions)
        for block in self.blocks:
            x = block(x, rope=rope, mask=mask, state=state)
        if state is not None:
            state.advance(time, lengths)
        return self.norm(x)  # type: ignore[no-any-return]

    def logits(self, x: Tensor) -> Tensor:
        """[..., d_model] → [..., vocab_size]."""
        if self.config.tie_embeddings:
            return linear(x, self.embedding.weight)
        return self.head(x)  # type: ignore[no-any-return]

    def init_state(self, batch: int, max_length: int) -> KVCache:
        """An empty KV cache for `batch` rows of up to `max_length` tokens."""
        return KVCache(self.config, batch, max_length, like=self.embedding.weight)

    def _check_length(self, time: int, state: KVCache | None) -> None:
        end = time + (0 if state is None else state.longest)
        if state is not None and end > state.max_length:
            raise ContextError(
                f"{end} tokens do not fit in a state made for {state.max_length}; give init_state a larger max_length"
            )
        if end > self.config.max_seq_len and self.positions.has_limit:
            raise ContextError(
                f"{end} tokens exceed the model's context of {self.config.max_seq_len} ({self.config.positions} positions "
                "have no more): shorten the text, or use score_ids, which reads in windows"
            )

    def _mask_and_positions(self, ids: Tensor, state: KVCache | None, segments: Tensor | None) -> tuple[Tensor | None, Tensor]:
        check_exclusive(state, segments)
        time = ids.shape[1]
        if segments is not None:
            return _segment_mask(segments), _segment_positions(segments)
        if state is not None:
            return state.mask(time), state.positions(time)
        return None, torch.arange(time, device=ids.device)


def _segment_mask(segments: Tensor) -> Tensor:
    """[batch, time] → [batch, 1, time, time] bool: a token sees its own document, up to itself."""
    same = segments[:, :, None] == segments[:, None, :]
    return same.tril()[:, None]


def _segment_positions(segments: Tensor) -> Tensor:
    """[batch, time] → position of each token in its own document."""
    steps = torch.arange(segments.shape[1], device=segments.device).expand_as(segments)
    new = torch.ones_like(segments, dtype=torch.bool)
    new[:, 1:] = segments[:, 1:] != segments[:, :-1]
    return steps - torch.where(new, steps, 0).cummax(dim=1).values

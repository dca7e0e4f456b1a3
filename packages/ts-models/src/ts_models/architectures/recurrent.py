"""RNN, LSTM and GRU language models: embedding, stacked recurrent layers, output layer."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from ..layers.linear import Linear
from ..schemas import RecurrentConfig
from ..state import RecurrentState
from .base import StoryModel, check_exclusive, embed

_KINDS: dict[str, Any] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


class Recurrent(StoryModel):
    """Has no length limit: `max_seq_len` is the length that it is trained with."""

    config: RecurrentConfig
    config_class = RecurrentConfig
    points = "ts_models.inspection.recurrent:RecurrentPoints"

    def __init__(self, config: RecurrentConfig, *, torchtune: bool = True) -> None:
        super().__init__(config, torchtune=torchtune)
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        between = config.dropout if config.n_layers > 1 else 0.0
        self.rnn = _KINDS[config.kind](config.d_model, config.d_hidden, config.n_layers, batch_first=True, dropout=between)
        self.head = Linear(config.d_hidden, config.vocab_size)

    def hidden(
        self, ids: Tensor, *, state: RecurrentState | None = None, segments: Tensor | None = None, lengths: Tensor | None = None
    ) -> Tensor:
        """ids [batch, time] → what the output layer reads, [batch, time, d_hidden]."""
        check_exclusive(state, segments)
        x = embed(self.embedding, ids)
        if 0 in ids.shape:  # torch's networks refuse it
            return x.new_empty(*ids.shape, self.config.d_hidden)
        if segments is not None:
            return self._packed(x, segments)
        if state is None:
            return self.rnn(x)[0]  # type: ignore[no-any-return]
        return self._continue(x, state, lengths)

    def logits(self, x: Tensor) -> Tensor:
        """[..., d_hidden] → [..., vocab_size]."""
        return self.head(x)  # type: ignore[no-any-return]

    def init_state(self, batch: int, max_length: int) -> RecurrentState:
        """A zero state; `max_length` is not needed, the state has one size."""
        hidden = torch.zeros(self.config.n_layers, batch, self.config.d_hidden, dtype=self.dtype, device=self.device)
        return RecurrentState(hidden, torch.zeros_like(hidden) if self.config.has_cell else None)

    def _continue(self, x: Tensor, state: RecurrentState, lengths: Tensor | None) -> Tensor:
        """Run on from `state` and leave it after each row's last real token."""
        before: Any = state.hidden if state.cell is None else (state.hidden, state.cell)
        if lengths is None:
            out, after = self.rnn(x, before)
        else:
            packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
            out, after = self.rnn(packed, before)
            out = pad_packed_sequence(out, batch_first=True, total_length=x.shape[1])[0]
        state.hidden, state.cell = (after, None) if state.cell is None else after
        state.advance(x.shape[1], lengths)
        return out  # type: ignore[no-any-return]

    def _packed(self, x: Tensor, segments: Tensor) -> Tensor:
        """Run every document of every row from a zero state of its own."""
        new = torch.ones_like(segments, dtype=torch.bool)
        new[:, 1:] = segments[:, 1:] != segments[:, :-1]
        starts = new.flatten().nonzero().flatten()
        sizes = torch.diff(starts, append=torch.tensor([segments.numel()], device=starts.device)).tolist()
        documents = torch.split(x.flatten(0, 1), sizes)
        out = self.rnn(pad_sequence(list(documents), batch_first=True))[0]
        return torch.cat([row[:size] for row, size in zip(out, sizes, strict=True)]).view(*x.shape[:2], -1)

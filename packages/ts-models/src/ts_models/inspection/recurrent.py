"""The named tensors of a recurrent network, [batch, time, d_hidden] each: hidden state, cell and gates of every layer.

The pass runs step by step with torch's equations, because a change at one step must reach the next. A change is applied to the
values of each step as if they stood at every step, of which that step is kept: indices and shapes are those of the whole tensor.
"""

from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..architectures.base import check_exclusive, embed
from ..architectures.recurrent import Recurrent
from ..state import RecurrentState
from .tracing import Trace

_NAMES = {
    "rnn": ("pre", "hidden"),
    "gru": ("reset_gate", "update_gate", "candidate", "hidden"),
    "lstm": ("input_gate", "forget_gate", "candidate", "output_gate", "cell", "hidden"),
}
_Now = Callable[[str, Tensor], Tensor]


class RecurrentPoints:
    """See tracing.Points."""

    stream, neurons, patterns = "layers.*.hidden", "layers.*.hidden", None

    def __init__(self, network: Recurrent) -> None:
        self.network = network

    def names(self) -> dict[str, str]:
        c = self.network.config
        layers = [f"layers.{layer}.{name}" for layer in range(c.n_layers) for name in _NAMES[c.kind]]
        states = dict.fromkeys(layers, "[batch, time, d_hidden]")
        return {"embedding": "[batch, time, d_model]", **states, "logits": "[batch, time, vocab_size]"}

    def neuron_output(self, layer: int) -> Tensor | None:
        config = self.network.config
        return torch.eye(config.d_hidden) if layer == config.n_layers - 1 else None

    def methods(self, at: Trace) -> dict[str, Callable[..., Any]]:
        return {"hidden": partial(self._hidden, at), "logits": lambda x: at("logits", Recurrent.logits(self.network, x))}

    def _hidden(self, at: Trace, ids: Tensor, *, state: Any = None, segments: Any = None, lengths: Any = None) -> Tensor:
        net = self.network
        check_exclusive(state, segments)
        x = at("embedding", embed(net.embedding, ids))
        before = state if state is not None else net.init_state(len(ids), ids.shape[1])
        ends = torch.full((len(ids),), ids.shape[1], device=ids.device) if lengths is None else lengths.to(ids.device)
        after = []
        for layer in range(net.config.n_layers):
            if layer and net.training:
                x = F.dropout(x, net.config.dropout)
            x, last = self._layer(at, layer, x, before, segments, ends)
            after.append(last)
        if state is not None:
            state.hidden = torch.stack([hidden for hidden, _ in after])
            state.cell = None if state.cell is None else torch.stack([cell for _, cell in after])
            state.advance(ids.shape[1], lengths)
        return x

    def _layer(
        self, at: Trace, layer: int, x: Tensor, before: RecurrentState, segments: Tensor | None, ends: Tensor
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The hidden states [batch, time, d_hidden], and hidden state and cell after each row's last real token."""
        step = {"rnn": _rnn, "gru": _gru, "lstm": _lstm}[self.network.config.kind]
        parts = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        w_in, w, b_in, b = (getattr(self.network.rnn, f"{part}_l{layer}") for part in parts)
        inputs, time = F.linear(x, w_in, b_in), x.shape[1]
        hidden = before.hidden[layer]
        cell = hidden if before.cell is None else before.cell[layer]
        found: dict[str, list[Tensor]] = defaultdict(list)
        steps: list[tuple[Tensor, Tensor]] = []
        for place in range(time):
            if segments is not None and place:
                new = (segments[:, place] != segments[:, place - 1])[:, None]
                hidden, cell = hidden.masked_fill(new, 0.0), cell.masked_fill(new, 0.0)

            def now(part: str, value: Tensor, place: int = place) -> Tensor:
                name = f"layers.{layer}.{part}"
                if at.needs(name):
                    value = at.change(name, value[:, None].expand(-1, time, -1))[:, place]
                    found[name].append(value)
                return value

            hidden, cell = step(now, inputs[:, place], F.linear(hidden, w, b), hidden, cell)
            steps.append((hidden, cell))
        hiddens, cells = (torch.stack(values, dim=1) for values in zip(*steps, strict=True))
        for name, values in found.items():
            at.record(name, torch.stack(values, dim=1))
        at.record(f"layers.{layer}.hidden", hiddens)
        rows = torch.arange(len(x), device=x.device)
        return hiddens, (hiddens[rows, ends - 1], cells[rows, ends - 1])


def _rnn(now: _Now, inputs: Tensor, again: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    hidden = now("hidden", torch.tanh(now("pre", inputs + again)))
    return hidden, hidden


def _gru(now: _Now, inputs: Tensor, again: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    (ir, iz, inew), (hr, hz, hnew) = inputs.chunk(3, dim=-1), again.chunk(3, dim=-1)
    reset, update = now("reset_gate", torch.sigmoid(ir + hr)), now("update_gate", torch.sigmoid(iz + hz))
    candidate = now("candidate", torch.tanh(inew + reset * hnew))
    hidden = now("hidden", (1 - update) * candidate + update * hidden)
    return hidden, hidden


def _lstm(now: _Now, inputs: Tensor, again: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    into, forget, candidate, out = (inputs + again).chunk(4, dim=-1)
    into, forget = now("input_gate", torch.sigmoid(into)), now("forget_gate", torch.sigmoid(forget))
    candidate = now("candidate", torch.tanh(candidate))
    out = now("output_gate", torch.sigmoid(out))
    cell = now("cell", forget * cell + into * candidate)
    return now("hidden", out * torch.tanh(cell)), cell

"""Training step (forward, loss, backward) of each talk preset against nn.TransformerEncoder / nn.RNN assembled as the talk did.

    python bench/models_training_step.py [--small] [--presets talk-1m ...] [--dropout zero|preset|both] [--json]

Prints tokens per second of both, from alternating steps in one run (the median of the rounds), and two ratios: by the
clock, and by the CPU time of the process, which other programs on a busy machine disturb less.
Batch and context are the same for both; ids are random, which costs the same as text.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ts_models
from ts_models.presets import PRESETS
from ts_models.schemas import RecurrentConfig, TransformerConfig

BARS = {"zero": 1.3, "preset": 2.0}


class Peer(nn.Module):
    """Embedding, positions, nn.TransformerEncoder with a causal mask (or a recurrent stack), linear layer."""

    def __init__(self, config: TransformerConfig | RecurrentConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        if isinstance(config, RecurrentConfig):
            kind = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[config.kind]
            self.body = kind(config.d_model, config.d_hidden, config.n_layers, dropout=config.dropout, batch_first=True)
            self.head = nn.Linear(config.d_hidden, config.vocab_size)
            return
        layer = nn.TransformerEncoderLayer(
            config.d_model, config.n_heads, config.d_ff, config.dropout, "gelu", batch_first=True, norm_first=config.norm_first
        )
        self.body = nn.TransformerEncoder(layer, config.n_layers, enable_nested_tensor=False)
        self.head = nn.Linear(config.d_model, config.vocab_size)
        mask = nn.Transformer.generate_square_subsequent_mask(config.max_seq_len)
        self.register_buffer("mask", mask)
        if config.positions == "rope-embedding":
            from torchtune.modules import RotaryPositionalEmbeddings

            self.rotary = RotaryPositionalEmbeddings(config.head_size, config.max_seq_len)
        else:
            from ts_models.layers.positions import sinusoidal_table

            self.register_buffer("table", sinusoidal_table(config.max_seq_len, config.d_model))

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embedding(ids)
        if isinstance(self.config, RecurrentConfig):
            return self.head(self.body(x)[0])
        batch, time, width = x.shape
        if self.config.positions == "rope-embedding":
            x = self.rotary(x.view(batch, time, self.config.n_heads, -1)).reshape(batch, time, width)
        else:
            x = x + self.table[:time]
        return self.head(self.body(x, mask=self.mask[:time, :time]))


def step(model: nn.Module, ids: Tensor) -> Callable[[], None]:
    """One forward, loss and backward."""

    def run() -> None:
        model.zero_grad(set_to_none=True)
        logits = model(ids[:, :-1])
        F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()).backward()

    return run


def measure(name: str, dropout: str, *, batch: int, rounds: int) -> dict[str, object]:
    """Tokens per second of the preset and of its peer, steps taken in turns."""
    config = PRESETS[name].config
    if dropout == "zero":
        config = config.model_copy(update={"dropout": 0.0})
    ids = torch.randint(0, config.vocab_size, (batch, config.max_seq_len + 1))
    ours, peer = step(ts_models.build(config).train(), ids), step(Peer(config).train(), ids)
    times: dict[str, list[float]] = {"ours": [], "peer": []}
    cpu: dict[str, list[float]] = {"ours": [], "peer": []}
    ours(), peer()
    for _ in range(rounds):
        for label, run in (("ours", ours), ("peer", peer)):
            start, spent = time.perf_counter(), time.process_time()
            run()
            times[label].append(time.perf_counter() - start)
            cpu[label].append(time.process_time() - spent)
    tokens = batch * config.max_seq_len
    speed = {label: tokens / statistics.median(values) for label, values in times.items()}
    ratio, cpu_ratio = (statistics.median(p / o for o, p in zip(x["ours"], x["peer"], strict=True)) for x in (times, cpu))
    row = {"preset": name, "dropout": config.dropout, "batch": batch, **speed}
    return {**row, "ratio": ratio, "cpu_ratio": cpu_ratio, "bar": BARS[dropout]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="two presets, fewer rounds, smaller batch")
    parser.add_argument("--presets", nargs="*", default=[name for name in PRESETS if name.startswith("talk-")])
    parser.add_argument("--dropout", choices=["zero", "preset", "both"], default="both")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    if options.small:
        options.presets, options.batch, options.rounds = ["talk-1m", "talk-5m"], 4, 3
    if not options.json:
        print(f"torch {torch.__version__}, Python {platform.python_version()}, {options.threads} threads, context 256")
        print(
            f"{'preset':15s} {'dropout':>8s} {'batch':>5s} {'ours tok/s':>11s} {'peer tok/s':>11s} {'ratio':>6s} {'by CPU':>6s}  bar"
        )
    rows = []
    for name in options.presets:
        for dropout in ("zero", "preset") if options.dropout == "both" else (options.dropout,):
            row = measure(name, dropout, batch=options.batch, rounds=options.rounds)
            rows.append(row)
            if not options.json:
                print(
                    f"{name:15s} {row['dropout']:8.4f} {row['batch']:5d} {row['ours']:11,.0f} {row['peer']:11,.0f} "
                    f"{row['ratio']:6.2f} {row['cpu_ratio']:6.2f}  {row['bar']}",
                    flush=True,
                )
    if options.json:
        print(json.dumps({"torch": torch.__version__, "rows": rows}))


if __name__ == "__main__":
    main()

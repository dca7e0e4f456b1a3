"""Claim: tokens/s of the whole training loop, against the talk's loop and Hugging Face's Trainer, on the same data.

One process, one run: our loop (`ts_train.Trainer.train_step`: batches, forward, backward, clipping, optimizer, metrics) on
`story-*` and on `talk-*` with and without dropout; the talk's loop as its text describes it (padded random batches of 64,
nn.TransformerEncoder, AdamW, StepLR, clipping); `transformers.Trainer` on a Llama of the same size, as it comes
(64 x 256) and with our micro-batches. Model-FLOPs utilisation is against the matrix product measured in this run.

    python bench/train_throughput.py [--small] [--data encoded/] [--sizes 1m 5m] [--mfu-sizes 5m 35m] [--seconds 20]

Without --data, made-up stories with the real sample's lengths (mean 205 tokens) and 2,048 words.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ts_train import TrainConfig, create_trainer, recipe
from ts_train.recipes import combine
from ts_train.runtime.hardware import _fastest_product, training_flops_per_token
from ts_train.testing import fake_encoded

CPU = torch.device("cpu")
clock = time.perf_counter


def measure(step: Callable[[], int], seconds: float) -> float:
    """Real tokens per second, after two steps to warm up. `step` gives the real tokens that it trained on."""
    step(), step()
    start, tokens = clock(), 0
    while (now := clock()) - start < seconds or tokens == 0:
        tokens += step()
    return tokens / (now - start)


def measured_peaks() -> list[float]:
    """FLOP/s of a matrix product of 1,024 by the same clock as everything else: torch's own, and the fastest at hand."""
    a, b = torch.randn(2, 1024, 1024)
    peaks = []
    for multiply in (torch.matmul, _fastest_product(CPU, torch.float32)):
        best = float("inf")
        for _ in range(8):
            start = clock()
            multiply(a, b)
            best = min(best, clock() - start)
        peaks.append(2 * 1024**3 / best)
    return peaks


# --- ours --------------------------------------------------------------------------------------


def ours(preset: str, data: Any, changes: dict[str, Any]) -> Callable[[], int]:
    config = TrainConfig.model_validate(
        combine(recipe(preset), {"preset": preset, "max_steps": 10_000, "precision": "fp32", **changes})
    )
    trainer = create_trainer(config, data)
    manifest = trainer.manifest
    print(f"    micro-batches of {manifest.micro_batch_tokens:,} tokens, {manifest.environment.optimizer}", flush=True)

    def step() -> int:
        before = trainer.state.tokens
        trainer.train_step()
        return trainer.state.tokens - before

    return step


# --- the talk's loop ---------------------------------------------------------------------------


class TalkNetwork(nn.Module):
    """nn.Embedding, positions, nn.TransformerEncoder with a causal mask, nn.Linear: facts of the talk."""

    def __init__(self, config: Any, dropout: float) -> None:
        super().__init__()
        import ts_models

        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.positions = ts_models.build(
            config, dropout=0.0
        ).positions  # torchtune's rotation or the sinusoids, as the preset has
        layer = nn.TransformerEncoderLayer(
            config.d_model, config.n_heads, config.d_ff, dropout, "gelu", batch_first=True, norm_first=config.norm_first
        )
        self.encoder = nn.TransformerEncoder(layer, config.n_layers, enable_nested_tensor=False)
        self.head = nn.Linear(config.d_model, config.vocab_size)

    def forward(self, ids: torch.Tensor, padding: torch.Tensor) -> torch.Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(ids.shape[1])
        x = self.positions(self.embedding(ids), torch.arange(ids.shape[1]))
        logits: torch.Tensor = self.head(self.encoder(x, mask=mask, src_key_padding_mask=padding))
        return logits


def talk(preset: str, data: Any, dropout: float | None) -> Callable[[], int]:
    import ts_models

    config = ts_models.preset(preset, vocab_size=data.vocab_size)
    model = TalkNetwork(config, config.dropout if dropout is None else dropout)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 5_000, 0.8)
    stories = [torch.from_numpy(np.asarray(story[:257]).astype(np.int64)) for story in split_stories(data["train"])]
    draw = torch.Generator().manual_seed(1)

    def step() -> int:
        chosen = [stories[i] for i in torch.randperm(len(stories), generator=draw)[:64]]
        rows = nn.utils.rnn.pad_sequence(chosen, batch_first=True, padding_value=data.pad_id)
        rows = F.pad(rows, (0, 257 - rows.shape[1]), value=data.pad_id)
        ids, targets = rows[:, :-1], rows[:, 1:]
        loss = F.cross_entropy(model(ids, ids == data.pad_id).flatten(0, 1), targets.flatten(), ignore_index=data.pad_id)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        return sum(len(story) - 1 for story in chosen)

    return step


# --- Hugging Face ------------------------------------------------------------------------------


def hugging_face(size: str, data: Any, rows: int, seconds: float) -> float:
    """Tokens per second of `Trainer.train`, by its own clock, after the same warm-up steps."""
    import transformers

    transformers.utils.logging.set_verbosity_error()
    import ts_models

    c = ts_models.preset(f"story-{size}", vocab_size=data.vocab_size)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(
        vocab_size=c.vocab_size, hidden_size=c.d_model, intermediate_size=c.d_ff, num_hidden_layers=c.n_layers,
        num_attention_heads=c.n_heads, head_dim=c.head_dim, max_position_embeddings=256, tie_word_embeddings=True,
        attn_implementation="sdpa",
    ))  # fmt: skip
    stream = np.concatenate(list(split_stories(data["train"]))).astype(np.int64)
    blocks = torch.from_numpy(stream[: len(stream) // 256 * 256].reshape(-1, 256))

    class Clock(transformers.TrainerCallback):
        steps, start, stop = 0, 0.0, 0.0

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.steps += 1
            if self.steps == 2:
                self.start = clock()
            if self.steps > 2 and clock() - self.start > seconds:
                control.should_training_stop = True
            self.stop = clock()

    watch = Clock()
    with tempfile.TemporaryDirectory() as folder:
        arguments = transformers.TrainingArguments(
            folder, per_device_train_batch_size=rows, max_steps=10_000, report_to=[], save_strategy="no", logging_steps=10,
            use_cpu=True, disable_tqdm=True, dataloader_num_workers=0, weight_decay=0.1, learning_rate=1e-3,
        )  # fmt: skip
        items = [{"input_ids": block, "labels": block} for block in blocks]
        transformers.Trainer(model=model, args=arguments, train_dataset=items, callbacks=[watch]).train()
    return (watch.steps - 2) * rows * 256 / (watch.stop - watch.start)


def split_stories(split: Any) -> list[Any]:
    return [split.ids[a:b] for a, b in zip(split.offsets[:-1], split.offsets[1:], strict=True)]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--small", action="store_true", help="2 seconds each, 1m only")
    options.add_argument("--data", help="an encoded/ folder")
    options.add_argument("--sizes", nargs="*", default=["1m", "5m"])
    options.add_argument("--mfu-sizes", nargs="*", default=["1m", "5m", "35m"], help="where the utilisation alone is measured")
    options.add_argument("--seconds", type=float, default=20)
    options.add_argument("--threads", type=int, default=torch.get_num_threads())
    options.add_argument("--cpu-time", action="store_true", help="one thread, by CPU time: for a machine with other load")
    chosen = options.parse_args()
    if chosen.cpu_time:
        global clock
        clock, chosen.threads = time.process_time, 1
    torch.set_num_threads(chosen.threads)
    seconds, sizes, mfu_sizes = (2.0, ["1m"], ["1m"]) if chosen.small else (chosen.seconds, chosen.sizes, chosen.mfu_sizes)
    if chosen.data:
        import ts_tokenizer

        data: Any = ts_tokenizer.open_encoded(chosen.data)
        data.pad_id = data.manifest.pad_id
    else:
        data = fake_encoded(stories=1200, vocab_size=2048, shortest=60, longest=350)
    import transformers

    print(
        f"torch {torch.__version__}, transformers {transformers.__version__}, {torch.get_num_threads()} thread(s), fp32, "
        f"{'CPU' if chosen.cpu_time else 'wall-clock'} time"
    )
    for size in mfu_sizes:
        utilisation(size, data, seconds)
    for size in sizes:
        print(f"{size}:")
        rates: dict[str, float] = {}
        for name, run in {
            "ours, story, the recipe": lambda s=size: measure(ours(f"story-{s}", data, {}), seconds),
            "ours, story, AdamW, 64 stories": lambda s=size: measure(
                ours(f"story-{s}", data, {"optimizer": {"name": "adamw"}, "batch": {"batch_size": 64}}), seconds
            ),
            "ours, talk's network, its dropout": lambda s=size: measure(ours(f"talk-{s}", data, {}), seconds),
            "ours, talk's network, no dropout": lambda s=size: measure(
                ours(f"talk-{s}", data, {"model": {"dropout": 0.0}}), seconds
            ),
            "talk's loop, its dropout": lambda s=size: measure(talk(f"talk-{s}", data, None), seconds),
            "talk's loop, no dropout": lambda s=size: measure(talk(f"talk-{s}", data, 0.0), seconds),
            "HF Trainer, 64 x 256": lambda s=size: hugging_face(s, data, 64, seconds),
            "HF Trainer, 8 x 256": lambda s=size: hugging_face(s, data, 8, seconds),
        }.items():
            rates[name] = run()
            print(f"  {name:42} {rates[name]:9,.0f} tokens/s", flush=True)
        report(size, rates)


def utilisation(size: str, data: Any, seconds: float) -> None:
    """Model FLOPs (6 per matrix weight and token, and causal attention) over the peak, taken just before and after."""
    import ts_models

    model = ts_models.build(f"story-{size}", vocab_size=data.vocab_size)
    mean = float(np.minimum(np.diff(data["train"].offsets) - 1, 256).mean())
    flops = training_flops_per_token(model, mean_length=mean)
    before = measured_peaks()
    rate = measure(ours(f"story-{size}", data, {"optimizer": {"name": "adamw"}, "batch": {"batch_size": 64}}), seconds)
    torchs, best = (max(pair) for pair in zip(before, measured_peaks(), strict=True))
    print(
        f"story-{size}: {rate:,.0f} tokens/s, {flops / 1e6:.1f} MFLOP a token: {rate * flops / torchs:.0%} of torch.matmul's "
        f"{torchs / 1e9:.0f} GFLOP/s, {rate * flops / best:.0%} of the fastest product's {best / 1e9:.0f}",
        flush=True,
    )


def report(size: str, rates: dict[str, float]) -> None:
    names = list(rates)
    best = rates[names[1]]
    print(f"  ours (talk's network, its dropout) / talk's loop: {rates[names[2]] / rates[names[4]]:.2f} x")
    print(f"  ours (story, recipe) / talk's loop with its dropout: {rates[names[0]] / rates[names[4]]:.2f} x (bar 4)")
    print(f"  ours (talk's network, no dropout) / talk's loop, no dropout: {rates[names[3]] / rates[names[5]]:.2f} x (bar 1.8)")
    print(f"  ours (story, AdamW) / HF Trainer as it comes: {best / rates[names[6]]:.2f} x (bar 1.5)")
    print(f"  ours (story, AdamW) / HF Trainer, our micro-batches: {best / rates[names[7]]:.2f} x (bar 1.15)")


if __name__ == "__main__":
    main()

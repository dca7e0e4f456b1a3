"""Claim: on a GPU the training loop has at least three times the tokens/s of Hugging Face's Trainer, at 35M 40 % utilisation.

Each preset trains for `--seconds` by the steps of a real run (`ts_train.Trainer.train_step`, the GPU form of its recipe) in fp32
(TF32 products), fp16 (with its GradScaler) and bf16, in three ways: launched kernel by kernel, recorded as CUDA graphs, and
compiled and recorded. Utilisation is against the matrix product of 8,192 in the same number format, by real (not padded) tokens.
Peers of `--peers`, in the same run, number format bf16, with as many positions a step, all of them real: a straightforward loop
in nanoGPT's style (random windows of 256 tokens, pinned memory, autocast, fused AdamW, clipping) around the same network, eager
and compiled, and `transformers.Trainer` on the same structure (Qwen3 for story-*, the network itself for talk-*).
On a CPU without units for half precision the half-precision rows show why `precision = "auto"` takes fp32 there.

    python bench/train_precisions.py [--small] [--data encoded/] [--presets story-1m talk-5m …] [--seconds 10] [--out figures.json]
    python bench/train_precisions.py --cpu-time --ways launched --precisions fp32 bf16 --presets talk-5m    # beside other load
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ts_train import TrainConfig, create_trainer, recipe
from ts_train.data.dataset import TrainingData, open_data
from ts_train.recipes import combine, recipe_names
from ts_train.runtime.hardware import peak_flops
from ts_train.testing import fake_encoded

WAYS = ("recorded", "compiled", "launched")
WINDOW = 256
WARM_UP = 150
"""Steps before the clock: most shapes are then recorded. Fewer where a step takes long."""


def settings(preset: str, way: str, precision: str, device: torch.device, batch_tokens: int | None) -> TrainConfig:
    """The recipe in its form for this device, never stopped."""
    changes: dict[str, Any] = {"preset": preset, "precision": precision, "device": str(device), "max_steps": 10**6}
    base = recipe(preset, device=device.type)
    changes["compile"] = way == "compiled"
    changes["capture"] = way != "launched" and base.get("capture", False)
    if batch_tokens is None and base["batch"].keys().isdisjoint(("batch_size", "tokens_per_step")):
        batch_tokens = 2048  # a recipe that leaves it to the length of the run, which has none here
    if batch_tokens is not None:
        changes["batch"] = {"tokens_per_step": batch_tokens, "arrangement": "bucketed"}
    return TrainConfig.model_validate(combine(base, changes))


def measure(step: Callable[[], int], seconds: float, clock: Callable[[], float], warm_up: int) -> float:
    """Real tokens per second. `step` gives the real tokens that it trained on and ends with its loss on the host."""
    begun = 0.0
    for number in range(warm_up):
        if number == 3:  # compiling, which the first steps do, does not count
            begun = clock()
        step()
        if number >= 5 and clock() - begun > 5 * seconds:
            break
    start, tokens = clock(), 0
    while (spent := clock() - start) < seconds or tokens == 0:
        tokens += step()
    return tokens / spent


def ours(config: TrainConfig, data: TrainingData, device: torch.device, seconds: float, clock: Any) -> dict[str, float]:
    """Tokens/s and utilisation of our loop."""
    trainer = create_trainer(config, data.source)

    def step() -> int:
        before = trainer.state.tokens
        trainer.train_step()
        return trainer.state.tokens - before

    with trainer.recorded():
        rate = measure(step, seconds, clock, WARM_UP if config.capture else 12)
    manifest = trainer.manifest
    return {"tokens_per_second": rate, "mfu": rate * manifest.flops_per_token / manifest.peak_flops}


# --- peers ---------------------------------------------------------------------------------------


def windows(data: TrainingData, rows: int, seed: int = 1) -> Iterator[torch.Tensor]:
    """Random windows of the stream of all training tokens, `[rows, WINDOW + 1]`."""
    stream, draw = torch.from_numpy(np.asarray(data.train.ids).astype(np.int64)), torch.Generator().manual_seed(seed)
    while True:
        starts = torch.randint(len(stream) - WINDOW - 1, (rows,), generator=draw)
        yield torch.stack([stream[s : s + WINDOW + 1] for s in starts.tolist()])


def plain_loop(
    preset: str, data: TrainingData, device: torch.device, positions: int, *, compile: bool, seconds: float
) -> dict[str, float]:
    """A training loop as nanoGPT's, around the same network."""
    import ts_models

    torch.manual_seed(1)
    model = ts_models.build(preset, vocab_size=data.vocab_size).to(device).train()
    network: Any = torch.compile(model) if compile else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    rows = max(1, positions // WINDOW)
    source = windows(data, rows)
    on_gpu = device.type == "cuda"

    def fetch() -> torch.Tensor:
        batch = next(source)
        return batch.pin_memory().to(device, non_blocking=True) if on_gpu else batch

    held = [fetch()]

    def step() -> int:
        batch = held.pop()
        with torch.autocast(device.type, torch.bfloat16, enabled=on_gpu):
            logits = network(batch[:, :-1])
            loss = nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
        held.append(fetch())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()
        return rows * WINDOW

    return {"tokens_per_second": measure(step, seconds, time.perf_counter, 12)}


class _WithLoss(nn.Module):
    """A network as `transformers.Trainer` wants it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, input_ids: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = self.network(input_ids)
        loss = nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten())
        return {"loss": loss}


def _peer_model(preset: str, data: TrainingData) -> nn.Module:
    import transformers

    import ts_models

    c: Any = ts_models.preset(preset, vocab_size=data.vocab_size)
    if preset.startswith("talk"):
        return _WithLoss(ts_models.build(c))
    model: nn.Module = transformers.Qwen3ForCausalLM(transformers.Qwen3Config(
        vocab_size=c.vocab_size, hidden_size=c.d_model, intermediate_size=c.d_ff, num_hidden_layers=c.n_layers,
        num_attention_heads=c.n_heads, num_key_value_heads=c.n_heads, head_dim=c.head_dim, max_position_embeddings=256,
        tie_word_embeddings=True, attn_implementation="sdpa",
    ))  # fmt: skip
    return model


def hugging_face(
    preset: str, data: TrainingData, device: torch.device, positions: int, *, compile: bool, seconds: float
) -> dict[str, float]:
    """Tokens per second of `Trainer.train`, by its own clock, after its first steps."""
    import transformers

    transformers.utils.logging.set_verbosity_error()
    rows, on_gpu = max(1, positions // WINDOW), device.type == "cuda"
    stream = np.asarray(data.train.ids).astype(np.int64)
    blocks = torch.from_numpy(stream[: len(stream) // WINDOW * WINDOW].reshape(-1, WINDOW))

    class Clock(transformers.TrainerCallback):
        steps, start, stop = 0, 0.0, 0.0

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.steps += 1
            if self.steps == 12:
                self.start = time.perf_counter()
            if self.steps > 12 and time.perf_counter() - self.start > seconds:
                if on_gpu:
                    torch.cuda.synchronize()
                control.should_training_stop = True
            self.stop = time.perf_counter()

    watch = Clock()
    with tempfile.TemporaryDirectory() as folder:
        arguments = transformers.TrainingArguments(
            folder, per_device_train_batch_size=rows, max_steps=100_000, report_to=[], save_strategy="no", logging_steps=10,
            use_cpu=not on_gpu, bf16=on_gpu, torch_compile=compile, disable_tqdm=True, weight_decay=0.1, learning_rate=1e-3,
        )  # fmt: skip
        items = [{"input_ids": block, "labels": block} for block in blocks]
        model = _peer_model(preset, data)
        transformers.Trainer(model=model, args=arguments, train_dataset=items, callbacks=[watch]).train()
    return {"tokens_per_second": (watch.steps - 12) * rows * WINDOW / (watch.stop - watch.start)}


# --- the run -------------------------------------------------------------------------------------


class Table:
    """Prints a line a measurement and keeps all of them in a JSON file, rewritten each time."""

    def __init__(self, out: Path | None, heading: dict[str, Any]) -> None:
        self.out, self.content, self.base = out, {**heading, "rows": []}, 0.0
        print(", ".join(f"{name} {value}" for name, value in heading.items()), flush=True)

    def measure(self, preset: str, precision: str, way: str, run: Callable[[], dict[str, float]]) -> None:
        """Add what `run` gives; a failure is a row too."""
        on_gpu = torch.cuda.is_available()
        if on_gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        begun = time.perf_counter()
        row: dict[str, Any] = {"preset": preset, "precision": precision, "way": way}
        try:
            row |= run()
        except Exception as problem:  # the other rows are still worth having
            row["error"] = f"{type(problem).__name__}: {problem}"[:300]
        if on_gpu:
            row["mebibytes"] = torch.cuda.max_memory_allocated() / 2**20
        row["seconds_in_all"] = time.perf_counter() - begun
        self.content["rows"].append(row)
        if self.out is not None:
            self.out.write_text(json.dumps(self.content, indent=1) + "\n", encoding="utf-8")
        self._print(row)

    def _print(self, row: dict[str, Any]) -> None:
        head = f"  {row['preset']:15} {row['precision']:5}{row['way']:22}"
        if "error" in row:
            print(f"{head} {row['error']}", flush=True)
            return
        used = f"{row['mfu']:6.1%} MFU" if "mfu" in row else " " * 10
        memory = f"{row['mebibytes']:8,.0f} MiB" if "mebibytes" in row else ""
        print(f"{head}{row['tokens_per_second']:12,.0f} tokens/s {used} {memory}", flush=True)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--small", action="store_true", help="one tiny preset, a second each")
    options.add_argument("--data", help="an encoded/ folder; made-up stories without it")
    options.add_argument("--presets", nargs="+", default=recipe_names())
    options.add_argument("--peers", nargs="*", default=["talk-1m", "story-5m"], help="presets that are run beside the peers")
    options.add_argument("--seconds", type=float, default=10)
    options.add_argument("--batch-tokens", type=int, help="positions per optimizer step; default: the recipe's, or 2,048")
    options.add_argument("--precisions", nargs="+", default=["bf16", "fp16", "fp32"])
    options.add_argument("--ways", nargs="*", choices=WAYS, default=list(WAYS))
    options.add_argument("--compiled", nargs="*", help="presets that are compiled, which takes a minute each; default: all")
    options.add_argument("--peers-compiled", action="store_true", help="the Trainer's torch_compile too")
    options.add_argument("--cpu-time", action="store_true", help="one thread, by CPU time: for a machine with other load")
    options.add_argument("--out", type=Path, help="a JSON file for all figures")
    chosen = options.parse_args()
    clock = time.process_time if chosen.cpu_time else time.perf_counter
    if chosen.cpu_time:
        torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    on_gpu = device.type == "cuda"
    torch.set_float32_matmul_precision("high" if on_gpu else "highest")
    data = open_data(chosen.data or fake_encoded(stories=1200, vocab_size=2048, shortest=60, longest=350))
    presets, peers, ways = chosen.presets, chosen.peers, chosen.ways
    seconds = chosen.seconds
    if chosen.small:
        presets, peers, ways, seconds = ["story-1m"], [], ["launched"], 1.0
    name = torch.cuda.get_device_name() if on_gpu else f"CPU, {torch.get_num_threads()} thread(s)"
    heading: dict[str, Any] = {"torch": str(torch.__version__), "device": name}
    if on_gpu:
        heading |= {f"tflops_{p}": round(peak_flops(device, d) / 1e12, 1) for p, d in
                    (("bf16", torch.bfloat16), ("fp16", torch.float16), ("tf32", torch.float32))}  # fmt: skip
    table = Table(chosen.out, heading)
    for preset in peers:
        config = settings(preset, "launched", "fp32", device, chosen.batch_tokens)
        positions = config.batch.tokens_per_step or (config.batch.batch_size or 4) * WINDOW
        for compile in (False, True):
            table.measure(preset, "bf16", "plain loop" + ", compiled" * compile, lambda p=preset, c=compile, n=positions: (
                plain_loop(p, data, device, n, compile=c, seconds=seconds)))  # fmt: skip
        for compile in (False, True) if chosen.peers_compiled else (False,):
            table.measure(preset, "bf16", "HF Trainer" + ", compiled" * compile, lambda p=preset, c=compile, n=positions: (
                hugging_face(p, data, device, n, compile=c, seconds=seconds)))  # fmt: skip
    for precision in chosen.precisions:
        for way in ways:
            for preset in presets if way != "compiled" or chosen.compiled is None else chosen.compiled:
                config = settings(preset, way, precision, device, chosen.batch_tokens)
                if way == "recorded" and not config.capture:
                    continue
                table.measure(preset, precision, way, lambda c=config: ours(c, data, device, seconds, clock))


if __name__ == "__main__":
    main()

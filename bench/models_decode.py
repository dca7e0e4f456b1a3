"""Decoding speed of ts_models against transformers' `generate`, the memory's and the processor's limits: all claims in one run.

    python bench/models_decode.py [--small] [--presets talk-1m …] [--tokens 200] [--rows 100] [--rounds 3] [--json]

The peer is a Llama of the same width, depth and heads, its feed-forward width chosen so that the matrices hold as many
weights. Both write the same number of greedy tokens from the same random prompts, in turns; the best of the rounds counts.
The loop without cache is timed at five prefix lengths and summed over all of them (whole it would take minutes to hours).
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import transformers
from _decode_peers import bandwidth
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

import ts_models
from ts_models.fast import available
from ts_models.generation import generate_ids, make_stepper
from ts_models.schemas import GenerationConfig

PROMPT = 8
SINGLE = {"talk-1m": 4.0, "talk-5m": 4.0, "talk-35m": 1.6}
BATCH = {"talk-1m": 4.0, "talk-5m": 3.0, "talk-35m": 3.0}
FLOOR = ("talk-15m", "talk-35m")


def models(preset: str) -> tuple[Any, Any]:
    """Ours, and the peer of the same size."""
    torch.manual_seed(0)
    from ts_models.architectures import build_for_inference

    config = ts_models.preset(preset)
    ours = build_for_inference(config).eval()
    peer = LlamaConfig(
        vocab_size=config.vocab_size, hidden_size=config.d_model, intermediate_size=round(config.d_ff * 2 / 3),
        num_hidden_layers=config.n_layers, num_attention_heads=config.n_heads, max_position_embeddings=256,
        bos_token_id=config.bos_id, eos_token_id=config.eos_id, pad_token_id=config.pad_id,
    )  # fmt: skip
    return ours, LlamaForCausalLM(peer).eval()


def torchtune_writer(peer: LlamaConfig, rows: int, tokens: int) -> Callable[[list[list[int]]], None]:
    """torchtune's `generate` over its own Llama of the peer's sizes, with its KVCache, greedy (top_k 1)."""
    from torchtune.generation import generate
    from torchtune.models.llama2 import llama2

    model = llama2(
        vocab_size=peer.vocab_size, num_layers=peer.num_hidden_layers, num_heads=peer.num_attention_heads,
        num_kv_heads=peer.num_attention_heads, embed_dim=peer.hidden_size, max_seq_len=256, intermediate_dim=peer.intermediate_size,
    ).eval()  # fmt: skip
    model.setup_caches(rows, torch.float32, decoder_max_seq_len=PROMPT + tokens)

    def write(prompts: list[list[int]]) -> None:
        model.reset_caches()
        out, _ = generate(model, torch.tensor(prompts), max_generated_tokens=tokens, pad_id=-1, top_k=1)
        assert out.shape == (rows, PROMPT + tokens)

    return write


def ours_writes(model: Any, prompts: list[list[int]], tokens: int, precision: str = "float32", beams: int = 1) -> None:
    method = "beam" if beams > 1 else "greedy"
    config = GenerationConfig(method=method, num_beams=beams, max_new_tokens=tokens, min_new_tokens=tokens)
    found = generate_ids(model, prompts, config, stepper=make_stepper(model, precision=precision))
    assert all(len(group[0].ids) == tokens for group in found)


def peer_writes(model: Any, prompts: list[list[int]], tokens: int, beams: int = 1) -> None:
    ids = torch.tensor(prompts)
    with torch.inference_mode():
        out = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            num_beams=beams,
            max_new_tokens=tokens,
            min_new_tokens=tokens,
        )
    assert out.shape[1] == ids.shape[1] + tokens


def without_cache(model: Any, rows: int, tokens: int) -> float:
    """Seconds of the loop that reads the whole prefix for each token, from five lengths (trapezoid)."""
    lengths = [PROMPT + round(tokens * part) for part in (0, 0.25, 0.5, 0.75, 1)]
    seconds = []
    for length in lengths:
        ids = torch.randint(0, 2000, (rows, length))
        with torch.inference_mode():
            seconds.append(best(lambda ids=ids: model(ids), 1))
    return sum((b - a) * (s + t) / 2 for a, b, s, t in zip(lengths, lengths[1:], seconds, seconds[1:], strict=False))


def best(action: Callable[[], Any], rounds: int) -> float:
    seconds = []
    for _ in range(rounds):
        begin = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


def in_turns(actions: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """The best seconds of each, measured in turns, after one round that does not count."""
    for action in actions.values():
        action()
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(rounds):
        for name, action in actions.items():
            seconds[name].append(best(action, 1))
    return {name: min(values) for name, values in seconds.items()}


def peak(rounds: int) -> float:
    """Operations per second of a large float32 matrix product."""
    a, b = torch.randn(1536, 1536), torch.randn(1536, 1536)
    return 2 * 1536**3 / best(lambda: a @ b, 5 * rounds)


def matrix_weights(model: Any) -> int:
    """Weights that one token reads: every linear layer's, not the embedding's other rows."""
    return sum(module.weight.numel() for module in model.modules() if isinstance(module, nn.Linear))


def claims(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    tokens, rounds, rows = options.tokens, options.rounds, options.rows
    prompts = torch.randint(0, 2000, (rows, PROMPT), generator=torch.Generator().manual_seed(1)).tolist()
    for preset in options.presets:
        ours, peer = models(preset)
        weights = matrix_weights(ours)
        actions: dict[str, Callable[[], Any]] = {
            "ours": lambda m=ours: ours_writes(m, prompts[:1], tokens),
            "peer": lambda m=peer: peer_writes(m, prompts[:1], tokens),
            "torchtune": lambda write=torchtune_writer(peer.config, 1, tokens): write(prompts[:1]),
        }
        if preset in FLOOR:
            for precision in ("int8", "int4"):
                actions[precision] = lambda m=ours, p=precision: ours_writes(m, prompts[:1], tokens, p)
        rate = {name: tokens / seconds for name, seconds in in_turns(actions, rounds).items()}
        yield row("batch 1, tokens/s", preset, rate["ours"], rate["peer"], "transformers", SINGLE.get(preset))
        yield row("batch 1, tokens/s", preset, rate["ours"], rate["torchtune"], "torchtune", None)
        if preset in FLOOR:
            floor = bandwidth(options.threads) / (4 * weights)
            yield row("batch 1, tokens/s", preset, rate["ours"], floor, "memory bandwidth", 0.75)
            yield row("batch 1, int8, tokens/s", preset, rate["int8"], rate["ours"], "our float32", 1.8)
            yield row("batch 1, int4, tokens/s", preset, rate["int4"], rate["int8"], "our int8", None)
        many = in_turns(
            {
                "ours": lambda m=ours: ours_writes(m, prompts, tokens),
                "peer": lambda m=peer: peer_writes(m, prompts, tokens),
                "torchtune": lambda write=torchtune_writer(peer.config, rows, tokens): write(prompts),
            },
            1,
        )
        rate = {name: rows * tokens / seconds for name, seconds in many.items()}
        yield row(f"batch {rows}, tokens/s", preset, rate["ours"], rate["peer"], "transformers", BATCH.get(preset))
        yield row(f"batch {rows}, tokens/s", preset, rate["ours"], rate["torchtune"], "torchtune", None)
        yield row(
            f"batch {rows}, tokens/s", preset, rate["ours"], rows * tokens / without_cache(ours, rows, tokens), "no cache", 30.0
        )
        if preset == "talk-35m":
            yield row(f"batch {rows}, tokens/s", preset, rate["ours"], peak(rounds) / (2 * weights), "matrix peak", 0.6)
            beam = in_turns(
                {"ours": lambda m=ours: ours_writes(m, prompts[:1], tokens, beams=5), "peer": lambda m=peer: peer_writes(m, prompts[:1], tokens, 5)}, rounds
            )  # fmt: skip
            yield row("beam 5, tokens/s", preset, tokens / beam["ours"], tokens / beam["peer"], "transformers", 2.0)


def row(claim: str, preset: str, ours: float, other: float, against: str, bar: float | None) -> dict[str, Any]:
    ratio = ours / other
    met = None if bar is None else ratio >= bar
    return {
        "claim": claim,
        "preset": preset,
        "ours": ours,
        "against": against,
        "other": other,
        "ratio": ratio,
        "bar": bar,
        "met": met,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="talk-1m only, 24 tokens, 12 rows, one round")
    parser.add_argument("--presets", nargs="+", default=["talk-1m", "talk-5m", "talk-15m", "talk-35m"])
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.small:
        options.presets, options.tokens, options.rows, options.rounds = ["talk-1m"], 24, 12, 1
    torch.set_num_threads(options.threads)
    transformers.logging.set_verbosity_error()
    versions = {
        "ts_models": ts_models.__version__, "kernels": "compiled" if available() else "torch", "torch": torch.__version__, "transformers": transformers.__version__,
        "numpy": np.__version__, "python": platform.python_version(), "threads": options.threads, "tokens": options.tokens,
    }  # fmt: skip
    if not options.json:
        print(", ".join(f"{name} {value}" for name, value in versions.items()), flush=True)
    rows = []
    for found in claims(options):
        rows.append(found)
        if not options.json:
            bar = "" if found["bar"] is None else f"  bar {found['bar']:g}  {'met' if found['met'] else 'NOT MET'}"
            print(
                f"{found['preset']:9}  {found['claim']:24} {found['ours']:10,.1f}  {found['against']:16} {found['other']:10,.1f}"
                f"  ratio {found['ratio']:6.2f}{bar}",
                flush=True,
            )
    if options.json:
        print(json.dumps({"versions": versions, "rows": rows, "median_ratio": statistics.median(r["ratio"] for r in rows)}))


if __name__ == "__main__":
    main()

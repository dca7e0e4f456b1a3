"""Decoding with a draft model against plain decoding of the same large model, one story at a time: tokens per second, same ids.

    python bench/models_speculate.py DRAFT [--large demo] [--preset story-35m] [--tokens 200] [--rounds 5] [--threads 2] [--small]

A trained model of the large preset is not at hand everywhere. So the large network is `--large`, a trained model, grown to the
preset's shape: zeros beyond its width, blocks that add nothing beyond its depth. It computes what the trained model computes, at the
cost of the large shape. `--preset ""` takes `--large` as it is. Medians of rounds in turns; the first round does not count.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from typing import Any

import torch

import ts_models
from ts_models.architectures import build_for_inference
from ts_models.generation import generate_ids, make_config, make_stepper

PROMPTS = (
    "Once upon a time", "Tom and Lily went to the park", "One day, a little dog", "There was a big tree", "Sara had a red ball",
    "The cat was sad",
)  # fmt: skip
METHODS: dict[str, dict[str, Any]] = {
    "greedy": {"method": "greedy"},
    "sample, temperature 0.7": {"method": "sample", "temperature": 0.7},
}


def grow(network: Any, config: Any) -> Any:
    """A story-* network of `config`'s shape, with heads as wide as before, that computes what `network` computes."""
    old = network.config
    grown = build_for_inference(config).eval()
    state = {name: torch.ones_like(p) if p.dim() == 1 else torch.zeros_like(p) for name, p in grown.state_dict().items()}
    for name, value in network.state_dict().items():
        target, parts = state[name], {"qkv": 3, "up": 2}.get(name.split(".")[-2], 1)
        if value.dim() == 1:  # a mean square over zeros too is smaller: the weight makes up for it
            target[: len(value)] = value * (len(value) / len(target)) ** 0.5 if len(value) < len(target) else value
            continue
        for new, part in zip(target.chunk(parts), value.chunk(parts), strict=True):
            new[: part.shape[0], : part.shape[1]] = part
    if old.head_size != config.head_size:
        raise SystemExit(f"heads of {old.head_size} cannot become heads of {config.head_size}")
    grown.load_state_dict(state)
    return grown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("draft", help="a small model folder, or demo")
    parser.add_argument("--large", default="demo")
    parser.add_argument("--preset", default="story-35m")
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--small", action="store_true", help="a check that it runs")
    options = parser.parse_args()
    if options.small:
        options.preset, options.tokens, options.rounds = "story-15m", 20, 1
    torch.set_num_threads(options.threads)
    lm, draft = ts_models.load(options.large), ts_models.load(options.draft)
    lm.speculate(draft).speculate(None)  # refuses another vocabulary
    network = grow(lm.model, ts_models.preset(options.preset)) if options.preset else lm.model
    prompts = [lm.encode_prompt(prompt) for prompt in PROMPTS]
    print(f"{options.preset or lm.name} drafted by {draft.name}, {options.threads} threads, load {os.getloadavg()[0]:.1f}")
    for name, method in METHODS.items():
        rates: dict[str, list[float]] = {"plain": [], "drafted": []}
        for round_ in range(options.rounds + 1):
            config = make_config({**method, "seed": round_, "max_new_tokens": options.tokens})
            found = {}
            for way, other in (("plain", None), ("drafted", draft.model)):
                begin = time.perf_counter()
                found[way] = [
                    generate_ids(network, [p], config, stepper=make_stepper(network, draft=other))[0][0].ids for p in prompts
                ]
                rates[way].append(sum(map(len, found[way])) / (time.perf_counter() - begin))
            assert found["plain"] == found["drafted"]
        plain, drafted = (statistics.median(values[1:]) for values in rates.values())
        print(
            f"{name:24} plain {plain:7,.0f}  drafted {drafted:7,.0f} tokens/s  ratio {drafted / plain:.2f}, same ids", flush=True
        )


if __name__ == "__main__":
    main()

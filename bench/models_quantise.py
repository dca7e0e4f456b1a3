"""What rounding the matrices costs while a model decodes: loss in float32, int8 and int4 on the same stories.

    python bench/models_quantise.py MODEL … --data encoded/ [--split validation] [--stories 400]

Stories go token by token through the kernels that write stories, 100 rows at a time. The difference is in nats a token, with its
95 % interval over stories (paired, a story's tokens together).
"""

from __future__ import annotations

import argparse
import math

import numpy as np
import torch

import ts_models
import ts_tokenizer
from ts_models.generation import make_stepper


@torch.inference_mode()
def losses(network: object, stories: list[np.ndarray], precision: str) -> np.ndarray:
    """Σ −ln p of the tokens after the first, per story."""
    stepper = make_stepper(network, precision=precision)
    total, live = np.zeros(len(stories)), len(stories)
    logits = stepper.start([[int(story[0])] for story in stories], len(stories[0]) + 1, per_prompt=1)
    for place in range(1, len(stories[0])):
        tokens = torch.tensor([int(story[place]) for story in stories if len(story) > place])
        kept = len(tokens)
        total[:kept] -= torch.log_softmax(logits[:kept], dim=-1).gather(1, tokens[:, None])[:, 0].numpy()
        if place < len(stories[0]) - 1:  # nothing follows the last token
            logits, live = stepper.step(tokens, None if kept == live else torch.arange(kept)), kept
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--data", required=True, help="an encoded/ folder of the models' vocabulary")
    parser.add_argument("--split", default="validation")
    parser.add_argument("--stories", type=int, default=400)
    options = parser.parse_args()
    split = ts_tokenizer.open_encoded(options.data)[options.split]
    print("| model | parameters | float32 | int8 costs | int4 costs |\n|---|---|---|---|---|")
    for path in options.models:
        network = ts_models.load(path).model
        limit = network.config.max_seq_len
        stories = sorted((np.asarray(story[:limit]) for story in split[: options.stories]), key=len, reverse=True)
        tokens = np.array([len(story) - 1 for story in stories])
        found = {}
        for precision in ("float32", "int8", "int4"):
            parts = [losses(network, stories[i : i + 100], precision) for i in range(0, len(stories), 100)]
            found[precision] = np.concatenate(parts)
        cells = [f"{found['float32'].sum() / tokens.sum():.4f}"]
        for precision in ("int8", "int4"):
            more = found[precision] - found["float32"]
            cost = more.sum() / tokens.sum()
            half = 1.96 * math.sqrt(len(more)) * (more - cost * tokens).std(ddof=1) / tokens.sum()
            cells.append(f"{cost:+.4f} ± {half:.4f}")
        print(f"| {path} | {sum(p.numel() for p in network.parameters()):,} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()

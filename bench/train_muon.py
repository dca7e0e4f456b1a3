"""Claim: the batched Muon step costs no more than torch.optim.Muon's, and far less on a CPU without bfloat16 units.

One thread, CPU time, the hidden matrices of a preset with random gradients: `torch.optim.Muon` (bfloat16, one matrix at a
time), ours in bfloat16 and in float32 (matrices of a shape together).

    python bench/train_muon.py [--small] [--preset story-1m]
"""

from __future__ import annotations

import argparse
import time

import torch
from torch import nn

import ts_models
from ts_train.optimizers import build_optimizers
from ts_train.optimizers.muon import BatchedMuon
from ts_train.runtime.hardware import multiplies_bf16
from ts_train.schemas import MuonConfig


def seconds(optimizer: torch.optim.Optimizer, repeats: int) -> float:
    optimizer.step()
    start = time.process_time()
    for _ in range(repeats):
        optimizer.step()
    return (time.process_time() - start) / repeats


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--small", action="store_true", help="one repeat")
    options.add_argument("--preset", default="story-1m")
    options.add_argument("--data", help="not used: the cost does not depend on the data")
    chosen = options.parse_args()
    torch.set_num_threads(1)
    repeats = 1 if chosen.small else 3
    model = ts_models.build(chosen.preset)
    matrices: list[nn.Parameter] = build_optimizers(model, MuonConfig(), vocab_size=2048).parts[0].param_groups[0]["params"]
    for matrix in matrices:
        matrix.grad = torch.randn_like(matrix)
    peer = seconds(torch.optim.Muon(matrices, lr=0.02), repeats)
    print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, AMX: {multiplies_bf16(torch.device('cpu'))}")
    print(f"{chosen.preset}, {len(matrices)} matrices: torch.optim.Muon {peer * 1e3:.1f} ms of CPU a step")
    for dtype in (torch.bfloat16, torch.float32):
        ours = seconds(BatchedMuon(matrices, lr=0.02, momentum=0.95, weight_decay=0.0, ns_steps=5, dtype=dtype), repeats)
        print(f"  ours in {str(dtype).removeprefix('torch.'):9} {ours * 1e3:8.1f} ms, {peer / ours:6.2f} x")


if __name__ == "__main__":
    main()

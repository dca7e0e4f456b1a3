"""A model folder a quarter of the size: matrices rounded to int8, one factor per row. `load` opens it like any other.

What it costs in loss and gains in speed is measured, never assumed: on the stories that are given, else on the model's
own writing (which is kinder: give held-out stories).
"""

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..architectures import StoryModel
from ..artefact import write_folder, write_model
from ..console import Progress
from ..fast.weights import fits
from ..generation import make_stepper
from ..io.model_folder import CONFIG, KIND, OWNED, WEIGHTS, clean_names, copy_files, load_model, write_tensors
from ..language_model import LanguageModel
from ..scoring import score_ids


def export_int8(
    lm: LanguageModel, out: Path, *, stories: list[str] | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Write the folder; compare loss (nats per token) and decoding speed (tokens per second, one story) before and after."""
    write_int8(lm, out)
    return {"bytes": (out / WEIGHTS).stat().st_size, **measure_cost(lm, load_model(out), stories, progress), **_speed(lm)}


def write_int8(lm: LanguageModel, out: Path) -> None:
    """Write the folder alone."""
    tensors: dict[str, Tensor] = {}
    for name, tensor in clean_names(lm.model.state_dict()).items():
        tensor = tensor.detach().cpu().float().contiguous()
        if tensor.dim() == 2 and name != "positions.weight":
            tensors[name], tensors[f"{name}.scale"] = quantise_rows(tensor)
        else:
            tensors[name] = tensor
    with write_folder(out, *KIND, owned=OWNED) as folder:
        write_model(folder / CONFIG, lm.config)
        write_tensors(folder / WEIGHTS, tensors, quantised="int8 per row")
        copy_files(lm.path, folder)


def quantise_rows(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """[rows, columns] → int8 of the same shape, and a float32 factor per row: 127 steps to each side of zero."""
    scale = matrix.abs().amax(dim=1) / 127
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    return torch.round(matrix / scale[:, None]).to(torch.int8), scale


def measure_cost(lm: LanguageModel, rounded: StoryModel, stories: list[str] | None, progress: Progress | None) -> dict[str, Any]:
    """Loss of a model and of its rounded copy, on the stories, or else on the model's own writing."""
    if lm.config.max_seq_len < 2:
        return {"measured_on": "nothing: a context of one token gives no token to predict"}
    if stories:
        ids, measured = [lm.encode_story(story) for story in stories], f"{len(stories)} stories given"
    else:
        start = [max(lm.config.bos_id, 0)]
        limit = lm.config.max_seq_len - 1
        own = lm.model.generate([start] * 16, method="sample", temperature=1.0, seed=1, max_new_tokens=limit)
        ids, measured = [[*start, *story] for story in own], "16 stories of its own writing"
    scored = (score_ids(model, ids, progress=progress) for model in (lm.model, rounded))
    before, after = (-float(np.concatenate(scores).mean()) for scores in scored)
    return {"measured_on": measured, "loss_before": before, "loss_after": after, "loss_cost": after - before}


@torch.inference_mode()
def _speed(lm: LanguageModel, tokens: int = 100) -> dict[str, Any]:
    """Decoding through the float32 and the int8 path, in turns; the better of three each."""
    if not fits(lm.model):
        return {"speed": "not measured: only float32 Transformers on the CPU decode in int8"}
    steps = min(tokens, lm.config.max_seq_len - 2)
    if steps < 1:
        return {"speed": "not measured: the context is too short"}
    best = {"float32": 0.0, "int8": 0.0}
    for _ in range(3):
        for precision in best:
            stepper = make_stepper(lm.model, precision=precision)
            token = stepper.start([[0]], steps + 2, per_prompt=1).argmax(-1)
            begin = time.perf_counter()
            for _ in range(steps):
                token = stepper.step(token, None).argmax(-1)
            best[precision] = max(best[precision], steps / (time.perf_counter() - begin))
    return {"tokens_per_second": best, "speed_up": best["int8"] / best["float32"]}

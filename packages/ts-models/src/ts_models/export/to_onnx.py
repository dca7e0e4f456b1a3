"""One ONNX file whose state (KV cache, or hidden values and cell) is an input and an output, checked in onnxruntime.

Transformer: ids [batch, time] int64, past_keys and past_values [layers, batch, heads, past, width] → logits
[batch, time, vocab], keys and values [layers, batch, heads, past + time, width]. Recurrent: hidden (and cell)
[layers, batch, d_hidden] in and out. An empty text starts with past = 0, or zeros.
"""

import copy
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..architectures import StoryModel
from ..artefact import write_bytes
from ..console import Progress
from ..errors import ConfigError
from ..language_model import LanguageModel
from ..schemas import RecurrentConfig, TransformerConfig
from ..state import RecurrentState
from .to_transformers import how_to_feed, need, sample_ids


def export_onnx(
    lm: LanguageModel, out: Path, *, stories: list[str] | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Feed the export a text in three pieces through its memory, compare with the network's own logits, and write it."""
    model, config = lm.model, lm.config
    if not isinstance(config, RecurrentConfig | TransformerConfig):
        raise ConfigError(f"no ONNX export for networks of kind {config.kind!r}; --format transformers takes them.")
    need("onnx", "onnx")
    need("onnxruntime", "onnx")
    wrapped = (_RecurrentStep if isinstance(config, RecurrentConfig) else _TransformerStep)(_traceable(model)).eval()
    inputs, outputs, axes = names(config)
    ids = sample_ids(config)
    past = min(3, max(ids.shape[1] - 2, 0))  # a context may be as short as that
    memory = _empty(model, batch=2, past=past)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = Path(folder) / "model.onnx"  # torch takes no name that is not UTF-8, as `out` may have
        torch.onnx.export(
            wrapped, (ids[:, past : past + 5], *memory), str(file), input_names=inputs, output_names=outputs,
            dynamic_axes=axes, opset_version=17, dynamo=False,
        )  # fmt: skip
        content = file.read_bytes()
    difference = _check(lm, content)
    if difference > 1e-3:
        raise ConfigError(f"{out}: not written, because onnxruntime gives other logits (by {difference:.2g})")
    write_bytes(out, content)
    return {
        "bytes": out.stat().st_size,
        "inputs": inputs,
        "outputs": outputs,
        "largest_difference": difference,
        "use": how_to_feed(config),
    }


def names(config: Any) -> tuple[list[str], list[str], dict[str, dict[int, str]]]:
    """Names of inputs and outputs, and which of their axes vary."""
    rows = {0: "batch", 1: "time"}
    if isinstance(config, RecurrentConfig):
        memory = ["hidden", "cell"] if config.has_cell else ["hidden"]
        after = [f"new_{name}" for name in memory]
        axes = {"ids": rows, "logits": rows, **{name: {1: "batch"} for name in (*memory, *after)}}
        return ["ids", *memory], ["logits", *after], axes
    past = {name: {1: "batch", 3: "past"} for name in ("past_keys", "past_values")}
    now = {name: {1: "batch", 3: "seen"} for name in ("keys", "values")}
    return ["ids", *past], ["logits", *now], {"ids": rows, "logits": rows, **past, **now}


class _PlainRMSNorm(nn.Module):
    """RMS norm in operators that ONNX has had for long."""

    def __init__(self, weight: Tensor, eps: float) -> None:
        super().__init__()
        self.weight, self.eps = weight, eps

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


def _traceable(model: StoryModel) -> StoryModel:
    """A copy that a tracer can write down: other RMS norms, no gradients."""
    model = copy.deepcopy(model).requires_grad_(False)
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.RMSNorm):
                setattr(module, name, _PlainRMSNorm(child.weight, child.eps or 1e-6))
    return model


class _Past:
    """A state whose memory grows by joining, so that a tracer sees every step."""

    max_length, longest = 1 << 30, 0

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        self.old, self.new = (keys, values), ([], [])  # type: tuple[Tensor, Tensor], tuple[list[Tensor], list[Tensor]]

    def append(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        joined = [torch.cat([past[layer], now], dim=2) for past, now in zip(self.old, (keys, values), strict=True)]
        for kept, tensor in zip(self.new, joined, strict=True):
            kept.append(tensor)
        return joined[0], joined[1]

    def positions(self, time: int) -> Tensor:
        past = self.old[0].shape[3]
        return torch.arange(past, past + time)

    def mask(self, time: int) -> Tensor:
        past = self.old[0].shape[3]
        return (torch.arange(past + time)[None, :] <= torch.arange(past, past + time)[:, None])[None, None]

    def advance(self, time: int, lengths: Tensor | None = None) -> None: ...


class _Step(nn.Module):
    """A network with its memory as inputs and outputs."""

    def __init__(self, model: StoryModel) -> None:
        super().__init__()
        self.model = model


class _TransformerStep(_Step):
    def forward(self, ids: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        state = _Past(keys, values)
        logits = self.model(ids, state=state)
        return logits, torch.stack(state.new[0]), torch.stack(state.new[1])


class _RecurrentStep(_Step):
    def forward(self, ids: Tensor, hidden: Tensor, cell: Tensor | None = None) -> tuple[Tensor, ...]:
        state = RecurrentState(hidden, cell)
        logits = self.model(ids, state=state)
        return (logits, state.hidden) if state.cell is None else (logits, state.hidden, state.cell)


def _empty(model: StoryModel, *, batch: int, past: int = 0) -> tuple[Tensor, ...]:
    """The memory before a text, or zeros in place of `past` tokens."""
    state = model.init_state(batch, past)
    if isinstance(state, RecurrentState):
        return (state.hidden,) if state.cell is None else (state.hidden, state.cell)
    return torch.stack(state.keys), torch.stack(state.values)


def run_onnx(session: Any, config: Any, model: StoryModel, pieces: list[Tensor]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Feed pieces of a text [batch, time] one after another; the logits of all, [batch, all time, vocab]."""
    inputs, outputs, _ = names(config)
    memory = [tensor.numpy() for tensor in _empty(model, batch=len(pieces[0]))]
    logits = []
    for piece in pieces:
        first, *memory = session.run(outputs, dict(zip(inputs, [piece.numpy(), *memory], strict=True)))
        logits.append(first)
    return np.concatenate(logits, axis=1)


def _check(lm: LanguageModel, content: bytes) -> float:
    import onnxruntime

    ids = sample_ids(lm.config)
    first = min(7, max(ids.shape[1] - 2, 2))
    pieces = [piece for piece in (ids[:, :first], ids[:, first : first + 1], ids[:, first + 1 :]) if piece.shape[1]]
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    theirs = run_onnx(session, lm.config, lm.model, pieces)
    with torch.inference_mode():
        return float(np.abs(theirs - lm.model(ids).numpy()).max())

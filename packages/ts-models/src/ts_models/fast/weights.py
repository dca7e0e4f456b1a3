"""Converts a Transformer's weights to the kernels' arrays; cached per network until the weights change."""

from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from ..errors import ConfigError
from ..schemas import TransformerConfig
from . import available, load_kernels
from .kernels.arrays import ACTIVATIONS, Floats, Matrix, Weights, quantise

_known: WeakKeyDictionary[Any, dict[str, tuple[Any, Weights]]] = WeakKeyDictionary()
_POSITIONS = {"sinusoidal", "learned", "rope", "rope-embedding", "none"}
"""The position encodings that the kernels know."""
PRECISIONS = ("float32", "int8", "int4")
"""Formats of the matrices while the kernels decode; see `quantise`."""
_MATRICES = ("qkv", "out", "up", "down", "head")


def fits(network: Any) -> bool:
    """Whether the kernels run this network: a Transformer in float32 on the CPU, with Numba."""
    config = network.config
    if not isinstance(config, TransformerConfig) or config.positions not in _POSITIONS or not available():
        return False
    weight: Tensor = next(network.parameters())
    return weight.device.type == "cpu" and weight.dtype == torch.float32


def read_weights(network: Any, precision: str = "float32") -> Weights:
    """The arrays of a network as the kernels lay them out; `precision` is one of PRECISIONS."""
    if precision not in PRECISIONS:
        raise ConfigError(f"no precision named {precision!r}; there are {', '.join(PRECISIONS)}.")
    known, state = _known.setdefault(network, {}), _fingerprint(network)
    if precision not in known or known[precision][0] != state:
        known[precision] = (state, _arrange(extract_weights(network), precision))
    return known[precision][1]


def _arrange(weights: Weights, precision: str) -> Weights:
    arrange = load_kernels("decode").arrange
    matrices: dict[str, Matrix] = {name: getattr(weights, name) for name in _MATRICES}
    if precision != "float32":
        matrices = {name: quantise(matrix, "int8" if name == "head" else precision) for name, matrix in matrices.items()}
    return weights._replace(**{name: arrange(matrix) for name, matrix in matrices.items()})


def _fingerprint(network: Any) -> list[tuple[int, int]]:
    """The sum of each tensor's bits, which also sees what is written through `.data`; its version, which sees rows that change places."""
    return [
        (int(_array(weight).view(np.uint32).sum(dtype=np.uint32)), 0 if weight.is_inference() else weight._version)
        for weight in network.parameters()
    ]


def extract_weights(network: Any) -> Weights:
    """The arrays of a network, matrices as [L, out, in]."""
    config: TransformerConfig = network.config
    blocks = list(network.blocks)
    width = config.head_size
    none = np.zeros((0, width // 2, 2), np.float32)
    embedding = _array(network.embedding.weight)
    rotary = _angles(config) if config.positions == "rope-embedding" else none
    rope = _angles(config) if config.positions == "rope" else none
    qk = [np.stack([_affine(b.attention.q_norm, width), _affine(b.attention.k_norm, width)]) for b in blocks if config.qk_norm]
    head = embedding if config.tie_embeddings else _array(network.head.weight)
    head_bias = _array(network.head.bias) if config.has_head_bias else np.zeros(len(head), np.float32)
    return Weights(
        embedding=embedding,
        position_embedding=_position_embedding(network, config),
        rotary_embedding=rotary,
        rope=rope,
        norms=np.stack([np.stack([_affine(b.norm1, config.d_model), _affine(b.norm2, config.d_model)]) for b in blocks]),
        final_norm=_affine(network.norm, config.d_model) if config.final_norm else np.zeros((0, config.d_model), np.float32),
        qk=np.stack(qk) if qk else np.zeros((len(blocks), 0, 2, width), np.float32),
        qkv=_stack([b.attention.qkv for b in blocks]),
        out=_stack([b.attention.out for b in blocks]),
        up=_stack([b.feed_forward.up for b in blocks]),
        down=_stack([b.feed_forward.down for b in blocks]),
        head=Matrix(head[None], np.ones((1, len(head), 1), np.float32), head_bias[None], config.d_model),
        windows=np.array(
            [config.local_window or 0 if layer in config.local_layers else 0 for layer in range(len(blocks))], np.int64
        ),
        heads=config.n_heads,
        kv_heads=config.kv_heads,
        rms=config.norm == "rmsnorm",
        norm_first=config.norm_first,
        activation=ACTIVATIONS[config.feed_forward],
        eps=config.norm_eps,
        scale=width**-0.5 if config.attention_scale is None else config.attention_scale,
    )


def _array(tensor: Tensor) -> Floats:
    return np.ascontiguousarray(tensor.detach().numpy())


def _affine(norm: Any, width: int) -> Floats:
    """[2, width] weight and bias of a norm, ones and zeros where it has none."""
    weight, bias = getattr(norm, "weight", None), getattr(norm, "bias", None)
    return np.stack([
        np.ones(width, np.float32) if weight is None else _array(weight),
        np.zeros(width, np.float32) if bias is None else _array(bias),
    ])  # fmt: skip


def _stack(layers: list[Any]) -> Matrix:
    value = np.stack([_array(layer.weight) for layer in layers])
    bias = [np.zeros(value.shape[1], np.float32) if layer.bias is None else _array(layer.bias) for layer in layers]
    return Matrix(value, np.ones((*value.shape[:2], 1), np.float32), np.stack(bias), value.shape[2])


def _position_embedding(network: Any, config: TransformerConfig) -> Floats:
    if config.positions == "sinusoidal":
        return _array(network.positions.table)
    if config.positions == "learned":
        return _array(network.positions.weight)
    return np.zeros((0, config.d_model), np.float32)


def _angles(config: TransformerConfig) -> Floats:
    """[max_seq_len, width / 2, 2]: cosine and sine of each position's angles."""
    rates = config.rope_theta ** (-torch.arange(0, config.head_size, 2, dtype=torch.float32) / config.head_size)
    angles = torch.arange(config.max_seq_len).float()[:, None] * rates
    return _array(torch.stack([angles.cos(), angles.sin()], dim=-1))

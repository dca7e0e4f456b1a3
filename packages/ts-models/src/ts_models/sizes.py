"""Size of a config: parameters by part, FLOPs per token, memory. Arithmetic for Transformers and recurrent networks; other kinds are counted."""

from typing import Any

from .registry import ARCHITECTURES, POSITIONS, load_entry
from .schemas import NetworkConfig, RecurrentConfig, TransformerConfig


def parameters_by_part(config: NetworkConfig) -> dict[str, int]:
    """Parameters of embedding, attention, feed-forward, norms, recurrent layers and unembedding (the talk's "balance").

    A tied embedding is counted once, as embedding.
    """
    if isinstance(config, TransformerConfig):
        parts = _transformer_parts(config)
    elif isinstance(config, RecurrentConfig):
        parts = _recurrent_parts(config)
    else:
        parts = _counted(config)
    return {name: number for name, number in parts.items() if number}


def _counted(config: Any) -> dict[str, int]:
    """The parameters of a kind that has no arithmetic here: those of its network, built without memory, by attribute."""
    import torch

    with torch.device("meta"):
        network = load_entry(ARCHITECTURES[config.kind])(config, torchtune=False)
    return {name: sum(p.numel() for p in part.parameters()) for name, part in network.named_children()}


def _transformer_parts(config: TransformerConfig) -> dict[str, int]:
    d, ff, bias = config.d_model, config.d_ff, int(config.bias)
    inner, kv = config.n_heads * config.head_size, config.kv_heads * config.head_size
    gates = 2 if config.feed_forward == "swiglu" else 1
    qkv = (d + int(config.has_qkv_bias)) * (inner + 2 * kv)
    attention = qkv + inner * d + d * bias
    feed_forward = gates * (d * ff + ff * bias) + ff * d + d * bias
    norm = d * (2 if config.norm == "layernorm" and config.bias else 1)
    norms = config.n_layers * (2 * norm + (2 * config.head_size if config.qk_norm else 0)) + (norm if config.final_norm else 0)
    head = 0 if config.tie_embeddings else config.vocab_size * (d + int(config.has_head_bias))
    return {
        "embedding": config.vocab_size * d,
        "positions": _position_parameters(config),
        "attention": config.n_layers * attention,
        "feed_forward": config.n_layers * feed_forward,
        "norms": norms,
        "unembedding": head,
    }


def _position_parameters(config: TransformerConfig) -> int:
    """Parameters of the position encoding; those of one that is not known here are counted on its module."""
    if config.positions == "learned":
        return config.max_seq_len * config.d_model
    if config.positions in {"sinusoidal", "rope", "rope-embedding", "none"}:
        return 0
    import torch

    with torch.device("meta"):
        module = load_entry(POSITIONS[config.positions]).make(config, torchtune=False)
    return sum(parameter.numel() for parameter in module.parameters())


def _recurrent_parts(config: RecurrentConfig) -> dict[str, int]:
    gates, h = config.gates, config.d_hidden
    layers = gates * h * (config.d_model + h + 2) + (config.n_layers - 1) * gates * h * (2 * h + 2)
    return {"embedding": config.vocab_size * config.d_model, "recurrent": layers, "unembedding": config.vocab_size * (h + 1)}


def count_parameters(config: NetworkConfig) -> int:
    """Trainable parameters, tied ones once."""
    return sum(parameters_by_part(config).values())


def flops_per_token(config: NetworkConfig, context: int | None = None) -> int:
    """Floating point operations of one forward pass for one token after `context` others (a multiply-add is two);
    None is the last token of a full context.

    Training costs about three times as much. Matrix products only: embedding look-ups, biases, norms and softmax are left out.
    """
    if isinstance(config, RecurrentConfig):
        biases = 2 * config.gates * config.d_hidden * config.n_layers
        return 2 * (parameters_by_part(config)["recurrent"] - biases + config.vocab_size * config.d_hidden)
    if not isinstance(config, TransformerConfig):
        return 2 * count_parameters(config)
    parts = parameters_by_part(config.model_copy(update={"bias": False, "qkv_bias": False}))
    matrices = parts["attention"] + parts["feed_forward"] + config.vocab_size * config.d_model
    seen = config.max_seq_len if context is None else context + 1  # a token attends to itself, too
    return 2 * matrices + 4 * config.n_layers * config.n_heads * config.head_size * seen


def inference_bytes(config: NetworkConfig) -> int:
    """Weights and the full KV cache (or recurrent state) of one story, in fp32."""
    state = 0  # of another kind: not known here
    if isinstance(config, RecurrentConfig):
        state = config.n_layers * config.d_hidden * (1 + config.has_cell)
    elif isinstance(config, TransformerConfig):
        state = 2 * config.n_layers * config.kv_heads * config.head_size * config.max_seq_len
    return 4 * (count_parameters(config) + state)


def training_bytes(config: NetworkConfig, *, batch: int = 64) -> int:
    """Weights, gradients, two moments of AdamW and the activations of one batch of full contexts, all in fp32.

    The activations are an estimate: the tensors that backward keeps, for attention in its fused form.
    """
    tokens = batch * config.max_seq_len
    kept = 0  # of another kind: not known here
    if isinstance(config, RecurrentConfig):
        kept = config.d_model + config.n_layers * config.d_hidden * (2 + config.gates)
    elif isinstance(config, TransformerConfig):
        gates = 2 if config.feed_forward == "swiglu" else 1
        block = 6 * config.d_model + 3 * config.n_heads * config.head_size + (gates + 2) * config.d_ff
        kept = config.d_model + config.n_layers * block
    return 4 * (4 * count_parameters(config) + tokens * (kept + 2 * config.vocab_size))

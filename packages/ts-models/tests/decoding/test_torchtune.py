"""torchtune's decoder with its KVCache and `generate`, holding the same weights, writes the same tokens: an independent oracle."""

import pytest
import torch

from ts_models import TransformerConfig
from ts_models.architectures import build_for_inference
from ts_models.generation import generate


def interleave(weight, heads):
    """Rows of a projection from halves (ours) to pairs (torchtune's rotation): 0, D/2, 1, D/2 + 1 …"""
    width = weight.shape[0] // heads
    order = torch.arange(width).view(2, -1).T.flatten()
    return weight.view(heads, width, -1)[:, order].reshape(weight.shape)


def same_in_torchtune(network):
    from torchtune.models.llama2 import llama2

    c, state = network.config, network.state_dict()
    theirs = llama2(
        vocab_size=c.vocab_size, num_layers=c.n_layers, num_heads=c.n_heads, num_kv_heads=c.n_heads, embed_dim=c.d_model,
        max_seq_len=c.max_seq_len, intermediate_dim=c.d_ff, norm_eps=c.norm_eps,
    ).eval()  # fmt: skip
    named = {
        "tok_embeddings.weight": state["embedding.weight"],
        "output.weight": state["embedding.weight"],
        "norm.scale": state["norm.weight"],
    }
    for layer in range(c.n_layers):
        ours = {name: state[f"blocks.{layer}.{name}.weight"] for name in ("attention.qkv", "attention.out", "norm1", "norm2")}
        q, k, v = ours["attention.qkv"].chunk(3)
        gate, up = state[f"blocks.{layer}.feed_forward.up.weight"].chunk(2)
        parts = {
            "attn.q_proj.weight": interleave(q, c.n_heads), "attn.k_proj.weight": interleave(k, c.n_heads), "attn.v_proj.weight": v,
            "attn.output_proj.weight": ours["attention.out"], "sa_norm.scale": ours["norm1"], "mlp_norm.scale": ours["norm2"],
            "mlp.w1.weight": gate, "mlp.w3.weight": up, "mlp.w2.weight": state[f"blocks.{layer}.feed_forward.down.weight"],
        }  # fmt: skip
        named.update({f"layers.{layer}.{name}": tensor for name, tensor in parts.items()})
    theirs.load_state_dict(named)
    return theirs


def test_torchtune_writes_the_same():
    pytest.importorskip("torchtune", reason="needs the extra torchtune")
    from torchtune.generation import generate as their_generate

    special = {"eos_id": -1, "bos_id": -1, "unk_id": -1, "pad_id": -1}
    config = TransformerConfig(vocab_size=64, max_seq_len=48, d_model=32, n_heads=4, d_ff=40, n_layers=2, init_std=0.3, **special)
    torch.manual_seed(7)
    network = build_for_inference(config).eval()
    theirs = same_in_torchtune(network)
    prompts = [[61, 3, 4], [7, 9, 8]]
    with torch.inference_mode():
        torch.testing.assert_close(theirs(torch.tensor(prompts)), network(torch.tensor(prompts)), atol=1e-5, rtol=1e-5)
    theirs.setup_caches(2, torch.float32, decoder_max_seq_len=48)
    written, _ = their_generate(theirs, torch.tensor(prompts), max_generated_tokens=40, pad_id=-1, top_k=1)
    assert generate(network, prompts, method="greedy", max_new_tokens=40) == written[:, 3:].tolist()

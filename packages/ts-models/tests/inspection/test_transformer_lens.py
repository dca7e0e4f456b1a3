"""A network in TransformerLens: equal logits, and the table of names in docs/how-to/look-inside.md."""

from __future__ import annotations

import importlib.util

import pytest
import torch

import ts_models
from ts_models import ConfigError, LanguageModel, trace

here = pytest.mark.skipif(importlib.util.find_spec("transformer_lens") is None, reason="transformer_lens is not installed")
NAMES = {
    "embedding": "hook_embed", "blocks.1.resid_pre": "blocks.1.hook_resid_pre", "blocks.1.norm1": "blocks.1.ln1.hook_out",
    "blocks.1.norm2": "blocks.1.ln2.hook_out", "blocks.1.attention.q": "blocks.1.attn.hook_rot_q",
    "blocks.1.attention.k": "blocks.1.attn.hook_rot_k", "blocks.1.attention.v": "blocks.1.attn.hook_v",
    "blocks.1.attention.pattern": "blocks.1.attn.hook_pattern", "blocks.1.attention.z": "blocks.1.attn.hook_z",
    "blocks.1.attention.out": "blocks.1.hook_attn_out", "blocks.1.resid_mid": "blocks.1.hook_resid_mid",
    "blocks.1.feed_forward.post": "blocks.1.mlp.hook_post", "blocks.1.feed_forward.out": "blocks.1.hook_mlp_out",
    "blocks.1.resid_post": "blocks.1.hook_resid_post", "final": "ln_final.hook_out",
}  # fmt: skip


@here
def test_logits_and_names_are_those_of_the_network(lm):
    bridge = ts_models.to_transformer_lens(lm)
    ids = torch.randint(0, 60, (2, 20))
    with torch.no_grad(), trace(lm, *NAMES) as t:
        logits = lm.model(ids)
        theirs, cache = bridge.run_with_cache(ids)
    torch.testing.assert_close(theirs, logits, atol=1e-4, rtol=1e-4)
    for ours, name in NAMES.items():
        tensor = cache[name].transpose(1, 2) if ours.endswith((".q", ".k", ".v", ".z")) else cache[name]
        torch.testing.assert_close(tensor, t[ours], atol=1e-4, rtol=1e-4, msg=name)


def test_other_networks_are_refused(lm):
    other = ts_models.build("talk-5m-gru", vocab_size=64, d_model=8, d_hidden=12)
    with pytest.raises(ConfigError, match="Qwen3's structure"):
        ts_models.to_transformer_lens(LanguageModel(other, lm.tokenizer))

"""PostNormBlock and CrossBlock: norms after the sums, names, a cache step by step, and PyTorch's decoder layer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parts import block_of, sight_of

from tinygpt.autograd import Tensor
from tinygpt.nn import (Cache, Causal, CrossAttention, CrossBlock, DecoderSight, GatedFeedForward, LayerNorm, Mask,
                        MultiHeadAttention, Positions, PostNormBlock, RMSNorm)


def tokens(t: int = 5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((2, t, 12))


def decoding(memory: Tensor, where: np.ndarray = np.arange(5), cache: Cache | None = None,
             causal: bool = True) -> DecoderSight:
    return DecoderSight(Positions(), Causal() if causal else Mask(), where, cache, "cpu", memory, None)


@given(st.booleans(), st.booleans(), st.sampled_from(["layer", "rms"]), st.booleans(), st.integers(0, 99))
@settings(deadline=None, max_examples=30, derandomize=True)
def test_norms_stand_after_the_sums(causal, cross, norm, gated, seed):
    block = block_of(CrossBlock if cross else PostNormBlock, seed, norm=norm, gated=gated)
    x, memory = Tensor(tokens(seed=seed)), Tensor(tokens(3, seed + 1))
    sight = decoding(memory, causal=causal) if cross else sight_of(5, causal=causal)
    layers = [(block.attention_norm, lambda h: block.attention(h, sight)),
              (block.feed_forward_norm, block.feed_forward)]
    if cross:
        layers.insert(1, (block.cross_attention_norm, lambda h: block.cross_attention(h, sight)))
    expected = x
    for normalize, layer in layers:
        expected = normalize(expected + layer(expected))
    np.testing.assert_allclose(block(x, sight).data, expected.data, rtol=1e-10, atol=1e-10)
    norms = [normalize for normalize, _ in layers]
    assert len({id(part) for part in norms}) == len(norms)
    assert all(isinstance(part, RMSNorm) == (norm == "rms") and part.epsilon == 1e-3 for part in norms)


def test_names_and_shapes_of_the_parameters():
    block = CrossBlock(MultiHeadAttention(12, 4, n_kv_head=2, bias=False),
                       CrossAttention(12, 4, n_kv_head=2, bias=False), GatedFeedForward(12, 20, bias=False),
                       lambda: LayerNorm(12, bias=False))
    assert {name: p.shape for name, p in block.named_parameters()} == {
        "attention_norm.weight": (12,), "attention.qkv.weight": (24, 12), "attention.out.weight": (12, 12),
        "cross_attention_norm.weight": (12,), "cross_attention.q.weight": (12, 12),
        "cross_attention.kv.weight": (12, 12), "cross_attention.out.weight": (12, 12),
        "feed_forward_norm.weight": (12,), "feed_forward.gate.weight": (20, 12), "feed_forward.up.weight": (20, 12),
        "feed_forward.down.weight": (12, 20)}


def test_with_a_cache_step_by_step():
    block, x, memory = block_of(CrossBlock), tokens(), Tensor(tokens(3, 1))
    expected = block(Tensor(x), decoding(memory)).data
    cache = Cache(1, 2, 4, 5, 3, dtype=np.float64, device="cpu")
    out = [block(Tensor(x[:, i:i + 1]), decoding(memory, np.array([i]), cache)).data for i in range(5)]
    np.testing.assert_allclose(np.concatenate(out, axis=1), expected, rtol=1e-9, atol=1e-10)


@pytest.mark.oracle
def test_decoder_layer_is_pytorchs():
    torch = pytest.importorskip("torch")
    ours = block_of(CrossBlock, 3)
    theirs = torch.nn.TransformerDecoderLayer(12, 4, 20, dropout=0.0, activation="gelu", batch_first=True,
                                              layer_norm_eps=1e-3).double()
    state = ours.state_dict()
    names = {"self_attn.in_proj_": "attention.qkv.", "self_attn.out_proj.": "attention.out.",
             "multihead_attn.out_proj.": "cross_attention.out.", "linear1.": "feed_forward.up.",
             "linear2.": "feed_forward.down.", "norm1.": "attention_norm.", "norm2.": "cross_attention_norm.",
             "norm3.": "feed_forward_norm."}
    loaded = {a + part: torch.tensor(state[b + part]) for a, b in names.items() for part in ("weight", "bias")}
    loaded |= {f"multihead_attn.in_proj_{part}": torch.tensor(np.concatenate(
        [state[f"cross_attention.q.{part}"], state[f"cross_attention.kv.{part}"]])) for part in ("weight", "bias")}
    theirs.load_state_dict(loaded)
    x, memory, g = tokens(), tokens(3, 1), tokens(seed=8)
    mine, source = (Tensor(a, requires_grad=True) for a in (x, memory))
    yours, theirs_source = (torch.tensor(a, requires_grad=True) for a in (x, memory))
    out = ours(mine, decoding(source))
    expected = theirs(yours, theirs_source, tgt_mask=torch.triu(torch.ones(5, 5, dtype=torch.bool), 1))
    np.testing.assert_allclose(out.data, expected.detach().numpy(), rtol=1e-9, atol=1e-9)
    out.backward(g)
    expected.backward(torch.tensor(g))
    np.testing.assert_allclose(mine.grad, yours.grad.numpy(), rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(source.grad, theirs_source.grad.numpy(), rtol=1e-7, atol=1e-9)
    cross = ours.cross_attention
    for part in ("weight", "bias"):
        both = np.concatenate([getattr(layer, part).grad for layer in (cross.q, cross.kv)])
        np.testing.assert_allclose(both, theirs.get_parameter(f"multihead_attn.in_proj_{part}").grad.numpy(),
                                   rtol=1e-7, atol=1e-9)

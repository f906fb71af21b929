"""TransformerBlock: pre-norm and post-norm as the papers write them, cross attention, and PyTorch's layers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygpt.autograd import Tensor
from tinygpt.nn import Cache, RMSNorm, TransformerBlock


def block_of(seed: int = 0, **options) -> TransformerBlock:
    block = TransformerBlock(12, 4, 20, **options)
    rng = np.random.default_rng(seed)
    for p in block.parameters():
        p.data = rng.standard_normal(p.shape) / 3
    return block


def tokens(t: int = 5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((2, t, 12))


@given(st.booleans(), st.booleans(), st.booleans(), st.sampled_from(["layer", "rms"]), st.booleans(),
       st.integers(0, 99))
@settings(deadline=None, max_examples=30, derandomize=True)
def test_pre_norm_and_post_norm(norm_first, causal, cross, norm, gated, seed):
    block = block_of(seed, norm_first=norm_first, cross=cross, norm=norm, gated=gated, norm_epsilon=1e-3)
    x, memory = Tensor(tokens(seed=seed)), Tensor(tokens(3, seed + 1)) if cross else None
    layers = [(block.attention_norm, lambda h: block.attention(h, causal=causal)),
              (block.feed_forward_norm, block.feed_forward)]
    if cross:
        layers.insert(1, (block.cross_attention_norm, lambda h: block.cross_attention(h, memory=memory)))
    expected = x
    for normalize, layer in layers:
        expected = expected + layer(normalize(expected)) if norm_first else normalize(expected + layer(expected))
    np.testing.assert_allclose(block(x, causal=causal, memory=memory).data, expected.data, rtol=1e-10, atol=1e-10)
    assert isinstance(block.attention_norm, RMSNorm) == (norm == "rms") and block.attention_norm.epsilon == 1e-3


def test_names_and_shapes_of_the_parameters():
    block = TransformerBlock(12, 4, 20, n_kv_head=2, gated=True, cross=True, bias=False)
    assert {name: p.shape for name, p in block.named_parameters()} == {
        "attention_norm.weight": (12,), "attention.qkv.weight": (24, 12), "attention.out.weight": (12, 12),
        "cross_attention_norm.weight": (12,), "cross_attention.q.weight": (12, 12),
        "cross_attention.kv.weight": (12, 12), "cross_attention.out.weight": (12, 12),
        "feed_forward_norm.weight": (12,), "feed_forward.gate.weight": (20, 12), "feed_forward.up.weight": (20, 12),
        "feed_forward.down.weight": (12, 20)}


def test_with_a_cache_step_by_step():
    block, x, memory = block_of(cross=True), tokens(), Tensor(tokens(3, 1))
    expected = block(Tensor(x), causal=True, memory=memory).data
    cache = Cache(1, 2, 4, 5, 3, dtype=np.float64, device="cpu").layers[0]
    out = [block(Tensor(x[:, i:i + 1]), causal=True, memory=memory, cache=cache).data for i in range(5)]
    np.testing.assert_allclose(np.concatenate(out, axis=1), expected, rtol=1e-9, atol=1e-10)


@pytest.mark.oracle
@pytest.mark.parametrize("norm_first", [True, False])
def test_encoder_layer_is_pytorchs(norm_first):
    torch = pytest.importorskip("torch")
    ours = block_of(3, norm_first=norm_first, activation="gelu")
    theirs = torch.nn.TransformerEncoderLayer(12, 4, 20, dropout=0.0, activation="gelu", batch_first=True,
                                              norm_first=norm_first).double()
    names = {"self_attn.in_proj_": "attention.qkv.", "self_attn.out_proj.": "attention.out.",
             "linear1.": "feed_forward.up.", "linear2.": "feed_forward.down.", "norm1.": "attention_norm.",
             "norm2.": "feed_forward_norm."}
    state = ours.state_dict()
    theirs.load_state_dict({a + kind: torch.tensor(state[b + kind]) for a, b in names.items()
                            for kind in ("weight", "bias")})
    x, g = tokens(), tokens(seed=8)
    mine, yours = Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    out, expected = ours(mine), theirs(yours)
    np.testing.assert_allclose(out.data, expected.detach().numpy(), rtol=1e-9, atol=1e-9)
    out.backward(g)
    expected.backward(torch.tensor(g))
    np.testing.assert_allclose(mine.grad, yours.grad.numpy(), rtol=1e-7, atol=1e-9)
    for a, b in names.items():
        for kind in ("weight", "bias"):
            np.testing.assert_allclose(dict(ours.named_parameters())[b + kind].grad,
                                       theirs.get_parameter(a + kind).grad.numpy(), rtol=1e-7, atol=1e-9)

"""Block: pre-norm as the paper writes it, and PyTorch's layer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parts import block_of, sight_of

from tinygpt.autograd import Tensor
from tinygpt.nn import Block, Cache, CachedSight, Causal, PostNormBlock, Positions, RMSNorm

NAMES = {"self_attn.in_proj_": "attention.qkv.", "self_attn.out_proj.": "attention.out.",
         "linear1.": "feed_forward.up.", "linear2.": "feed_forward.down.", "norm1.": "attention_norm.",
         "norm2.": "feed_forward_norm."}


def tokens(t: int = 5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((2, t, 12))


@given(st.booleans(), st.sampled_from(["layer", "rms"]), st.booleans(), st.integers(0, 99))
@settings(deadline=None, max_examples=20, derandomize=True)
def test_norms_stand_before_the_layers(causal, norm, gated, seed):
    block, sight = block_of(Block, seed, norm=norm, gated=gated), sight_of(5, causal=causal)
    x = Tensor(tokens(seed=seed))
    middle = x + block.attention(block.attention_norm(x), sight)
    expected = middle + block.feed_forward(block.feed_forward_norm(middle))
    np.testing.assert_allclose(block(x, sight).data, expected.data, rtol=1e-10, atol=1e-10)
    for part in (block.attention_norm, block.feed_forward_norm):
        assert isinstance(part, RMSNorm) == (norm == "rms") and part.epsilon == 1e-3
    assert block.attention_norm is not block.feed_forward_norm


def test_with_a_cache_step_by_step():
    block, x = block_of(Block), tokens()
    expected = block(Tensor(x), sight_of(5, causal=True)).data
    cache = Cache(1, 2, 4, 5, 3, dtype=np.float64, device="cpu")
    out = [block(Tensor(x[:, i:i + 1]), CachedSight(Positions(), Causal(), np.array([i]), cache, "cpu")).data
           for i in range(5)]
    np.testing.assert_allclose(np.concatenate(out, axis=1), expected, rtol=1e-9, atol=1e-10)


@pytest.mark.oracle
@pytest.mark.parametrize("kind", [Block, PostNormBlock])
def test_encoder_layer_is_pytorchs(kind):
    torch = pytest.importorskip("torch")
    ours = block_of(kind, 3)
    theirs = torch.nn.TransformerEncoderLayer(12, 4, 20, dropout=0.0, activation="gelu", batch_first=True,
                                              layer_norm_eps=1e-3, norm_first=kind is Block).double()
    state = ours.state_dict()
    theirs.load_state_dict({a + part: torch.tensor(state[b + part]) for a, b in NAMES.items()
                            for part in ("weight", "bias")})
    x, g = tokens(), tokens(seed=8)
    mine, yours = Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    out, expected = ours(mine, sight_of(5)), theirs(yours)
    np.testing.assert_allclose(out.data, expected.detach().numpy(), rtol=1e-9, atol=1e-9)
    out.backward(g)
    expected.backward(torch.tensor(g))
    np.testing.assert_allclose(mine.grad, yours.grad.numpy(), rtol=1e-7, atol=1e-9)
    for a, b in NAMES.items():
        for part in ("weight", "bias"):
            np.testing.assert_allclose(dict(ours.named_parameters())[b + part].grad,
                                       theirs.get_parameter(a + part).grad.numpy(), rtol=1e-7, atol=1e-9)

"""MultiHeadAttention against a loop over heads and positions: causal, masked, grouped, rotary; and PyTorch's layer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parts import GivenMask, attention_by_loop, randomized, sight_of, tokens

from tinygpt.autograd import Tensor
from tinygpt.nn import MultiHeadAttention, RotaryPositions

few = settings(deadline=None, max_examples=30, derandomize=True)
layouts = st.sampled_from([(1, 1, 4), (2, 2, 2), (2, 1, 6), (4, 2, 2), (6, 3, 4)])  # H, Hkv, D


def layer_of(h, kv, d, seed=0, **options) -> MultiHeadAttention:
    return randomized(MultiHeadAttention(h * d, h, n_kv_head=kv, head_dim=d, **options), seed)


@given(layouts, st.booleans(), st.booleans(), st.booleans(), st.integers(1, 3), st.integers(1, 6), st.integers(0, 99))
@few
def test_self_attention_is_the_loop(layout, causal, bias, rotary, b, t, seed):
    h, kv, d = layout
    layer = layer_of(h, kv, d, seed, bias=bias)
    x = tokens(b, t, h * d, seed)
    sight = sight_of(t, positions=RotaryPositions(8, d) if rotary else None, causal=causal)
    expected = attention_by_loop(layer, x, rotary=rotary, allowed=lambda b, t, s: s <= t or not causal)
    np.testing.assert_allclose(layer(Tensor(x), sight).data, expected, rtol=1e-8, atol=1e-9)


@given(layouts, st.booleans(), st.integers(1, 5), st.integers(0, 99))
@few
def test_masks_hide_keys_and_a_query_that_sees_nothing_gets_the_bias(layout, causal, t, seed):
    h, kv, d = layout
    layer = layer_of(h, kv, d, seed)
    x = tokens(2, t, h * d, seed)
    mask = np.random.default_rng(seed).random((2, 1, t, t)) < 0.5
    expected = attention_by_loop(layer, x, allowed=lambda b, i, s: mask[b, 0, i, s] and (s <= i or not causal))
    out = layer(Tensor(x), sight_of(t, mask=GivenMask(mask, causal)))
    np.testing.assert_allclose(out.data, expected, rtol=1e-8, atol=1e-9)
    padding = np.random.default_rng(seed).random((2, 1, 1, t)) < 0.5
    expected = attention_by_loop(layer, x, allowed=lambda b, i, s: padding[b, 0, 0, s])
    out = layer(Tensor(x), sight_of(t, mask=GivenMask(padding)))
    np.testing.assert_allclose(out.data, expected, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("options, message", [
    (dict(n_embd=6, n_head=4), "n_embd=6 is not divisible by n_head=4"),
    (dict(n_embd=8, n_head=4, n_kv_head=3), "n_head=4 is not divisible by n_kv_head=3"),
])
def test_sizes_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        MultiHeadAttention(**options)


@pytest.mark.oracle
@pytest.mark.parametrize("causal", [False, True])
def test_output_and_gradients_are_pytorchs(causal):
    torch = pytest.importorskip("torch")
    ours = layer_of(4, 4, 3, 7)
    theirs = torch.nn.MultiheadAttention(12, 4, batch_first=True).double()
    state = ours.state_dict()
    theirs.load_state_dict({ours_to: torch.tensor(state[name]) for name, ours_to in (
        ("qkv.weight", "in_proj_weight"), ("qkv.bias", "in_proj_bias"),
        ("out.weight", "out_proj.weight"), ("out.bias", "out_proj.bias"))})
    x, g = tokens(2, 5, 12), tokens(2, 5, 12, 9)
    mine, yours = Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    out = ours(mine, sight_of(5, causal=causal))
    hidden = torch.triu(torch.ones(5, 5, dtype=torch.bool), 1) if causal else None
    expected, _ = theirs(yours, yours, yours, attn_mask=hidden, need_weights=False)
    np.testing.assert_allclose(out.data, expected.detach().numpy(), rtol=1e-9, atol=1e-10)
    out.backward(g)
    expected.backward(torch.tensor(g))
    np.testing.assert_allclose(mine.grad, yours.grad.numpy(), rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(ours.qkv.weight.grad, theirs.in_proj_weight.grad.numpy(), rtol=1e-8, atol=1e-9)

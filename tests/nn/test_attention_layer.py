"""MultiHeadAttention against a loop over heads and positions: causal, masked, grouped, rotary, cross, cached."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygpt.autograd import Tensor
from tinygpt.nn import Cache, LayerCache, MultiHeadAttention, RotaryPositions

few = settings(deadline=None, max_examples=30, derandomize=True)
layouts = st.sampled_from([(1, 1, 4), (2, 2, 2), (2, 1, 6), (4, 2, 2), (6, 3, 4)])  # H, Hkv, D


def layer_of(h, kv, d, seed=0, c=None, **options) -> MultiHeadAttention:
    layer = MultiHeadAttention(h * d if c is None else c, h, n_kv_head=kv, head_dim=d, **options)
    rng = np.random.default_rng(seed)
    for p in layer.parameters():
        p.data = rng.standard_normal(p.shape)
    return layer


def rotated(x: np.ndarray, position: int, theta: float = 10000.0) -> np.ndarray:
    """Su et al.: the pair (x_i, x_{i + D/2}) as a complex number, times e^{i · position · ω_i}."""
    half = len(x) // 2
    turned = (x[:half] + 1j * x[half:]) * np.exp(1j * position * theta ** (-np.arange(half) / half))
    return np.concatenate([turned.real, turned.imag])


def naive(layer, x, *, memory=None, allowed=lambda b, t, s: True, rotary=False) -> np.ndarray:
    """Attention one query at a time."""
    h, kv, d = layer.n_head, layer.n_kv_head, layer.head_dim
    source = x if memory is None else memory

    def project(linear, x):
        return x @ linear.weight.data.T + (0 if linear.bias is None else linear.bias.data)

    if memory is None:
        q, k, v = np.split(project(layer.qkv, x), [h * d, (h + kv) * d], axis=-1)
    else:
        q, (k, v) = project(layer.q, x), np.split(project(layer.kv, memory), 2, axis=-1)
    out = np.zeros((*x.shape[:2], h * d))
    for b in range(x.shape[0]):
        for t in range(x.shape[1]):
            for j in range(h):
                mine, theirs = slice(j * d, j * d + d), slice(j // (h // kv) * d, j // (h // kv) * d + d)
                seen = [s for s in range(source.shape[1]) if allowed(b, t, s)]
                query = rotated(q[b, t, mine], t) if rotary else q[b, t, mine]
                keys = [rotated(k[b, s, theirs], s) if rotary else k[b, s, theirs] for s in seen]
                if seen:
                    scores = np.exp([query @ key / math.sqrt(d) for key in keys])
                    out[b, t, mine] = scores / scores.sum() @ v[b, seen, theirs]
    return project(layer.out, out)


def tokens(b, t, c, seed=0) -> np.ndarray:
    return np.random.default_rng(seed + 1).standard_normal((b, t, c)) / 2


@given(layouts, st.booleans(), st.booleans(), st.booleans(), st.integers(1, 3), st.integers(1, 6), st.integers(0, 99))
@few
def test_self_attention_is_the_loop(layout, causal, bias, rotary, b, t, seed):
    h, kv, d = layout
    layer = layer_of(h, kv, d, seed, bias=bias)
    x = tokens(b, t, h * d, seed)
    options = {}
    if rotary:
        positions = RotaryPositions(8, d)
        options = dict(rotary=positions, angles=positions.angles(Tensor(x), np.arange(t)))
    expected = naive(layer, x, rotary=rotary, allowed=lambda b, t, s: s <= t or not causal)
    np.testing.assert_allclose(layer(Tensor(x), causal=causal, **options).data, expected, rtol=1e-8, atol=1e-9)


@given(layouts, st.booleans(), st.integers(1, 5), st.integers(0, 99))
@few
def test_masks_hide_keys_and_a_query_that_sees_nothing_gets_the_bias(layout, causal, t, seed):
    h, kv, d = layout
    layer = layer_of(h, kv, d, seed)
    x = tokens(2, t, h * d, seed)
    mask = np.random.default_rng(seed).random((2, 1, t, t)) < 0.5
    expected = naive(layer, x, allowed=lambda b, i, s: mask[b, 0, i, s] and (s <= i or not causal))
    np.testing.assert_allclose(layer(Tensor(x), mask=mask, causal=causal).data, expected, rtol=1e-8, atol=1e-9)
    padding = np.random.default_rng(seed).random((2, 1, 1, t)) < 0.5
    expected = naive(layer, x, allowed=lambda b, i, s: padding[b, 0, 0, s])
    np.testing.assert_allclose(layer(Tensor(x), mask=padding).data, expected, rtol=1e-8, atol=1e-9)


@given(layouts, st.booleans(), st.integers(1, 4), st.integers(1, 5), st.integers(0, 99))
@few
def test_cross_attention_is_the_loop_and_its_cache_reads_the_memory_once(layout, bias, t, s, seed):
    h, kv, d = layout
    layer = layer_of(h, kv, d, seed, cross=True, bias=bias)
    x, memory = tokens(2, t, h * d, seed), tokens(2, s, h * d, seed + 1)
    expected = naive(layer, x, memory=memory)
    np.testing.assert_allclose(layer(Tensor(x), memory=Tensor(memory)).data, expected, rtol=1e-8, atol=1e-9)
    cache = LayerCache(np, (2, kv, 0, d), np.float64)
    for i in range(t):
        step = layer(Tensor(x[:, i:i + 1]), memory=Tensor(memory) if i == 0 else None, cache=cache)
        np.testing.assert_allclose(step.data, expected[:, i:i + 1], rtol=1e-8, atol=1e-9)


def test_cross_attention_without_memory_is_an_error():
    with pytest.raises(ValueError, match="cross attention needs the memory"):
        layer_of(1, 1, 2, cross=True)(Tensor(tokens(1, 2, 2)))


@given(layouts, st.booleans(), st.lists(st.integers(1, 3), min_size=1, max_size=4), st.integers(0, 99))
@few
def test_a_cache_filled_in_any_pieces_gives_what_one_pass_gives(layout, rotary, pieces, seed):
    h, kv, d = layout
    layer, t = layer_of(h, kv, d, seed), sum(pieces)
    x = tokens(2, t, h * d, seed)
    positions = RotaryPositions(t, d)

    def run(start, stop, cache=None):
        part = Tensor(x[:, start:stop])
        angles = positions.angles(part, np.arange(start, stop)) if rotary else None
        return layer(part, causal=True, rotary=positions if rotary else None, angles=angles, cache=cache).data

    cache = Cache(1, 2, kv, t, d, dtype=np.float64, device="cpu")
    bounds = np.cumsum([0, *pieces])
    out = [run(start, stop, cache.layers[0]) for start, stop in zip(bounds, bounds[1:])]
    assert cache.length == t
    np.testing.assert_allclose(np.concatenate(out, axis=1), run(0, t), rtol=1e-8, atol=1e-9)


def test_a_full_cache_and_another_batch_size_are_refused():
    cache = LayerCache(np, (2, 1, 3, 4), np.float32)
    cache.append(np.ones((2, 1, 2, 4)), np.ones((2, 1, 2, 4)))
    for shape in ((2, 1, 2, 4), (1, 1, 1, 4)):
        with pytest.raises(ValueError, match="room for 2 sequences of 3 tokens, got"):
            cache.append(np.ones(shape), np.ones(shape))
    assert cache.length == 2


@given(st.integers(1, 3), st.integers(1, 4), st.data())
@few
def test_reordering_a_cache_takes_rows_as_they_were(layers, rows, data):
    order = data.draw(st.lists(st.integers(0, rows - 1), min_size=rows, max_size=rows))
    cache = Cache(layers, rows, 2, 5, 3, dtype=np.float64, device="cpu")
    rng = np.random.default_rng(0)
    k, v, m = (rng.standard_normal((rows, 2, 4, 3)) for _ in range(3))
    for layer in cache.layers:
        layer.append(k, v)
        layer.memory = (m, m + 1)
    cache.reorder(np.array(order))
    for layer in cache.layers:
        np.testing.assert_array_equal(layer.keys[:, :, :4], k[order])
        np.testing.assert_array_equal(layer.values[:, :, :4], v[order])
        np.testing.assert_array_equal(layer.memory[1], m[order] + 1)
        k2, _ = layer.append(k[:, :, :1], v[:, :, :1])
        np.testing.assert_array_equal(k2[:, :, 4:], k[:, :, :1])


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
    out = ours(mine, causal=causal)
    hidden = torch.triu(torch.ones(5, 5, dtype=torch.bool), 1) if causal else None
    expected, _ = theirs(yours, yours, yours, attn_mask=hidden, need_weights=False)
    np.testing.assert_allclose(out.data, expected.detach().numpy(), rtol=1e-9, atol=1e-10)
    out.backward(g)
    expected.backward(torch.tensor(g))
    np.testing.assert_allclose(mine.grad, yours.grad.numpy(), rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(ours.qkv.weight.grad, theirs.in_proj_weight.grad.numpy(), rtol=1e-8, atol=1e-9)

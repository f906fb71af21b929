"""Every operation against PyTorch: values and gradients, on shapes and settings that Hypothesis draws."""

from __future__ import annotations

import math
import unittest.mock
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tinygpt as tg
from tinygpt import ops

try:
    import torch
except ImportError:
    torch = unittest.mock.MagicMock()  # for the tables below; every test is skipped
pytestmark = pytest.mark.oracle

F = torch.nn.functional
drawn = settings(max_examples=12, deadline=None, derandomize=True, database=None,
                 suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors])
SEEDS = st.integers(0, 2**32 - 1)
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=1, max_side=5)
WITH_AXES = hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=5)


@pytest.fixture(autouse=True)
def _oracle() -> None:
    pytest.importorskip("torch")


class Data:
    """Random arrays of a seed: distinct values, no ties."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def normal(self, *shape: int) -> np.ndarray:
        return np.asarray(self.rng.standard_normal(shape))

    def positive(self, *shape: int) -> np.ndarray:
        return np.asarray(self.rng.uniform(0.3, 3, shape))


def compare(ours: Any, theirs: Any, *inputs: np.ndarray | None, rtol: float = 1e-9, atol: float = 1e-10,
            dtype: Any = np.float64) -> None:
    """Values, and the gradients of all floating-point inputs for one random cotangent; in rules and in twins."""
    rng = np.random.default_rng(1)
    theirs_in = [None if x is None else torch.tensor(x, requires_grad=x.dtype.kind == "f") for x in inputs]
    expected = theirs(*theirs_in)
    g = rng.standard_normal(expected.shape)
    expected.backward(torch.tensor(g))
    for rules_only in (True, False):
        ours_in = [None if x is None else
                   tg.Tensor(x.astype(dtype), requires_grad=True) if x.dtype.kind == "f" else x for x in inputs]
        with tg.kernels.disabled() if rules_only else tg.backend.on_device("cpu"):
            out = ours(*ours_in)
            out.backward(g)
        assert out.shape == tuple(expected.shape) and out.dtype == dtype
        np.testing.assert_allclose(out.data, expected.detach().numpy(), rtol=rtol, atol=atol)
        for x, y in zip(ours_in, theirs_in):
            if isinstance(x, tg.Tensor):
                assert x.grad is not None and y is not None
                expected_grad = np.zeros(x.shape) if y.grad is None else y.grad.numpy()
                np.testing.assert_allclose(x.grad, expected_grad, rtol=rtol, atol=atol)


# -- element by element -----------------------------------------------------------------------------------------------

UNARY = {
    "negative": torch.neg, "absolute": torch.abs, "exp": torch.exp, "sin": torch.sin, "cos": torch.cos,
    "tanh": torch.tanh, "erf": torch.erf, "relu": torch.relu, "sigmoid": torch.sigmoid, "silu": F.silu, "gelu": F.gelu,
    "relu_squared": lambda x: F.relu(x) ** 2,
}


@pytest.mark.parametrize("name", UNARY)
@drawn
@given(SHAPES, SEEDS)
def test_one_input(name, shape, seed):
    compare(getattr(ops, name), UNARY[name], 3 * Data(seed).normal(*shape))


@pytest.mark.parametrize("name", ["log", "sqrt"])
@drawn
@given(SHAPES, SEEDS)
def test_one_positive_input(name, shape, seed):
    compare(getattr(ops, name), getattr(torch, name), Data(seed).positive(*shape))


@drawn
@given(SHAPES, SEEDS)
def test_gelu_tanh(shape, seed):
    for ours in (ops.gelu_tanh, lambda x: ops.gelu(x, approximate="tanh")):
        compare(ours, lambda x: F.gelu(x, approximate="tanh"), 3 * Data(seed).normal(*shape))


@drawn
@given(SHAPES, SEEDS, st.sampled_from([(-0.5, 0.7), (None, 0.1), (0.0, None)]))
def test_clip(shape, seed, bounds):
    low, high = bounds
    compare(lambda x: ops.clip(x, low=low, high=high), lambda x: torch.clip(x, low, high), Data(seed).normal(*shape))


BINARY = {"add": torch.add, "subtract": torch.subtract, "multiply": torch.multiply, "divide": torch.divide,
          "maximum": torch.maximum, "minimum": torch.minimum, "power": torch.pow}
PAIRS = hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=4)


@pytest.mark.parametrize("name", BINARY)
@settings(drawn, max_examples=25)
@given(PAIRS, SEEDS)
def test_two_inputs_broadcast(name, shapes, seed):
    draw = Data(seed).positive if name == "power" else Data(seed).normal
    compare(getattr(ops, name), BINARY[name], *(draw(*shape) for shape in shapes.input_shapes))


@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_ties_share_the_gradient(name):
    x = np.array([1.0, 2.0, 3.0])
    compare(getattr(ops, name), BINARY[name], x, np.array([1.0, 5.0, 3.0]))


@pytest.mark.parametrize("exponent", [-2, -1, 0, 1, 2, 3, 0.5, -1.5])
def test_powers_of_numbers(exponent):
    compare(lambda x: x ** exponent, lambda x: x ** exponent, Data(0).positive(5))
    compare(lambda x: 1.7 ** x, lambda x: 1.7 ** x, Data(0).normal(5))


def test_whole_powers_of_negative_numbers_and_of_zero():
    for exponent in (0, 1, 2, 3):
        compare(lambda x: x ** exponent, lambda x: x ** exponent, np.array([-2.0, 0.0, 1.5]))


@settings(drawn, max_examples=25)
@given(hnp.mutually_broadcastable_shapes(num_shapes=3, max_dims=3, max_side=4), SEEDS)
def test_where(shapes, seed):
    data = Data(seed)
    condition, x, y = (data.normal(*shape) for shape in shapes.input_shapes)
    compare(ops.where, torch.where, condition > 0, x, y)


# -- over axes --------------------------------------------------------------------------------------------------------


def some_axes(shape):
    single = st.integers(-len(shape), len(shape) - 1)
    several = st.lists(st.integers(0, len(shape) - 1), min_size=1, unique=True).map(tuple)
    return st.one_of(single, several)


REDUCTIONS = {
    "sum": torch.sum, "mean": torch.mean, "max": torch.amax, "min": torch.amin, "logsumexp": torch.logsumexp,
    "var": lambda x, dim, keepdim: torch.var(x, dim, correction=0, keepdim=keepdim),
}


@pytest.mark.parametrize("name", REDUCTIONS)
@settings(drawn, max_examples=25)
@given(st.data(), WITH_AXES, SEEDS, st.booleans())
def test_reductions(name, data, shape, seed, keepdims):
    axis = data.draw(st.one_of(st.none(), some_axes(shape)))
    everywhere = tuple(range(len(shape)))
    compare(lambda x: getattr(ops, name)(x, axis=axis, keepdims=keepdims),
            lambda x: REDUCTIONS[name](x, everywhere if axis is None else axis, keepdim=keepdims),
            Data(seed).normal(*shape))


@pytest.mark.parametrize("name", ["max", "min"])
def test_equal_extremes_share_the_gradient(name):
    x = np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0], [0.0, 5.0, 1.0]])
    compare(lambda x: getattr(ops, name)(x, axis=1), lambda x: REDUCTIONS[name](x, 1, keepdim=False), x)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@drawn
@given(st.data(), WITH_AXES, SEEDS)
def test_softmax(name, data, shape, seed):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    compare(lambda x: getattr(ops, name)(x, axis=axis), lambda x: getattr(torch, name)(x, axis),
            10 * Data(seed).normal(*shape))


@pytest.mark.parametrize("name, torch_function", [
    ("softmax", torch.softmax), ("log_softmax", torch.log_softmax), ("logsumexp", torch.logsumexp)])
@pytest.mark.parametrize("shift", [1e4, -1e4])
def test_softmax_of_large_numbers(name, torch_function, shift):
    compare(lambda x: getattr(ops, name)(x, axis=-1), lambda x: torch_function(x, -1), Data(0).normal(3, 5) + shift)


# -- shapes and indices -----------------------------------------------------------------------------------------------


@drawn
@given(st.data(), WITH_AXES, SEEDS)
def test_shape_operations(data, shape, seed):
    x = Data(seed).normal(*shape)
    axes = tuple(data.draw(st.permutations(range(-len(shape), 0))))
    i, j = (data.draw(st.integers(-len(shape), len(shape) - 1)) for _ in range(2))
    compare(lambda x: ops.transpose(x, axes=axes), lambda x: x.permute(axes), x)
    compare(lambda x: x.T, lambda x: x.permute(tuple(range(len(shape)))[::-1]), x)
    compare(lambda x: ops.swapaxes(x, i, j), lambda x: x.swapaxes(i, j), x)
    compare(lambda x: ops.expand_dims(x, axis=i), lambda x: x.unsqueeze(i), x)
    compare(ops.squeeze, torch.squeeze, x)
    compare(lambda x: x.reshape(-1, shape[0]), lambda x: x.reshape(-1, shape[0]), x)
    compare(lambda x: ops.broadcast_to(x, (2, *shape)), lambda x: x.broadcast_to((2, *shape)), x)


@drawn
@given(st.data(), WITH_AXES, SEEDS, st.integers(1, 4))
def test_joining_and_cutting(data, shape, seed, n):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    draw = Data(seed)
    lengths = [data.draw(st.integers(1, 4)) for _ in range(n)]
    parts = [draw.normal(*shape[:axis % len(shape)], length, *shape[axis % len(shape) + 1:]) for length in lengths]
    compare(lambda *xs: ops.concatenate(xs, axis=axis), lambda *xs: torch.cat(xs, axis), *parts)
    compare(lambda *xs: ops.stack(xs, axis=axis), lambda *xs: torch.stack(xs, axis),
            *(draw.normal(*shape) for _ in range(n)))
    i = data.draw(st.integers(0, n - 1))
    compare(lambda x: ops.split(x, lengths=tuple(lengths), axis=axis)[i] * 2.0,
            lambda x: torch.split(x, lengths, axis)[i] * 2.0, np.concatenate(parts, axis=axis))


@drawn
@given(st.lists(st.integers(1, 3), min_size=1, max_size=3), st.integers(1, 3), st.integers(1, 4), st.integers(1, 3),
       st.data(), SEEDS)
def test_heads(heads, b, t, d, data, seed):
    """Cut and merged; one of the parts alone has a gradient, or all."""
    n, i = sum(heads), data.draw(st.integers(0, len(heads) - 1))

    def torch_parts(x):
        return torch.split(x.reshape(b, t, n, d).transpose(1, 2), heads, 1)

    x = Data(seed).normal(b, t, n * d)
    compare(lambda x: ops.split_heads(x, heads=tuple(heads))[i] * 2.0, lambda x: torch_parts(x)[i] * 2.0, x)
    compare(lambda x: ops.concatenate([part * (j + 1) for j, part in enumerate(ops.split_heads(x, heads=tuple(heads)))],
                                      axis=1),
            lambda x: torch.cat([part * (j + 1) for j, part in enumerate(torch_parts(x))], 1), x)
    compare(ops.merge_heads, lambda x: x.transpose(1, 2).reshape(b, t, n * d), Data(seed).normal(b, n, t, d))
    np.testing.assert_array_equal(ops.merge_heads(ops.split_heads(x, heads=(n,))[0]).data, x)


@settings(drawn, max_examples=40)
@given(st.data(), hnp.array_shapes(min_dims=2, max_dims=4, min_side=1, max_side=5), SEEDS)
def test_indexing(data, shape, seed):
    """Basic indices (PyTorch has no negative steps), then arrays that name elements again and again."""
    x = Data(seed).normal(*shape)
    basic = data.draw(hnp.basic_indices(shape, allow_newaxis=True).filter(lambda key: all(
        not isinstance(k, slice) or (k.step or 1) > 0 for k in (key if isinstance(key, tuple) else [key]))))
    compare(lambda x: x[basic], lambda x: x[basic], x)
    first, second = (data.draw(hnp.arrays(np.int64, (3, 2), elements=st.integers(-n, n - 1))) for n in shape[:2])
    compare(lambda x: x[first], lambda x: x[torch.tensor(first)], x)
    compare(lambda x: x[first, second], lambda x: x[torch.tensor(first), torch.tensor(second)], x)
    compare(lambda x: x[:, second, None], lambda x: x[:, torch.tensor(second), None], x)
    mask = x > 0
    compare(lambda x: x[mask], lambda x: x[torch.tensor(mask)], x)


@drawn
@given(SHAPES, SEEDS, st.integers(1, 6), st.integers(1, 4))
def test_embedding(shape, seed, n_vocab, width):
    data = Data(seed)
    ids = np.asarray(data.rng.integers(0, n_vocab, shape))
    compare(ops.embedding, F.embedding, ids, data.normal(n_vocab, width))


# -- matrices ---------------------------------------------------------------------------------------------------------


@settings(drawn, max_examples=40)
@given(hnp.mutually_broadcastable_shapes(signature=np.matmul.signature, max_dims=2, max_side=4), SEEDS)
def test_matmul(shapes, seed):
    data = Data(seed)
    compare(ops.matmul, torch.matmul, *(data.normal(*shape) for shape in shapes.input_shapes))


@drawn
@given(hnp.array_shapes(min_dims=0, max_dims=3, max_side=4), st.integers(1, 5), st.integers(1, 5), SEEDS)
def test_linear(leading, n_in, n_out, seed):
    data = Data(seed)
    x, weight, bias = data.normal(*leading, n_in), data.normal(n_out, n_in), data.normal(n_out)
    compare(ops.linear, F.linear, x, weight, bias)
    compare(ops.linear, F.linear, x, weight)


ACTIVATIONS = {"gelu": F.gelu, "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"), "relu": F.relu, "silu": F.silu,
               "relu2": lambda x: F.relu(x) ** 2}


@drawn
@given(hnp.array_shapes(min_dims=0, max_dims=3, max_side=4), st.integers(1, 5), st.integers(1, 5),
       st.sampled_from(sorted(ops.ACTIVATIONS)), SEEDS)
def test_linear_activation(leading, n_in, n_out, name, seed):
    data = Data(seed)
    x, weight, bias = data.normal(*leading, n_in), data.normal(n_out, n_in), data.normal(n_out)
    for parameters in ((weight, bias), (weight,)):
        compare(lambda *inputs: ops.linear_activation(*inputs, activation=name),
                lambda *inputs: ACTIVATIONS[name](F.linear(*inputs)), x, *parameters)


@drawn
@given(SHAPES, st.sampled_from(sorted(ops.ACTIVATIONS)), SEEDS)
def test_gated_activation(shape, name, seed):
    data = Data(seed)
    compare(lambda gate, up: ops.gated_activation(gate, up, activation=name),
            lambda gate, up: ACTIVATIONS[name](gate) * up, data.normal(*shape), data.normal(*shape))


@drawn
@given(hnp.array_shapes(min_dims=0, max_dims=3, max_side=4), st.integers(2, 9), SEEDS)
def test_norms(leading, n, seed):
    data = Data(seed)
    x, weight, bias = 3 * data.normal(*leading, n) + 1, data.normal(n), data.normal(n)
    compare(ops.layer_norm, lambda x, w, b: F.layer_norm(x, (n,), w, b), x, weight, bias, rtol=1e-7)
    compare(ops.layer_norm, lambda x: F.layer_norm(x, (n,)), x, rtol=1e-7)
    compare(lambda x, w: ops.layer_norm(x, w, epsilon=0.1), lambda x, w: F.layer_norm(x, (n,), w, eps=0.1), x, weight)
    compare(ops.rms_norm, lambda x, w: F.rms_norm(x, (n,), w, 1e-6), x, weight, rtol=1e-7)
    compare(ops.rms_norm, lambda x: F.rms_norm(x, (n,), eps=1e-6), x, rtol=1e-7)


# -- attention and loss -----------------------------------------------------------------------------------------------


@settings(drawn, max_examples=40)
@given(st.data(), SEEDS, st.integers(1, 3), st.integers(1, 2), st.integers(1, 3), st.integers(1, 6), st.integers(1, 6))
def test_attention(data, seed, n_batch, n_kv, group, length, width):
    """PyTorch's causal mask is for T = S, and ours is aligned to the last key; so longer S go by an explicit mask."""
    n_keys = data.draw(st.integers(length, 8))
    kind = data.draw(st.sampled_from(["none", "causal", "boolean", "added", "padding and causal"]))
    draw = Data(seed)
    q, k, v = (draw.normal(n_batch, heads, n, width) for heads, n in
               ((n_kv * group, length), (n_kv, n_keys), (n_kv, n_keys)))
    triangle = np.arange(n_keys) <= np.arange(length)[:, None] + n_keys - length
    padding = draw.rng.random((n_batch, 1, 1, n_keys)) < 0.6
    padding[..., 0] = True
    scale = data.draw(st.sampled_from([None, 0.3]))
    ours = {"mask": {"none": None, "causal": None, "boolean": padding, "padding and causal": padding}.get(kind),
            "causal": "causal" in kind}
    mask = {"none": None, "causal": triangle, "boolean": padding, "padding and causal": padding & triangle}.get(kind)

    def reference(q, k, v, bias=None):
        chosen = bias if bias is not None else None if mask is None else torch.tensor(mask)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=chosen, scale=scale, enable_gqa=group > 1)

    def attention(q, k, v, bias=None):
        return ops.scaled_dot_product_attention(
            q, k, v, bias if bias is not None else ours["mask"], causal=ours["causal"], scale=scale)
    compare(attention, reference, q, k, v, *([draw.normal(length, n_keys)] if kind == "added" else []), rtol=1e-7)


def test_a_query_that_may_look_nowhere_gets_zeros():
    data = Data(0)
    mask = np.ones((3, 3), bool)
    mask[1] = False
    q, k, v = (tg.Tensor(data.normal(2, 3, 4), requires_grad=True) for _ in range(3))
    for m in (mask, np.where(mask, 0.0, -math.inf)):
        out = ops.scaled_dot_product_attention(q, k, v, m)
        assert (out.data[:, 1] == 0).all()
        out.sum().backward()
        assert all(np.isfinite(x.grad).all() for x in (q, k, v))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@settings(drawn, max_examples=20)
@given(hnp.array_shapes(min_dims=0, max_dims=2, max_side=5), st.integers(1, 7), SEEDS, st.sampled_from([-100, 0]))
def test_cross_entropy(reduction, shape, n_vocab, seed, ignored):
    data = Data(seed)
    logits = 5 * data.normal(*shape, n_vocab)
    targets = np.asarray(data.rng.integers(0, n_vocab, shape))
    targets = np.where(data.rng.random(shape) < 0.3, ignored, targets)
    if (targets == ignored).all() and reduction == "mean":
        assert ops.cross_entropy(logits, targets, ignore_index=ignored).item() == 0  # PyTorch says NaN
        return

    def reference(x):
        out = F.cross_entropy(x.reshape(-1, n_vocab), torch.tensor(targets.reshape(-1)), ignore_index=ignored,
                              reduction=reduction)
        return out.reshape(shape) if reduction == "none" else out
    compare(lambda x: ops.cross_entropy(x, targets, ignore_index=ignored, reduction=reduction), reference, logits)

    weight = data.normal(n_vocab, 3)
    x, bias = data.normal(*shape, 3), data.normal(n_vocab)
    for biases in ([bias], []):
        compare(lambda x, w, b=None: ops.linear_cross_entropy(
            x, w, b, targets, ignore_index=ignored, reduction=reduction),
            lambda x, w, b=None: reference(F.linear(x, w, b)), x, weight, *biases)


@drawn
@given(st.integers(1, 5), st.integers(2, 7), SEEDS)
def test_weights_of_tokens(n, n_vocab, seed):
    """Against the unreduced losses, weighted by hand."""
    data = Data(seed)
    targets, weights = data.rng.integers(0, n_vocab, n), data.positive(n)
    w = torch.tensor(weights)
    for reduction, total in (("sum", lambda e: e.sum()), ("mean", lambda e: e.sum() / w.sum()), ("none", lambda e: e)):
        compare(lambda x: ops.cross_entropy(x, targets, weights, reduction=reduction),
                lambda x: total(F.cross_entropy(x, torch.tensor(targets), reduction="none") * w),
                data.normal(n, n_vocab))


@drawn
@given(st.integers(1, 3), st.integers(1, 5), st.integers(1, 4), SEEDS)
def test_rotary_embedding_is_a_complex_product(n_heads, length, half, seed):
    data = Data(seed)
    angles = data.normal(length, half)

    def reference(x):
        pairs = torch.complex(x[..., :half], x[..., half:]) * torch.polar(torch.ones(length, half, dtype=torch.float64),
                                                                          torch.tensor(angles))
        return torch.cat([pairs.real, pairs.imag], -1)
    compare(lambda x: ops.rotary_embedding(x, np.cos(angles), np.sin(angles)), reference,
            data.normal(n_heads, length, 2 * half))


def test_float32_agrees_to_its_precision():
    data = Data(0)
    x, w, b = (a.astype(np.float32) for a in (data.normal(6, 8), data.normal(8), data.normal(8)))
    wide = [tg.Tensor(a.astype(np.float64), requires_grad=True) for a in (x, w, b)]
    narrow = [tg.Tensor(a, requires_grad=True) for a in (x, w, b)]
    for inputs in (wide, narrow):
        ops.layer_norm(*inputs).gelu().softmax(-1).log().sum().backward()
    for a, e in zip(narrow, wide):
        assert a.grad.dtype == np.float32
        np.testing.assert_allclose(a.grad, e.grad, rtol=2e-4, atol=2e-5)

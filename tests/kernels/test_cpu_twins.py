"""Every CPU twin against its rule: values and gradients, both dtypes, all layouts, sizes around its blocks; and that
the twin, not the rule, was what ran."""

from __future__ import annotations

import contextlib
import math
import tracemalloc
from typing import Any

import numpy as np
import pytest

from tinygpt import kernels, ops
from tinygpt.autograd import OPS, Tensor, no_grad
from tinygpt.kernels import cpu
from tinygpt.kernels.cpu import loss
from tinygpt.kernels.cpu.activation import FEW, FORMULAS
from tinygpt.kernels.cpu.attention import ROWS
from tinygpt.kernels.cpu.blocks import BLOCK
from tinygpt.engine.dispatch import twins_of

TOLERANCE = {np.float32: 3e-6, np.float64: 1e-13}
DTYPES = (np.float32, np.float64)


def _run(op, arrays: list[Any], settings: dict[str, Any]) -> list[np.ndarray]:
    """The output (or outputs) and the gradient of each floating input."""
    tensors = [Tensor(a, requires_grad=True) if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a
               for a in arrays]
    out = op(*tensors, **settings)
    g = np.random.default_rng(9).standard_normal(out.shape).astype(out.dtype)
    out.backward(g)
    return [out.data] + [t.grad for t in tensors if isinstance(t, Tensor) and t.grad is not None]


def _ran(op, arrays: list[Any], settings: dict[str, Any]) -> bool:
    return any(twin.function(*arrays, **settings) is not NotImplemented
               for twin in twins_of(OPS[op.operation.name]) if twin.device == "cpu" and twin.recorded)


def check(op, *arrays: Any, served: bool | None = True, tolerance: float | None = None, **settings: Any) -> None:
    """The twin serves these arguments (None: nobody asks) and gives what the rule gives."""
    dtype = next(a.dtype.type for a in arrays if isinstance(a, np.ndarray) and a.dtype.kind == "f")
    assert served is None or _ran(op, list(arrays), settings) == served
    fast = _run(op, list(arrays), settings)
    with kernels.disabled():
        slow = _run(op, list(arrays), settings)
    assert len(fast) == len(slow)
    for ours, theirs in zip(fast, slow):
        assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
        size = np.abs(theirs).max(initial=1e-30)
        np.testing.assert_allclose(ours / size, theirs / size, rtol=0, atol=tolerance or TOLERANCE[dtype])


def normal(*shape: int, dtype: Any = np.float32, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def layouts(x: np.ndarray) -> list[np.ndarray]:
    """The same values in C order, Fortran order, as a strided view, and running backwards through memory."""
    strided = np.repeat(x, 2, axis=-1)[..., ::2]
    return [x, np.asfortranarray(x), strided, np.ascontiguousarray(x[::-1, ..., ::-1])[::-1, ..., ::-1]]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [0, 1, 7, FEW - 1, FEW, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5])
@pytest.mark.parametrize("op, settings", [(ops.gelu, {"approximate": "tanh"}), (ops.gelu_tanh, {}),
                                          (ops.gelu, {}), (ops.silu, {})])
def test_activations_around_their_blocks(op, settings, n, dtype):
    exact = op is ops.gelu and not settings
    check(op, normal(n, dtype=dtype) * 4, served=dtype == np.float32 if exact else n >= FEW, **settings)


@pytest.mark.parametrize("op, settings", [(ops.gelu, {"approximate": "tanh"}), (ops.gelu_tanh, {}),
                                          (ops.gelu, {}), (ops.silu, {})])
def test_activations_in_every_layout(op, settings):
    for x in layouts(normal(6, 5, 80)):
        check(op, x, **settings)


def test_exact_gelu_keeps_its_digits_in_the_tail():
    x = np.linspace(-12.5, 5, 5001, dtype=np.float32)
    out = cpu.activation.gelu_blocked(x)[0]
    exact = np.array([v * 0.5 * math.erfc(-v / math.sqrt(2)) for v in x.astype(np.float64)])
    np.testing.assert_allclose(out, exact, rtol=2e-5, atol=1e-37)  # e^(−x²/2) in float32 is what limits it
    near = np.abs(x) < 3
    np.testing.assert_allclose(out[near], exact[near], rtol=2e-6, atol=1e-7)


def test_silu_far_from_zero_is_quiet():
    x = np.array([-1000, -90, -20, 0, 90, 1000], dtype=np.float32)
    check(ops.silu, x, served=False)
    check(ops.silu, np.tile(x, FEW))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [0, 1, 130, 131, 132, 400])  # a block has 131 rows of 1,000
def test_norms_around_their_blocks(rows, dtype):
    x, weight, bias = normal(rows, 1000, dtype=dtype) + 2, normal(1000, dtype=dtype), normal(1000, dtype=dtype, seed=1)
    for parameters in ((weight, bias), (weight, None), (None, bias), (None, None)):
        check(ops.layer_norm, x, *parameters)
    check(ops.rms_norm, x, weight)
    check(ops.rms_norm, x, None)


def test_norms_in_every_layout_and_wider_than_a_block():
    for x in layouts(normal(4, 3, 50)):
        check(ops.layer_norm, x, normal(50), normal(50, seed=1), epsilon=0.1)
        check(ops.rms_norm, x, normal(50))
    check(ops.layer_norm, normal(3, BLOCK + 1), None, None)
    assert not _ran(ops.layer_norm, [normal(3, 0)], {})


def _names(op) -> list[str]:
    return [twin.function.__name__ for twin in twins_of(OPS[op.operation.name])]


def test_twins_without_a_way_back_are_asked_first_and_only_where_nothing_is_recorded(monkeypatch):
    assert _names(ops.linear).index("linear_of_a_row") < _names(ops.linear).index("linear_in_place")
    asked = []
    for twin in twins_of(OPS["linear"]):
        if twin.device == "cpu":
            function = twin.function
            monkeypatch.setattr(twin, "function", lambda *a, function=function: (
                asked.append(function.__name__), function(*a))[1])
    x, weight = normal(1, 1, 8), Tensor(normal(5, 8), requires_grad=True)
    assert ops.linear(x, weight).requires_grad
    with no_grad():
        ops.linear(x, weight)
    ops.linear(x, weight.data)
    ops.linear(np.concatenate([x, x]), weight.data)
    assert asked == ["linear_in_place", "linear_of_a_row", "linear_of_a_row", "linear_of_a_row", "linear_in_place"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_row_under_no_grad(dtype):
    x, weight, bias = normal(1, 1, 60, dtype=dtype) + 2, normal(60, dtype=dtype), normal(60, dtype=dtype, seed=1)
    matrix = normal(7, 60, dtype=dtype)
    for op, parameters in ((ops.layer_norm, (weight, bias)), (ops.layer_norm, (None, None)), (ops.rms_norm, (weight,)),
                           (ops.gelu, ()), (ops.gelu_tanh, ()), (ops.silu, ()), (ops.linear, (matrix, None)),
                           (ops.linear, (matrix, normal(7, dtype=dtype))), (ops.add, (bias,))):
        with no_grad():
            fast = op(x, *parameters)
            with kernels.disabled():
                slow = op(x, *parameters)
        assert fast.dtype == slow.dtype == dtype and fast.shape == slow.shape
        np.testing.assert_allclose(fast.data, slow.data, atol=10 * TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
def test_embedding_adds_up_repeated_rows(dtype):
    weight = normal(11, 6, dtype=dtype)
    many = np.random.default_rng(0).integers(0, 11, 999)
    for ids in (np.zeros((0, 3), int), np.array(4), np.array([[3, 3, 3]]), many):
        check(ops.embedding, ids, weight)
    with pytest.raises(IndexError, match="embedding: id 11"):
        ops.embedding(np.array([0, 11]), weight)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [0, 1, 5, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 3])
def test_dropout_drops_what_the_rule_drops(n, dtype):
    check(ops.dropout, normal(n, dtype=dtype), p=0.3, key=(1, 2, 3, 4), tolerance=1e-30)


@pytest.mark.parametrize("dtype", DTYPES)
def test_linear(dtype):
    weight, bias = normal(5, 8, dtype=dtype), normal(5, dtype=dtype)
    for x in (*layouts(normal(4, 3, 8, dtype=dtype)), normal(8, dtype=dtype), normal(0, 8, dtype=dtype)):
        check(ops.linear, x, weight, bias)
        check(ops.linear, x, weight, None)


def test_one_row_leaves_what_is_odd_to_the_rule():
    x, weight = normal(1, 8), normal(5, 8)
    for arguments in ((x, weight.astype(np.float64)), (normal(2, 8), weight), (x, weight, normal(1)), (x, normal(5, 9)),
                      (x, normal(8)), (np.ones((1, 8), int), weight)):
        assert cpu.decoding.linear_of_a_row(*arguments) is NotImplemented
        assert cpu.decoding.linear_activation_of_a_row(*arguments, activation="silu") is NotImplemented
    assert cpu.decoding.linear_activation_of_a_row(x, weight, activation="swish") is NotImplemented
    assert cpu.decoding.layer_norm_of_a_row(normal(2, 8), None) is NotImplemented
    assert cpu.decoding.rms_norm_of_a_row(x, normal(7)) is NotImplemented
    q, k = normal(1, 4, 1, 8), normal(1, 2, 9, 8)
    for arguments in ((q[0], k[0], k[0]), (q, k, k[:, :, 1:]), (q, k[:, :, :0], k[:, :, :0]),
                      (normal(1, 4, 2, 8), k, k), (normal(2, 4, 1, 8), k, k), (normal(1, 3, 1, 8), k, k),
                      (q, k, k, np.ones((1, 9), bool))):
        assert cpu.decoding.attention_of_a_token(*arguments) is NotImplemented
    with pytest.raises(IndexError, match="embedding: id 5"), no_grad():
        ops.embedding(np.array([[5]]), weight)
    with pytest.raises(ValueError, match="linear: x has"), no_grad():
        ops.linear(normal(1, 4), normal(5, 6))
    with pytest.raises(ValueError), no_grad():
        ops.linear(x, weight, normal(4))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [0, 1, 3, 130, 131, 132, 400])  # a block has 131 rows of 1,000; 1 is below FEW
@pytest.mark.parametrize("activation", ops.ACTIVATIONS)
def test_linear_activation_around_its_blocks(activation, rows, dtype):
    x, weight = normal(rows, 2, dtype=dtype) * 2, normal(1000, 2, dtype=dtype, seed=1)
    for bias in (normal(1000, dtype=dtype, seed=2), None):
        check(ops.linear_activation, x, weight, bias, activation=activation)


@pytest.mark.parametrize("activation", ops.ACTIVATIONS)
def test_linear_activation_in_every_layout_and_wider_than_a_block(activation):
    weight, bias = normal(90, 8), normal(90, seed=1)
    for x in layouts(normal(4, 9, 8)):
        check(ops.linear_activation, x, weight, bias, activation=activation)
        check(ops.linear_activation, x, weight.T.copy().T, None, activation=activation)
    check(ops.linear_activation, normal(2, 1), normal(BLOCK + 1, 1), normal(BLOCK + 1), activation=activation)
    check(ops.linear_activation, normal(8), weight, bias, activation=activation)
    with pytest.raises(ValueError, match="linear: x has"):
        ops.linear_activation(normal(3, 4), normal(5, 6), activation=activation)


@pytest.mark.parametrize("rows", [1, 40])
@pytest.mark.parametrize("activation", ops.ACTIVATIONS)
def test_one_operation_has_the_bits_of_two(activation, rows):
    """Training gives what it gave with an operation for each step; so does a token, whose gate is the rule's."""
    x, weight, bias, g = normal(rows, 5), normal(100, 5, seed=1), normal(100, seed=2), normal(rows, 100, seed=3)
    op = ops.ACTIVATIONS[activation]
    both = {"linear_activation": (
        [x, weight, bias], lambda *inputs: ops.linear_activation(*inputs, activation=activation),
        lambda *inputs: op(ops.linear(*inputs))), "gated_activation": (
        [x @ weight.T, g[::-1]], lambda *inputs: ops.gated_activation(*inputs, activation=activation),
        lambda gate, up: op(gate) * up)}
    for arrays, one, two in both.values():
        results = []
        for function in (one, two):
            tensors = [Tensor(a, requires_grad=True) for a in arrays]
            out = function(*tensors)
            out.backward(g)
            results.append([out.data, *(t.grad for t in tensors)])
            if arrays[-1] is bias:
                with no_grad():
                    results[-1].append(function(*arrays).data)
        for ours, theirs in zip(*results, strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [0, 1, FEW - 1, FEW, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 5])
def test_gates_around_their_blocks(n, dtype):
    gate, up = normal(n, dtype=dtype) * 4, normal(n, dtype=dtype, seed=1)
    for activation in ops.ACTIVATIONS:
        served = activation in FORMULAS and (dtype == np.float32 if activation == "gelu" else n >= FEW)
        check(ops.gated_activation, gate, up, served=served, activation=activation)


def test_gates_in_every_layout():
    for gate in layouts(normal(6, 5, 80)):
        for up in layouts(normal(6, 5, 80, seed=1)):
            check(ops.gated_activation, gate, up, activation="silu")
    check(ops.gated_activation, normal(6, 5, 80), normal(80), served=False, activation="silu")


@pytest.mark.parametrize("op", [ops.linear_activation, ops.gated_activation])
def test_an_activation_that_is_none_is_left_to_the_rule(op):
    names = ", ".join(ops.ACTIVATIONS)
    with pytest.raises(ValueError, match=f"activation='swish' is not known; choose one of {names}"):
        op(normal(90, 90), normal(90, 90), activation="swish")


def test_linear_leaves_errors_to_the_rule():
    with pytest.raises(ValueError, match="linear: x has"):
        ops.linear(normal(3, 4), normal(5, 6))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_loss(dtype, reduction):
    rng = np.random.default_rng(0)
    x, weight, bias = normal(4, 9, 7, dtype=dtype), normal(31, 7, dtype=dtype) * 3, normal(31, dtype=dtype, seed=1)
    targets = rng.integers(0, 31, (4, 9))
    some, weights = targets.copy(), rng.random((4, 9)).astype(dtype)
    some[1:3] = -100
    weights[0] = 0
    for t in (targets, some, np.full_like(targets, -100)):
        check(ops.linear_cross_entropy, x, weight, bias, t, reduction=reduction)
        check(ops.linear_cross_entropy, x, weight, None, t, reduction=reduction)
        # the rule passes a weight's own gradient on as None: it is no input to differentiate
        fast = ops.linear_cross_entropy(Tensor(x), weight, None, t, weights, reduction=reduction)
        with kernels.disabled():
            slow = ops.linear_cross_entropy(Tensor(x), weight, None, t, weights, reduction=reduction)
        np.testing.assert_allclose(fast.data, slow.data, rtol=1e-6)
    with pytest.raises(IndexError, match="cross_entropy: id 31"):
        ops.linear_cross_entropy(x, weight, bias, np.where(targets == targets[0, 0], 31, targets))


def test_loss_in_chunks_and_in_blocks(monkeypatch):
    x, weight, targets = normal(70, 8), normal(5000, 8), np.random.default_rng(0).integers(0, 5000, 70)
    check(ops.linear_cross_entropy, x, weight, None, targets)  # three blocks of 26 rows
    for rows in (1, 23, 69, 70, 71):
        monkeypatch.setattr(loss, "LOGITS", rows * 5000)
        check(ops.linear_cross_entropy, x, weight, normal(5000, seed=2), targets)
        check(ops.linear_cross_entropy, x, weight, None, targets, reduction="none")


def test_loss_survives_huge_logits():
    x = np.array([[1000.0, 0.0], [-1000.0, 3.0]], dtype=np.float32)
    check(ops.linear_cross_entropy, x, np.eye(2, dtype=np.float32), None, np.array([1, 0]))


SHAPES = [  # T, S, H, key heads
    (1, 1, 1, 1), (5, 5, 2, 2), (10, 30, 4, 2), (ROWS - 1, ROWS - 1, 2, 1), (ROWS, ROWS, 3, 3),
    (ROWS + 1, ROWS + 1, 4, 2), (3 * ROWS + 7, 3 * ROWS + 7, 2, 2), (1, 2 * ROWS + 9, 4, 4), (10, ROWS + 3, 4, 2),
    (ROWS + 5, 2 * ROWS + 1, 2, 1),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("length, n_keys, n_heads, n_key_heads", SHAPES)
def test_attention(length, n_keys, n_heads, n_key_heads, causal, dtype):
    q = normal(3, n_heads, length, 8, dtype=dtype) * 2
    k, v = normal(2, 3, n_key_heads, n_keys, 8, dtype=dtype, seed=1)
    check(ops.scaled_dot_product_attention, q, k, v, causal=causal)
    check(ops.scaled_dot_product_attention, q, k, v, causal=causal, scale=0.7)
    padding = np.random.default_rng(0).random((3, 1, 1, n_keys)) < 0.6
    padding[0] = False  # looks nowhere: zeros
    check(ops.scaled_dot_product_attention, q, k, v, padding, causal=causal)
    check(ops.scaled_dot_product_attention, q, k, v, np.random.default_rng(0).random((length, n_keys)) < 0.6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("length, n_keys, n_heads, n_key_heads", SHAPES)
def test_attention_with_additive_masks(length, n_keys, n_heads, n_key_heads, causal, dtype):
    q = normal(2, n_heads, length, 8, dtype=dtype)
    k, v = normal(2, 2, n_key_heads, n_keys, 8, dtype=dtype, seed=1)
    for shape in ((length, n_keys), (n_heads, length, n_keys), (2, 1, 1, n_keys)):
        check(ops.scaled_dot_product_attention, q, k, v, normal(*shape, dtype=dtype, seed=2), causal=causal)
    hidden = np.where(np.random.default_rng(0).random((2, 1, length, n_keys)) < 0.6, 0, -math.inf).astype(dtype)
    hidden[0, 0, -1] = -math.inf  # looks nowhere: zeros
    check(ops.scaled_dot_product_attention, q, k, v, hidden, causal=causal)


def test_a_mask_of_numbers_keeps_the_dtype_of_the_queries():
    q, k, v = normal(3, 1, 2, 70, 8, dtype=np.float64)
    check(ops.scaled_dot_product_attention, q, k, v, normal(2, 70, 70, seed=2), causal=True, tolerance=1e-6)


@pytest.mark.parametrize("n_key_heads", [1, 2, 4])
def test_one_query_under_no_grad(n_key_heads):
    q, k = normal(3, 4, 1, 8), normal(3, n_key_heads, 50, 8, seed=1)
    for causal in (False, True):
        with no_grad():
            fast = ops.scaled_dot_product_attention(q, k[:, :, :41], k[:, :, 3:44], causal=causal)
            with kernels.disabled():
                slow = ops.scaled_dot_product_attention(q, k[:, :, :41], k[:, :, 3:44], causal=causal)
        np.testing.assert_allclose(fast.data, slow.data, atol=1e-6)


def test_attention_over_several_groups_of_heads():
    q, k, v = normal(3, 5, 6, 300, 16)
    check(ops.scaled_dot_product_attention, q, k, v, causal=True)
    q, k, v = normal(3, 1, 2, 1500, 4)  # a block of rows is larger than BLOCK
    check(ops.scaled_dot_product_attention, q, k, v, causal=True)


def test_attention_in_every_layout():
    x = normal(2, 4, 20, 8)
    for q in layouts(x):
        for k in layouts(x):
            check(ops.scaled_dot_product_attention, q, k, x, causal=True)


def test_attention_leaves_the_rest_to_the_rule():
    q, k, v = normal(3, 2, 2, 6, 4)
    check(ops.scaled_dot_product_attention, q, k, v, np.zeros((6, 6)), served=False)  # float64: so are the scores
    check(ops.scaled_dot_product_attention, q[:1], k[:1], v[:1], np.zeros((2, 1, 6, 6), np.float32), served=False)
    check(ops.scaled_dot_product_attention, q, k, v, served=False, dropout=0.2, key=(1,))
    check(ops.scaled_dot_product_attention, q, k[:, :, :4], v[:, :, :4], served=False, causal=True)
    check(ops.scaled_dot_product_attention, q[0], k[0], v[0], served=False)
    with pytest.raises(ValueError, match="expected q"):
        ops.scaled_dot_product_attention(q, k[..., :2], v)


def test_large_scores_do_not_overflow():
    q, k, v = normal(3, 1, 1, 70, 4)
    check(ops.scaled_dot_product_attention, q * 12, k * 12, v, causal=True, tolerance=1e-4)  # scores of some hundreds


@pytest.mark.parametrize("dtype", DTYPES)
def test_add(dtype):
    x, y = normal(2, 3, 4, dtype=dtype)
    check(ops.add, x, y)
    check(ops.add, x, y[0], served=False)


def test_split_hands_back_the_array_that_attention_filled():
    def attend(x: Tensor) -> Tensor:
        q, k, v = (part.transpose(0, 2, 1, 3) for part in ops.split(x, lengths=(4, 2, 2), axis=2))
        return ops.scaled_dot_product_attention(q, k, v, causal=True)

    x = normal(2, 70, 8, 4)
    results = []
    for context in (kernels.disabled(), contextlib.nullcontext()):
        with context:
            tensor = Tensor(x, requires_grad=True)
            attend(tensor).backward(normal(2, 4, 70, 4, seed=3))
            results.append(tensor.grad)
    np.testing.assert_allclose(results[0], results[1], atol=1e-5)


def test_split_joins_what_lies_apart_or_in_another_order():
    x = Tensor(normal(2, 6), requires_grad=True)
    a, b = ops.split(x, lengths=(3, 3), axis=1)
    whole = normal(2, 6, seed=1)
    (a * Tensor(whole[:, 3:]) + b * Tensor(whole[:, :3])).sum().backward()
    np.testing.assert_array_equal(x.grad, np.concatenate([whole[:, 3:], whole[:, :3]], axis=1))
    y = Tensor(normal(2, 6), requires_grad=True)
    (out, backward) = cpu.shape.split_rejoining(y.data, lengths=(3, 3), axis=1)
    np.testing.assert_array_equal(backward((whole[:, 3:], whole[:, :3]))[0],
                                  np.concatenate([whole[:, 3:], whole[:, :3]], axis=1))
    assert backward((whole[:, :3], whole[:, 3:]))[0] is whole


@pytest.mark.parametrize("dtype", DTYPES)
def test_splitting_and_merging_heads(dtype):
    """Served on the tape, and a token alone without it; what is no (B, T, n D) is left to the rule, which says why."""
    for t in (1, 2, 70):
        x, heads = normal(2, t, 32, dtype=dtype), (4, 2, 2)
        for i in range(3):
            check(lambda x: ops.split_heads(x, heads=heads)[i], x, served=None)
        assert cpu.shape.split_heads_rejoining(x, heads=heads) is not NotImplemented
        with kernels.disabled():
            expected = ops.split_heads(x, heads=heads)
        with no_grad():
            found = ops.split_heads(x, heads=heads)
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_array_equal(ours.data, theirs.data)
            merged = ops.merge_heads(ours)
            with kernels.disabled():
                np.testing.assert_array_equal(merged.data, ops.merge_heads(theirs).data)
        assert (cpu.shape.split_heads_of_a_token(x, heads=heads) is NotImplemented) == (t > 1)
        assert (cpu.shape.merge_heads_of_a_token(normal(2, 4, t, 8)) is NotImplemented) == (t > 1)
    for x in (normal(2, 5, 30), normal(5, 32)):
        assert cpu.shape.split_heads_rejoining(x, heads=(4, 2, 2)) is NotImplemented
    with pytest.raises(ValueError, match="30 channels do not divide into 8 heads"):
        ops.split_heads(normal(2, 5, 30), heads=(4, 2, 2))


def test_split_heads_hands_back_the_array_that_attention_filled():
    x, g = normal(2, 70, 32), normal(2, 70, 16, seed=3)
    results = []
    for context in (kernels.disabled(), contextlib.nullcontext()):
        with context:
            tensor = Tensor(x, requires_grad=True)
            q, k, v = ops.split_heads(tensor, heads=(4, 2, 2))
            ops.merge_heads(ops.scaled_dot_product_attention(q, k, v, causal=True)).backward(g)
            results.append(tensor.grad)
    np.testing.assert_allclose(results[0], results[1], atol=1e-5)
    whole = normal(2, 70, 8, 4, seed=1)  # (B, T, n, D): the gradients side by side, as attention leaves them
    parts = [whole[:, :, a:b].transpose(0, 2, 1, 3) for a, b in ((0, 4), (4, 6), (6, 8))]
    _, backward = cpu.shape.split_heads_rejoining(x, heads=(4, 2, 2))
    (joined,) = backward(parts)
    assert joined.shape == x.shape and np.shares_memory(joined, whole)
    (copied,) = backward([parts[0], parts[1].copy(), parts[2]])  # one of them lies elsewhere
    assert not np.shares_memory(copied, whole)
    np.testing.assert_array_equal(copied, joined)


@pytest.mark.parametrize("additive", [False, True])
def test_attention_memory_grows_with_the_length_and_not_with_its_square(additive):
    def peak(length: int) -> int:
        q, k, v = normal(3, 1, 1, length, 4)
        mask = normal(1, length) if additive else None
        tracemalloc.start()
        try:
            out = ops.scaled_dot_product_attention(Tensor(q, requires_grad=True), Tensor(k, requires_grad=True), v,
                                                   mask, causal=True)
            out.backward(q)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak(8192) < 4.4 * peak(2048)
    assert peak(8192) < 0.1 * 8192**2 * 4

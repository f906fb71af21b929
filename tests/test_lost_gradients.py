"""Where a gradient could get lost in silence it is refused, with the way out; and what NumPy's names mean."""

from __future__ import annotations

import numpy as np
import pytest

import tinygpt as tg
from tinygpt import ops
from tinygpt.testing import gradcheck


def leaf(*values: float) -> tg.Tensor:
    return tg.Tensor(list(values), requires_grad=True)


# -- lists of Tensors, and arrays of them -----------------------------------------------------------------------------


@pytest.mark.parametrize("call", [
    lambda x: np.concatenate([x, [x[0] * 10]]), lambda x: x * [x[0], x[1]], lambda x: np.mean([x[0], x[1]]),
    lambda x: ops.linear(x, [x, x]), lambda x: tg.Tensor([[x[0], x[1]]]), lambda x: np.array([x[0], 2.0]),
    lambda x: np.asarray(x), lambda x: [x[0], x[1]] @ x, lambda x: ops.where([True, False], [x[0], 1.0], x),
    lambda x: np.linalg.norm([x, x]), lambda x: x + (x[0], 1.0),
    lambda x: np.r_[x, 3.0], lambda x: np.r_[x[0], x[1]], lambda x: np.c_[x, x],
    lambda x: np.int64(x[0]), lambda x: np.complex128(x[0]), lambda x: np.bool_(x[0])])
def test_a_list_of_tensors_is_refused_with_the_way_out(call):
    with pytest.raises(TypeError, match="would lose it as an array of NumPy's: join Tensors with tinygpt.ops.stack"):
        call(leaf(1.0, 2.0))


def test_the_way_out():
    x = leaf(1.0, 2.0)
    (ops.stack([x[0] * 10, x[1]]) * x).sum().backward()
    np.testing.assert_array_equal(x.grad, [20.0, 4.0])
    np.testing.assert_array_equal(np.asarray(x.detach()), [1.0, 2.0])
    assert np.array([tg.Tensor(1.0), tg.Tensor(2.0)]).tolist() == [1.0, 2.0]  # nothing to lose


def test_lists_of_tensors_are_appended_with_their_gradients():
    x = leaf(1.0, 2.0)
    for call in (np.append, ops.append):
        x.grad = None
        (call(x, [[x[0] * 10, 5.0], (x[1], x.sum())]) * np.arange(6.0)).sum().backward()
        np.testing.assert_array_equal(x.grad, [0 + 20 + 5, 1 + 4 + 5])
    assert np.append([x[0], 7.0], x).tolist() == [1.0, 7.0, 1.0, 2.0]
    inserted = np.insert(x, 1, [x[1], x[1] * 2])
    inserted.backward([1.0, 10.0, 100.0, 1000.0])
    assert inserted.tolist() == [1.0, 2.0, 4.0, 2.0] and x.grad.tolist() == [26.0, 10.0 + 1210.0]


@pytest.mark.parametrize("call", [
    lambda x: ops.scaled_dot_product_attention(x[None, None], x[None, None], x[None, None], scale=x[0, 0]),
    lambda x: ops.layer_norm(x, epsilon=x[0, 0]), lambda x: np.clip(x, x, 1.0), lambda x: x.clip(low=x.detach()[0, 0]),
    lambda x: ops.dropout(x, p=x[0, 0], key=(1,))])
def test_a_tensor_is_no_setting(call):
    with pytest.raises(TypeError, match="is a Tensor, and a setting has no gradient"):
        call(leaf(0.1, 0.2, 0.3, 0.4).reshape(2, 2))


@pytest.mark.parametrize("call", [
    lambda x: np.quantile(np.arange(3.0), x[0]), lambda x: np.percentile(x, x[0]),
    lambda x: np.nanquantile(x, q=x[0]), lambda x: np.nanpercentile(x, x[0]), lambda x: np.linalg.norm(x, x[0]),
    lambda x: np.linalg.vector_norm(x, ord=x[0]), lambda x: np.linalg.matrix_norm(x[:, None], ord=x[0])])
def test_a_setting_of_a_function_made_of_others_is_no_tensor(call):
    with pytest.raises(TypeError, match="has no gradient here: give .detach()"):
        call(leaf(0.1, 0.2))


@pytest.mark.parametrize("call", [
    lambda x: np.sum(np.ones(2), initial=x[0]), lambda x: np.ones(2).max(initial=x[0]),
    lambda x: np.nanprod(np.ones(2), initial=x[0]), lambda x: np.std(np.ones(2), ddof=x[0]),
    lambda x: np.interp([-1.0, 0.5], [0.0, 1.0], [0.0, 1.0], left=x[0])])
def test_numpys_own_code_asks_a_tensor_for_no_number(call):
    with pytest.raises((TypeError, ValueError)) as caught:
        call(leaf(1.0, 2.0))
    assert "would lose it" in f"{caught.value} {caught.value.__cause__}"


def test_the_weights_of_a_histogram_are_refused_and_counted_otherwise():
    x, places = leaf(1.0, 2.0, 4.0), np.array([0.1, 0.9, 0.2])
    for call in (lambda: np.histogram(places, weights=x), lambda: np.histogram(a=places, bins=x)):
        with pytest.raises(TypeError, match="np.histogram would lose the gradient .* use np.bincount of np.digitize"):
            call()
    for found in (np.histogram(x, bins=[0.0, 3.0, 5.0]), np.histogram(a=x, bins=[0.0, 3.0, 5.0])):
        assert found[0].tolist() == [2, 1]
    np.bincount(np.digitize(places, [0.5]), weights=x).backward([1.0, 10.0])
    assert x.grad.tolist() == [1.0, 10.0, 1.0]


def test_slopes_have_gradients_by_the_gaps():
    f, at = np.array([1.0, 3.0, 2.0, 5.0]), np.array([0.0, 1.0, 2.5, 3.0])
    for order in (1, 2):
        gradcheck(lambda f, at: np.gradient(f, at, edge_order=order), f, at)
        gradcheck(lambda h: np.gradient(f, h, edge_order=order), np.array(0.7))


def test_a_tensor_of_a_tensor():
    assert tg.Tensor(tg.Tensor([1.0]), dtype=np.float32).dtype == np.float32
    with pytest.raises(TypeError, match="would lose it .* say .detach()"):
        tg.Tensor(leaf(1.0) * 2)


@pytest.mark.parametrize("number", [np.float64(0.5), np.float32(0.5), np.int64(1)])
def test_a_scalar_of_numpys_does_not_widen(number):
    x = np.ones((1, 1, 2, 4), np.float32)
    for context in (tg.kernels.disabled, tg.no_grad):  # the rule, and the twin
        with context():
            assert ops.scaled_dot_product_attention(x, x, x, scale=number).dtype == np.float32
            assert ops.layer_norm(x, epsilon=number).dtype == ops.rms_norm(x, epsilon=number).dtype == np.float32


@pytest.mark.parametrize("size, key, dtype", [
    (2, 0, float), (2, 0, int), (2, 0, complex), (2, slice(1), float), (2, slice(None), np.float32),
    ((2, 2), (0, 1), float), (2, [0, 1], float), (2, 0, np.float16)])
def test_an_array_takes_no_tensor_that_has_a_gradient(size, key, dtype):
    x, array = leaf(1.0, 2.0), np.zeros(size, dtype)
    for value in (x[0], x[0] * 2, x.sum()):
        with pytest.raises((TypeError, ValueError)) as caught:
            array[key] = value
        said = caught.value if isinstance(caught.value, TypeError) else caught.value.__cause__
        assert "would lose it" in str(said) and "tinygpt.ops.stack" in str(said)
        assert not array.any()
    array[key] = x[0].item()
    assert array[key].all() and float(x[1]) == 2.0 and int(x[1]) == 2  # said in so many words


@pytest.mark.parametrize("call", [
    lambda x: np.float32(x), lambda x: np.full(3, x[0]), lambda x: np.copyto(np.zeros(2), x),
    lambda x: np.put(np.zeros(2), 0, x[0]), lambda x: np.zeros(2).__setitem__(slice(2), x),
    lambda x: np.vectorize(abs)(x),
    lambda x: np.apply_along_axis(sum, 0, x), lambda x: np.add([1.0, 2.0], 1.0, out=x)])
def test_what_makes_an_array_of_a_tensor_is_refused(call):
    with pytest.raises(TypeError):
        call(leaf(1.0, 2.0))


def test_functions_of_scipy_are_refused():
    special, stats = pytest.importorskip("scipy.special"), pytest.importorskip("scipy.linalg")
    for call in (special.expit, special.log1p, special.logsumexp, stats.norm, stats.toeplitz):
        with pytest.raises(TypeError, match="numpy"):
            call(leaf(1.0, 2.0))


def test_whole_numbers_that_were_told_to_have_a_gradient():
    for dtype in (np.int64, np.uint8, bool):
        x = tg.Tensor(np.ones(2, dtype))
        x.requires_grad = True
        with pytest.raises(TypeError, match=f"requires_grad was set on a Tensor of {np.dtype(dtype)}"):
            (x * 2.0).sum().backward()


def test_the_size_of_a_complex_number():
    z = tg.Tensor(np.array([3 + 4j, -1j, 0]), requires_grad=True)
    size = abs(z)
    assert size.tolist() == [5.0, 1.0, 0.0] and size.dtype == np.float64
    size.backward([1.0, 1.0, 1.0])
    np.testing.assert_allclose(z.grad, [0.6 - 0.8j, 1j, 0])  # dL/da − i dL/db


# -- NumPy's names ----------------------------------------------------------------------------------------------------


def test_concatenate_of_everything():
    x, y = tg.Tensor(np.ones((2, 2)), requires_grad=True), leaf(5.0)
    (np.concatenate([x, y], axis=None) * np.arange(5.0)).sum().backward()
    np.testing.assert_array_equal(x.grad, [[0, 1], [2, 3]])
    np.testing.assert_array_equal(y.grad, [4])


@pytest.mark.parametrize("call, message", [
    (lambda x: np.clip(x, 0, 1, dtype=np.float32), "np.clip of a Tensor takes no dtype; it takes x, low, high"),
    (lambda x: np.mean(x, out=np.zeros(())), "takes no out"), (lambda x: np.cumsum(x, out=np.zeros(2)), "takes no out"),
    (lambda x: np.add.reduce(x, out=np.zeros(())), "no rule"), (lambda x: np.std(x, out=np.zeros(())), "takes no out"),
    (lambda x: np.full_like(x, x[0]), "would lose the gradient"),
    (lambda x: np.full_like(x, fill_value=x[1]), "would lose the gradient"),
    (lambda x: np.emath.sqrt(x), "no rule"), (lambda x: np.emath.log(x), "no rule")])
def test_what_numpy_has_and_tensors_have_not_is_said(call, message):
    with pytest.raises(TypeError, match=message):
        call(leaf(1.0, 2.0))


def test_what_says_nothing_is_left_out():
    x = leaf(1.0, 2.0)
    assert float(np.sum(x, out=None)) == 3.0
    assert np.clip(x, a_min=None, a_max=1.5).tolist() == np.clip(x, min=1.0, max=1.5).tolist() == [1.0, 1.5]
    assert np.full_like(x, 3.0).tolist() == [3.0, 3.0]


@pytest.mark.parametrize("call", [
    lambda x: np.transpose(x, (1, 0, 2)), lambda x: np.transpose(x[0, 0], -1), lambda x: np.transpose(x[0, 0], axes=0),
    lambda x: np.reshape(x, (4, -1), order="F"), lambda x: np.reshape(x, shape=(3, 8)),
    lambda x: np.reshape(x, 24, "F"),
    lambda x: x.reshape(4, 6, order="F"), lambda x: x.reshape((4, 6)), lambda x: x.reshape(-1, order="F"),
    lambda x: np.ravel(x, order="F"), lambda x: np.ravel(x), lambda x: x.ravel("F"), lambda x: x.flatten("F"),
    lambda x: x.flatten()])
def test_orders_and_axes_are_numpys(call):
    array = np.arange(24.0).reshape(2, 3, 4)
    x = tg.Tensor(array, requires_grad=True)
    found, g = call(x), np.arange(1.0, 25.0)
    np.testing.assert_array_equal(found.data, call(array))
    g = g[:found.size].reshape(found.shape)
    found.backward(g)
    assert (x.grad * array).sum() == (g * found.data).sum()  # each element took its gradient home
    with pytest.raises(ValueError, match="order must be 'C' or 'F' for a Tensor, got 'A'"):
        np.ravel(x, order="A")


def test_astype_knows_numpys_rules_of_casting():
    x = leaf(1.0, 2.0)
    assert x.astype(np.float32, casting="same_kind").dtype == np.float32 and x.astype(float, casting="no").requires_grad
    with pytest.raises(TypeError, match="astype: float64 does not become float32 by the rule 'safe'"):
        x.astype(np.float32, casting="safe")


def test_running_sums_of_a_number():
    for function in (np.cumsum, np.cumprod):
        for axis in (0, -1, None):
            x = tg.Tensor(3.0, requires_grad=True)
            found = function(x, axis=axis)
            found.backward([2.0])
            assert found.tolist() == [3.0] and x.grad == 2.0


# -- infinities, booleans, half precision -----------------------------------------------------------------------------


@pytest.mark.parametrize("values, axis, expected", [
    ([-np.inf, -np.inf], None, -np.inf), ([np.inf, 1.0], None, np.inf), ([[-np.inf] * 2, [0.0] * 2], 1,
                                                                         [-np.inf, np.log(2)]),
    (np.zeros((2, 0)), 1, [-np.inf] * 2), ([1000.0, 1000.0], None, 1000 + np.log(2))])
def test_logsumexp_at_infinity(values, axis, expected):
    np.testing.assert_allclose(ops.logsumexp(np.asarray(values), axis=axis).data, expected, rtol=1e-15)


def test_logsumexp_of_nothing_but_minus_infinity_has_no_gradient():
    x = leaf(-np.inf, -np.inf)
    ops.logsumexp(x).backward()
    np.testing.assert_array_equal(x.grad, [0.0, 0.0])


def test_a_boolean_exponent():
    x = leaf(3.0, 4.0)
    (x ** np.array([True, False])).sum().backward()
    np.testing.assert_array_equal(x.grad, [1.0, 0.0])


@pytest.mark.parametrize("name, value, slope", [("mean", 1.0, 1 / 70000), ("max", 1.0, 1 / 70000), ("var", 0.0, 0.0)])
def test_half_precision_is_summed_in_single(name, value, slope):
    x = tg.Tensor(np.ones(70000, np.float16), requires_grad=True)
    y = getattr(x, name)()
    y.backward()
    assert y.dtype == x.grad.dtype == np.float16 and float(y) == value
    np.testing.assert_allclose(x.grad, np.full(70000, slope), rtol=2e-3)  # float16's digits so near to zero


def test_a_loss_in_half_precision():
    logits = tg.Tensor(np.zeros((70000, 2), np.float16), requires_grad=True)
    loss = ops.cross_entropy(logits, np.zeros(70000, np.int64))
    assert abs(float(loss) - np.log(2)) < 1e-3
    loss.backward()
    assert (logits.grad[:, 0] < 0).all()

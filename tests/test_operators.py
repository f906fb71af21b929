"""What Tensors do under operators, indices and NumPy's functions: what a NumPy user expects, on the tape."""

from __future__ import annotations

import operator

import fake_device  # noqa: F401  (registers the device "fake")
import numpy as np
import pytest

import tinygpt as tg
from tinygpt import ops

RNG = np.random.default_rng(0)
A, B = RNG.random((3, 4)) + 0.5, RNG.random((3, 4)) + 0.5
ROW = RNG.random(4) + 0.5


def tensor(a):
    return tg.Tensor(a.copy(), requires_grad=True)


def numeric(function, a, g, step=1e-6):
    """Σ g · function, differentiated by central differences."""
    out = np.zeros_like(a)
    for i in np.ndindex(*a.shape):
        up, down = a.copy(), a.copy()
        up[i] += step
        down[i] -= step
        out[i] = ((function(up) - function(down)) * g).sum() / (2 * step)
    return out


# -- operators --------------------------------------------------------------------------------------------------------

BINARY = [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow]
OTHERS = {"same shape": B, "a row": ROW, "a column": B[:, :1], "no axes": np.array(1.5), "float": 1.5, "int": 2,
          "np.float64": np.float64(1.5), "np.int64": np.int64(2), "one more axis": np.stack([B, A])}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("op", BINARY, ids=lambda op: op.__name__)
def test_binary_operators(op, other):
    """With NumPy arrays and numbers on either side: the value, the type, and both gradients."""
    for compute in (lambda a: op(a, other), lambda a: op(other, a)):
        x = tensor(A)
        y = compute(x)
        assert type(y) is tg.Tensor and y.requires_grad and y.dtype == np.float64
        np.testing.assert_array_equal(y.data, compute(A))
        g = np.random.default_rng(1).standard_normal(y.shape)
        y.backward(g)
        np.testing.assert_allclose(x.grad, numeric(compute, A, g), rtol=1e-6, atol=1e-7)
    if isinstance(other, np.ndarray):
        x, y = tensor(A), tensor(other)
        z = op(x, y)
        g = np.random.default_rng(1).standard_normal(z.shape)
        z.backward(g)
        np.testing.assert_allclose(x.grad, numeric(lambda a: op(a, other), A, g), rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(y.grad, numeric(lambda b: op(A, b), other, g), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("op", BINARY, ids=lambda op: op.__name__)
def test_dtypes_promote_as_in_numpy(op):
    small = A.astype(np.float32)
    for other in (2, 1.5, np.float64(1.5), np.float32(1.5), np.int64(2), B, B.astype(np.float32), np.arange(1, 5)):
        assert op(tg.Tensor(small), other).dtype == op(small, other).dtype
        assert op(other, tg.Tensor(small)).dtype == op(other, small).dtype


def test_matmul_with_arrays_and_lists():
    x = tensor(A)
    for left, right in ((x, B.T), (B.T, x), (x, ROW), (RNG.random(3), x), (x, ROW.tolist()), ([1.0, 2.0, 3.0], x)):
        z = left @ right
        assert type(z) is tg.Tensor
        np.testing.assert_allclose(
            z.data, (A if left is x else np.asarray(left)) @ (A if right is x else np.asarray(right)))
    with pytest.raises(ValueError, match="mismatch"):
        x @ x


def test_lists_are_arrays():
    x = tensor(A)
    np.testing.assert_array_equal((x + ROW.tolist()).data, A + ROW)
    np.testing.assert_array_equal((ROW.tolist() * x).data, ROW * A)


def test_unary_operators():
    x = tensor(A - 1)
    np.testing.assert_array_equal((-x).data, 1 - A)
    np.testing.assert_array_equal(abs(x).data, np.abs(A - 1))
    np.testing.assert_array_equal((~(x > 0)).data, ~(A - 1 > 0))
    with pytest.raises(TypeError, match="~ needs a boolean Tensor, got float64"):
        ~x


def test_in_place_operators_make_new_tensors():
    x = tensor(A)
    y = x
    y += 1
    y *= x
    np.testing.assert_array_equal(x.data, A)
    y.sum().backward()
    np.testing.assert_allclose(x.grad, 2 * A + 1)


def test_arrays_do_not_take_tensors_in_place():
    a = A.copy()
    with pytest.raises(TypeError, match="np.add with the given arguments has no rule for Tensors"):
        a += tensor(B)
    with pytest.raises(TypeError, match="np.multiply with the given"):
        np.multiply(tensor(B), 2, out=a)
    np.testing.assert_array_equal(a, A)


@pytest.mark.parametrize("bad", ["text", None, object(), {}])
def test_what_has_no_arithmetic_is_a_type_error(bad):
    for call in (lambda: tensor(A) + bad, lambda: bad * tensor(A), lambda: tensor(A) < bad):
        with pytest.raises(TypeError):
            call()


# -- comparisons ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge],
                         ids=lambda op: op.__name__)
def test_comparisons(op):
    x = tensor(A)
    other = A.copy()
    other[0] += 0.1
    other[1] -= 0.1
    for right in (other, tg.Tensor(other), 1.0, np.float64(1), other.tolist(), other[0]):
        y = op(x, right)
        assert type(y) is tg.Tensor and y.dtype == bool and not y.requires_grad
        np.testing.assert_array_equal(y.data, op(A, right.data if isinstance(right, tg.Tensor) else right))
    z = op(other, x)
    assert type(z) is tg.Tensor
    np.testing.assert_array_equal(z.data, op(other, A))
    assert op(tg.Tensor(1.0), 1.0).shape == ()


def test_comparing_with_something_else():
    x = tensor(A)
    assert (x == "text") is False and (x != "text") is True
    assert (x == None) is False and (x != None) is True  # noqa: E711
    assert (x == object()) is False


def test_masks_combine():
    x = tensor(A)
    mask = (x > 0.7) & (x < 1.2) | (x == A[0, 0])
    np.testing.assert_array_equal(mask.data, (A > 0.7) & (A < 1.2) | (A == A[0, 0]))
    np.testing.assert_array_equal(((A > 1) & (x > 1)).data, A > 1)
    x[mask].sum().backward()
    np.testing.assert_array_equal(x.grad, mask.data * 1.0)


def test_hash_is_identity():
    x, y = tensor(A), tensor(A)
    assert {x: 1, y: 2}[x] == 1 and len({x, y, x}) == 2


# -- indices ----------------------------------------------------------------------------------------------------------

X = RNG.standard_normal((4, 5, 3))
MASK = RNG.random((4, 5)) < 0.4
KEYS = {
    "integer": 1, "negative": -1, "np integer": np.int64(2), "0-d array": np.array(2), "slice": slice(1, 3),
    "step": slice(None, None, 2), "backwards": slice(None, None, -1), "empty slice": slice(2, 2), "ellipsis": ...,
    "none": None, "nothing": (), "tuple": (1, 2), "to a number": (1, 2, 0),
    "mixed": (slice(1, None), 2, None, ..., slice(None, None, -1)), "last axis": (..., 0),
    "integers": np.array([3, 0, 2]), "repeated": np.array([1, 1, -3, 1]), "table": np.array([[0, 1], [1, 1]]),
    "uint8": np.array([3, 3], np.uint8), "pair": (np.array([0, 3, 0]), np.array([1, 1, 1])),
    "outer": (np.array([[0], [3], [0]]), np.array([1, 1])),
    "array and slice": (np.array([2, 2]), slice(1, 3)), "separated": (np.array([2, 2]), slice(None), np.array([1, 1])),
    "array and integer": (slice(None), np.array([0, 0]), 1), "list": [0, 0, 3], "lists": ([0, 0], [1, 1]),
    "nested tuple": ((0, 0),), "range": range(2), "nothing picked": [], "no integers": np.array([], int),
    "mask": X > 0, "rows mask": np.array([True, False, True, False]), "leading mask": MASK,
    "mask and slice": (MASK, slice(1)), "list of bools": [True, False, False, True],
    "mask and array": (np.array([True, False, True, False]), np.array([1, 1])), "True": True, "False": False,
}


@pytest.mark.parametrize("name", KEYS)
def test_indexing(name):
    key = KEYS[name]
    if isinstance(key, tuple) and name == "nested tuple":
        expected_key: object = ([0, 0],)
    else:
        expected_key = key
    x = tensor(X)
    y = x[key]
    np.testing.assert_array_equal(y.data, X[expected_key])
    g = np.random.default_rng(1).standard_normal(y.shape)
    y.backward(g)
    expected = np.zeros_like(X)
    np.add.at(expected, expected_key, g)
    np.testing.assert_allclose(x.grad, expected)
    again = tensor(X)
    ops.getitem(again, key=key).backward(g)  # the operation itself takes the same keys
    np.testing.assert_array_equal(again.grad, x.grad)


@pytest.mark.parametrize("key", [tg.Tensor([1, 1, 0]), (slice(None), tg.Tensor([1, 1])), tg.Tensor(X > 0),
                                 (tg.Tensor(1), tg.Tensor([0, 0]))])
def test_tensors_as_indices(key):
    plain = tuple(k.data if isinstance(k, tg.Tensor) else k for k in key) if isinstance(key, tuple) else key.data
    x = tensor(X)
    y = x[key]
    np.testing.assert_array_equal(y.data, X[plain])
    y.sum().backward()
    expected = np.zeros_like(X)
    np.add.at(expected, plain, 1.0)
    np.testing.assert_array_equal(x.grad, expected)
    np.testing.assert_array_equal(X[tg.Tensor([1, 1, 0])], X[[1, 1, 0]])  # and of arrays, as the array they hold


def test_indices_out_of_range():
    for key in (4, (0, 5), np.array([0, 4]), [-5]):
        with pytest.raises(IndexError):
            tensor(X)[key]


def test_iteration_and_unpacking():
    x = tensor(A)
    rows = list(x)
    assert len(x) == len(rows) == 3 and all(row.requires_grad for row in rows)
    first, _, last = x
    (first * 2 + last).sum().backward()
    np.testing.assert_array_equal(x.grad, [[2] * 4, [0] * 4, [1] * 4])
    assert [float(v) for v in reversed(tg.Tensor([1.0, 2.0]))] == [2.0, 1.0]
    with pytest.raises(TypeError, match="len\\(\\) of a Tensor with no axes"):
        len(tg.Tensor(1.0))
    with pytest.raises(TypeError):
        list(tg.Tensor(1.0))


# -- Python's conversions ---------------------------------------------------------------------------------------------


def test_conversions():
    x = tg.Tensor([2.5], requires_grad=True)
    assert (float(x), int(x), bool(x), x.item()) == (2.5, 2, True, 2.5) and type(x.item()) is float
    assert [10, 20, 30][tg.Tensor(1)] == 20
    assert f"{x:.2f} {tg.Tensor(3):04d}" == "2.50 0003" and f"{x}" == str(x)
    assert not tg.Tensor(0.0)
    for convert in (float, int, bool):
        with pytest.raises((ValueError, TypeError)):
            convert(tensor(A))
    with pytest.raises(TypeError):
        operator.index(tg.Tensor(1.0))


def test_repr():
    text = repr(tg.Tensor(np.array([[1.0, 2.5]], np.float32), requires_grad=True))
    assert text == "Tensor([[1. , 2.5]], shape=(1, 2), dtype=float32, requires_grad=True)"
    assert repr(tg.Tensor(3)) == "Tensor(3, shape=(), dtype=int64)"
    assert "..." in repr(tg.Tensor(np.zeros((100, 100)))) and len(repr(tg.Tensor(np.zeros((100, 100))))) < 1000
    assert "device='fake:1'" in repr(tg.Tensor([1.0], device="fake:1"))


# -- NumPy's functions ------------------------------------------------------------------------------------------------


def test_asarray():
    with_gradient = tensor(A)
    np.testing.assert_allclose(with_gradient, A)  # numpy.testing may look; who computes would lose the gradient
    np.testing.assert_array_equal(with_gradient, A)
    with pytest.raises(TypeError, match="would lose it as an array"):
        np.asarray(with_gradient)
    x = with_gradient.detach()
    assert np.shares_memory(np.asarray(x), x.data) and x.numpy() is x.data
    copy = np.array(x)
    assert type(copy) is np.ndarray and not np.shares_memory(copy, x.data)
    assert np.asarray(x, dtype=np.float32).dtype == np.float32
    np.testing.assert_array_equal(np.array([tg.Tensor(1.0), tg.Tensor(2.0)]), [1.0, 2.0])
    np.testing.assert_allclose(x, A)
    np.testing.assert_array_equal(x, A)
    with pytest.raises(TypeError, match="a Tensor on fake:0 does not turn into a NumPy array by itself: use .numpy()"):
        np.asarray(tg.Tensor(A, device="fake"))


NUMPY_CALLS = {
    "exp": lambda x: np.exp(x), "log": lambda x: np.log(x), "sqrt": lambda x: np.sqrt(x), "tanh": lambda x: np.tanh(x),
    "sin": lambda x: np.sin(x), "cos": lambda x: np.cos(x), "abs": lambda x: np.abs(x),
    "negative": lambda x: np.negative(x),
    "add": lambda x: np.add(ROW, x), "subtract": lambda x: np.subtract(x, ROW), "divide": lambda x: np.divide(ROW, x),
    "multiply": lambda x: np.multiply(x, 2.0), "power": lambda x: np.power(x, 3), "maximum": lambda x: np.maximum(x, B),
    "minimum": lambda x: np.minimum(B, x), "where": lambda x: np.where(A > 1, x, 0.0),
    "clip": lambda x: np.clip(x, 0.8, 1.2),
    "sum": lambda x: np.sum(x), "sum axis": lambda x: np.sum(x, axis=0), "sum by position": lambda x: np.sum(x, 1),
    "mean": lambda x: np.mean(x, axis=1, keepdims=True), "var": lambda x: np.var(x), "max": lambda x: np.max(x, axis=0),
    "min": lambda x: np.min(x), "amax": lambda x: np.amax(x, axis=1), "transpose": lambda x: np.transpose(x, (1, 0)),
    "swapaxes": lambda x: np.swapaxes(x, 0, 1), "reshape": lambda x: np.reshape(x, (2, 6)),
    "reshape flat": lambda x: np.reshape(x, -1), "ravel": lambda x: np.ravel(x),
    "expand_dims": lambda x: np.expand_dims(x, 1),
    "squeeze": lambda x: np.squeeze(np.expand_dims(x, 1), axis=1),
    "broadcast_to": lambda x: np.broadcast_to(x, (2, 3, 4)),
    "concatenate": lambda x: np.concatenate([x, B, x], axis=1), "concatenate first": lambda x: np.concatenate((x, x)),
    "stack": lambda x: np.stack([B, x], 1), "matmul": lambda x: np.matmul(x, B.T), "dot": lambda x: np.dot(B.T, x),
    "dot vector": lambda x: np.dot(x, ROW),
}


@pytest.mark.parametrize("name", NUMPY_CALLS)
def test_numpy_functions_on_tensors(name):
    call = NUMPY_CALLS[name]
    x = tensor(A)
    y = call(x)
    assert type(y) is tg.Tensor and y.requires_grad
    np.testing.assert_allclose(y.data, call(A), rtol=1e-14)
    g = np.random.default_rng(1).standard_normal(y.shape)
    y.backward(g)
    np.testing.assert_allclose(x.grad, numeric(call, A, g), rtol=1e-5, atol=1e-7)


def test_numpy_functions_without_a_derivative():
    x = tensor(A)
    assert np.allclose(x, A) and np.array_equal(A, x) and np.isfinite(x).all() and not np.any(np.isnan(x))
    assert (np.shape(x), np.ndim(x), np.size(x)) == ((3, 4), 2, 12)
    np.testing.assert_array_equal(np.argmax(x, axis=1), A.argmax(axis=1))
    np.testing.assert_array_equal(np.logical_and(x > 1, A > 1), A > 1)
    assert np.zeros_like(x).shape == (3, 4) and np.sign(x).sum() == 12


def test_numpy_functions_without_a_rule():
    x = tensor(A)
    for call, name in ((lambda: np.subtract.reduce(x), "np.subtract.reduce"), (lambda: np.spacing(x), "np.spacing"),
                       (lambda: np.unwrap(x), "np.unwrap"), (lambda: np.exp(x, where=A > 1), "np.exp"),
                       (lambda: np.add.reduceat(x, [0, 1]), "np.add.reduceat"),
                       (lambda: np.multiply.at(x, [0], 2.0), "np.multiply.at"),
                       (lambda: np.add.reduce(x, out=np.zeros(4)), "np.add.reduce")):
        with pytest.raises(TypeError, match=f"^{name} .*use a function of tinygpt.ops"):
            call()


# -- methods ----------------------------------------------------------------------------------------------------------


def test_methods_that_take_shapes_in_several_ways():
    x = tensor(X)
    for y in (x.reshape(4, 15), x.reshape((4, 15)), x.reshape([4, -1])):
        assert y.shape == (4, 15)
    assert x.reshape(-1).shape == (60,) and tensor(A[:1, :1]).reshape().shape == ()
    for y in (x.transpose(2, 0, 1), x.transpose((2, 0, 1)), x.transpose([-1, 0, 1])):
        np.testing.assert_array_equal(y.data, X.transpose(2, 0, 1))
    assert x.T.shape == x.transpose().shape == x.transpose(None).shape == (3, 5, 4)
    for y in (x.flatten(), x.ravel()):
        np.testing.assert_array_equal(y.data, X.ravel())
        assert y.requires_grad
    assert x.swapaxes(0, -1).shape == (3, 5, 4) and x.sum(0).shape == (5, 3) and x.max(axis=(0, 2)).shape == (5,)


def test_argmax_and_lists():
    x = tensor(A)
    assert x.argmax().item() == A.argmax() and not x.argmax().requires_grad
    assert x.argmax(axis=1).tolist() == x.argmax(-1).tolist() == A.argmax(axis=1).tolist()
    assert x.tolist() == A.tolist() and tg.Tensor(2.0).tolist() == 2.0
    assert tg.Tensor(A, device="fake").argmax(axis=0).device == "fake:0"


def test_astype():
    x = tensor(A)
    y = x.astype(np.float32)
    assert y.dtype == np.float32
    (y * 2).sum().backward()
    assert x.grad.dtype == np.float64 and (x.grad == 2).all()
    whole = x.astype("int64")
    assert whole.dtype == np.int64 and not whole.requires_grad
    assert not whole.astype(np.float32).requires_grad


def test_every_method_is_the_operation_of_its_name():
    for name in "exp log sqrt tanh sin cos erf sigmoid relu gelu silu softmax log_softmax sum mean var max min".split():
        np.testing.assert_array_equal(getattr(tensor(A), name)().data, getattr(ops, name)(A).data)
    np.testing.assert_array_equal(tensor(A).clip(0.8, 1.0).data, A.clip(0.8, 1.0))
    np.testing.assert_array_equal(tensor(A - 1).abs().data, abs(A - 1))


# -- moving -----------------------------------------------------------------------------------------------------------


def test_gradients_come_back_to_their_device():
    x = tensor(A)
    assert x.to("cpu") is x
    y = x.to("fake:1")
    assert y.device == "fake:1"
    z = (y * y).to("fake:0").to("cpu")
    assert z.device == "cpu" and y.to("fake:1") is y
    z.sum().backward()
    assert type(x.grad) is np.ndarray
    np.testing.assert_array_equal(x.grad, 2 * A)
    there = tg.Tensor(A, requires_grad=True, device="fake:1")
    total = (there.to("cpu") * B).sum() + (there * 2).sum().to("cpu") + there.to("cpu").sum() + there.to("cpu").sum()
    total.backward()
    assert tg.backend.device_of(there.grad) == "fake:1"
    np.testing.assert_allclose(tg.backend.to_numpy(there.grad), B + 4)

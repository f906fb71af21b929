"""NumPy's functions of Tensors: each entry of the table on its samples, beside NumPy itself.

That their gradients are right is checked over the registry (test_registry.py). Here: the values and types are NumPy's,
nothing falls off the tape, and they work where the arrays are on a device.
"""

from __future__ import annotations

import functools
import inspect
from pathlib import Path

import fake_device  # noqa: F401  (registers the device "fake")
import numpy as np
import pytest

import tinygpt as tg
from tinygpt import ops
from tinygpt.backend import to_numpy
from tinygpt.ops import elementary
from tinygpt.ops.numpy_functions import LATER_METHODS, OFF_THE_TAPE, library
from tinygpt.ops.numpy_table import ENTRIES, NUMPY_FUNCTIONS
from tinygpt.testing import gradcheck, op_db

library()
OTHER_FORM = {"clip": "our bounds are called low and high"}
NAMES = [name for name in ENTRIES if name not in OTHER_FORM]


def theirs(name):
    """NumPy's function, by the first name that this NumPy has."""
    for path in ENTRIES[name].names:
        found = functools.reduce(lambda owner, part: getattr(owner, part, None), path.split("."), np)
        if found is not None:
            return found
    pytest.skip(f"this NumPy has no {name}")


def calls(name, n=6):
    """The samples of a function as NumPy is called: positional and keyword arguments."""
    operation = getattr(ENTRIES[name].function, "operation", None)
    for sample in op_db[name].samples(n):
        yield ([list(sample.inputs)] if operation is not None and operation.variadic else list(sample.inputs)), \
            sample.settings


def tensors(x, made, device="cpu", dtype=None):
    """Floating-point arrays as leaves, wherever they stand in lists."""
    if isinstance(x, list) and any(isinstance(part, (np.ndarray, list)) for part in x):
        return [tensors(part, made, device, dtype) for part in x]
    if isinstance(x, (np.ndarray, np.floating)) and x.dtype.kind == "f":
        made.append(tg.Tensor(np.asarray(x), requires_grad=True, device=device, dtype=dtype))
        return made[-1]
    return tg.Tensor(x, device=device) if isinstance(x, np.ndarray) and device != "cpu" else x


def outputs(found):
    return list(found) if isinstance(found, (tuple, list)) else [found]


@pytest.mark.parametrize("name", NAMES)
def test_values_are_numpys_and_nothing_falls_off_the_tape(name):
    function = theirs(name)
    for args, settings in calls(name):
        made: list = []
        given = [tensors(x, made) for x in args]
        expected = outputs(function(*args, **settings))
        for call in (function, getattr(ops, name)):
            found = outputs(call(*given, **settings))
            assert len(found) == len(expected)
            for ours, right in zip(found, expected):
                if isinstance(ours, int):  # a rank
                    assert ours == right
                    continue
                assert type(ours) is tg.Tensor
                assert (ours.shape, ours.dtype) == (np.shape(right), np.asarray(right).dtype)
                np.testing.assert_allclose(ours.data, right, rtol=1e-9, atol=1e-12)
            assert any(out.requires_grad for out in found if isinstance(out, tg.Tensor)) or not made


# Other arguments of these are in float64, or they choose their own type.
WIDER = {"numpy_astype", "ediff1d", "float_power", "gradient", "i0", "linspace", "select"}


@pytest.mark.parametrize("name", [name for name in NAMES if name not in WIDER])
def test_float32_stays_float32(name):
    for args, settings in calls(name, 3):
        made: list = []
        given = [tensors(x, made, dtype="float32") for x in args]
        narrow = {key: np.asarray(x, np.float32) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x
                  for key, x in settings.items()}
        for out in outputs(getattr(ops, name)(*given, **narrow)):
            if isinstance(out, tg.Tensor):
                assert out.dtype in (np.float32, np.complex64)


@pytest.mark.parametrize("name", [name for name in NAMES if "fft." not in ENTRIES[name].names[0]
                                  and name != "eigvals"])
def test_on_a_device(name):
    """Values and gradients are those of the host."""
    for args, settings in calls(name, 3):
        results = []
        for device in ("cpu", "fake"):
            made: list = []
            found = outputs(ENTRIES[name].function(*[tensors(x, made, device) for x in args], **settings))
            outs = [out for out in found if isinstance(out, tg.Tensor)]
            assert all(out.device.startswith(device) for out in outs)
            rng, total = np.random.default_rng(0), None
            for out in (out for out in outs if out.requires_grad):
                part = (out * tg.Tensor(rng.standard_normal(out.shape).astype(out.dtype), device=device)).sum()
                total = part if total is None else total + part
            if total is not None:
                total.backward()
            results.append([to_numpy(out.data) for out in outs]
                           + [None if x.grad is None else to_numpy(x.grad) for x in made])
        for host, there in zip(*results):
            if host is None:
                assert there is None
            else:
                np.testing.assert_allclose(there, host, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in NAMES if name in LATER_METHODS])
def test_methods_are_the_functions(name):
    for args, settings in calls(name, 3):
        made: list = []
        first, *others = [tensors(x, made) for x in args]
        if not isinstance(first, tg.Tensor):
            continue
        method = getattr(first, name)
        found = method if name in ("real", "imag") else method(*others, **settings)
        for ours, right in zip(outputs(found), outputs(ENTRIES[name].function(first, *others, **settings))):
            np.testing.assert_array_equal(ours.data, right.data)


def test_the_table_of_methods_from_the_library_is_whole():
    """Every function of one array that is in the library, and is a method of NumPy's arrays or of one input, is
    awaited by name; and reading the library puts each of them in its place."""
    library()
    awaited = {name for name, entry in ENTRIES.items() if hasattr(np.ndarray, name) or name in elementary.ONE_INPUT}
    awaited |= {name for name in OFF_THE_TAPE if hasattr(np.ndarray, name)}
    assert awaited - {"partition", "resize", "sort"} <= {name for name in dir(tg.Tensor)}
    assert LATER_METHODS - awaited == {"conj", "mT"}
    assert all(getattr(tg.Tensor, name) is vars(tg.Tensor)[name] for name in LATER_METHODS)  # none waits any more


def test_every_method_of_arrays_is_there_or_says_why():
    missing = {name for name in dir(np.ndarray) if not name.startswith("_") and not hasattr(tg.Tensor(X), name)}
    assert missing <= set("""argpartition base byteswap ctypes data dump dumps fill flags flat getfield itemset itemsize
        nbytes newbyteorder partition put resize setfield setflags sort strides to_device tobytes tofile tostring view
        """.split())
    with pytest.raises(AttributeError, match="works in place: use np.sort"):
        tg.Tensor([2.0, 1.0]).sort()
    with pytest.raises(AttributeError, match="works in place: use tinygpt.ops.where"):
        tg.Tensor([2.0, 1.0]).fill(0)
    with pytest.raises(AttributeError, match="'Tensor' object has no attribute 'sinhh'"):
        tg.Tensor(1.0).sinhh
    with pytest.raises(AttributeError, match="module 'tinygpt.ops' has no attribute 'sinhh'"):
        ops.sinhh


@pytest.mark.parametrize("name", [name for name in ENTRIES if name not in ("clip",) and "out" in (
    inspect.signature(ENTRIES[name].function).parameters)])
def test_out_is_refused(name):
    args, settings = next(calls(name, 1))
    made: list = []
    with pytest.raises(TypeError, match="takes no out"):
        ENTRIES[name].function(*[tensors(x, made) for x in args], **settings, out=np.zeros(3))


# -- the keywords of reductions ---------------------------------------------------------------------------------------

X = np.random.default_rng(0).uniform(0.5, 2.0, (3, 4))
MASK = np.random.default_rng(1).random((3, 4)) < 0.7
MASK[:, 0] = MASK[1] = True
CALLS = [
    (np.sum, dict(axis=0, dtype=np.float32)), (np.sum, dict(initial=2.0)), (np.sum, dict(axis=1, where=MASK)),
    (np.prod, dict(axis=1, where=MASK, initial=3.0)), (np.prod, dict(axis=(0, 1), keepdims=True)),
    (np.mean, dict(axis=0, where=MASK)), (np.mean, dict(axis=1, dtype=np.float32, keepdims=True)),
    (np.max, dict(axis=1, initial=1.2)), (np.max, dict(axis=1, initial=0.1, where=MASK)),
    (np.min, dict(initial=0.9)), (np.min, dict(axis=0, initial=9.0, where=MASK, keepdims=True)),
    (np.var, dict(ddof=1)), (np.var, dict(axis=0, ddof=2, keepdims=True)), (np.var, dict(axis=1, where=MASK, ddof=1)),
    (np.var, dict(correction=1)), (np.std, dict(axis=1, ddof=1)), (np.std, dict(axis=1, where=MASK)),
    (np.std, dict(axis=0, dtype=np.float32)), (np.nansum, dict(axis=0, where=MASK)),
    (np.average, dict(axis=0, weights=X[:, 0])), (np.average, dict(weights=X)),
]


@pytest.mark.parametrize("function, settings", CALLS, ids=[f"{f.__name__} {', '.join(s)}" for f, s in CALLS])
def test_keywords_of_reductions(function, settings):
    expected = function(X, **settings)
    found = function(tg.Tensor(X, requires_grad=True), **settings)
    assert type(found) is tg.Tensor and (found.shape, found.dtype) == (np.shape(expected), expected.dtype)
    np.testing.assert_allclose(found.data, expected, rtol=1e-6 if "dtype" in settings else 1e-12)
    if "dtype" not in settings:
        gradcheck(lambda x: function(x, **settings), X)
    name = function.__name__
    if hasattr(np.ndarray, name):
        np.testing.assert_array_equal(getattr(tg.Tensor(X), name)(**settings).data, found.data)
    np.testing.assert_array_equal(getattr(ops, name)(tg.Tensor(X), **settings).data, found.data)


def test_where_without_initial_has_nothing_to_choose_from():
    with pytest.raises(ValueError, match="give initial= too"):
        np.max(tg.Tensor(X), where=MASK)


NAN = np.where(MASK, X, np.nan)
PLACES = (np.cumsum(MASK) - 1).reshape(X.shape)  # of the numbers, in a row


@pytest.mark.parametrize("function", [np.nansum, np.nanprod, np.nanmean, np.nanvar, np.nanstd, np.nanmax, np.nanmin,
                                      np.nanmedian, np.nancumsum, np.nancumprod])
@pytest.mark.parametrize("axis", [None, 0, -1])
def test_what_is_no_number_is_left_out(function, axis):
    x = tg.Tensor(NAN, requires_grad=True)
    found = function(x, axis=axis)
    np.testing.assert_allclose(found.data, function(NAN, axis=axis), rtol=1e-12)
    found.sum().backward()
    assert np.isfinite(x.grad).all() and (x.grad[~MASK] == 0).all()

    gradcheck(lambda numbers: function(ops.where(MASK, ops.ravel(numbers)[PLACES], np.nan), axis=axis), X[MASK])


@pytest.mark.parametrize("q", [0.3, [0.0, 0.25, 1.0]])
def test_quantiles_of_what_is_a_number(q):
    for axis in (None, 0, 1):
        np.testing.assert_allclose(np.nanquantile(tg.Tensor(NAN), q, axis=axis).data,
                                   np.nanquantile(NAN, q, axis=axis), rtol=1e-12)
        np.testing.assert_allclose(np.quantile(tg.Tensor(NAN), q, axis=axis).data, np.quantile(NAN, q, axis=axis))


def test_zeros_in_products():
    for values in ([2.0, 0.0, 3.0], [0.0, 0.0, 3.0], [0.0], []):
        x = np.array(values)
        for function in (np.prod, lambda x: np.cumprod(x)):
            if x.size:
                gradcheck(function, x)
    gradcheck(np.linalg.det, np.array([[1.0, 2.0], [2.0, 4.0]]))  # singular


# -- what ufuncs have besides -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", [
    lambda x: np.add.reduce(x), lambda x: np.add.reduce(x, axis=1, keepdims=True), lambda x: np.add.accumulate(x),
    lambda x: np.multiply.reduce(x, axis=1), lambda x: np.multiply.accumulate(x, axis=1),
    lambda x: np.maximum.reduce(x, axis=None),
    lambda x: np.minimum.reduce(x), lambda x: np.add.outer(x, X[0]), lambda x: np.subtract.outer(X[0], x[0]),
    lambda x: np.add.reduce(x, axis=(0, 1), initial=1.0), lambda x: x % 0.7, lambda x: 5.0 % x, lambda x: +x,
    lambda x: divmod(x, 0.7)[1], lambda x: np.einsum(x, [0, 1], X, [2, 1], [0, 2]), lambda x: x.mT, lambda x: x.real])
def test_methods_of_ufuncs_and_operators(call):
    found = call(tg.Tensor(X, requires_grad=True))
    assert type(found) is tg.Tensor and found.requires_grad
    np.testing.assert_allclose(found.data, call(X), rtol=1e-12)
    gradcheck(call, X)


def test_complex_numbers_on_the_way_to_real_ones():
    h = np.random.default_rng(2).standard_normal(5) + 1j
    for call in (lambda x: np.abs(np.fft.fft(x)) ** 2, lambda x: np.fft.irfft(np.fft.rfft(x) * h, 8),
                 lambda x: np.angle(np.fft.rfft(x))[1:4], lambda x: (np.fft.ifft(np.fft.fft(x, axis=0)) * 2j).imag,
                 lambda x: np.real(np.conj(np.fft.fft(x)) * np.fft.fft(x[::-1]))):
        gradcheck(call, np.random.default_rng(3).standard_normal(8))
    gain = np.random.default_rng(4).standard_normal(5)
    gradcheck(lambda x, gain: np.fft.irfft(np.fft.rfft(x) * gain), np.arange(8.0) ** 1.5, gain)


def test_transforms_of_float16_stay_complex():
    x = tg.Tensor(np.array([1, 2, 4], np.float16), requires_grad=True)
    y = np.fft.fft(x)
    assert y.dtype == np.complex64
    np.testing.assert_allclose(y.data, np.fft.fft([1.0, 2.0, 4.0]), rtol=1e-6)
    np.imag(y).sum().backward()
    assert x.grad.dtype == np.float16


def test_shapes_of_results_with_names():
    a = tg.Tensor(X[:, :3])
    assert np.linalg.slogdet(a).logabsdet.shape == () and np.linalg.eigh(a).eigenvectors.shape == (3, 3)
    assert np.linalg.svd(a).S.shape == (3,) and np.linalg.qr(a).R.shape == (3, 3)
    for call in (lambda: np.linalg.svd(tg.Tensor(X)), lambda: np.linalg.qr(tg.Tensor(X.T), "complete")):
        with pytest.raises(ValueError, match="no derivative"):
            call()


def page():
    """Names and derivatives in the table of docs/derivatives.md."""
    text = (Path(__file__).resolve().parents[2] / "docs/derivatives.md").read_text(encoding="utf-8")
    return {tuple(line.split(" | ")[:2]) for line in text.splitlines() if line.startswith("| `")}


def test_the_page_has_the_table():
    """Made by derivative_table.py."""
    assert page() == {("| " + ", ".join(f"`np.{name}`" for name in entry.names), entry.derivative.replace("|", "∣"))
                      for entry in ENTRIES.values()}


# -- the table --------------------------------------------------------------------------------------------------------


def test_the_table():
    assert len(ENTRIES) > 200
    for entry in ENTRIES.values():
        assert entry.derivative and entry.function.__doc__, entry.name
        assert callable(getattr(ops, entry.name)) and entry.name in dir(ops)
    assert np.emath.sqrt not in NUMPY_FUNCTIONS and np.linalg.trace is not np.trace
    assert NUMPY_FUNCTIONS[np.linalg.trace] is not NUMPY_FUNCTIONS[np.trace]
    off = {getattr(np, name, None) for name in OFF_THE_TAPE} - {None}
    assert not off & set(NUMPY_FUNCTIONS)

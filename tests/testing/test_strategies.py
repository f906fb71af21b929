"""Strategies draw what they promise, and counterexamples shrink to the smallest shape."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from hypothesis import find, given, settings

from tinygpt import Tensor, ops
from tinygpt.autograd import Operation
from tinygpt.testing import GradcheckError, given_grads, strategies
from tinygpt.testing.contracts.base import LAYOUTS, in_layout


@given_grads(x=strategies.tensors(min_dims=1), w=strategies.broadcastable_to("x"))
def test_the_example_of_the_documentation(x, w):
    assert x.ndim >= 1 and (x.data * w.data).shape == x.shape
    return x * w.tanh()


@given_grads(operands=strategies.matmul_operands())
def test_matmul_operands(operands):
    x, y = operands
    return x @ y


@given_grads(operands=strategies.mutually_broadcastable(3))
def test_mutually_broadcastable(operands):
    x, y, z = operands
    return x * y + z


@given_grads(x=strategies.tensors(), axis=strategies.axes("x"))
def test_axes(x, axis):
    return x.var(axis=axis)


@given_grads(x=strategies.tensors(min_dims=1), order=strategies.permutations("x"), picked=strategies.indices("x"))
def test_permutations_and_indices(x, order, picked):
    assert sorted(order) == list(range(x.ndim))
    assert len(np.unique(picked % x.shape[0])) < len(picked)
    return x.transpose(order), x[picked]


@given_grads(weight=strategies.tensors(min_dims=2, max_dims=2), ids=strategies.token_ids("weight"))
def test_token_ids(weight, ids):
    assert ids.dtype.kind == "i"
    return ops.embedding(ids, weight)


@given_grads({"rtol": 1e-3}, x=strategies.tensors((2, 3), dtype=strategies.dtypes()))
def test_options_and_a_fixed_shape(x):
    assert x.shape == (2, 3)
    return x.exp()


class TestMethods:
    @settings(max_examples=3)
    @given_grads(x=strategies.tensors())
    def test_a_method(self, x):
        assert isinstance(self, TestMethods)
        return x * 2

    @given_grads(x=strategies.tensors())
    def test_a_fixture(self, golden_ratio, x):
        return x * golden_ratio


@pytest.fixture(scope="module")
def golden_ratio():
    return 1.618


@given(strategies.tensors())
def test_drawn_tensors_are_distinct_numbers_in_range(x):
    assert isinstance(x, Tensor) and x.requires_grad and x.dtype == np.float64
    assert (np.abs(x.data) <= 3).all()


def test_most_tensors_repeat_no_number():
    distinct = []

    @settings(max_examples=60)
    @given(strategies.tensors((4, 8)))
    def look(x):
        distinct.append(len(np.unique(x.data)) == x.size)
    look()
    assert 0.5 < np.mean(distinct) < 1


def wrong_when(condition, name="wrong"):
    """2x, with a gradient that is wrong where `condition(x)`."""
    operation = Operation(name, lambda xp, x: (2 * x, lambda g: (g * (1.0 if condition(x) else 2.0),)))
    return lambda x: operation([x], {})


@pytest.mark.parametrize("condition, smallest", [
    (lambda x: x.ndim == 2, (1, 1)), (lambda x: x.size > 3, (4,)), (lambda x: x.ndim > 1 and x.shape[-1] > 1, (1, 2)),
])
def test_counterexamples_shrink(condition, smallest):
    wrong = wrong_when(condition)

    @given_grads({"method": "complex"}, x=strategies.tensors(ties=False))  # one oracle will do: it is tried 300 times
    def check(x):
        return wrong(x)
    with pytest.raises(GradcheckError) as caught:
        check()
    assert math.prod(caught.value.report.inputs["x"].shape) == math.prod(smallest)
    assert "To reproduce" in str(caught.value) and "hypothesis" not in caught.value.report.snippet.lower()


def test_an_inconclusive_example_is_a_failure():
    rng = np.random.default_rng(0)

    @given_grads(x=strategies.tensors())
    def check(x):
        return x * rng.random()
    with pytest.raises(GradcheckError, match="inconclusive"):
        check()


def test_broadcastable_shapes_shrink_and_vary():
    assert find(strategies.broadcastable_to((3, 4)), lambda w: w.shape == (3, 1)).shape == (3, 1)
    assert find(strategies.broadcastable_to((3, 4)), lambda w: True).size == 1


def test_mistakes_in_the_use_are_said():
    with pytest.raises(ValueError, match="w refers to 'y'.*arguments are x, w"):
        given_grads(x=strategies.tensors(), w=strategies.broadcastable_to("y"))
    with pytest.raises(TypeError, match="check has no argument z"):
        @given_grads(z=strategies.tensors())
        def check(x):
            return x


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (5,), (3, 4), (2, 3, 2), (2, 0)])
def test_layouts_hold_the_same_numbers(layout, shape):
    x = np.random.default_rng(0).standard_normal(shape)
    y = in_layout(x, layout)
    assert np.array_equal(x, y) and not np.shares_memory(x, y)
    if x.ndim > 1 and x.size:
        assert y.strides != x.strides or layout == "C"


def test_without_hypothesis_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    monkeypatch.setitem(sys.modules, "hypothesis.strategies", None)
    with pytest.raises(ImportError, match="pip install hypothesis"):
        strategies.tensors()
    with pytest.raises(ImportError, match="pip install hypothesis"):
        given_grads(x=None)(lambda x: x)

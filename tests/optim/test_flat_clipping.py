"""Gradient clipping over the flat buffer: the textbook's norm, the direction, what is not finite, PyTorch."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygpt.nn.module import Parameter
from tinygpt.optim import AdamW, FlatParameters, clip_coefficient, clip_grad_norm, clipping, global_norm, grad_norm
from tinygpt.optim.flat_clipping import grad_norm_on_device


def parameters(seed: int, scale: float = 1.0, dtype: str = "float64") -> list[Parameter]:
    rng = np.random.default_rng(seed)
    out = [Parameter(rng.standard_normal(shape).astype(dtype)) for shape in [(3, 4), (5,), (), (0, 2)]]
    for p in out:
        p.grad = np.asarray(scale * rng.standard_normal(p.data.shape), dtype=dtype)
    return out


def concatenated(ps: list[Parameter]) -> np.ndarray:
    return np.concatenate([p.grad.reshape(-1) for p in ps])


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.integers(0, 1000), st.floats(1e-6, 1e6), st.floats(1e-3, 1e3))
def test_clipping_shortens_and_keeps_the_direction(seed, scale, max_norm):
    loose, home = parameters(seed, scale), parameters(seed, scale)
    flat = FlatParameters(home)
    before = concatenated(loose)
    length = np.linalg.norm(before)
    assert clip_grad_norm(loose, max_norm) == pytest.approx(length, rel=1e-12)
    assert clip_grad_norm(flat, max_norm) == pytest.approx(length, rel=1e-12)
    after = concatenated(loose)
    assert np.linalg.norm(after) <= min(length, max_norm) * (1 + 1e-12)
    np.testing.assert_allclose(after / np.linalg.norm(after), before / length, rtol=1e-9, atol=1e-12)
    if length < max_norm - 1e-5:
        np.testing.assert_array_equal(after, before)
    np.testing.assert_allclose(concatenated(home), after, rtol=1e-12)


@pytest.mark.parametrize("dtype, digits", [("float64", 1e-14), ("float32", 1e-6)])
def test_the_norm_is_the_textbooks(dtype, digits):
    # Sums of 29 squares that are rounded in their dtype.
    ps = parameters(2, dtype=dtype)
    textbook = global_norm([p.grad for p in ps])
    flat = FlatParameters(ps)
    for norm in (grad_norm(flat), float(grad_norm_on_device(flat)), grad_norm(ps)):
        assert norm == pytest.approx(textbook, rel=digits)


def test_the_coefficient_is_the_textbooks_for_numbers_and_arrays():
    for norm in (0.0, 0.3, 1.0, 7.0, math.inf, math.nan):
        wanted = clipping.clip_coefficient(norm, 0.7)
        assert clip_coefficient(norm, 0.7) == wanted
        assert clip_coefficient(np.array(norm), 0.7) == wanted
    with pytest.raises(ValueError, match="max_norm is -1"):
        clip_coefficient(np.array(1.0), -1.0)


def test_parameters_without_gradient_count_as_zero():
    p, q = Parameter(np.ones(2)), Parameter(np.ones(2))
    assert grad_norm([p, q]) == 0.0 and clip_grad_norm([p, q], 1.0) == 0.0
    q.grad = np.array([3.0, 4.0])
    assert clip_grad_norm(iter([p, q]), 1.0) == 5.0
    np.testing.assert_allclose(q.grad, [0.6, 0.8], rtol=1e-6)
    assert p.grad is None


def test_many_float32_squares_keep_their_digits():
    p = Parameter(np.zeros(3_000_001, dtype=np.float32))
    flat = FlatParameters([p])
    flat.grad[:] = np.random.default_rng(0).standard_normal(flat.size)
    exact = math.sqrt(np.square(flat.grad.astype(np.float64)).sum())
    assert grad_norm(flat) == pytest.approx(exact, rel=1e-7)


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e30])
def test_a_norm_that_is_not_finite_is_reported_and_nothing_is_scaled(bad):
    ps = parameters(0, dtype="float32")
    ps[1].grad[2] = bad
    before = concatenated(ps)
    for target in (ps, FlatParameters(ps)):
        assert not math.isfinite(clip_grad_norm(target, 1.0))
        np.testing.assert_array_equal(concatenated(ps), before)
    assert clip_coefficient(math.nan, 1.0) == clip_coefficient(math.inf, 1.0) == 1.0


def test_the_coefficient_can_be_folded_into_the_step():
    one, other = parameters(3, 100.0), parameters(3, 100.0)
    a, b = AdamW(one), AdamW(other)
    clip_grad_norm(a.flat, 0.5)
    a.step()
    b.step(grad_scale=clip_coefficient(grad_norm(b.flat), 0.5))
    np.testing.assert_allclose(a.flat.data, b.flat.data, rtol=1e-12)


@pytest.mark.parametrize("max_norm", [0.0, -1.0, math.nan])
def test_max_norm_is_checked(max_norm):
    with pytest.raises(ValueError, match="max_norm"):
        clip_grad_norm(parameters(0), max_norm)


def test_infinite_max_norm_only_measures():
    ps = parameters(0, 1e6)
    before = concatenated(ps)
    assert clip_grad_norm(ps, math.inf) == pytest.approx(np.linalg.norm(before))
    np.testing.assert_array_equal(concatenated(ps), before)


@pytest.mark.oracle
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_equals_pytorch(scale):
    torch = pytest.importorskip("torch")
    ps = parameters(5, scale, "float32")
    theirs = []
    for p in ps:
        q = torch.nn.Parameter(torch.tensor(p.data))
        q.grad = torch.tensor(p.grad)
        theirs.append(q)
    flat = FlatParameters(ps)
    norm = clip_grad_norm(flat, 1.0)
    assert norm == pytest.approx(torch.nn.utils.clip_grad_norm_(theirs, 1.0).item(), rel=1e-6)
    for p, q in zip(ps, theirs):
        np.testing.assert_allclose(p.grad, q.grad.numpy(), rtol=1e-6)

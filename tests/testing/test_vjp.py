"""`check_vjp`: rules of a user, in every form, and what their closures must not do."""

from __future__ import annotations

import numpy as np
import pytest

from tinygpt.autograd import OPS, differentiable
from tinygpt.engine.deferred import Deferred
from tinygpt.testing import GradcheckError, check_vjp

X = np.random.default_rng(0).standard_normal((3, 4))
W = np.random.default_rng(1).standard_normal(4)


def failure(rule, *inputs, **settings):
    report = check_vjp(rule, *inputs, raise_exception=False, **settings)
    assert report.status == "failed"
    return str(report)


def scale(xp, x, w, *, factor=1.0):
    """x · w · factor, w for the last axis."""
    def backward(g):
        return g * w * factor, (g * x).reshape(-1, len(w)).sum(axis=0) * factor
    return x * w * factor, backward


def test_a_right_rule_in_every_form() -> None:
    assert check_vjp(scale, X, W) and check_vjp(scale, X, W, factor=2.5)
    try:
        assert check_vjp(differentiable(scale), X, W)  # as an operation
    finally:
        OPS.pop("scale")
    assert check_vjp(lambda x: (x * x, lambda g: (2 * g * x,)), X)  # without xp
    assert check_vjp(lambda xp, x: (x * x, lambda g: (lambda: 2 * g * x,)), X)  # a gradient that is computed when asked
    assert check_vjp(lambda xp, x, n: (x ** n, lambda g: (n * g * x ** (n - 1), None)), X, 3)
    assert check_vjp(lambda xp, x: ((x * 2, x * x), lambda gs: (2 * gs[0] + 2 * gs[1] * x,)), X)  # two outputs
    assert check_vjp(lambda xp, *xs: (sum(xs[1:], xs[0] * 1), lambda g: tuple(g for _ in xs)), X, X, X)
    assert check_vjp(OPS["linear"].rule, X, np.ones((2, 4)), np.ones(2))


@pytest.mark.parametrize("error", [1e-3, -1e-3, 1.0])
def test_wrong_numbers(error: float) -> None:
    text = failure(lambda xp, x: (xp.tanh(x), lambda g: (g * (1 - xp.tanh(x) ** 2) * (1 + error),)), X)
    assert "analytic" in text and "argument       x[" in text


def test_form() -> None:
    assert "returned 1 gradients for 2 inputs (x, w)" in failure(lambda xp, x, w: (x * w, lambda g: (g * w,)), X, X)
    assert "shape (3, 4), but w has shape (4,)" in failure(lambda xp, x, w: (x * w, lambda g: (g * w, g * x)), X, W)
    assert "returned ndarray, expected a tuple" in failure(lambda xp, x: (x * 1, lambda g: g), X)
    assert "returns its output and a function backward" in failure(lambda xp, x: x * 1, X)
    assert "is a float, expected an array" in failure(lambda xp, x: (x.sum(), lambda g: (1.0,)), X)
    assert "ZeroDivisionError" in failure(lambda xp, x: (x * 1, lambda g: (1 / 0,)), X)


def test_manners() -> None:
    def cotangent(xp, x):
        def backward(g):
            g *= 2
            return (g,)
        return x * 2, backward

    def saved(xp, x):
        kept = 2 * x

        def backward(g):
            kept[...] *= g
            return (kept.copy(),)
        return x * x, backward

    def own(xp, x):
        kept = xp.ones_like(x)
        return x * 1, lambda g: (xp.multiply(g, 1, out=kept),)

    def mutates(xp, x):
        x += 1
        return x * 1, lambda g: (g,)

    def once(xp, x):
        calls = []
        return x * 1, lambda g: (g * (1 + len(calls)), calls.append(1))[:1]
    for rule, text in ((cotangent, "the gradient that it was given"), (saved, "an array that it had saved"),
                       (own, "saved"), (mutates, "changed its input x"), (once, "a second call of the same closure")):
        assert text in failure(rule, X), rule.__name__


def test_float32() -> None:
    assert "float32" in failure(lambda xp, x: (x * 1, lambda g: (g.astype("float64"),)), X)
    assert "float32" in failure(lambda xp, x: (x * np.ones(4), lambda g: (g * xp.ones(4, x.dtype),)), X)
    coarse = lambda xp, x: (x * x, lambda g: (g * x * (2 if x.dtype == np.float64 else 2.1),))
    assert "differs from the float64 one" in failure(coarse, X)


class _Adds(Deferred):
    """A gradient that adds itself to another array, wrongly."""

    def __init__(self, g) -> None:
        self.g = g

    def __call__(self):
        return self.g * 1.0

    def add_to(self, total, vacant) -> None:
        total[...] = self.g if vacant else total + 2 * self.g


def test_deferred_gradients() -> None:
    assert "add_to adds something else" in failure(lambda xp, x: (x * 1, lambda g: (_Adds(g),)), X)


def test_constants_by_design() -> None:
    rule = lambda xp, x, w: (x * w, lambda g: (g * w, None))
    assert check_vjp(rule, X, X, constants=["w"])
    assert "no gradient arrives at w" in failure(rule, X, X)
    with pytest.raises(ValueError, match="has no input q: its inputs are x, w"):
        check_vjp(rule, X, X, constants=["q"])


def test_mistakes_in_the_use_are_said() -> None:
    with pytest.raises(ValueError, match="no floating-point array to check"):
        check_vjp(scale, np.arange(3), np.arange(3))
    with pytest.raises(ValueError, match="unknown method 'quick'"):
        check_vjp(scale, X, W, method="quick")
    with pytest.raises(GradcheckError):
        check_vjp(lambda xp, x: (x * x, lambda g: (g * x,)), X)


def test_a_random_rule_is_not_called_wrong() -> None:
    rng = np.random.default_rng(0)

    def noisy(xp, x):
        scale = rng.random(x.shape).astype(x.dtype)
        return x * scale, lambda g: (g * scale,)
    report = check_vjp(noisy, np.ones(3), raise_exception=False)
    assert report.status == "inconclusive" and "not deterministic" in str(report)


@pytest.mark.parametrize("factor, expected", [(1.0, "passed"), (0.0, "failed"), (1.001, "failed")])
@pytest.mark.parametrize("rate", [1e3, 3e5])
def test_a_rule_that_oscillates_fast(rate: float, factor: float, expected: str) -> None:
    def wave(xp, x):
        return xp.sin(rate * x), lambda g: (g * factor * rate * xp.cos(rate * x),)
    x = np.random.default_rng(1).uniform(1, 3, (2, 3))
    assert check_vjp(wave, x, raise_exception=False).status == expected


def test_float32_that_is_wrong_is_found_where_digits_matter_little() -> None:
    def coarse(xp, x):  # a constant with too few digits in float32
        c = 3.0 if x.dtype == np.float64 else np.float32(3.05)
        return c * x, lambda g: (c * g,)
    report = check_vjp(coarse, np.array([1.0, 2.0]), raise_exception=False)
    assert report.status == "failed" and "float32" in str(report)

"""`gradcheck` on functions of all manners: right ones pass, wrong ones fail, and nothing passes silently."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tinygpt as tg
from tinygpt import Tensor, nn, ops
from tinygpt.autograd import Operation, is_grad_enabled, no_grad
from tinygpt.optim import AdamW
from tinygpt.testing import GradcheckError, gradcheck

RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 4))


def rule(backward, forward=lambda x: x * x):
    """A function of one Tensor with a backward of our own: `backward(g, x)`."""
    operation = Operation("user_rule", lambda xp, x: (forward(x), lambda g: (backward(g, x),)))
    return lambda x: operation([x], {})


def status(*args, **kwargs):
    return gradcheck(*args, raise_exception=False, **kwargs).status


# -- right and wrong --------------------------------------------------------------------------------------------------


def test_a_right_gradient_passes_with_both_oracles():
    report = gradcheck(lambda x: (x * x.tanh()).sum(axis=0), X)
    assert report and report.status == "passed" and report.inconclusive == 0
    assert report.oracles["complex step and central difference"] > X.size
    assert report.worst < 1e-12


def test_a_wrong_gradient_raises_an_error_that_carries_the_report():
    with pytest.raises(GradcheckError) as caught:
        gradcheck(rule(lambda g, x: 3 * g * x), X)
    report = caught.value.report
    assert not report and report.status == "failed"
    finding = report.findings[0]
    assert finding.argument == "x" and finding.analytic == pytest.approx(1.5 * finding.numeric)
    for text in ("<lambda>", "x[", repr(finding.analytic), repr(finding.numeric), "oracle", "error estimate"):
        assert text in str(caught.value)


@pytest.mark.parametrize("scale", [1.0, 1e-9, 1e9])
@pytest.mark.parametrize("error, expected", [(0.0, "passed"), (1e-3, "failed"), (-1e-3, "failed"), (1.0, "failed")])
def test_multiplying_the_function_changes_no_verdict(scale, error, expected):
    assert status(lambda x: np.sum(np.sin(x)) * scale, X, grad=lambda x: np.cos(x) * scale * (1 + error)) == expected
    assert status(lambda x: np.sum(x * np.abs(x)) * scale, X,
                  grad=lambda x: 2 * np.abs(x) * scale * (1 + error)) == expected
    wrong = rule(lambda g, x: 2 * g * x * (1 + error))
    assert status(lambda x: wrong(x) * scale, X) == expected


def test_the_complex_step_alone_is_not_believed():
    f = lambda x: np.sum(x * np.abs(x))
    assert status(f, X, grad=lambda x: np.abs(x)) == "failed"  # what the complex step says
    assert status(f, X, grad=lambda x: 2 * np.abs(x)) == "passed"
    assert status(f, X, grad=lambda x: np.abs(x), method="complex") == "passed"  # as asked for


@pytest.mark.parametrize("error", [1.0, 1e-3])
@pytest.mark.parametrize("n", [1000, 1003, 200_000])
def test_one_wrong_entry_among_many_is_found(n, error):
    x = np.random.default_rng(n).standard_normal(n)
    where = n // 3

    def grad(x):
        g = 2 * x
        g[where] *= 1 + error
        return g
    report = gradcheck(lambda x: np.sum(x * x), x, grad=grad, raise_exception=False)
    assert report.status == "failed" and report.findings[0].index == (where,)
    report = gradcheck(lambda x: np.sum(x * np.abs(x)), x, grad=lambda x: np.abs(grad(x)), raise_exception=False)
    assert report.status == "failed" and report.findings[0].index == (where,)


@pytest.mark.parametrize("sizes", [[1e9, 1.0, 1.0], [1.0, 1e-6, 1.0], [1e-8, 1e-8, 1.0]])
def test_a_small_wrong_entry_beside_large_ones_is_found(sizes):
    weight = np.array(sizes)
    x = np.array([0.3, -0.7, 1.1])

    def grad(x):
        g = weight * np.cos(x)
        g[1] *= 1.01
        return g
    assert status(lambda x: np.sum(weight * np.sin(x)), x, grad=lambda x: weight * np.cos(x)) == "passed"
    assert status(lambda x: np.sum(weight * np.sin(x)), x, grad=grad) == "failed"


@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1e-3, 1e3, 1e6, 1e12])
def test_inputs_of_any_size(scale):
    x = X * scale
    assert status(lambda x: np.sum((x / scale) ** 3), x, grad=lambda x: 3 * (x / scale) ** 2 / scale) == "passed"
    assert status(lambda x: np.sum((x / scale) ** 3), x, grad=lambda x: 3.003 * (x / scale) ** 2 / scale) == "failed"
    assert status(lambda x: np.abs((x / scale) ** 3).sum(), x,
                  grad=lambda x: 3 * (x / scale) * np.abs(x / scale) / scale) == "passed"


def test_the_cotangent_is_not_all_ones():
    class_ = rule(lambda g, x: np.broadcast_to(g.mean(), x.shape).copy(), forward=lambda x: x * 1.0)
    assert status(class_, X) == "failed"


# -- arguments --------------------------------------------------------------------------------------------------------


def test_tuples_keywords_integers_and_several_outputs():
    def f(pair, ids, *, scale, name="n", table=None):
        a, b = pair
        assert isinstance(ids, np.ndarray) and ids.dtype == np.int64 and name == "other"
        return {"one": (a * b)[ids] * scale, "two": [table["w"].exp(), a.sum()]}, ids
    report = gradcheck(f, (X, Tensor(X[0])), np.array([0, 2, 0]), scale=2.0, name="other",
                       table={"w": RNG.standard_normal(2)})
    assert report
    wrong = rule(lambda g, x: g * x)
    report = gradcheck(lambda pair, k: (pair[0] * 1.0, wrong(pair[1]).sum() * k), (X, X), 3, raise_exception=False)
    assert report.status == "failed" and report.findings[0].argument == "pair[1]"


def test_explicit_tensors_are_the_ones_checked():
    wrong = rule(lambda g, x: g * x)
    f = lambda x, y: x * 2 + wrong(y)
    assert status(f, X, X) == "failed"
    report = gradcheck(f, Tensor(X, requires_grad=True), Tensor(X))
    assert report and any("y was taken as a constant" in note for note in report.notes)


def test_float32_is_promoted_with_a_note():
    report = gradcheck(lambda x: x.exp(), X.astype(np.float32))
    assert report and any("float32" in note and "x" in note for note in report.notes)


def test_python_numbers_are_checked_where_there_are_no_arrays():
    assert gradcheck(lambda x: x * x, 3.0, grad=lambda x: 2 * x)
    assert status(lambda x: x * x, 3.0, grad=lambda x: 2.01 * x) == "failed"
    assert gradcheck(lambda x, n: x ** n, np.float64(3.0), 2)


def test_what_cannot_be_checked_is_said():
    with pytest.raises(ValueError, match="no argument with a gradient.*got int"):
        gradcheck(lambda n: n, 3)
    with pytest.raises(TypeError, match="z is complex"):
        gradcheck(lambda z: z, X + 0j)
    with pytest.raises(TypeError, match="expected a Tensor.*grad="):
        gradcheck(lambda x: x.data * 2, X)
    with pytest.raises(ValueError, match=r"must return one floating-point number"):
        gradcheck(lambda x: x * 2, X, grad=lambda x: x)
    with pytest.raises(ValueError, match="unknown method 'fast'"):
        gradcheck(lambda x: x, X, method="fast")
    with pytest.raises(ValueError, match="2 gradients for 1 arguments"):
        gradcheck(lambda x: x.sum(), X, grad=lambda x: (x, x))
    with pytest.raises(ZeroDivisionError):
        gradcheck(lambda x: x * (1 / 0), X)


def test_hand_written_gradients_of_several_inputs():
    f = lambda x, n, y: np.sum(x ** n * y)
    g = lambda x, n, y: (n * x ** (n - 1) * y, x ** n)
    y = RNG.standard_normal(4)
    unbroadcast = lambda x, n, y: (g(x, n, y)[0], g(x, n, y)[1].sum(axis=0))
    assert gradcheck(f, X, 2, y, grad=unbroadcast)
    assert gradcheck(f, X, 2, y, grad=lambda *a: (unbroadcast(*a)[0], None, unbroadcast(*a)[1]))
    report = gradcheck(f, X, 2, y, grad=g, raise_exception=False)
    assert report.status == "failed" and "shape (3, 4)" in str(report) and report.findings[0].argument == "y"


def test_tolerances_of_the_user():
    sloppy = lambda x: 2 * x * 1.01
    f = lambda x: np.sum(x * x)
    assert gradcheck(f, X, grad=sloppy, rtol=0.02)
    assert gradcheck(f, X, grad=sloppy, atol=0.1)
    assert status(f, X, grad=sloppy, rtol=1e-3) == "failed"
    assert status(f, X, grad=sloppy, atol=1e-4) == "failed"


# -- a missing gradient ------------------------------------------------------------------------------------------------


def test_a_gradient_that_never_arrives():
    assert status(lambda x: Tensor(np.tanh(x.data)), X) == "failed"
    report = gradcheck(lambda x, y: x * y.detach(), X, X, raise_exception=False)
    assert report.status == "failed" and report.findings[0].argument == "y"
    assert "no gradient arrives at y" in report.findings[0].message
    operation = Operation("forgets", lambda xp, x, y: (x * y, lambda g: (g * y, None)))
    assert status(lambda x, y: operation([x, y], {}), X, X) == "failed"


def test_a_constant_function():
    assert gradcheck(lambda x: Tensor(np.array(3.0)), X)
    assert gradcheck(lambda x: (x * 0).sum(), X)
    assert gradcheck(lambda x: 3.0, X, grad=lambda x: np.zeros_like(x))
    assert status(lambda x: 3.0, X, grad=lambda x: np.full_like(x, 1e-5)) == "failed"
    assert gradcheck(lambda x: ops.softmax(x).sum(), X)      # constant up to rounding
    assert gradcheck(lambda x: ops.layer_norm(x).sum(), X)   # zero up to rounding
    assert gradcheck(lambda x: ops.layer_norm(x).sum() * 1e9, X)
    assert gradcheck(lambda x: (lambda y: y - y.mean(axis=0))(x[[0, 0, 0]]), X[:1])  # exactly zero, a gradient of 1e-18
    assert all(gradcheck(lambda x: (lambda y: y - y.mean(axis=0))(x[[0, 0, 0]] / 7), x[None]) for x in np.abs(X))


# -- kinks, ties, jumps ------------------------------------------------------------------------------------------------


def test_kinks_accept_what_lies_between_the_slopes():
    x = np.array([0.0, -0.0, 1.0, -1.0, 0.0])
    assert gradcheck(ops.relu, x)
    assert gradcheck(ops.absolute, x)
    for slope, expected in ((0.0, "passed"), (0.3, "passed"), (1.0, "passed"), (1.1, "failed"), (-0.1, "failed")):
        relu = rule(lambda g, x: g * np.where(x == 0, slope, x > 0), forward=lambda x: np.where(x > 0, x, 0 * x))
        assert status(relu, x) == expected, slope
        assert status(lambda x: np.maximum(x, 0).sum(), x,
                      grad=lambda x: np.where(x == 0, slope, x > 0).astype(float)) == expected, slope


@pytest.mark.parametrize("share, expected", [
    (lambda hit: hit / hit.sum(axis=-1, keepdims=True), "passed"),                       # equal parts
    (lambda hit: hit * (np.cumsum(hit, axis=-1) == 1), "passed"),                        # all to the first
    (lambda hit: 1.0 * hit, "failed"),                                                   # all to each
    (lambda hit: 0.5 * hit, "failed"),                                                   # half to each of three
])
@pytest.mark.parametrize("x", [np.zeros((2, 3)), np.array([[1.0, 1.0, 1.0], [0.5, 0.5, 0.5]])])
def test_ties_of_a_maximum(x, share, expected):
    def backward(g, x):
        return g[..., None] * share(x == x.max(axis=-1, keepdims=True))
    assert status(rule(backward, forward=lambda x: x.max(axis=-1)), x) == expected
    assert status(lambda x: x.max(axis=-1).sum(), x, grad=lambda x: backward(np.ones(2), x)) == expected
    weights = np.array([0.7, -1.3])
    assert status(lambda x: weights @ x.max(axis=-1), x, grad=lambda x: backward(weights, x)) == expected


def test_ties_across_arguments():
    for share, expected in ((0.5, "passed"), (0.0, "passed"), (1.0, "passed")):
        operation = Operation("larger", lambda xp, x, y: (
            xp.maximum(x, y), lambda g: (g * np.where(x == y, share, x > y), g * np.where(x == y, 1 - share, y > x))))
        assert status(lambda x, y: operation([x, y], {}), X, X.copy()) == expected
    both = Operation("larger", lambda xp, x, y: (xp.maximum(x, y), lambda g: (g * (x >= y), g * (y >= x))))
    assert status(lambda x, y: both([x, y], {}), X, X.copy()) == "failed"


def test_a_wrong_entry_beside_kinks_is_found():
    x = np.where(RNG.random(300) < 0.5, 0.0, RNG.standard_normal(300))
    x[123] = 1.5

    def backward(g, x):
        dx = g * (x > 0)
        dx[123] *= 1.001
        return dx
    report = gradcheck(rule(backward, forward=lambda x: np.where(x > 0, x, 0 * x)), x, raise_exception=False)
    assert report.status == "failed" and report.findings[0].index == (123,)
    x[123] = 0.0

    def beyond(g, x):
        dx = g * (x > 0)
        dx[123] = 1.5 * g[123]
        return dx
    report = gradcheck(rule(beyond, forward=lambda x: np.where(x > 0, x, 0 * x)), x, raise_exception=False)
    assert report.status == "failed" and report.findings[0].index == (123,)


@pytest.mark.parametrize("distance", [1e-3, 1e-5, 1e-7, 1e-9, 1e-12])
def test_near_a_kink_a_right_gradient_passes(distance):
    x = np.array([distance, -distance, 0.7])
    assert gradcheck(ops.relu, x)
    assert gradcheck(lambda x: np.abs(x).sum(), x, grad=np.sign)
    assert gradcheck(lambda x: (np.maximum(x, 0) * 1e-9).sum(), x, grad=lambda x: (x > 0) * 1e-9)


def test_jumps_and_steep_places_are_inconclusive():
    step = lambda x: np.sum(np.where(x >= 0, 1.0, 0.0) * (2 + x))
    assert status(step, np.array([0.0, 1.0]), grad=lambda x: (x >= 0) * 1.0) == "inconclusive"
    root = lambda x: np.sqrt(np.abs(x)).sum()
    with np.errstate(all="ignore"):
        assert status(root, np.zeros(2), grad=lambda x: 0.5 / np.sqrt(np.abs(x))) == "inconclusive"
        assert status(lambda x: x.sqrt(), np.array([0.0, 1.0])) == "inconclusive"
    assert status(lambda x: np.cbrt(x).sum(), np.zeros(2), grad=lambda x: x * 0) == "inconclusive"


def test_flat_pieces_pass_and_their_steps_do_not():
    zero = lambda x: np.zeros_like(x)
    assert gradcheck(lambda x: np.floor(x).sum(), np.array([0.5, 1.7, -2.2]), grad=zero)
    assert status(lambda x: np.floor(x).sum(), np.array([0.5, 2.0]), grad=zero) == "inconclusive"


def test_a_function_with_partial_derivatives_but_no_derivative():
    cone = lambda x: np.sqrt(np.abs(x[0] * x[1]))
    assert status(cone, np.zeros(2), grad=lambda x: np.zeros(2)) != "passed"


# -- misbehaviour ------------------------------------------------------------------------------------------------------


def test_mutation_is_found_and_named():
    def mutates(x):
        x.data[0] += 1.0
        return x * 2
    report = gradcheck(mutates, X, raise_exception=False)
    assert report.status == "failed" and "changed its input x" in str(report)

    def f(x):
        x *= 2
        return x.sum()
    report = gradcheck(f, X, grad=lambda x: np.full_like(x, 2.0), raise_exception=False)
    assert report.status == "failed" and "changed its input x" in str(report)

    def grad(x):
        x *= 2
        return x
    report = gradcheck(lambda x: (x * x).sum(), X, grad=grad, raise_exception=False)
    assert report.status == "failed" and "grad changed its input x" in str(report)
    assert X[0, 0] == np.random.default_rng(0).standard_normal((3, 4))[0, 0]  # the caller's array is left alone


def in_place(array, factor):
    array *= factor
    return array


def test_backward_that_writes_where_it_must_not():
    for backward, what in ((lambda g, x: in_place(g, 2 * x), "cotangent"),
                           (lambda g, x: in_place(x, 2 * g), "input x")):
        report = gradcheck(rule(backward), X, raise_exception=False)
        assert report.status == "failed" and "changed" in str(report) and what in str(report)

    def saves(xp, x):
        double = 2 * x
        return x * x, lambda g: (in_place(double, g),)
    operation = Operation("saves", saves)
    report = gradcheck(lambda x: operation([x], {}), X, raise_exception=False)
    assert report.status == "failed" and "saved" in str(report)


def test_views_are_fine():
    for f in (lambda x: x.T, lambda x: x[1:, ::-1], lambda x: x.reshape(-1), lambda x: x):
        assert gradcheck(f, X)
    assert gradcheck(lambda x: x.reshape(-1)[:3].sum(), X, grad=lambda x: np.eye(3, 12).sum(axis=0).reshape(3, 4))
    report = gradcheck(lambda x: 0.5 * (x * x).sum(), X, grad=lambda x: x)
    assert any("memory of its input x" in note for note in report.notes)


def test_random_functions_are_reported():
    rng = np.random.default_rng(0)
    report = gradcheck(lambda x: x * rng.random(), X, raise_exception=False)
    assert report.status == "inconclusive" and "other results when it is called again" in str(report)
    report = gradcheck(lambda x: np.sum(x) * rng.random(), X, grad=np.ones_like, raise_exception=False)
    assert report.status == "inconclusive"
    noisy = rule(lambda g, x: 2 * g * x * (1 + 1e-3 * rng.random()))
    report = gradcheck(noisy, X, raise_exception=False)
    assert report.status == "failed" and "one run to the next" in str(report)


def test_nan_is_reported():
    bad = X.copy()
    bad[1, 2] = np.nan
    report = gradcheck(lambda x: x * 2, bad, raise_exception=False)
    assert report.status == "inconclusive" and report.findings[0].index == (1, 2)
    with np.errstate(all="ignore"):
        report = gradcheck(lambda x: x.log(), X, raise_exception=False)
    assert report.status == "inconclusive" and "NaN" in str(report)

    def nan_gradient(g, x):
        dx = 2 * g * x
        dx[2, 0] = np.nan
        return dx
    report = gradcheck(rule(nan_gradient), X, raise_exception=False)
    assert report.status == "failed" and report.findings[0].index == (2, 0)


def test_infinite_outputs_are_left_out_and_the_rest_is_checked():
    mask = np.array([True, False, True, True])
    report = gradcheck(lambda x: ops.where(mask, x * x, -np.inf), X)
    assert report and any("infinite" in note for note in report.notes)
    wrong = rule(lambda g, x: g * x)
    assert status(lambda x: ops.where(mask, wrong(x), -np.inf), X) == "failed"


def test_memory_shared_with_the_saved_array_of_a_leaf_is_no_business_of_the_leaf():
    operation = Operation("hands_on", lambda xp, x, y: (x + y, lambda g: (g, g)))
    assert gradcheck(lambda x, y: operation([x, y], {}), X, X)  # the engine copies what it keeps


def test_contracts_of_the_cotangent():
    assert status(rule(lambda g, x: 2 * x), X) == "failed"                       # ignores it
    assert status(rule(lambda g, x: 2 * g * x + 1e-3), X) == "failed"            # not zero for zero
    assert status(rule(lambda g, x: 2 * np.abs(g) * x), X) == "failed"           # not linear
    report = gradcheck(rule(lambda g, x: 2 * g * g * x), X, raise_exception=False)
    assert "not linear" in str(report)


@pytest.mark.parametrize("x", [X, np.zeros(0), np.array(2.0)])
def test_writing_to_the_cotangent_is_a_finding_even_if_it_changes_nothing(x):
    operation = Operation("writes", lambda xp, x: (x.copy(), lambda g: (in_place(g, 1.0),)))
    report = gradcheck(lambda x: operation([x], {}), x, raise_exception=False)
    assert report.status == "failed" and "does not take a broadcast cotangent" in str(report)


def test_layouts_must_agree():
    flat = rule(lambda g, x: (2 * g.ravel("K") * x.ravel("K")).reshape(x.shape))
    report = gradcheck(flat, X, raise_exception=False)
    assert report.status == "failed" and "laid out in memory" in str(report)


def test_shapes_and_dtypes_of_gradients():
    operation = Operation("scale", lambda xp, x, w: (x * w, lambda g: (g * w, g * x)))
    report = gradcheck(lambda x, w: operation([x, w], {}), X, X[0], raise_exception=False)
    assert report.status == "failed" and "shape" in str(report)
    narrow = rule(lambda g, x: (2 * g * x).astype(np.float32))
    report = gradcheck(narrow, X, raise_exception=False)
    assert report.status == "failed" and "float32" in str(report)


# -- sizes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 0, 2), (1, 1, 1)])
def test_sizes_without_much_in_them(shape):
    x = np.random.default_rng(1).standard_normal(shape)
    assert gradcheck(lambda x: x.tanh() * x, x)
    assert gradcheck(lambda x: float(np.sum(np.tanh(x))), x, grad=lambda x: 1 - np.tanh(x) ** 2)
    if x.size:
        assert status(rule(lambda g, x: g * x), x) == "failed"


def test_a_million_elements():
    x = np.random.default_rng(0).standard_normal(1_000_000)
    assert gradcheck(lambda x: x * x, x)

    def grad(x):
        g = 2 * x
        g[777_777] = 0
        return g
    report = gradcheck(lambda x: x @ x, x, grad=grad, raise_exception=False)
    assert report.status == "failed" and report.findings[0].index == (777_777,)


# -- precision ---------------------------------------------------------------------------------------------------------


def test_a_function_that_computes_in_float32_inside():
    f = lambda x: np.sum(np.tanh(x.astype(np.float32)))
    assert status(f, X, grad=lambda x: (1 - np.tanh(x.astype(np.float32)) ** 2)) == "passed"
    assert status(f, X, grad=lambda x: (1 - np.tanh(x.astype(np.float32)) ** 2) * 1.01) == "failed"
    assert gradcheck(lambda x: x.astype(np.float32).tanh(), X)


def test_a_staircase_is_inconclusive_not_wrong():
    f = lambda x: float(np.sum(np.tanh(x.astype(np.float16)).astype(np.float64)))
    assert status(f, X, grad=lambda x: 1 - np.tanh(x) ** 2) == "inconclusive"
    assert status(f, X, grad=np.zeros_like) != "passed"


def test_values_that_cancel():
    big = 1e8
    assert status(lambda x: np.sum((x + big) - big), X, grad=np.ones_like) == "passed"
    assert status(lambda x: np.sum((x + big) - big), X, grad=lambda x: 1.01 * np.ones_like(x)) == "failed"
    assert status(lambda x: np.sum(np.sin(x)) + 1e6, X, grad=lambda x: 1.001 * np.cos(x)) == "failed"
    assert status(lambda x: np.sum(np.sin(x)) + 1e6, X, grad=np.cos) == "passed"


def test_the_method_without_the_complex_step():
    report = gradcheck(lambda x: x.exp(), X, method="central")
    assert report and "Richardson ladder" in report.oracles and not any("complex" in name for name in report.oracles)
    assert status(rule(lambda g, x: g * x), X, method="central") == "failed"


def test_the_same_seed_gives_the_same_report():
    texts = {str(gradcheck(rule(lambda g, x: 1.9 * g * x), X, seed=5, raise_exception=False)).split("To repro")[0]
             for _ in range(2)}
    assert len(texts) == 1


def test_no_graph_is_needed_by_the_plain_kind():
    with tg.no_grad():
        assert gradcheck(lambda x: np.sum(x * x), X, grad=lambda x: 2 * x)


# -- scales, rounding, and what cannot be seen ------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1.0, 1e-9, 1e-15, 1e9])
@pytest.mark.parametrize("f, g", [
    (lambda x: np.mean(x * x), lambda x: 2 * x / x.size),
    (lambda x: np.mean(x * np.abs(x)), lambda x: 2 * np.abs(x) / x.size),
    (lambda x: np.log(np.sum(np.exp(x))), lambda x: np.exp(x) / np.sum(np.exp(x))),
    (lambda x: np.linalg.norm(x), lambda x: x / np.linalg.norm(x)),
    (lambda x: np.mean(np.maximum(x, 0)), lambda x: (x > 0) / x.size),
], ids=["mean of squares", "x|x|", "logsumexp", "norm", "relu"])
def test_small_gradients_of_many_entries_at_any_scale(f, g, scale):
    """A mean over a thousand numbers times 1e-9: gradients near 1e-12 are gradients, not rounding."""
    x = np.random.default_rng(3).standard_normal(1000)
    where = int(np.flatnonzero(x > 0.5)[7])

    def wrong(x):
        dx = g(x) * scale
        dx[where] *= 1.001
        return dx
    assert status(lambda x: f(x) * scale, x, grad=lambda x: g(x) * scale) == "passed"
    assert status(lambda x: f(x) * scale, x, grad=lambda x: g(x) * scale * 1.001) == "failed"
    report = gradcheck(lambda x: f(x) * scale, x, grad=wrong, raise_exception=False)
    assert report.status == "failed" and report.findings[0].index == (where,)


@pytest.mark.parametrize("sizes", [[1e-6, 1e6], [1e-3, 1.0, 1e3], [1e-9, 1.0, 1e9], [1e-30, 1.0], [1e-200, 1.0]])
def test_entries_of_very_different_sizes(sizes):
    x = np.array(sizes)
    weights = np.arange(1.0, len(x) + 1)

    def one_wrong(g, i):
        return lambda x: g(x) * np.where(np.arange(x.size) == i, 1.001, 1)
    for f, g in ((lambda x: np.log(x).sum(), lambda x: 1 / x), (lambda x: weights @ x, lambda x: weights * 1)):
        assert status(f, x, grad=g) == "passed"
        assert [status(f, x, grad=one_wrong(g, i)) for i in range(len(x))] == ["failed"] * len(x)
    assert gradcheck(lambda x: x * x, x)


@pytest.mark.parametrize("far", [20.0, 36.0, 40.0, 100.0, 1000.0])
@pytest.mark.parametrize("name", ["sigmoid", "tanh", "silu", "gelu", "softmax", "log_softmax", "logsumexp"])
def test_saturated_functions_pass(name, far):
    x = np.array([far, -far, 1.0])
    assert gradcheck(getattr(ops, name), x)
    assert gradcheck(lambda x: getattr(ops, name)(x).sum() * 1e-9, x)


def test_what_is_lost_in_rounding_is_said():
    report = gradcheck(ops.sigmoid, np.array([36.0]))
    assert report and any("1 slopes are lost in the rounding" in note for note in report.notes)
    tiny = lambda x: np.array([1.0, 1e-8]) @ (x * x)
    assert status(tiny, np.array([1e6, 1e-6]), grad=lambda x: np.array([2.0, 2e-8]) * x) == "passed"
    report = gradcheck(tiny, np.array([1e6, 1e-6]), grad=lambda x: np.array([2.0, 4e-8]) * x, raise_exception=False)
    assert report.status == "inconclusive" and report.findings[0].index == (1,)  # the complex step alone sees it


@pytest.mark.parametrize("distance", [1e-3, 1e-6, 1e-9])
def test_close_to_a_pole_or_an_edge(distance):
    x = np.array([1 + distance])
    assert status(lambda x: np.sum(1 / (x - 1)), x, grad=lambda x: -1 / (x - 1) ** 2) == "passed"
    assert status(lambda x: np.sum(1 / (x - 1)), x, grad=lambda x: -1.001 / (x - 1) ** 2) == "failed"
    inside = np.array([1 - distance])
    assert status(lambda x: float(np.arccos(x).sum()), inside, grad=lambda x: -1 / np.sqrt(1 - x * x)) == "passed"


def test_other_tensors_of_the_function_are_left_alone():
    w = Tensor(X.copy(), requires_grad=True)
    (w * 2).sum().backward()
    before = w.grad.copy()
    report = gradcheck(lambda x: ops.relu(x * w) + ops.relu(x), np.where(X > 0, 0.0, X))
    assert np.array_equal(w.grad, before)
    assert any("uses 1 Tensors with a gradient that are not among its arguments" in note for note in report.notes)


def test_outputs_that_are_inputs_or_the_same_twice():
    assert gradcheck(lambda x, y: (x, x * y), X, X + 1)
    assert gradcheck(lambda x: (lambda y: (y, y))(x.exp()), X)
    assert gradcheck(lambda x: Tensor(np.ones(3)), X)
    assert gradcheck(lambda x: x[:0], X)


# -- where slopes mislead ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1e150, 1e200, 1e300])
def test_squares_that_overflow_hide_nothing(scale):
    f = lambda x: float(np.sum(np.sin(x))) * scale
    assert status(f, X, grad=lambda x: np.cos(x) * scale) == "passed"
    for factor in (0.0, -1.0, 1.001):
        assert status(f, X, grad=lambda x: factor * np.cos(x) * scale) == "failed"


@pytest.mark.parametrize("n", [30, 100])
def test_a_maximum_over_a_great_many_ties(n):
    x = np.ones(n)
    first, none, all_of_it = np.eye(n)[0], np.zeros(n), np.ones(n)
    for right in (first, all_of_it / n):
        assert status(lambda x: x.max(), x, grad=lambda x: right.copy()) == "passed"
    for wrong in (none, all_of_it, 1.01 * all_of_it / n):
        assert status(lambda x: x.max(), x, grad=lambda x: wrong.copy()) == "failed"


def test_rounding_where_the_slopes_along_ties_cancel():
    x = np.array([[1.0, 1.0, 1.0, 0.0], [0.0, 0.0, -1.0, 0.0]])
    assert gradcheck(lambda x: x.max(axis=1, keepdims=True) - x, x)


@pytest.mark.parametrize("gradient", [[1 / 3, 1 / 3, 1 / 3, 0, 0], [1.0, 0, 0, 0, 0], [0.0, 0, 0, 0, 0]])
def test_a_median_of_ties_has_no_gradient(gradient):
    report = gradcheck(np.median, np.array([1.0, 1, 1, 0, 2]), grad=lambda x: np.array(gradient), raise_exception=False)
    assert report.status == "inconclusive" and "not differentiable" in str(report)


def test_an_infinite_gradient_where_the_slope_is_infinite():
    assert status(lambda x: float(np.sum(np.cbrt(x))), np.array([0.0, 1.0]),
                  grad=lambda x: 1 / (3 * np.cbrt(x) ** 2)) == "inconclusive"
    report = gradcheck(lambda x: x.log(), np.array([0.0, 1.0]), raise_exception=False)
    assert report.status == "inconclusive" and "infinite" in str(report)


def test_where_the_gradient_vanishes():
    cube = lambda x: np.sum(x**3)
    assert status(cube, np.zeros(3), grad=np.zeros_like) == "passed"
    assert status(cube, np.zeros(3), grad=lambda x: np.full(3, 1e-6)) == "failed"

    def divergence(x):  # from the uniform distribution
        p = np.exp(x) / np.exp(x).sum()
        return np.sum(p * np.log(p * x.size))
    assert status(divergence, np.zeros(6), grad=np.zeros_like) == "passed"
    assert status(divergence, np.zeros(6), grad=lambda x: np.eye(6)[2] * 1e-6) == "failed"


def test_a_small_wrong_entry_where_all_numbers_are_tiny():
    x = X[0] * 1e-12
    wrong = lambda x: np.where(x == x.max(), 1.0, 0.01 * (x == x.min()))
    assert status(lambda x: float(x.max()), x, grad=lambda x: (x == x.max()) * 1.0) == "passed"
    assert status(lambda x: float(x.max()), x, grad=wrong) == "failed"


def test_a_half_precision_output_is_no_constant():
    assert status(lambda x: np.float16(np.sum(np.sin(x))), X[0], grad=np.zeros_like) != "passed"


def test_steps_that_see_nothing_accuse_nobody():
    assert status(lambda x: float(np.sum(np.sin(x))), np.array([1e12]), grad=np.cos) == "inconclusive"


def test_a_sort_of_thousands_is_bent_all_over():
    x = np.random.default_rng(1).standard_normal(5000)
    f = lambda x: float(np.arange(5000.0) @ np.sort(x))
    ranks = lambda x: np.argsort(np.argsort(x)) * 1.0
    assert status(f, x, grad=ranks) != "failed"
    assert status(f, x, grad=lambda x: 1.001 * ranks(x)) == "failed"


@pytest.mark.parametrize("x", [-6.25, -6.5, -6.75, -7.0])
def test_values_that_lost_their_digits_to_cancellation_accuse_nobody(x):
    def gelu(t):  # 1 + tanh(u) has one or two digits left here
        u = math.sqrt(2 / math.pi) * (t + 0.044715 * t ** 3)
        return 0.5 * t * (1 + np.tanh(u))

    def slope(t):
        u = math.sqrt(2 / math.pi) * (t + 0.044715 * t ** 3)
        return 0.5 * (1 + np.tanh(u)) + 0.5 * t / np.cosh(u) ** 2 * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * t ** 2)

    point = np.array([x])
    assert gradcheck(lambda t: float(np.real(gelu(t)[0])), point, grad=slope, raise_exception=False).status != "failed"
    assert gradcheck(lambda t: ops.gelu(t, approximate="tanh"), point, raise_exception=False).status != "failed"


@pytest.mark.parametrize("distance", [1e-3, 1e-5, 1e-7])
def test_a_kink_that_is_near_is_no_staircase(distance):
    def leaky(t):
        return float(np.sum(np.where(t > 0, t, 0.01 * t)))

    point = np.array([-distance])
    assert gradcheck(leaky, point, grad=lambda t: np.where(t > 0, 1.0, 0.01))
    assert gradcheck(leaky, point, grad=lambda t: np.where(t > 0, 1.0, 0.02), raise_exception=False).status != "passed"
    assert not gradcheck(lambda t: float(np.floor(t)[0]), np.array([1.9999]), grad=np.ones_like, raise_exception=False)


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_wrong_gradient_is_wrong_in_any_memory_layout(order):
    weight = np.arange(4.0).reshape(2, 2)
    f = lambda x: np.sum(x * weight)
    assert status(f, np.ones((2, 2)), grad=lambda x: np.array(weight.T, order=order)) == "failed"
    assert status(f, np.ones((2, 2)), grad=lambda x: np.array(weight, order=order)) == "passed"


def test_a_kink_beside_an_infinite_output():
    mask, x = np.array([True, False, True]), np.array([0.0, 1.0, 2.0])
    assert gradcheck(lambda x: ops.where(mask, ops.relu(x), -np.inf), x)
    beyond = rule(lambda g, x: g * np.where(x == 0, 1.5, x > 0), forward=lambda x: np.where(x > 0, x, 0 * x))
    assert status(lambda x: ops.where(mask, beyond(x), -np.inf), x) == "failed"


def check_a_layer(layer, expected):
    x = np.random.default_rng(0).standard_normal((2, 4))
    layer(Tensor(x.astype(np.float32))).sum().backward()
    before = [(p.data.copy(), p.grad.copy()) for p in layer.parameters()]
    try:
        assert gradcheck(layer, x, raise_exception=False).status == expected
    except ZeroDivisionError:
        assert expected == "raises"
    for p, (data, grad) in zip(layer.parameters(), before):
        assert np.array_equal(p.data, data) and np.array_equal(p.grad, grad) and np.any(grad)


class Breaks(nn.Linear):
    """Raises after eleven calls in float64: when it is asked for the gradient again."""

    def forward(self, x):
        self.calls = getattr(self, "calls", 0) + (x.dtype == np.float64)
        return super().forward(x) * (1 / (self.calls < 12))


@pytest.mark.parametrize("optimizer", [True, False])
@pytest.mark.parametrize("kind, expected", [(nn.Linear, "passed"), (Breaks, "raises")])
def test_gradients_that_were_there_are_there_afterwards(kind, expected, optimizer):
    tg.manual_seed(0)
    layer = kind(4, 3)
    held = AdamW(layer) if optimizer else None  # the arrays of its parameters are written to, not replaced
    check_a_layer(layer, expected)
    del held


# -- fast oscillation -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("x", [[23643.24940051348, 900927.3926718506], [890947.5079314642], [1e5], [1e7]])
def test_a_fast_sine_is_followed_in_shorter_steps(x):
    x = np.array(x)
    assert status(lambda x: x.sin(), x) == "passed"
    assert status(lambda x: np.sum(np.sin(x)), x, grad=np.cos) == "passed"
    for factor in (0, -1, 1.01):
        assert status(lambda x: np.sum(np.sin(x)), x, grad=lambda x: factor * np.cos(x)) == "failed"


@pytest.mark.parametrize("turns", [2.0**k for k in range(0, 40, 3)])
@pytest.mark.parametrize("phase", [0.0, 0.25, 0.5, 1e-3])
@pytest.mark.parametrize("method", ["auto", "central"])
def test_steps_of_whole_turns_mislead_nobody(turns, phase, method):
    """At multiples of π · 2ᵏ, long steps see a sine that stands still."""
    x = np.array([np.pi * (4 * turns + phase)])
    f = lambda x: float(np.sum(np.sin(x)))
    assert status(f, x, grad=np.cos, method=method) != "failed"
    for wrong in (0.0, -1.0, 1.01) if phase != 0.5 else ():  # there is no slope to be wrong about
        assert status(f, x, grad=lambda x: wrong * np.cos(x), method=method) != "passed"


@pytest.mark.parametrize("x", [1e10, 1e12, 1e14, 3e15])
def test_where_the_rounding_of_the_input_decides_it_is_said(x):
    for factor in (1, 0, -1):
        report = gradcheck(lambda x: float(np.sum(np.sin(x))), np.array([x]), grad=lambda x: factor * np.cos(x),
                           raise_exception=False)
        assert report.status == "inconclusive" and "the rounding of the input decides" in str(report)


# -- what surrounds a check -------------------------------------------------------------------------------------------


def test_a_graph_from_outside_is_refused_and_still_there() -> None:
    w = Tensor(np.ones(3), requires_grad=True)
    y = w * 2
    with pytest.raises(ValueError, match="a Tensor that was computed outside it, by multiply: compute it inside"):
        gradcheck(lambda x: x * y, np.ones(3))
    y.sum().backward()
    assert np.array_equal(w.grad, [2, 2, 2])
    with pytest.raises(ValueError, match="computed outside it"):  # its graph is used up, too
        gradcheck(lambda x: x * y, np.ones(3))
    assert gradcheck(lambda x: x * y.detach(), np.ones(3))


def test_where_nothing_is_recorded_it_cannot_run() -> None:
    with no_grad():
        with pytest.raises(ValueError, match="gradcheck: nothing is recorded under no_grad"):
            gradcheck(lambda x: x * 2, np.ones(3))
        assert gradcheck(lambda x: np.sum(x * 2), np.ones(3), grad=lambda x: 2 + 0 * x)


def test_a_function_that_is_another_one_when_it_is_recorded() -> None:
    report = gradcheck(lambda x: x * (1.5 if is_grad_enabled() else 1.0), np.ones(3), raise_exception=False)
    assert report.status == "inconclusive" and "other results under no_grad" in str(report)


COUNT = np.arange(4.0).reshape(2, 2)
MANY = np.arange(400.0).reshape(20, 20)


@pytest.mark.filterwarnings("ignore:the matrix subclass")
@pytest.mark.parametrize("slopes, made", [
    (COUNT, lambda c: np.asfortranarray(c)), (COUNT, lambda c: np.matrix(c)), (COUNT, lambda c: c.tolist()),
    (COUNT, lambda c: c[::-1].copy()[::-1]), (MANY, lambda c: np.asfortranarray(c)),
    (np.full((2, 2), 1.5), lambda c: np.broadcast_to(c[0, 0], (2, 2))),
])
def test_gradients_in_any_memory_layout(slopes: np.ndarray, made) -> None:
    x = np.ones(slopes.shape)
    assert gradcheck(lambda x: np.sum(x * slopes), x, grad=lambda x: made(slopes))
    wrong = made(slopes.T + 0.5)
    report = gradcheck(lambda x: np.sum(x * slopes), x, grad=lambda x: wrong, raise_exception=False)
    assert report.status == "failed" and report.finding.kind == "gradient"


WAVES = {
    "cos": (np.cos, lambda x: -np.sin(x)),
    "sin²": (lambda x: np.sin(x) ** 2, lambda x: np.sin(2 * x)),
    "sin of a square": (lambda x: np.sin(x * x / 1e3), lambda x: np.cos(x * x / 1e3) * 2 * x / 1e3),
    "exp of sin": (lambda x: np.exp(np.sin(x)), lambda x: np.exp(np.sin(x)) * np.cos(x)),
    "tiny sin": (lambda x: 1e-9 * np.sin(x), lambda x: 1e-9 * np.cos(x)),
    "sin on a slope": (lambda x: np.sin(x) + x, lambda x: np.cos(x) + 1),
}


@pytest.mark.parametrize("name", WAVES)
def test_functions_that_turn_many_times_between_two_steps(name: str) -> None:
    function, slope = WAVES[name]
    for x in np.random.default_rng(3).uniform(1e5, 1e6, (5, 1)):
        assert gradcheck(lambda x: np.sum(function(x)), x, grad=slope)
        for factor in (0.0, 0.5, 1.01):
            report = gradcheck(lambda x: np.sum(function(x)), x, grad=lambda x: factor * slope(x),
                               raise_exception=False)
            assert report.status == "failed", (x, factor)


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.0])
def test_without_a_complex_step_they_are_never_passed_when_wrong(factor: float) -> None:
    for x in np.random.default_rng(3).uniform(1e5, 1e6, (20, 1)):
        report = gradcheck(lambda x: np.sum(np.sin(np.real(x))), x, grad=lambda x: factor * np.cos(x),
                           raise_exception=False)
        assert report.status in (("passed", "inconclusive") if factor == 1 else ("failed", "inconclusive")), x


def test_waves_whose_changes_cancel() -> None:
    """Two outputs that move against each other: their sum stands still, at every step."""
    x = np.array([[859744.5529567616, -122257.33772866607], [-695834.9075164618, 171176.40423584345],
                  [789839.1164199873, 281644.35600726824]])
    assert gradcheck(lambda x: ops.layer_norm(ops.cos(x), epsilon=0.1), x, seed=4858)
    assert gradcheck(lambda x: np.sum(np.sin(x) - np.sin(x) + 1), x, grad=lambda x: 0 * x)
    report = gradcheck(lambda x: np.sum(np.sin(x)), x, grad=lambda x: 0 * x, raise_exception=False)
    assert report.status == "failed"

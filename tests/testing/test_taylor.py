"""`taylor_test`: right losses pass at any scale, wrong ones fail and the parameter is named; weights are restored."""

from __future__ import annotations

import numpy as np
import pytest

import tinygpt
from tinygpt import Tensor, nn, ops
from tinygpt.autograd import Operation, is_grad_enabled, no_grad
from tinygpt.optim import AdamW
from tinygpt.testing import GradcheckError, taylor_test

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((16, 3)), RNG.standard_normal((16, 2))


class Net(nn.Module):
    """Two layers; the second one's operation may be wrong."""

    def __init__(self, error: float = 0.0) -> None:
        super().__init__()
        tinygpt.manual_seed(0)
        self.one, self.two = nn.Linear(3, 5), nn.Linear(5, 2)
        self.square = Operation("square", lambda xp, x: (x * x, lambda g: (2 * (1 + error) * g * x,)))

    def loss(self, scale: float = 1.0) -> Tensor:
        inputs = Tensor(X.astype(self.one.weight.dtype))
        difference = self.two(self.one(inputs).tanh()) - Tensor(Y.astype(inputs.dtype))
        return self.square([difference], {}).mean() * scale


@pytest.mark.parametrize("scale", [1.0, 1e-9, 1e9])
def test_the_scale_of_the_loss_changes_no_verdict(scale: float) -> None:
    net = Net()
    report = taylor_test(lambda: net.loss(scale), net)
    assert report and "order 2.0" in " ".join(report.notes)
    wrong = Net(error=1e-3)
    report = taylor_test(lambda: wrong.loss(scale), wrong, raise_exception=False)
    assert report.status == "failed"


def test_weights_gradients_and_dtype_are_restored() -> None:
    net = Net()
    (net.loss() * 3).backward()
    before = [(p.data.copy(), p.grad.copy()) for p in net.parameters()]
    arrays = [p.data for p in net.parameters()]
    assert taylor_test(lambda: net.loss(), net)
    for p, array, (value, grad) in zip(net.parameters(), arrays, before):
        assert p.data is array and p.dtype == np.float32
        assert np.array_equal(p.data, value) and np.array_equal(p.grad, grad)


def test_the_parameter_is_named() -> None:
    net = Net()
    forgets = Operation("forgets", lambda xp, x, b: (x + b, lambda g: (g, None)))
    report = taylor_test(lambda: (forgets([net.one(Tensor(X)), net.one.bias], {}) ** 2).mean(), net,
                         raise_exception=False)
    assert report.status == "failed" and [f.argument for f in report.findings if f.kind == "gradient"] == ["one.bias"]
    with pytest.raises(GradcheckError, match="one.bias"):
        taylor_test(lambda: (forgets([net.one(Tensor(X)), net.one.bias], {}) ** 2).mean(), net)


@pytest.mark.parametrize("params", [
    lambda w: w, lambda w: [w], lambda w: {"w": w}, lambda w: [("w", w)],
])
def test_parameters_of_any_form(params) -> None:
    w = Tensor(RNG.standard_normal(4), requires_grad=True)
    assert taylor_test(lambda: ops.logsumexp(w), params(w))
    assert taylor_test(lambda w: ops.logsumexp(w), params(w))


def test_a_straight_line_and_a_wrong_one() -> None:
    w = Tensor(RNG.standard_normal(4), requires_grad=True)
    assert taylor_test(lambda: w.sum(), w)
    doubled = Operation("doubled", lambda xp, x: (x * 1.0, lambda g: (2 * g,)))
    assert taylor_test(lambda: doubled([w], {}).sum(), w, raise_exception=False).status == "failed"


def test_what_cannot_be_tested_is_said() -> None:
    w = Tensor(np.ones(3), requires_grad=True)
    with pytest.raises(TypeError, match="expected the loss, a Tensor of one element"):
        taylor_test(lambda: w * 2, w)
    with pytest.raises(ValueError, match="no parameter requires a gradient"):
        taylor_test(lambda: w.sum(), Tensor(np.ones(3)))
    with pytest.raises(TypeError, match="expected Tensors as parameters, got ndarray"):
        taylor_test(lambda: w.sum(), [np.ones(3)])
    with np.errstate(all="ignore"):
        assert not taylor_test(lambda: (w * 0).log().sum(), w, raise_exception=False)


@pytest.mark.parametrize("params", [lambda net: net, lambda net: list(net.parameters()),
                                    lambda net: dict(net.named_parameters())])
@pytest.mark.parametrize("error, expected", [(0.0, "passed"), (1e-3, "failed")])
def test_weights_that_an_optimizer_holds_are_tested_in_float64(error: float, expected: str, params) -> None:
    net = Net(error)
    held = AdamW(net)
    (net.loss() * 3).backward()
    before = [(p, p.data.copy(), p.grad.copy()) for p in net.parameters()]
    report = taylor_test(lambda: net.loss(), params(net), raise_exception=False)
    assert report.status == expected
    for p, (same, value, grad) in zip(net.parameters(), before):
        assert p is same and np.array_equal(p.data, value) and np.array_equal(p.grad, grad)
    held.step()
    assert not np.array_equal(net.one.weight.data, before[0][1])  # it still trains the same net


def test_a_single_weight_that_an_optimizer_holds() -> None:
    net = Net()
    held = AdamW(net)
    weight = net.one.weight
    assert taylor_test(lambda: (weight * weight).sum(), [weight])
    wrong = Operation("square", lambda xp, x: (x * x, lambda g: (2.002 * g * x,)))
    assert taylor_test(lambda: wrong([weight], {}).sum(), weight, raise_exception=False).status == "failed"
    assert weight.at_home and weight.data.base is not None and weight is dict(held.flat._parameters)["one.weight"]


def test_frozen_weights_are_constants_in_float64_too() -> None:
    net = Net()
    net.one.weight.requires_grad = False
    for held in (None, AdamW(net)):
        assert taylor_test(lambda: net.loss(), net)
        assert net.one.weight.dtype == np.float32 and not net.one.weight.requires_grad
    del held


def test_gradients_of_what_else_the_loss_uses_stay() -> None:
    a, b = (Tensor(RNG.standard_normal(3), requires_grad=True) for _ in range(2))
    (a * b).sum().backward()
    before = b.grad.copy()
    assert taylor_test(lambda: (a * b).sin().sum(), a)
    assert np.array_equal(b.grad, before)


def test_each_part_of_a_model_is_in_its_mode_afterwards() -> None:
    net = Net()
    net.dropout = nn.Dropout(0.5)
    net.dropout.training = False
    assert taylor_test(lambda: net.loss(), net)
    assert net.training and not net.dropout.training


def test_a_loss_that_is_another_one_when_it_is_recorded() -> None:
    w = Tensor(RNG.standard_normal(3), requires_grad=True)
    report = taylor_test(lambda: (w * w).sum() * (1.5 if is_grad_enabled() else 1.0), w, raise_exception=False)
    assert report.status == "inconclusive" and "other results under no_grad" in str(report)


def test_a_loss_of_the_next_batch_each_time() -> None:
    w, batches = Tensor(RNG.standard_normal(3), requires_grad=True), iter(RNG.standard_normal((1000, 3)))
    report = taylor_test(lambda: (w * next(batches)).sum(), w, raise_exception=False)
    assert report.status == "inconclusive" and "not deterministic" in str(report)


def test_where_nothing_is_recorded_it_cannot_run() -> None:
    w = Tensor(RNG.standard_normal(3), requires_grad=True)
    with no_grad(), pytest.raises(ValueError, match="taylor_test: nothing is recorded under no_grad"):
        taylor_test(lambda: (w * w).sum(), w)


def test_a_graph_from_outside_is_refused_and_still_there() -> None:
    a, w = (Tensor(RNG.standard_normal(3), requires_grad=True) for _ in range(2))
    y = a * 2
    with pytest.raises(ValueError, match="a Tensor that was computed outside it, by multiply: compute it inside"):
        taylor_test(lambda: (w * y).sum(), w)
    y.sum().backward()
    assert np.array_equal(a.grad, [2, 2, 2]) and taylor_test(lambda: (w * y.detach()).sum(), w)


@pytest.mark.parametrize("factor, expected", [(1.0, "passed"), (0.0, "failed"), (1.1, "failed")])
def test_a_loss_that_oscillates_fast(factor: float, expected: str) -> None:
    w = Tensor(np.array([1.7, 2.9]), requires_grad=True)
    wave = Operation("wave", lambda xp, x: (xp.sin(3e5 * x), lambda g: (g * factor * 3e5 * xp.cos(3e5 * x),)))
    assert taylor_test(lambda: wave([w], {}).sum(), w, raise_exception=False).status == expected


def test_a_random_loss_is_not_called_wrong() -> None:
    w, rng = Tensor(RNG.standard_normal(4), requires_grad=True), np.random.default_rng(0)
    report = taylor_test(lambda: (w * w).sum() * rng.random(), w, raise_exception=False)
    assert report.status == "inconclusive" and "not deterministic" in str(report)
    calls: list[int] = []

    def later() -> Tensor:  # the same for a while
        calls.append(1)
        return (w * w).sum() * (1.0 if len(calls) < 10 else 1.1)
    report = taylor_test(later, w, raise_exception=False)
    assert report.status == "inconclusive" and "not deterministic" in str(report)


def test_weights_are_restored_when_the_loss_raises() -> None:
    net, calls = Net(), []
    held = AdamW(net)
    (net.loss() * 3).backward()
    before = [(p, p.data.copy(), p.grad.copy()) for p in net.parameters()]

    def breaks() -> Tensor:
        calls.append(1)
        return net.loss() * (1 / (len(calls) < 11))  # when the gradient is asked for
    with pytest.raises(ZeroDivisionError):
        taylor_test(breaks, net)
    for p, (same, value, grad) in zip(net.parameters(), before):
        assert p is same and np.array_equal(p.data, value) and np.array_equal(p.grad, grad)
    del held


@pytest.mark.parametrize("error, expected", [(0.0, "passed"), (1e-5, "failed")])
def test_curvature_of_several_orders_is_no_wrong_gradient(error: float, expected: str) -> None:
    """h² and h³ of opposite signs nearly cancel at the last steps that are clear of rounding."""
    w = Tensor(np.array([1.0]), requires_grad=True)

    def bent(xp, x):
        u = x - 1
        return u + 1e-2 * u * u - 50 * u**3, lambda g: (g * (1 + error + 2e-2 * u - 150 * u * u),)
    for constant in (0.0, 1.0, 30.0):
        wave = Operation("bent", bent)
        report = taylor_test(lambda: wave([w], {}).sum() + constant, w, raise_exception=False)
        assert report.status == expected, report

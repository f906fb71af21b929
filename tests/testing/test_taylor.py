"""`taylor_test`: right losses pass at any scale, wrong ones fail and the parameter is named; weights are restored."""

from __future__ import annotations

import numpy as np
import pytest

import tinygpt
from tinygpt import Tensor, nn, ops
from tinygpt.autograd import Operation
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
    net.loss().backward()
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

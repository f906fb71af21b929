"""`grad`, `jacobian`, `hessian_vector`: first and second derivatives, and what has none."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import tinygpt as tg
from tinygpt import ops
from tinygpt.autograd import Operation, differentiable
from tinygpt.engine.dispatch import Dispatch
from tinygpt.testing import GradcheckError, gradcheck, op_db
from tinygpt.testing.registry import operations

RNG = np.random.default_rng(0)
X, V = RNG.uniform(0.5, 1.5, (3, 3)), RNG.standard_normal((3, 3))


def test_powers():
    f = lambda x: x ** 3
    assert tg.grad(f)(2.0).item() == 12 and tg.grad(tg.grad(f))(2.0).item() == 12
    assert tg.grad(tg.grad(tg.grad(f)))(2.0).item() == 6
    assert tg.grad(lambda x, y: (x * y).sum(), argument=1)(X, V).tolist() == X.tolist()


def test_the_argument_alone_counts():
    """In f(z) = z·x at z = x, x is a constant (it is the same Tensor)."""
    x = tg.Tensor(3.0, requires_grad=True)
    inner = lambda x: tg.grad(lambda z: z * x)(x)
    assert inner(x).item() == 3
    assert tg.grad(lambda x: x * inner(x))(3.0).item() == 6


def test_jacobians():
    found = tg.jacobian(lambda x: np.cumsum(x * x), np.array([1.0, 2.0, 3.0]))
    assert found.tolist() == [[2, 0, 0], [2, 4, 0], [2, 4, 6]]
    a = RNG.standard_normal((4, 3))
    np.testing.assert_allclose(tg.jacobian(lambda x: a @ x, np.ones(3)).data, a)
    assert tg.jacobian(lambda x: x[:0], np.ones(3)).shape == (0, 3)
    assert tg.jacobian(lambda x: np.outer(x, x), np.ones(3)).shape == (3, 3, 3)
    hessian = tg.jacobian(tg.grad(lambda x: (x ** 3).sum()), np.array([1.0, 2.0]))
    np.testing.assert_allclose(hessian.data, [[6, 0], [0, 12]])


FUNCTIONS = {
    "elementwise": lambda x: (np.tanh(x) * np.sinh(x) / (1 + x * x) + np.arctan2(x, x.T) + np.log(x) ** 2).sum(),
    "powers": lambda x: (x ** x).sum() + (2.0 ** x).sum() + np.sqrt(x).mean(),
    "reductions": lambda x: np.prod(x) + np.var(x, axis=0).sum() + np.std(x) + ops.logsumexp(x, axis=1).sum(),
    "order": lambda x: (np.sort(x, axis=0)[0] ** 2).sum() + np.max(x) ** 2 + np.median(x) ** 3,
    "moves": lambda x: (np.roll(x, 1, 0) * np.pad(x, 1)[1:-1, :-2] * x[[0, 0, 1]] * np.tile(x, (1, 2))[:, 1:4]).sum(),
    "products": lambda x: np.einsum("ij,jk,ki->", x, x, x) + np.kron(x, x).sum() ** 2 + (x @ x.T).sum(),
    "softmax": lambda x: (ops.softmax(x) * V).sum() + (ops.log_softmax(x * x) * V).sum(),
    "activations": lambda x: (ops.gelu_tanh(x) * ops.silu(x) + ops.relu_squared(x) * ops.sigmoid(x)).sum(),
    "norms": lambda x: (ops.layer_norm(x, x[0], x[1]) * V).sum() + (ops.rms_norm(x, x[2]) * V).sum(),
    "attention": lambda x: (ops.scaled_dot_product_attention(x[None], x[None] * 2, x[None], causal=True) * V).sum(),
    "loss": lambda x: ops.cross_entropy(x @ x, np.array([0, 2, 1])),
    "embedding": lambda x: (ops.embedding(np.array([0, 0, 2]), x) ** 3).sum(),
    "matrices": lambda x: np.linalg.det(x + 2 * np.eye(3)) + np.linalg.inv(x + 3 * np.eye(3)).sum()
    + np.linalg.norm(x) + np.linalg.solve(x + 3 * np.eye(3), x).sum(),
    "decompositions": lambda x: (np.linalg.cholesky(x @ x.T + np.eye(3)) * V).sum()
    + (np.linalg.eigvalsh(x @ x.T) ** 2)[2] + np.linalg.svdvals(x)[0] ** 2,
    "running": lambda x: (np.cumprod(x, axis=0) * V).sum() + (np.diff(x) ** 3).sum()
    + (np.convolve(x[0], x[1]) ** 2).sum(),
    "transforms": lambda x: (np.abs(np.fft.rfft(x)) ** 2).sum(),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_second_derivatives(name):
    """The gradient is differentiated right, and so is its product with a vector."""
    f = FUNCTIONS[name]
    x = tg.Tensor(X, requires_grad=True)
    f(x).backward()
    np.testing.assert_allclose(tg.grad(f)(X).data, x.grad, rtol=1e-9, atol=1e-12)
    step = 1e-5
    numeric = (tg.grad(f)(X + step * V).data - tg.grad(f)(X - step * V).data) / (2 * step)
    np.testing.assert_allclose(tg.hessian_vector(f, X, V).data, numeric, rtol=1e-5, atol=1e-6)


def test_gradients_of_gradients_pass_the_checker():
    gradcheck(tg.grad(lambda x: (np.sin(x) * np.exp(x)).sum()), np.array([0.3, -1.2]))
    gradcheck(lambda x: (tg.grad(lambda z: (z ** 3).sum())(x) * x).sum(), np.array([0.5, 2.0]))


NO_SECOND = {  # their closures write into arrays, or look into them
    "gelu", "erf", "linear_activation", "gated_activation", "linear_cross_entropy", "i0", "to_device",
    "rnn", "lstm", "gru", "convolution", "max_pool", "average_pool",
}


@pytest.mark.parametrize("name", operations())
def test_every_rule_has_a_second_derivative_or_says_that_it_has_none(name):
    """Of Σ w·f(x)³, along a direction, beside differences of the first one; never a wrong one in silence."""
    from tinygpt.autograd import OPS
    if name not in OPS:
        pytest.skip("made of others")
    operation, sample = OPS[name], next(iter(op_db[name].samples(1, seed=7)))
    places = [i for i, x in enumerate(sample.inputs) if isinstance(x, np.ndarray) and x.dtype.kind == "f" and x.size]
    if not places or name in ("fft", "ifft", "rfft", "eigvals", "astype"):
        pytest.skip("nothing to differentiate here, complex, or too coarse")
    k = places[0]

    def f(x):
        inputs = [x if i == k else part for i, part in enumerate(sample.inputs)]
        found = operation([inputs] if operation.variadic else inputs, dict(sample.settings))
        outs = [out for out in (found if isinstance(found, tuple) else (found,)) if out.dtype.kind == "f"]
        weights = [np.cos(np.arange(out.size).reshape(out.shape)) for out in outs]
        return sum(((out.astype("float64") * w) ** 3).sum() for out, w in zip(outs, weights))

    x, v = sample.inputs[k], np.random.default_rng(1).standard_normal(sample.inputs[k].shape)
    x = x + np.random.default_rng(2).uniform(0.01, 0.02, x.shape)  # no ties
    try:
        found = tg.hessian_vector(f, x, v).data
    except TypeError as error:
        assert "no second derivative here" in str(error) and name in NO_SECOND
        return
    g, step = tg.grad(f), 1e-5
    numeric = (g(x + step * v).data - g(x - step * v).data) / (2 * step)
    np.testing.assert_allclose(found, numeric, rtol=1e-4, atol=1e-5 * max(1.0, float(np.abs(numeric).max())))


def test_what_is_refused():
    with pytest.raises(ValueError, match="use jacobian"):
        tg.grad(lambda x: x * 2)(np.ones(2))
    with pytest.raises(TypeError, match="returned float, expected a Tensor"):
        tg.grad(lambda x: 1.0)(2.0)
    with pytest.raises(TypeError, match="floating-point numbers, got int64"):
        tg.grad(lambda x: x)(2)
    with pytest.raises(TypeError, match="expected a real one"):
        tg.grad(lambda x: np.fft.fft(x)[0])(np.ones(2))
    with pytest.raises(ValueError, match="x has shape \\(2,\\), and v has \\(3,\\)"):
        tg.hessian_vector(lambda x: x.sum(), np.ones(2), np.ones(3))
    y = tg.Tensor(1.0, requires_grad=True) * 2
    assert tg.grad(lambda x: y)(2.0).item() == 0  # what does not depend on x
    assert type(Operation.engine) is Dispatch


def test_inside_no_grad_the_result_is_off_the_tape():
    with tg.no_grad():
        x = tg.Tensor(2.0, requires_grad=True)
        found = tg.grad(lambda x: x ** 3)(x)
        assert found.item() == 12 and not found.requires_grad and not (x * 2).requires_grad
        assert tg.grad(tg.grad(lambda x: x ** 3))(x).item() == 12


def test_the_engine_is_put_back():
    def broken(x):
        raise RuntimeError("broken")
    with pytest.raises(RuntimeError, match="broken"):
        tg.grad(broken)(1.0)
    assert type(Operation.engine) is Dispatch
    results: list = []
    work = lambda: results.append(tg.hessian_vector(FUNCTIONS["softmax"], X, V).data)
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert type(Operation.engine) is Dispatch
    for found in results:
        np.testing.assert_array_equal(found, results[0])
    assert len(results) == 4


def test_gradients_stay_with_the_parameters_that_are_asked_for():
    w = tg.Tensor(V, requires_grad=True)
    penalty = (tg.grad(lambda x: np.tanh(x * w).sum())(tg.Tensor(X, requires_grad=True)) ** 2).sum()
    penalty.backward()
    assert w.grad is not None
    gradcheck(lambda w: (tg.grad(lambda x: np.tanh(x * w).sum())(tg.Tensor(X, requires_grad=True)) ** 2).sum(), V)


def test_a_gradient_by_what_the_function_uses_beside_its_argument_is_kept_or_refused():
    w = tg.Tensor(V, requires_grad=True)
    f = lambda x: np.tanh(x * w).sum()
    for off in (tg.grad(f)(X), tg.jacobian(f, X), tg.hessian_vector(f, X, V), tg.grad(f)(tg.Tensor(X))):
        with pytest.raises(TypeError, match="unless the argument is a Tensor with requires_grad=True"):
            ((w ** 2).sum() + (off ** 2).sum()).backward()
    with tg.no_grad():
        assert not tg.grad(f)(X).requires_grad
    for of_arguments_alone in (tg.grad(lambda x: (x ** 2).sum()), tg.grad(lambda x: (
            tg.grad(lambda z: (z * x).sum())(V) ** 2).sum())):
        assert not of_arguments_alone(X).requires_grad


# -- the checker on second derivatives --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["elementwise", "softmax", "moves"])
def test_gradcheck_of_second_order_passes_what_is_right(name):
    assert gradcheck(FUNCTIONS[name], X, order=2)
    assert gradcheck(lambda pair, *, scale: [pair["a"] @ pair["b"], pair["a"] * scale], {"a": X, "b": V},
                     scale=3, order=2)


@differentiable
def cube_kept(xp, x):
    kept = x.data if isinstance(x, tg.Tensor) else x
    return x ** 3, lambda g: (g * 3 * kept * kept,)


@differentiable
def cube_half(xp, x):
    kept = x.data if isinstance(x, tg.Tensor) else x
    return x ** 3, lambda g: (g * 3 * kept * x,)


@differentiable
def product_kept(xp, x, y):
    kept = y.data if isinstance(y, tg.Tensor) else y
    return x * y, lambda g: (g * kept, g * x)


@pytest.mark.parametrize("function, n, where", [(cube_kept, 1, "x"), (cube_half, 1, "x"), (product_kept, 2, "y")])
def test_a_second_derivative_that_is_wrong_is_caught(function, n, where):
    assert gradcheck(function, *[X, V][:n])
    report = gradcheck(function, *[X, V][:n], order=2, raise_exception=False)
    assert report.status == "failed" and f"the gradient of {function.__name__}" in str(report)
    assert report.finding.argument == where and "order=2" in report.snippet
    with pytest.raises(GradcheckError):
        exec(report.snippet, {function.__name__: function})


def test_the_order_is_1_or_2():
    with pytest.raises(ValueError, match="order must be 1, or 2 for a function of Tensors without grad=; got 3"):
        gradcheck(np.sin, X, order=3)
    with pytest.raises(ValueError, match="without grad="):
        gradcheck(lambda x: (x ** 2).sum(), X, grad=lambda x: 2 * x, order=2)
    with pytest.raises(TypeError, match="gelu has no second derivative here"):
        gradcheck(ops.gelu, X, order=2)

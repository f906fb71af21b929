"""AdamW: closed-form steps, the fast pass against the formula, PyTorch, state, settings."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygpt.nn.module import Parameter
from tinygpt.optim import AdamW, FlatParameters, adamw_update
from tinygpt.optim import adamw as adamw_module


def parameter(x, dtype=np.float64) -> Parameter:
    return Parameter(np.array(x, dtype=dtype))


def test_the_first_step_has_the_length_of_the_learning_rate():
    # m_hat = g and v_hat = g², so the step is lr · g / (|g| + eps), and the decay lr · weight_decay · p.
    w, b = parameter([[2.0, -3.0]]), parameter([5.0])
    optimizer = AdamW([("w", w), ("b", b)], lr=0.1, eps=1e-8, weight_decay=0.5)
    w.grad, b.grad = np.array([[4.0, -1e-3]]), np.array([7.0])
    optimizer.step()
    shrunk = np.array([2.0, -3.0]) * (1 - 0.1 * 0.5)
    moved = 0.1 * np.array([4.0 / (4.0 + 1e-8), -1e-3 / (1e-3 + 1e-8)])
    np.testing.assert_allclose(w.data[0], shrunk - moved, rtol=1e-13)
    np.testing.assert_allclose(b.data, 5.0 - 0.1 * 7.0 / (7.0 + 1e-8), rtol=1e-13)  # a vector does not decay


def test_a_constant_gradient_gives_constant_steps():
    # With g constant the corrected means are g and g² at every step.
    w = parameter([1.0])
    optimizer = AdamW([w], lr=0.01, betas=(0.9, 0.99), weight_decay=0.0)
    for step in range(1, 60):
        w.grad = np.array([-0.3])
        optimizer.step()
        np.testing.assert_allclose(w.data, 1.0 + step * 0.01 * 0.3 / (0.3 + 1e-8), rtol=1e-12)


def test_no_gradient_leaves_only_the_decay():
    w = parameter(np.ones((2, 2)))
    optimizer = AdamW([w], lr=0.1, weight_decay=0.3)
    for _ in range(5):
        optimizer.step()
    np.testing.assert_allclose(w.data, (1 - 0.03) ** 5, rtol=1e-13)


@settings(deadline=None, max_examples=40, derandomize=True)
@given(
    st.integers(0, 1000), st.sampled_from(["float32", "float64"]), st.floats(0, 0.1), st.floats(0, 0.99),
    st.floats(0, 0.999), st.floats(1e-10, 1e-2), st.floats(0, 1),
)
def test_the_pass_over_blocks_equals_the_formula(seed, dtype, lr, beta1, beta2, eps, weight_decay):
    rng = np.random.default_rng(seed)
    shapes = [(3, 4), (5,), (2, 3, 2), ()]
    named = [(f"p{i}", Parameter(rng.standard_normal(shape).astype(dtype))) for i, shape in enumerate(shapes)]
    optimizer = AdamW(named, lr, (beta1, beta2), eps, weight_decay)
    optimizer._block_size = 5  # several blocks in each range, the last one short
    state = {name: (p.data.copy(), np.zeros_like(p.data), np.zeros_like(p.data)) for name, p in named}
    for step in range(1, 20):
        for name, p in named:
            g = rng.standard_normal(p.data.shape).astype(dtype)
            p.grad = 3.0 * g
            x, m, v = state[name]
            decay = weight_decay if g.ndim >= 2 else 0.0
            state[name] = adamw_update(x, g, m, v, step, lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=decay)
        optimizer.step(grad_scale=1 / 3)
    tolerance = dict(rtol=1e-12, atol=1e-13) if dtype == "float64" else dict(rtol=3e-4, atol=3e-5)
    for name, p in named:
        assert p.data.dtype == dtype
        np.testing.assert_allclose(p.data, state[name][0], **tolerance)


@pytest.mark.parametrize("size", [131_071, 131_072, 131_073, 300_000])
def test_block_edges(size):
    rng = np.random.default_rng(0)
    p = Parameter(rng.standard_normal((size, 1)).astype(np.float32))
    q = Parameter(rng.standard_normal(7).astype(np.float32))
    optimizer = AdamW([p, q], lr=0.1, weight_decay=0.5)
    p.grad, q.grad = rng.standard_normal((size, 1)), rng.standard_normal(7)
    zeros = np.zeros_like
    want = adamw_update(p.data, p.grad, zeros(p.data), zeros(p.data), 1, lr=0.1, weight_decay=0.5)[0]
    want_q = adamw_update(q.data, q.grad, zeros(q.data), zeros(q.data), 1, lr=0.1, weight_decay=0.0)[0]
    optimizer.step()
    np.testing.assert_allclose(p.data, want, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(q.data, want_q, rtol=1e-5, atol=1e-6)


def test_step_takes_the_rate_of_a_schedule():
    p, q = parameter([1.0]), parameter([1.0])
    a, b = AdamW([p], lr=0.5), AdamW([q], lr=0.1)
    p.grad, q.grad = np.array([1.0]), np.array([1.0])
    a.step(lr=np.float64(0.1))
    b.step()
    np.testing.assert_array_equal(p.data, q.data)
    assert a.lr == 0.5


def test_a_numpy_rate_does_not_turn_float32_into_float64():
    p = parameter([[1.0]], np.float32)
    optimizer = AdamW([p], lr=np.float64(0.1), weight_decay=np.float64(0.1), eps=np.float64(1e-8))
    optimizer.step(lr=np.float64(0.1), grad_scale=np.float64(1.0))
    assert p.data.dtype == optimizer.first_moment.dtype == np.float32


def test_moments_of_an_unused_parameter_become_zero_and_never_denormal():
    p = parameter(np.ones(64), np.float32)
    optimizer = AdamW([p], lr=1e-3, betas=(0.9, 0.95))
    p.grad = np.logspace(-12, 3, 64)
    optimizer.step()
    optimizer.zero_grad()
    smallest = np.finfo(np.float32).smallest_normal
    for _ in range(1500):
        optimizer.step()
        for moment in (optimizer.first_moment, optimizer.second_moment):
            assert not ((moment != 0) & (np.abs(moment) < smallest)).any()
    assert not optimizer.first_moment.any()


def test_flushing_changes_no_update():
    # Values on both sides of the threshold; eps as small as a float32 run would ever use.
    rng = np.random.default_rng(0)
    for eps in (1e-8, 1e-12):
        p = parameter(rng.standard_normal(2000))
        g = np.sign(rng.standard_normal(2000)) * np.logspace(-40, 0, 2000)
        optimizer = AdamW([p], lr=0.1, eps=eps)
        x, m, v = p.data.copy(), np.zeros(2000), np.zeros(2000)
        for step in range(1, adamw_module.FLUSH_EVERY * 3):
            p.grad = g
            optimizer.step()
            x, m, v = adamw_update(x, g, m, v, step, lr=0.1, eps=eps, weight_decay=0.0)
        np.testing.assert_allclose(p.data, x, rtol=0, atol=1e-11)


def test_state_goes_on_bit_for_bit():
    rng = np.random.default_rng(0)
    gradients = rng.standard_normal((10, 3, 4))
    start = rng.standard_normal((3, 4))

    def run(steps, p, optimizer):
        for i in steps:
            p.grad = gradients[i]
            optimizer.step()

    p = parameter(start)
    optimizer = AdamW([("w", p)])
    run(range(10), p, optimizer)
    q = parameter(start)
    first = AdamW([("w", q)])
    run(range(6), q, first)
    saved = {name: array.copy() for name, array in first.state_dict().items()}
    assert set(saved) == {"step", "first_moment.w", "second_moment.w"}
    r = parameter(q.data.copy())
    second = AdamW([("w", r)])
    second.load_state_dict(saved)
    run(range(6, 10), r, second)
    np.testing.assert_array_equal(r.data, p.data)
    assert second.steps == 10


def test_state_that_does_not_fit_changes_nothing():
    optimizer = AdamW([("w", parameter(np.zeros((2, 2))))])
    good = {name: array.copy() + 1 for name, array in optimizer.state_dict().items()}
    wrong = [
        ({k: x for k, x in good.items() if k != "step"}, "missing .'step'"),
        ({**good, "first_moment.b": np.zeros(2)}, "unknown .'first_moment.b'"),
        ({**good, "second_moment.w": np.zeros((2, 3))}, r"'second_moment.w' is float64 \(2, 3\)"),
        ({**good, "second_moment.w": np.zeros((2, 2), dtype=np.float32)}, "float32"),
        ({**good, "step": np.array(-1)}, "'step' is -1"),
    ]
    for state, message in wrong:
        with pytest.raises(ValueError, match=message):
            optimizer.load_state_dict(state)
        assert optimizer.steps == 0 and not optimizer.first_moment.any() and not optimizer.second_moment.any()


@pytest.mark.parametrize("setting", [
    {"lr": -1.0}, {"lr": math.nan}, {"lr": math.inf}, {"betas": (1.0, 0.9)}, {"betas": (0.9, -0.1)}, {"eps": 0.0},
    {"weight_decay": -0.1}, {"weight_decay": math.nan},
])
def test_settings_out_of_range_are_named(setting):
    (name,) = setting
    with pytest.raises(ValueError, match=name):
        AdamW([parameter([1.0])], **setting)


def test_lr_of_a_step_is_checked_before_anything_moves():
    optimizer = AdamW([parameter([1.0])])
    with pytest.raises(ValueError, match="lr is nan"):
        optimizer.step(lr=math.nan)
    assert optimizer.steps == 0


@pytest.mark.oracle
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_equals_pytorch(dtype):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    shapes = {"w": (6, 5), "b": (6,), "position_embedding.weight": (4, 5)}
    ours = {name: Parameter(rng.standard_normal(shape).astype(dtype)) for name, shape in shapes.items()}
    theirs = {name: torch.nn.Parameter(torch.tensor(p.data.copy())) for name, p in ours.items()}
    flat = FlatParameters(ours.items())
    optimizer = AdamW(flat, lr=3e-3, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
    oracle = torch.optim.AdamW(
        [{"params": [theirs["w"]], "weight_decay": 0.1},
         {"params": [theirs["b"], theirs["position_embedding.weight"]], "weight_decay": 0.0}],
        lr=3e-3, betas=(0.9, 0.95), eps=1e-8)
    for step in range(100):
        for name, p in ours.items():
            g = (rng.standard_normal(p.data.shape) * 10.0 ** rng.integers(-6, 2)).astype(dtype)
            p.grad = g
            theirs[name].grad = torch.tensor(g)
        lr = 3e-3 * (1 - step / 200)
        for group in oracle.param_groups:
            group["lr"] = lr
        optimizer.step(lr=lr)
        oracle.step()
    tolerance = dict(rtol=1e-11, atol=1e-13) if dtype == "float64" else dict(rtol=1e-4, atol=2e-6)
    for name, p in ours.items():
        np.testing.assert_allclose(p.data, theirs[name].detach().numpy(), **tolerance)

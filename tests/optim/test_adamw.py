"""The textbook's AdamW: closed-form steps, what decays, PyTorch, state, settings.

Each test of what the numbers are runs for the fast one as well, whose place in training is the same.
"""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from tinygpt.nn.module import Parameter
from tinygpt.optim import adamw, flat_adamw, is_decayed

both = pytest.mark.parametrize("AdamW", [adamw.AdamW, flat_adamw.AdamW], ids=["textbook", "fast"])


def parameter(x, dtype=np.float64) -> Parameter:
    return Parameter(np.array(x, dtype=dtype))


@both
def test_the_first_step_has_the_length_of_the_learning_rate(AdamW):
    # m_hat = g and v_hat = g², so the step is lr · g / (|g| + eps), and the decay lr · weight_decay · p.
    w, b = parameter([[2.0, -3.0]]), parameter([5.0])
    optimizer = AdamW([("w", w), ("b", b)], lr=0.1, eps=1e-8, weight_decay=0.5)
    w.grad, b.grad = np.array([[4.0, -1e-3]]), np.array([7.0])
    optimizer.step()
    shrunk = np.array([2.0, -3.0]) * (1 - 0.1 * 0.5)
    moved = 0.1 * np.array([4.0 / (4.0 + 1e-8), -1e-3 / (1e-3 + 1e-8)])
    np.testing.assert_allclose(w.data[0], shrunk - moved, rtol=1e-13)
    np.testing.assert_allclose(b.data, 5.0 - 0.1 * 7.0 / (7.0 + 1e-8), rtol=1e-13)  # a vector does not decay


@both
def test_a_constant_gradient_gives_constant_steps(AdamW):
    # With g constant the corrected means are g and g² at every step.
    w = parameter([1.0])
    optimizer = AdamW([w], lr=0.01, betas=(0.9, 0.99), weight_decay=0.0)
    for step in range(1, 60):
        w.grad = np.array([-0.3])
        optimizer.step()
        np.testing.assert_allclose(w.data, 1.0 + step * 0.01 * 0.3 / (0.3 + 1e-8), rtol=1e-12)


@both
def test_no_gradient_leaves_only_the_decay(AdamW):
    w = parameter(np.ones((2, 2)))
    optimizer = AdamW([w], lr=0.1, weight_decay=0.3)
    for _ in range(5):
        optimizer.step()
    np.testing.assert_allclose(w.data, (1 - 0.03) ** 5, rtol=1e-13)


@both
def test_step_takes_the_rate_of_a_schedule(AdamW):
    p, q = parameter([1.0]), parameter([1.0])
    a, b = AdamW([p], lr=0.5), AdamW([q], lr=0.1)
    p.grad, q.grad = np.array([1.0]), np.array([1.0])
    a.step(lr=np.float64(0.1))
    b.step()
    np.testing.assert_array_equal(p.data, q.data)
    assert a.lr == 0.5


def test_decay_is_for_matrices_but_positions():
    matrix, vector = parameter(np.zeros((2, 2))), parameter(np.zeros(2))
    assert is_decayed("blocks.0.attention.qkv.weight", matrix) and is_decayed("token_embedding.weight", matrix)
    assert not is_decayed("norm.weight", vector) and not is_decayed("lm_head.bias", vector)
    for name in ("positions.weight", "positions.weight", "encoder.positions.weight"):
        assert not is_decayed(name, matrix)
    assert is_decayed("blocks.0.positions_of_experts.weight", matrix)  # a whole segment of the name, not a part


@both
def test_frozen_parameters_stay(AdamW):
    trained, frozen = parameter(np.ones((2, 2))), Parameter(np.ones((2, 2)), requires_grad=False)
    optimizer = AdamW([("trained", trained), ("frozen", frozen)], lr=0.1)
    trained.grad = np.ones((2, 2))
    optimizer.step()
    assert (trained.data < 1).all() and (frozen.data == 1).all()
    assert "first_moment.frozen" not in optimizer.state_dict()


def test_zero_grad_forgets_the_gradients():
    w = parameter([1.0])
    optimizer = adamw.AdamW([w])
    w.grad = np.array([1.0])
    optimizer.zero_grad()
    assert w.grad is None


@both
def test_a_numpy_rate_does_not_turn_float32_into_float64(AdamW):
    p = parameter([[1.0]], np.float32)
    optimizer = AdamW([p], lr=np.float64(0.1), weight_decay=np.float64(0.1), eps=np.float64(1e-8))
    p.grad = np.ones((1, 1), np.float32)
    optimizer.step(grad_scale=np.float64(1.0))
    assert {x.dtype.name for name, x in optimizer.state_dict().items() if name != "step"} == {"float32"}
    assert p.data.dtype == np.float32


@both
def test_state_goes_on_bit_for_bit(AdamW):
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


def test_state_with_a_missing_name_changes_nothing():
    optimizer = adamw.AdamW([("w", parameter(np.zeros((2, 2))))])
    state = {name: array + 1 for name, array in optimizer.state_dict().items() if name != "second_moment.w"}
    with pytest.raises(KeyError, match="second_moment.w"):
        optimizer.load_state_dict(state)
    assert optimizer.steps == 0 and not optimizer.state_dict()["first_moment.w"].any()


@both
@pytest.mark.parametrize("setting", [
    {"lr": -1.0}, {"lr": math.nan}, {"lr": math.inf}, {"betas": (1.0, 0.9)}, {"betas": (0.9, -0.1)}, {"eps": 0.0},
    {"weight_decay": -0.1}, {"weight_decay": math.nan},
])
def test_settings_out_of_range_are_named(AdamW, setting):
    ((name, value),) = setting.items()
    with pytest.raises(ValueError, match=rf"{name} (is|are) {re.escape(str(value))}"):
        AdamW([parameter([1.0])], **setting)


@pytest.mark.oracle
@both
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_equals_pytorch(AdamW, dtype):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    shapes = {"w": (6, 5), "b": (6,), "positions.weight": (4, 5)}
    ours = {name: Parameter(rng.standard_normal(shape).astype(dtype)) for name, shape in shapes.items()}
    theirs = {name: torch.nn.Parameter(torch.tensor(p.data.copy())) for name, p in ours.items()}
    optimizer = AdamW(ours.items(), lr=3e-3, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
    oracle = torch.optim.AdamW(
        [{"params": [theirs["w"]], "weight_decay": 0.1},
         {"params": [theirs["b"], theirs["positions.weight"]], "weight_decay": 0.0}],
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
    # In float32, each of a hundred steps rounds a weight of about 1 by 6e-8, up or down: about 2e-6 in all.
    tolerance = dict(rtol=1e-11, atol=1e-13) if dtype == "float64" else dict(rtol=1e-4, atol=2e-6)
    for name, p in ours.items():
        np.testing.assert_allclose(p.data, theirs[name].detach().numpy(), **tolerance)

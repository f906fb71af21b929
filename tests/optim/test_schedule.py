"""Learning-rate schedules: nanoGPT's numbers, bounds, shape."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygpt.optim import cosine_schedule, linear_schedule

both = pytest.mark.parametrize("schedule", [cosine_schedule, linear_schedule])
runs = st.tuples(st.floats(0, 1), st.floats(0, 1), st.integers(0, 50), st.integers(0, 200)).map(
    lambda r: dict(min_lr=min(r[:2]), max_lr=max(r[:2]), warmup_steps=r[2], total_steps=r[2] + r[3]))


def nanogpt(it, learning_rate, min_lr, warmup_iters, lr_decay_iters):
    if it < warmup_iters:
        return learning_rate * (it + 1) / (warmup_iters + 1)
    if it > lr_decay_iters:
        return min_lr
    decay_ratio = (it - warmup_iters) / (lr_decay_iters - warmup_iters)
    coeff = 0.5 * (1.0 + math.cos(math.pi * decay_ratio))
    return min_lr + coeff * (learning_rate - min_lr)


def test_cosine_is_nanogpts():
    for step in range(2100):
        ours = cosine_schedule(step, max_lr=1e-3, min_lr=1e-4, warmup_steps=100, total_steps=2000)
        assert ours == pytest.approx(nanogpt(step, 1e-3, 1e-4, 100, 2000), rel=1e-12)


@both
def test_landmarks(schedule):
    run = dict(max_lr=1.0, min_lr=0.1, warmup_steps=4, total_steps=14)
    assert [schedule(i, **run) for i in range(5)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert schedule(9, **run) == pytest.approx(0.55)  # half way down
    assert schedule(14, **run) == schedule(1000, **run) == pytest.approx(0.1)
    assert schedule(13, **run) > 0.1


@both
@settings(deadline=None, max_examples=100, derandomize=True)
@given(run=runs)
def test_up_then_down_within_bounds(schedule, run):
    warmup, total = run["warmup_steps"], run["total_steps"]
    rates = [schedule(i, **run) for i in range(total + 3)]
    assert all(0 <= rate <= run["max_lr"] * (1 + 1e-12) for rate in rates)
    up, down = rates[:warmup], rates[warmup:]
    assert all(a <= b for a, b in zip(up, up[1:]))
    assert all(a >= b - 1e-12 for a, b in zip(down, down[1:]))
    assert all(rate >= run["min_lr"] - 1e-12 for rate in down)
    if total > warmup:
        assert rates[warmup] == pytest.approx(run["max_lr"])
    assert rates[total:] == pytest.approx([run["min_lr"]] * 3)


@both
@pytest.mark.parametrize("step, change, message", [
    (-1, {}, "step is -1"), (0, {"min_lr": 2.0}, "min_lr is 2.0"), (0, {"min_lr": -1.0}, "min_lr is -1.0"),
    (0, {"max_lr": math.nan}, "max_lr nan"), (0, {"warmup_steps": 11}, "warmup_steps is 11"),
    (0, {"warmup_steps": -1}, "warmup_steps is -1"),
])
def test_errors(schedule, step, change, message):
    with pytest.raises(ValueError, match=message):
        schedule(step, **{"max_lr": 1.0, "min_lr": 0.1, "warmup_steps": 2, "total_steps": 10, **change})

"""The fast AdamW: the textbook's numbers, blocks, tiny moments."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygpt.nn.module import Parameter
from tinygpt.optim import AdamW, adamw, adamw_update
from tinygpt.optim.flat_optimizer import FLUSH_EVERY


def parameter(x, dtype=np.float64) -> Parameter:
    return Parameter(np.array(x, dtype=dtype))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("lr, weight_decay", [(1e-2, 0.0), (1e-2, 0.1), (0.0, 0.1)])
def test_twenty_steps_equal_the_textbooks(dtype, lr, weight_decay):
    rng = np.random.default_rng(0)
    shapes = {"token_embedding.weight": (11, 6), "positions.weight": (4, 6), "blocks.0.qkv.weight": (18, 6),
              "blocks.0.qkv.bias": (18,), "norm.weight": (6,), "kernel": (2, 3, 4), "frozen.weight": (3, 3)}

    def parameters() -> dict[str, Parameter]:
        rng = np.random.default_rng(1)
        return {name: Parameter(rng.standard_normal(shape).astype(dtype), requires_grad=not name.startswith("frozen"))
                for name, shape in shapes.items()}
    ours, theirs = parameters(), parameters()
    fast, textbook = (kind(pairs.items(), lr, (0.9, 0.95), weight_decay=weight_decay)
                      for kind, pairs in ((AdamW, ours), (adamw.AdamW, theirs)))
    fast._block_size = 50  # not all of a parameter in one block
    for step in range(20):
        for name, shape in shapes.items():
            if step % 5 or name != "kernel":  # now and then it takes no part in the loss
                g = (rng.standard_normal(shape) * 10.0 ** rng.integers(-6, 2)).astype(dtype)
                ours[name].grad, theirs[name].grad = g.copy(), g.copy()
        rate = None if step < 10 else lr / 2
        fast.step(lr=rate, grad_scale=0.7)
        textbook.step(lr=rate, grad_scale=0.7)
        fast.zero_grad()
        textbook.zero_grad()
    # Each step both round the weight twice, and an update of about lr (at most 3 lr here) some ten times.
    rounding = np.finfo(dtype).eps
    for name, p in ours.items():
        largest = np.abs(theirs[name].data).max()
        np.testing.assert_allclose(p.data, theirs[name].data, rtol=0, atol=20 * rounding * (2 * largest + 30 * lr),
                                   err_msg=name)
        start = parameters()[name].data
        assert (p.data == start).all() == (lr == 0.0 or name.startswith("frozen"))
    assert fast.state_dict().keys() == textbook.state_dict().keys()
    for name, moment in textbook.state_dict().items():
        # Twenty additions and twenty products by beta.
        largest = np.abs(moment).max()
        np.testing.assert_allclose(fast.state_dict()[name], moment, rtol=0, atol=40 * rounding * largest, err_msg=name)


def test_the_textbooks_state_is_the_fast_ones():
    w = parameter(np.ones((2, 3)))
    textbook = adamw.AdamW([("w", w)])
    w.grad = np.arange(6.0).reshape(2, 3)
    textbook.step()
    fast = AdamW([("w", parameter(np.ones((2, 3))))])
    fast.load_state_dict(textbook.state_dict())
    assert fast.steps == 1
    np.testing.assert_array_equal(fast.first_moment.reshape(2, 3), textbook.state_dict()["first_moment.w"])


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
    # In float32, an update may be of size 2: lr is up to 0.1, and the mean of g up to twenty times the root of that of
    # g². Nineteen of them, each rounded some ten times by 6e-8 of it, differ by some 2e-5.
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
        for step in range(1, FLUSH_EVERY * 3):
            p.grad = g
            optimizer.step()
            x, m, v = adamw_update(x, g, m, v, step, lr=0.1, eps=eps, weight_decay=0.0)
        np.testing.assert_allclose(p.data, x, rtol=0, atol=1e-11)

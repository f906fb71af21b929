"""What every optimizer by name promises: its call, its state, any number of threads, a step that is checked first."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tinygpt.nn.module import Parameter
from tinygpt.optim import OPTIMIZERS, FlatOptimizer, FlatParameters

every = pytest.mark.parametrize("name", sorted(OPTIMIZERS))
SHAPES = {
    "token_embedding.weight": (7, 4), "positions.weight": (5, 4), "blocks.0.attention.qkv.weight": (12, 4),
    "blocks.0.attention.qkv.bias": (12,), "blocks.0.feed_forward.up.weight": (9, 4),
    "blocks.0.feed_forward.down.weight": (4, 9), "norm.weight": (4,), "lm_head.weight": (7, 4),
}
SETTINGS = dict(lr=0.01, betas=(0.9, 0.95), weight_decay=0.1)


def optimizer_of(name: str, dtype: str = "float32", seed: int = 0) -> FlatOptimizer:
    rng = np.random.default_rng(seed)
    flat = FlatParameters([(key, Parameter(rng.standard_normal(shape).astype(dtype))) for key, shape in SHAPES.items()])
    return OPTIMIZERS[name](flat, **SETTINGS)


def train(optimizer: FlatOptimizer, steps: range, **options) -> None:
    for i in steps:
        optimizer.flat.grad[:] = np.random.default_rng(i).standard_normal(optimizer.flat.size)
        optimizer.step(lr=0.01 / (1 + i), grad_scale=0.5, **options)
        optimizer.zero_grad()


@every
def test_the_call_is_the_same_for_all(name):
    optimizer = optimizer_of(name)
    before = optimizer.flat.data.copy()
    train(optimizer, range(3))
    assert optimizer.steps == 3 and not optimizer.flat.grad.any()
    assert (optimizer.flat.data != before).all()  # no parameter is left out


@every
def test_a_small_step_goes_downhill(name):
    # f(w) = |w - target|², whose minimum every parameter is to approach.
    optimizer = optimizer_of(name, "float64")
    optimizer.weight_decay = 0.0
    target = np.random.default_rng(9).standard_normal(optimizer.flat.size)
    distance = [np.square(optimizer.flat.data - target).sum()]
    for _ in range(400):
        optimizer.flat.grad[:] = 2 * (optimizer.flat.data - target)
        optimizer.step(lr=0.02)
        distance.append(np.square(optimizer.flat.data - target).sum())
    assert distance[-1] < 0.1 * distance[0]


@every
def test_a_rate_of_zero_moves_nothing(name):
    optimizer = optimizer_of(name)
    before = optimizer.flat.data.copy()
    optimizer.flat.grad[:] = 1.0
    optimizer.step(lr=0.0)
    np.testing.assert_array_equal(optimizer.flat.data, before)


@every
def test_the_gradients_are_left_alone(name):
    optimizer = optimizer_of(name)
    gradient = np.random.default_rng(0).standard_normal(optimizer.flat.size).astype(np.float32)
    optimizer.flat.grad[:] = gradient
    optimizer.step(grad_scale=0.1)
    np.testing.assert_array_equal(optimizer.flat.grad, gradient)


@every
def test_state_goes_on_bit_for_bit(name):
    whole, first, second = optimizer_of(name), optimizer_of(name), optimizer_of(name, seed=1)
    train(whole, range(40))
    train(first, range(17))  # past the step that flushes what is tiny
    saved = {key: array.copy() for key, array in first.state_dict().items()}
    assert saved["step"] == 17 and all("." in key for key in saved if key != "step")
    second.flat.data[:] = first.flat.data
    second.load_state_dict(saved)
    train(second, range(17, 40))
    np.testing.assert_array_equal(second.flat.data, whole.flat.data)
    assert second.steps == 40


@every
def test_state_that_does_not_fit_changes_nothing(name):
    optimizer = optimizer_of(name)
    good = {key: array.copy() + 1 for key, array in optimizer.state_dict().items()}
    some = next(key for key in good if key != "step")
    wrong = [
        ({key: x for key, x in good.items() if key != "step"}, "missing .'step'"),
        ({**good, "first_moment.b": np.zeros(2)}, "unknown .'first_moment.b'"),
        ({**good, some: np.zeros((2, 9), np.float32)}, rf"'{some}' is float32 \(2, 9\)"),
        ({**good, some: good[some].astype(np.float64)}, rf"'{some}' is float64"),
        ({**good, "step": np.array(-1)}, "'step' is -1"),
    ]
    for state, message in wrong:
        with pytest.raises(ValueError, match=message):
            optimizer.load_state_dict(state)
        assert not any(array.any() for array in optimizer.state_dict().values())


@every
@pytest.mark.parametrize("n", [2, 3, 7])
def test_any_number_of_threads_gives_the_same_bits(name, n):
    alone, together = optimizer_of(name), optimizer_of(name)
    alone._block_size = together._block_size = 5
    train(alone, range(4))
    with ThreadPoolExecutor(n) as threads:
        def spread(function, items):
            bounds = [len(items) * i // n for i in range(n + 1)]
            return list(threads.map(function, [items[a:b] for a, b in zip(bounds, bounds[1:])]))
        train(together, range(4), spread=spread)
    np.testing.assert_array_equal(together.flat.data, alone.flat.data)
    for key, array in alone.state_dict().items():
        np.testing.assert_array_equal(together.state_dict()[key], array)


@every
@pytest.mark.parametrize("lr", [-1.0, math.nan, math.inf])
def test_lr_of_a_step_is_checked_before_anything_moves(name, lr):
    optimizer = optimizer_of(name)
    before = optimizer.flat.data.copy()
    with pytest.raises(ValueError, match=f"lr is {lr}"):
        optimizer.step(lr=lr)
    assert optimizer.steps == 0
    np.testing.assert_array_equal(optimizer.flat.data, before)


def test_the_state_of_another_optimizer_is_refused():
    with pytest.raises(ValueError, match="another optimizer"):
        optimizer_of("muon").load_state_dict(optimizer_of("adamw").state_dict())


@pytest.mark.parametrize("start, stop", [(0, 20), (3, 9), (3, 4), (12, 20), (0, 12)])
def test_blocks_tile_a_stretch(start, stop):
    matrix, vector = Parameter(np.zeros((3, 4))), Parameter(np.zeros(8))
    optimizer = OPTIMIZERS["adamw"]([matrix, vector])
    optimizer._block_size = 5
    pieces = list(optimizer.blocks(slice(start, stop)))
    assert [i for block, _ in pieces for i in range(block.start, block.stop)] == list(range(start, stop))
    for block, decayed in pieces:
        assert block.stop - block.start <= 5
        assert all((i < 12) == decayed for i in range(block.start, block.stop))

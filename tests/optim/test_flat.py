"""FlatParameters: every parameter is a view of one array, in two ranges."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygpt.autograd import Tensor
from tinygpt.nn.module import Module, Parameter
from tinygpt.optim import AdamW, FlatParameters
from tinygpt.optim.flat import flatten, named_trainable


class Part(Module):
    def __init__(self, *shapes: tuple[int, ...], dtype: str = "float32") -> None:
        rng = np.random.default_rng(0)
        names = ("weight", "bias", "gain", "extra")
        for name, shape in zip(names, shapes):
            setattr(self, name, Parameter(rng.standard_normal(shape).astype(dtype)))


class Model(Module):
    """Tied weights, a position table, a frozen parameter."""

    def __init__(self) -> None:
        self.norm = Part((5,), (5,))
        self.token_embedding = Part((7, 5))
        self.positions = Part((4, 5))
        self.linear = Part((3, 5), (3,))
        self.lm_head = Part()
        self.lm_head.weight = self.token_embedding.weight
        self.frozen = Part((2, 2))
        self.frozen.weight.requires_grad = False


def test_tied_parameters_stand_once_and_frozen_ones_not_at_all():
    flat = FlatParameters(Model())
    assert flat.names == ("token_embedding.weight", "linear.weight", "norm.weight", "norm.bias",
                          "positions.weight", "linear.bias")
    assert flat.size == 35 + 15 + 5 + 5 + 20 + 3
    assert flat.decay_range == slice(0, 50) and flat.no_decay_range == slice(50, 83)


def test_data_and_gradients_are_views_and_keep_their_values():
    model = Model()
    model.linear.weight.grad = np.full((3, 5), 2.0, dtype=np.float32)
    before = {name: p.data.copy() for name, p in named_trainable(model)}
    flat = FlatParameters(model)
    for name, p in named_trainable(model):
        np.testing.assert_array_equal(p.data, before[name])
        assert np.shares_memory(p.data, flat.data) and np.shares_memory(p.grad, flat.grad)
        np.testing.assert_array_equal(p.grad, 2.0 if name == "linear.weight" else 0.0)
    flat.data[:] = np.arange(83)
    flat.grad[:] = -np.arange(83)
    slot = flat.slots["linear.bias"]
    np.testing.assert_array_equal(model.linear.bias.data, np.arange(slot.start, slot.stop))
    np.testing.assert_array_equal(model.linear.bias.grad, -np.arange(slot.start, slot.stop))
    flat.zero_grad()
    assert not model.linear.bias.grad.any()


def test_assigning_copies_and_backward_adds_in_place():
    model = Model()
    flat = FlatParameters(model)
    w = model.linear.weight
    view = w.data
    w.data = np.ones((3, 5))
    assert w.data is view and flat.data[flat.slots["linear.weight"].start] == 1.0
    with pytest.raises(ValueError, match=r"\(3, 5\)"):
        w.data = np.ones((5, 3))
    grad = w.grad
    (w * Tensor(np.full((3, 5), 3.0, dtype=np.float32))).sum().backward()
    (w * Tensor(np.full((3, 5), 4.0, dtype=np.float32))).sum().backward()
    assert w.grad is grad
    np.testing.assert_array_equal(grad, 7.0)
    with pytest.raises(ValueError, match="frozen"):
        w.requires_grad = False
    with pytest.raises(ValueError, match="FlatParameters"):
        model.to(dtype=np.float64)


shapes = st.lists(st.lists(st.integers(0, 4), max_size=3).map(tuple), min_size=1, max_size=6)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(shapes, st.integers(1, 9))
def test_slots_and_blocks_tile_the_array(shapes, block_size):
    named = [(f"p{i}", Parameter(np.zeros(shape))) for i, shape in enumerate(shapes)]
    flat = FlatParameters(named)
    ends = [0] + [slot.stop for slot in flat.slots.values()]
    assert [slot.start for slot in flat.slots.values()] == ends[:-1] and ends[-1] == flat.size
    for name, slot in flat.slots.items():
        decayed = len(slot.shape) >= 2
        region = flat.decay_range if decayed else flat.no_decay_range
        assert region.start <= slot.start and slot.stop <= region.stop
    covered = np.zeros(flat.size)
    for block, decayed in flat.blocks(block_size):
        assert 0 < block.stop - block.start <= block_size
        assert (block.stop <= flat.decay_range.stop) if decayed else (block.start >= flat.decay_range.stop)
        covered[block] += 1
    assert (covered == 1).all()


def test_what_decays_comes_first():
    matrix, vector = Parameter(np.zeros((2, 2))), Parameter(np.zeros(2))
    flat = FlatParameters([("a", matrix), ("b", vector)], decay=lambda name, p: name == "b")
    assert flat.names == ("b", "a") and flat.decay_range == slice(0, 2)


def test_replicas_share_weights_and_own_gradients():
    model = Model()
    flat = FlatParameters(model)
    gradient = flat.new_gradient()
    views = flat.views(gradient)
    twin = model.linear.weight.share(views["linear.weight"])
    (twin * twin).sum().backward()
    np.testing.assert_allclose(views["linear.weight"], 2 * model.linear.weight.data)
    assert not flat.grad.any()
    flat.grad += gradient
    np.testing.assert_array_equal(model.linear.weight.grad, views["linear.weight"])
    with pytest.raises(ValueError, match="contiguous"):
        flat.views(np.zeros(3))


def test_one_home_at_a_time():
    model = Model()
    flat = FlatParameters(model)
    with pytest.raises(ValueError, match="'token_embedding.weight' already lives"):
        FlatParameters([("token_embedding.weight", model.token_embedding.weight)])
    assert flatten(model) is flat and flatten(flat) is flat
    assert AdamW(model).flat is AdamW(model.parameters()).flat is flat
    values = model.linear.weight.data.copy()
    del flat
    gc.collect()
    again = FlatParameters(model)  # nobody uses the first one any more
    assert np.shares_memory(model.linear.weight.data, again.data)
    np.testing.assert_array_equal(model.linear.weight.data, values)


def test_errors():
    with pytest.raises(ValueError, match="no trainable parameters"):
        FlatParameters([])
    with pytest.raises(ValueError, match="no trainable parameters"):
        FlatParameters([Parameter(np.zeros(2), requires_grad=False)])
    with pytest.raises(TypeError, match="'1' is float64"):
        FlatParameters([Parameter(np.zeros(2, dtype=np.float32)), Parameter(np.zeros(2))])
    with pytest.raises(TypeError, match="Tensor as '0'"):
        FlatParameters([Tensor(np.zeros(2), requires_grad=True)])
    with pytest.raises(ValueError, match="'w'"):
        FlatParameters([("w", Parameter(np.zeros(2))), ("w", Parameter(np.zeros(2)))])


def test_a_parameter_away_from_home() -> None:
    p = Parameter(np.arange(3.0, dtype=np.float32))
    flat = FlatParameters([p])
    (p * p).sum().backward()
    with pytest.raises(RuntimeError, match="inside"), p.away():
        assert type(p) is Parameter and p.grad is None and p.requires_grad
        p.data = p.data.astype(np.float64) + 1
        (p * p).sum().backward()
        assert p.dtype == p.grad.dtype == np.float64 and np.array_equal(flat.data, [0, 1, 2])
        raise RuntimeError("inside")
    assert p.at_home and np.shares_memory(p.data, flat.data) and np.shares_memory(p.grad, flat.grad)
    assert np.array_equal(p.data, [0, 1, 2]) and np.array_equal(p.grad, [0, 2, 4])

"""Positions: three moments, of which none says anything by itself; learned rows are added by position."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from parts import randomized

from tinygpt import manual_seed
from tinygpt.autograd import Tensor
from tinygpt.nn import Embedding, LearnedPositions, Positions, SinusoidalPositions


def test_by_themselves_they_say_nothing():
    positions, where = Positions(), np.arange(3)
    x, q, k = (Tensor(np.zeros(shape)) for shape in ((2, 3, 4), (2, 2, 3, 2), (2, 1, 3, 2)))
    turned = positions.turn(q, k, where)
    assert positions.add(x, where) is x and positions.bias(3, 5) is None
    assert turned[0] is q and turned[1] is k
    assert not positions.state_dict()


@given(st.integers(0, 99), st.booleans())
@settings(deadline=None, max_examples=30, derandomize=True)
def test_learned_rows_are_added_by_position(seed, by_row):
    layer = randomized(LearnedPositions(10, 4), seed)
    assert list(layer.state_dict()) == ["weight"]
    rng = np.random.default_rng(seed)
    x, where = rng.standard_normal((2, 3, 4)), rng.integers(10, size=(2, 3) if by_row else 3)
    out = layer.add(Tensor(x), where)
    np.testing.assert_array_equal(out.data, x + layer.weight.data[where])
    out.backward(np.ones((2, 3, 4)))
    rows = np.zeros((10, 4))
    np.add.at(rows, np.broadcast_to(where, (2, 3)), 1)
    np.testing.assert_array_equal(layer.weight.grad, rows)


def test_learned_rows_start_as_an_embeddings():
    states = []
    for make in (lambda: Embedding(5, 4, std=0.3), lambda: LearnedPositions(5, 4, std=0.3)):
        manual_seed(2)
        states.append(make().weight.data)
    np.testing.assert_array_equal(*states)


def test_a_kind_that_adds_turns_nothing():
    q, k = Tensor(np.ones((1, 1, 3, 2))), Tensor(np.ones((1, 1, 3, 2)))
    for positions in (LearnedPositions(3, 4), SinusoidalPositions(3, 4)):
        turned = positions.turn(q, k, np.arange(3))
        assert turned[0] is q and turned[1] is k and positions.bias(3, 3) is None

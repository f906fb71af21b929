"""Convolutions and pooling: equal to sums written out, to PyTorch's, and shifted as their input is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import tinygpt as tg
from tinygpt import nn, ops

drawn = settings(max_examples=30, deadline=None)


def written_out(x, weight, stride, padding, dilation, groups):
    """The definition, one output after the other."""
    x = np.pad(x, ((0, 0), (0, 0), *((p, p) for p in padding)))
    batch, (n_out, n_in), kernel = len(x), weight.shape[:2], weight.shape[2:]
    places = [(n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(x.shape[2:], kernel, stride, dilation)]
    out = np.zeros((batch, n_out, *places))
    for b, o, *place in itertools.product(range(batch), range(n_out), *map(range, places)):
        first = o // (n_out // groups) * n_in
        for c, *at in itertools.product(range(n_in), *map(range, kernel)):
            where = tuple(p * s + a * d for p, s, a, d in zip(place, stride, at, dilation))
            out[(b, o, *place)] += weight[(o, c, *at)] * x[(b, first + c, *where)]
    return out


@drawn
@given(n=st.integers(1, 2), groups=st.integers(1, 2), data=st.data())
def test_a_convolution_is_what_its_definition_says(n, groups, data):
    def each(low, high):
        return tuple(data.draw(st.integers(low, high)) for _ in range(n))
    kernel, stride, padding, dilation = each(1, 3), each(1, 3), each(0, 2), each(1, 2)
    size = tuple(max(1, d * (k - 1) + 1 - 2 * p) + extra for k, p, d, extra in zip(
        kernel, padding, dilation, each(0, 3)))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    x, weight = rng.normal(size=(2, 2 * groups, *size)), rng.normal(size=(3 * groups, 2, *kernel))
    found = ops.convolution(x, weight, stride=stride, padding=padding, dilation=dilation, groups=groups).data
    np.testing.assert_allclose(found, written_out(x, weight, stride, padding, dilation, groups), atol=1e-12)


@drawn
@given(shift=st.integers(0, 3), seed=st.integers(0, 99))
def test_a_shifted_input_gives_a_shifted_output(shift, seed):
    tg.manual_seed(seed)
    layer = nn.Conv2d(2, 3, (2, 3), dilation=(1, 2))
    x = np.random.default_rng(seed).normal(size=(1, 2, 6, 12)).astype(np.float32)
    there, here = layer(tg.Tensor(x[..., shift:])).data, layer(tg.Tensor(x)).data[..., shift:]
    np.testing.assert_allclose(there, here, atol=1e-5)


def test_the_gradient_of_the_largest_goes_to_the_first_of_equals():
    x = tg.Tensor([[[1.0, 3.0, 3.0, 0.0]]], requires_grad=True)
    ops.sum(ops.max_pool(x, kernel_size=4)).backward()
    assert x.grad.tolist() == [[[0.0, 1.0, 0.0, 0.0]]]


def test_padding_of_the_largest_holds_no_number():
    assert nn.MaxPool1d(2, padding=1)(tg.Tensor([[[-5.0, -6.0]]])).data.tolist() == [[[-5.0, -6.0]]]
    assert nn.AvgPool1d(2, padding=1)(tg.Tensor([[[-5.0, -6.0]]])).data.tolist() == [[[-2.5, -3.0]]]


@pytest.mark.parametrize("call, message", [
    (lambda: nn.Conv1d(3, 4, 0), "kernel_size must be an integer of at least 1"),
    (lambda: nn.Conv2d(3, 4, (1, 2, 3)), "or 2 of them"),
    (lambda: nn.Conv1d(3, 4, 2, groups=2), "3 channels in and 4 out cannot be cut into 2 groups"),
    (lambda: nn.Conv1d(3, 4, 2)(tg.Tensor(np.ones((1, 2, 5)))), "needs an input of 3 channels"),
    (lambda: nn.Conv1d(3, 4, 6)(tg.Tensor(np.ones((1, 3, 5)))), r"a kernel \(6,\) .* does not fit into \(5,\)"),
    (lambda: nn.Conv2d(3, 4, 2)(tg.Tensor(np.ones((1, 3, 5)))), r"needs an input \(B, C, …\) of 4 axes"),
    (lambda: ops.max_pool(np.ones((1, 1, 5)), kernel_size=2, padding=2), "more than half of the window"),
])
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_side_is_an_integer():
    with pytest.raises(TypeError, match="kernel_size must be an integer"):
        nn.Conv1d(3, 4, 2.5)


@pytest.mark.oracle
@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 2), groups=st.integers(1, 3), stride=st.integers(1, 3), padding=st.integers(0, 2),
       dilation=st.integers(1, 2), bias=st.booleans())
def test_convolutions_as_pytorch(n, groups, stride, padding, dilation, bias):
    torch = pytest.importorskip("torch")
    options = (2 * groups, 2 * groups, 3, stride, padding, dilation, groups, bias)
    ours = getattr(nn, f"Conv{n}d")(*options).to(dtype="float64")
    theirs = getattr(torch.nn, f"Conv{n}d")(*options).double()
    theirs.load_state_dict({name: torch.tensor(array) for name, array in ours.state_dict().items()})
    compare(torch, ours, theirs, (2, 2 * groups, *(7, 8)[:n]))


@pytest.mark.oracle
@settings(max_examples=25, deadline=None)
@given(kind=st.sampled_from(["MaxPool", "AvgPool"]), n=st.integers(1, 2), kernel=st.integers(1, 3),
       stride=st.integers(1, 3) | st.none(), data=st.data())
def test_pooling_as_pytorch(kind, n, kernel, stride, data):
    torch = pytest.importorskip("torch")
    padding = data.draw(st.integers(0, kernel // 2))
    compare(torch, getattr(nn, f"{kind}{n}d")(kernel, stride, padding),
            getattr(torch.nn, f"{kind}{n}d")(kernel, stride, padding), (2, 3, *(7, 8)[:n]))


def compare(torch, ours, theirs, shape):
    """Output and all gradients, in float64."""
    rng = np.random.default_rng(0)
    x = tg.Tensor(rng.normal(size=shape), requires_grad=True)
    their_x = torch.tensor(x.data, requires_grad=True)
    found, expected = ours(x), theirs(their_x)
    np.testing.assert_allclose(found.data, expected.detach().numpy(), rtol=0, atol=1e-10)
    g = rng.normal(size=found.shape)
    found.backward(g)
    expected.backward(torch.tensor(g))
    np.testing.assert_allclose(x.grad, their_x.grad.numpy(), rtol=0, atol=1e-10)
    for name, parameter in ours.named_parameters():
        their_grad = dict(theirs.named_parameters())[name].grad.numpy()
        np.testing.assert_allclose(parameter.grad, their_grad, rtol=0, atol=1e-10)

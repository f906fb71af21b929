"""RNN, LSTM and GRU: equal to their cells unrolled and to PyTorch's layers, whatever the lengths and the state."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import tinygpt as tg
from tinygpt import nn, ops

KINDS = {"RNN": (nn.RNN, ops.rnn_cell, 1), "LSTM": (nn.LSTM, ops.lstm_cell, 2), "GRU": (nn.GRU, ops.gru_cell, 1)}
SIZES = st.integers(1, 4)
drawn = settings(max_examples=15, deadline=None)


def layer_of(kind: str, *sizes: int, seed: int = 0, **options) -> nn.Module:
    tg.manual_seed(seed)
    return KINDS[kind][0](*sizes, **options).to(dtype="float64")


def parts(state) -> tuple:
    return state if isinstance(state, tuple) else (state,)


def state_for(kind: str, *shape: int, rng: np.random.Generator):
    found = tuple(tg.Tensor(rng.normal(size=shape), requires_grad=True) for _ in range(KINDS[kind][2]))
    return found if len(found) > 1 else found[0]


@pytest.mark.parametrize("kind", KINDS)
@drawn
@given(batch=SIZES, length=st.integers(1, 5), width=SIZES, hidden=SIZES, seed=st.integers(0, 99))
def test_a_layer_is_its_cell_unrolled(kind, batch, length, width, hidden, seed):
    rng = np.random.default_rng(seed)
    layer, x = layer_of(kind, width, hidden, seed=seed), tg.Tensor(rng.normal(size=(batch, length, width)))
    state = state_for(kind, 1, batch, hidden, rng=rng)
    found, last = layer(x, state)
    step = tuple(part[0] for part in parts(state))
    for t in range(length):
        gates = ops.linear(x[:, t], layer.weight_ih_l0, layer.bias_ih_l0)
        step = parts(KINDS[kind][1](gates, *step, layer.weight_hh_l0, layer.bias_hh_l0))
        np.testing.assert_allclose(found.data[:, t], step[0].data, rtol=1e-12, atol=1e-13)
    for part, expected in zip(parts(last), step):
        np.testing.assert_allclose(part.data[0], expected.data, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("kind", KINDS)
@drawn
@given(cut=st.integers(0, 6), seed=st.integers(0, 99))
def test_a_sequence_may_be_read_in_two_calls(kind, cut, seed):
    rng = np.random.default_rng(seed)
    layer, x = layer_of(kind, 3, 4, 2, seed=seed), tg.Tensor(rng.normal(size=(2, 6, 3)))
    whole, last = layer(x)
    first, state = layer(x[:, :cut])
    second, end = layer(x[:, cut:], state)
    np.testing.assert_allclose(np.concatenate([first.data, second.data], axis=1), whole.data, rtol=1e-12)
    for a, b in zip(parts(end), parts(last)):
        np.testing.assert_allclose(a.data, b.data, rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@drawn
@given(lengths=st.lists(st.integers(1, 5), min_size=1, max_size=4), seed=st.integers(0, 99))
def test_what_stands_behind_a_rows_end_leaves_no_trace(kind, lengths, seed):
    """Rows of unequal lengths are as if each had been read alone; gradients, too."""
    rng = np.random.default_rng(seed)
    layer = layer_of(kind, 2, 3, 2, seed=seed)
    x = tg.Tensor(rng.normal(size=(len(lengths), 5, 2)), requires_grad=True)
    found, last = layer(x, lengths=lengths)
    (ops.sum(found) + sum(ops.sum(part * part) for part in parts(last))).backward()
    for row, length in enumerate(lengths):
        alone = tg.Tensor(x.data[row:row + 1, :length], requires_grad=True)
        output, state = layer(alone)
        (ops.sum(output) + sum(ops.sum(part * part) for part in parts(state))).backward()
        np.testing.assert_allclose(found.data[row, :length], output.data[0], rtol=1e-12)
        assert not found.data[row, length:].any()
        for a, b in zip(parts(last), parts(state)):
            np.testing.assert_allclose(a.data[:, row], b.data[:, 0], rtol=1e-12)
        np.testing.assert_allclose(x.grad[row, :length], alone.grad[0], rtol=1e-10, atol=1e-13)
        assert not x.grad[row, length:].any()


def test_dropout_stands_between_the_layers_alone():
    layer = layer_of("LSTM", 2, 50, 2, dropout=0.5)
    x = tg.Tensor(np.ones((1, 1, 2)))
    runs = [layer(x)[1][0].data for _ in range(2)]
    assert np.array_equal(runs[0][0], runs[1][0]) and not np.array_equal(runs[0][1], runs[1][1])
    layer.eval()
    assert np.array_equal(layer(x)[0].data, layer(x)[0].data)


@pytest.mark.parametrize("call, message", [
    (lambda: nn.LSTM(0, 3), "input_size must be at least 1, got 0"),
    (lambda: nn.GRU(2, 3)(tg.Tensor(np.ones((1, 4, 5)))), r"expected \(B, T, 2\), got \(1, 4, 5\)"),
    (lambda: nn.LSTM(2, 3)(tg.Tensor(np.ones((1, 4, 2))), np.ones((1, 1, 3))), "the state must be h and c"),
    (lambda: nn.RNN(2, 3)(tg.Tensor(np.ones((1, 4, 2))), lengths=[5]), "lengths must be 1 integers from 1 to 4"),
    (lambda: nn.RNN(2, 3)(tg.Tensor(np.ones((2, 4, 2))), lengths=[1.5, 2]), "lengths must be 2 integers"),
    (lambda: ops.lstm(np.ones((1, 2, 8)), np.ones((1, 2)), np.ones((1, 3)), np.ones((8, 2))), "both are"),
    (lambda: ops.gru(np.ones((1, 2, 8)), np.ones((1, 2)), np.ones((6, 2))), r"gru: a state of shape \(1, 2\) needs"),
])
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.oracle
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layers, bias, lengths", [(1, True, None), (2, True, None), (2, False, None),
                                                   (2, True, [2, 7, 4])])
def test_as_pytorch(kind, layers, bias, lengths):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    ours = layer_of(kind, 3, 5, layers, bias=bias)
    theirs = getattr(torch.nn, kind)(3, 5, layers, bias=bias, batch_first=True).double()
    assert {name: p.shape for name, p in ours.named_parameters()} == {
        name: tuple(p.shape) for name, p in theirs.named_parameters()}
    with torch.no_grad():
        for name, p in theirs.named_parameters():
            p.copy_(torch.tensor(ours.state_dict()[name]))
    x, state = tg.Tensor(rng.normal(size=(3, 7, 3)), requires_grad=True), state_for(kind, layers, 3, 5, rng=rng)
    their_x = torch.tensor(x.data, requires_grad=True)
    their_state = tuple(torch.tensor(part.data, requires_grad=True) for part in parts(state))
    read = their_x if lengths is None else torch.nn.utils.rnn.pack_padded_sequence(
        their_x, lengths, batch_first=True, enforce_sorted=False)
    their_out, their_last = theirs(read, their_state if len(their_state) > 1 else their_state[0])
    if lengths is not None:
        their_out = torch.nn.utils.rnn.pad_packed_sequence(their_out, batch_first=True)[0]
    found, last = ours(x, state, lengths)
    outs, their_outs = (found, *parts(last)), (their_out, *parts(their_last))
    gs = [rng.normal(size=out.shape) for out in outs]
    sum(ops.sum(out * g) for out, g in zip(outs, gs)).backward()
    sum((out * torch.tensor(g)).sum() for out, g in zip(their_outs, gs)).backward()
    for a, b in [*zip(outs, their_outs)]:
        np.testing.assert_allclose(a.data, b.detach().numpy(), rtol=0, atol=1e-10)
    inputs = [(x, their_x), *zip(parts(state), their_state),
              *((dict(ours.named_parameters())[name], p) for name, p in theirs.named_parameters())]
    for a, b in inputs:
        np.testing.assert_allclose(a.grad, b.grad.numpy(), rtol=0, atol=1e-10)

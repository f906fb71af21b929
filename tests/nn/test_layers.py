"""Linear, Embedding, LayerNorm, RMSNorm: the formulas in plain NumPy, and PyTorch's layers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parts import randomized

from tinygpt.autograd import Tensor
from tinygpt.backend import manual_seed
from tinygpt.nn import Embedding, FeedForward, LayerNorm, Linear, RMSNorm

few = settings(deadline=None, max_examples=30, derandomize=True)
sizes = st.integers(1, 6)
leading = st.lists(st.integers(1, 3), max_size=2).map(tuple)


def inputs(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed + 1).standard_normal(shape)


@given(leading, sizes, sizes, st.booleans(), st.integers(0, 99))
@few
def test_linear_is_x_w_transposed_plus_b(lead, n_in, n_out, bias, seed):
    layer, x = randomized(Linear(n_in, n_out, bias=bias), seed), inputs((*lead, n_in), seed)
    expected = np.einsum("...i,oi->...o", x, layer.weight.data) + (layer.bias.data if bias else 0)
    np.testing.assert_allclose(layer(Tensor(x)).data, expected, atol=1e-12)
    assert (layer.bias is None) == (not bias)


@given(sizes, sizes, leading, st.integers(0, 99))
@few
def test_embedding_is_the_rows(n, c, shape, seed):
    layer = randomized(Embedding(n, c), seed)
    ids = np.random.default_rng(seed).integers(n, size=shape)
    np.testing.assert_array_equal(layer(ids).data, layer.weight.data[ids])


def test_embedding_refuses_rows_that_it_lacks():
    for ids in ([3], [-1]):
        with pytest.raises(IndexError):
            Embedding(3, 2)(np.array(ids))


@given(leading, st.integers(2, 9), st.booleans(), st.sampled_from([1e-5, 1e-12, 0.1]), st.integers(0, 99))
@few
def test_norms_are_their_formulas(lead, c, bias, epsilon, seed):
    x = inputs((*lead, c), seed)
    layer = randomized(LayerNorm(c, bias=bias, epsilon=epsilon), seed)
    variance = x.var(axis=-1, keepdims=True)
    expected = (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(variance + epsilon) * layer.weight.data
    expected = expected + (layer.bias.data if bias else 0)
    np.testing.assert_allclose(layer(Tensor(x)).data, expected, rtol=1e-9, atol=1e-9)
    rms = randomized(RMSNorm(c, epsilon=epsilon), seed)
    expected = x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + epsilon) * rms.weight.data
    np.testing.assert_allclose(rms(Tensor(x)).data, expected, rtol=1e-9, atol=1e-9)


def test_initial_weights():
    manual_seed(3)
    layer, first = Linear(200, 300, std=0.02), FeedForward(100, 400, std=0.5, out_std=0.125)
    assert abs(layer.weight.data.std() / 0.02 - 1) < 0.02 and abs(layer.weight.data.mean()) < 1e-3
    assert not layer.bias.data.any() and layer.weight.dtype == np.float32
    assert abs(first.up.weight.data.std() - 0.5) < 0.02 and abs(first.down.weight.data.std() - 0.125) < 0.005
    manual_seed(3)
    np.testing.assert_array_equal(Linear(200, 300, std=0.02).weight.data, layer.weight.data)
    norm = LayerNorm(5)
    assert (norm.weight.data == 1).all() and not norm.bias.data.any()


@pytest.mark.oracle
@pytest.mark.parametrize("kind", ["linear", "embedding", "layer_norm", "rms_norm"])
@pytest.mark.parametrize("bias", [True, False])
def test_layers_and_their_gradients_are_pytorchs(kind, bias):
    torch = pytest.importorskip("torch")
    ours, theirs = {
        "linear": lambda: (Linear(5, 7, bias=bias), torch.nn.Linear(5, 7, bias=bias)),
        "embedding": lambda: (Embedding(9, 5), torch.nn.Embedding(9, 5)),
        "layer_norm": lambda: (LayerNorm(5, bias=bias), torch.nn.LayerNorm(5, bias=bias)),
        "rms_norm": lambda: (RMSNorm(5, epsilon=1e-6), torch.nn.RMSNorm(5, eps=1e-6)),
    }[kind]()
    randomized(ours, 4)
    theirs = theirs.double()
    theirs.load_state_dict({name: torch.tensor(value) for name, value in ours.state_dict().items()})
    if kind == "embedding":
        x = np.random.default_rng(0).integers(9, size=(3, 4))
        a, b = ours(x), theirs(torch.tensor(x))
    else:
        mine, yours = Tensor(inputs((3, 4, 5), 0), requires_grad=True), torch.tensor(inputs((3, 4, 5), 0))
        yours.requires_grad_()
        a, b = ours(mine), theirs(yours)
    g = inputs(tuple(b.shape), 5)
    np.testing.assert_allclose(a.data, b.detach().numpy(), rtol=1e-10, atol=1e-12)
    a.backward(g)
    b.backward(torch.tensor(g))
    for name, p in ours.named_parameters():
        np.testing.assert_allclose(p.grad, theirs.get_parameter(name).grad.numpy(), rtol=1e-9, atol=1e-12)
    if kind != "embedding":
        np.testing.assert_allclose(mine.grad, yours.grad.numpy(), rtol=1e-8, atol=1e-10)

"""MixtureOfExperts: the formula token by token, gradients, experts without tokens, and the balance loss."""

from __future__ import annotations

import copy
import pickle
import threading

import fake_device  # noqa: F401  (registers the pretend GPU)
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygpt as tg
from tinygpt import Tensor, no_grad
from tinygpt.backend import to_numpy
from tinygpt.nn import GatedFeedForward, MixtureOfExperts, Module, balance_loss, evaluating
from tinygpt.testing import gradcheck, taylor_test

RNG = np.random.default_rng(0)


def mixture(n_experts: int = 4, k: int = 2, *, seed: int = 0, dtype=np.float64, **options) -> MixtureOfExperts:
    """A small layer, 6 channels wide, with random weights."""
    layer = MixtureOfExperts(6, 5, n_experts, k, **options)
    rng = np.random.default_rng(seed)
    for p in layer.parameters():
        p.data = rng.standard_normal(p.shape).astype(dtype)
    return layer


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def by_formula(layer: MixtureOfExperts, x: np.ndarray) -> np.ndarray:
    """One token after the other, in plain NumPy."""
    out = np.zeros_like(x)
    for place in np.ndindex(x.shape[:-1]):
        p = softmax(layer.router.weight.data @ x[place])
        chosen = np.argsort(-p)[:layer.n_experts_per_token]
        for e in chosen:
            expert = layer.experts[e]
            gate, up = expert.gate.weight.data @ x[place], expert.up.weight.data @ x[place]
            out[place] += p[e] / p[chosen].sum() * (expert.down.weight.data @ (gate / (1 + np.exp(-gate)) * up))
    return out


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=2), st.integers(1, 5), st.data(), st.integers(0, 99))
def test_each_token_goes_through_its_experts(lead, n_experts, data, seed):
    layer = mixture(n_experts, data.draw(st.integers(1, n_experts)), seed=seed)
    x = np.random.default_rng(seed).standard_normal((*lead, 6))
    out = layer(Tensor(x))
    np.testing.assert_allclose(out.data, by_formula(layer, x), atol=1e-12)  # float64: sums in another order
    with no_grad():
        np.testing.assert_allclose(layer(Tensor(x)).data, out.data, atol=1e-12)


def test_one_expert_alone_is_a_gated_layer():
    layer, x = mixture(1, 1), Tensor(RNG.standard_normal((2, 3, 6)))
    assert type(layer.experts[0]) is GatedFeedForward
    np.testing.assert_allclose(layer(x).data, layer.experts[0](x).data, atol=1e-12)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_gradients(k):
    """No two experts tie at random numbers, so the layer is smooth around them."""
    layer, x = mixture(k=k), RNG.standard_normal((2, 3, 6))
    assert gradcheck(layer, x)
    v = RNG.standard_normal(x.shape)
    assert taylor_test(lambda: (layer(Tensor(x)) * v).sum(), layer)


def test_an_expert_without_tokens_has_a_gradient_of_zeros():
    layer, x = mixture(k=1), np.abs(RNG.standard_normal((2, 3, 6)))
    layer.router.weight.data[:] = [[-1], [1], [0], [-2]]
    out = layer(Tensor(x))
    out.sum().backward()
    np.testing.assert_allclose(out.data, layer.experts[1](Tensor(x)).data, atol=1e-12)
    for e, expert in enumerate(layer.experts):
        for p in expert.parameters():
            assert p.grad is not None and p.grad.any() == (e == 1)


def test_how_many_experts_a_token_may_have():
    for k in (0, 5):
        with pytest.raises(ValueError, match=f"n_experts_per_token must be from 1 to n_experts=4, got {k}"):
            MixtureOfExperts(6, 5, 4, k)


def test_the_number_of_parameters_and_their_names():
    layer = MixtureOfExperts(6, 5, 3, 2, bias=True)
    parts = [f"experts.{e}.{part}.{kind}" for e in range(3) for part in ("gate", "up", "down")
             for kind in ("weight", "bias")]
    assert list(layer.state_dict()) == ["router.weight", *parts]
    assert layer.n_parameters == 3 * 6 + 3 * (3 * 5 * 6 + 5 + 5 + 6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_on_a_device_it_is_the_same_and_waits_once(dtype):
    x, results = RNG.standard_normal((2, 5, 6)).astype(dtype), []
    for device in ("cpu", "fake"):
        layer = mixture(dtype=dtype).to(device)
        there = Tensor(x, requires_grad=True, device=device)
        with fake_device.count_syncs() as count:
            out = layer(there)
            (out.sum() + balance_loss(layer)).backward()
        assert count.syncs == (device == "fake"), count.reasons
        results.append([to_numpy(a) for a in (out.data, there.grad, *(p.grad for p in layer.parameters()))])
    for here, there in zip(*results, strict=True):
        assert here.dtype == there.dtype == dtype
        np.testing.assert_allclose(there, here, atol=1e-5 if dtype == np.float32 else 1e-12)  # the host's fast twins


# -- the balance loss -------------------------------------------------------------------------------------------------


class Stack(Module):
    """Several mixtures, one after the other."""

    def __init__(self, n: int, k: int = 2) -> None:
        self.layers = [mixture(k=k, seed=seed) for seed in range(n)]
        for p in self.parameters():
            p.data *= 0.4  # so that the stream does not grow from layer to layer

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = x + layer(x)
        return x


def test_experts_that_are_used_alike_cost_k_and_the_same_k_for_all_up_to_e():
    layer = mixture(k=2)
    x = np.zeros((1, 4, 6))
    x[0, np.arange(4), np.arange(4)] = 1          # token i
    layer.router.weight.data[:] = 0
    layer.router.weight.data[:, :4] = np.eye(4) + 0.5 * np.roll(np.eye(4), 1, axis=0)  # chooses experts i and i + 1
    layer(Tensor(x))
    assert layer.routing is not None
    np.testing.assert_allclose(layer.routing.share, 0.5)
    assert float(balance_loss(layer)) == pytest.approx(2)
    layer.router.weight.data[:] = [[50], [50], [0], [0]]
    layer(Tensor(x))
    assert float(balance_loss(layer)) == pytest.approx(4)


def test_a_thread_that_evaluates_takes_nothing_away_from_one_that_trains():
    layer, x = mixture(), Tensor(RNG.standard_normal((2, 3, 6)))
    layer(x)
    mine, expected = layer.routing, float(balance_loss(layer))
    theirs = []

    def evaluate() -> None:
        theirs.append(layer.routing)
        with evaluating(layer), no_grad():
            layer(x)
        theirs.append(layer.routing)
    other = threading.Thread(target=evaluate)
    other.start()
    other.join()
    assert theirs == [None, None] and layer.routing is mine and float(balance_loss(layer)) == expected


def test_its_gradient_is_that_of_the_probabilities():
    layer, x = mixture(), RNG.standard_normal((2, 3, 6))
    layer(Tensor(x))
    assert layer.routing is not None
    share = layer.routing.share.copy()

    def balance(x):
        layer(x)
        return balance_loss(layer)
    assert gradcheck(balance, x)
    p = softmax(x.reshape(-1, 6) @ layer.router.weight.data.T)
    chosen = np.argsort(-p, axis=-1)[:, :2]
    np.testing.assert_allclose(share, np.bincount(chosen.ravel(), minlength=4) / 6)
    assert float(balance(Tensor(x))) == pytest.approx(4 * (share * p.mean(axis=0)).sum())


@pytest.mark.oracle
@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("n_layers", [1, 3])
def test_it_is_what_transformers_computes_of_all_layers(n_layers, k):
    torch = pytest.importorskip("torch")
    theirs = pytest.importorskip("transformers.models.mixtral.modeling_mixtral").load_balancing_loss_func
    model, x = Stack(n_layers, k), RNG.standard_normal((2, 7, 6))
    logits, inputs = [], Tensor(x)
    for layer in model.layers:
        rows = torch.tensor(inputs.data.reshape(-1, 6))
        weight = torch.tensor(layer.router.weight.data, requires_grad=True)
        logits.append((weight, torch.nn.functional.linear(rows, weight)))
        inputs = inputs + layer(inputs)
    expected = theirs(tuple(logit for _, logit in logits), 4, k)
    expected.backward()
    loss = balance_loss(model)
    loss.backward()
    assert float(loss) == pytest.approx(expected.item(), rel=1e-6)  # theirs sums in float32
    for (weight, _), layer in zip(logits[-1:], model.layers[-1:]):  # those before it act by way of later layers, too
        np.testing.assert_allclose(layer.router.weight.grad, weight.grad.numpy(), atol=1e-6)


def test_it_is_less_than_the_mean_over_layers_by_a_covariance():
    """So layers may favour different experts."""
    model = Stack(3)
    model(Tensor(np.random.default_rng(3).standard_normal((2, 7, 6))))
    f = np.stack([layer.routing.share for layer in model.layers])
    p = np.stack([layer.routing.probability.data for layer in model.layers])
    each = [float(balance_loss(layer)) for layer in model.layers]
    covariance = ((f - f.mean(axis=0)) * (p - p.mean(axis=0))).mean(axis=0)
    assert abs(covariance.sum()) > 1e-3
    assert np.mean(each) - float(balance_loss(model)) == pytest.approx(4 * covariance.sum())


def test_there_is_none_in_evaluation_without_experts_or_in_a_copy():
    layer, x = mixture(), Tensor(RNG.standard_normal((2, 6)))
    assert balance_loss(layer) is None and balance_loss(GatedFeedForward(6, 5)) is None
    layer(x)
    assert balance_loss(layer) is not None
    for again in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert balance_loss(again) is None
        np.testing.assert_array_equal(again(x).data, layer(x).data)
    layer.eval()(x)
    assert balance_loss(layer) is None


def test_dropped_into_a_model_of_ones_own_it_trains():
    """One step down the gradient of task and balance together lowers both."""
    tg.manual_seed(0)
    layer = MixtureOfExperts(6, 8, 4, 2, std=0.5)
    x, y = (Tensor(RNG.standard_normal((40, 6)).astype(np.float32)) for _ in range(2))

    def loss() -> tuple[Tensor, Tensor]:
        difference = layer(x) - y
        return (difference * difference).mean(), balance_loss(layer)
    task, balance = loss()
    (task + balance).backward()
    for p in layer.parameters():
        p.data = p.data - 0.05 * p.grad
    after, balance_after = loss()
    assert float(after) < float(task) and float(balance_after) < float(balance)

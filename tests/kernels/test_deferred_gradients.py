"""Gradients that go straight into their place: the same numbers as computed apart and added."""

from __future__ import annotations

import numpy as np
import pytest
from model_losses import loss_of

import tinygpt as tg
from tinygpt import kernels
from tinygpt.models import GPT, GPTConfig
from tinygpt.optim import FlatParameters


def _model(dtype=np.float32) -> GPT:
    tg.manual_seed(1)
    return GPT(GPTConfig(vocab_size=19, block_size=70, n_layer=2, n_head=2, n_embd=16)).to(dtype=dtype)


def _ids(n_rows: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 19, (n_rows, 71))


def _gradients(model: GPT, ids: np.ndarray) -> dict[str, np.ndarray]:
    loss_of(model, ids[:, :-1], ids[:, 1:]).backward()
    return {name: p.grad.copy() for name, p in model.named_parameters()}


def test_a_flat_gradient_is_that_of_parameters_without_a_home():
    ids = _ids()
    apart = _gradients(_model(), ids)
    model = _model()
    flat = FlatParameters(model)
    for name, g in _gradients(model, ids).items():
        np.testing.assert_allclose(g, apart[name], atol=1e-7)
    before = flat.grad.copy()
    _gradients(model, ids)  # a second backward adds
    np.testing.assert_allclose(flat.grad, 2 * before, atol=1e-6)


def test_a_vacated_gradient_is_overwritten_and_what_nothing_wrote_is_zero():
    ids, model = _ids(), _model()
    flat = FlatParameters(model)
    _gradients(model, ids)
    expected = flat.grad.copy()
    flat.grad[...] = np.nan
    for p in model.parameters():
        p.vacate()
    loss_of(model, ids[:, :40], ids[:, 1:41]).backward()
    loss_of(model, ids[:, :-1], ids[:, 1:]).backward()
    for p in model.parameters():
        p.vacate()
    got = _gradients(model, ids)
    np.testing.assert_array_equal(flat.grad, expected)
    assert np.isfinite(got["positions.weight"]).all()
    for p in model.parameters():
        p.vacate()
        assert not p.grad.any()  # reading settles it
    assert not flat.grad.any()


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_float32_gradients_of_a_whole_model_are_those_of_float64(architecture):
    found = {}
    for dtype, context in ((np.float32, kernels.disabled), (np.float64, kernels.disabled), (np.float32, None)):
        tg.manual_seed(1)
        model = GPT(GPTConfig(vocab_size=40, block_size=80, n_layer=3, n_head=4, n_embd=32, architecture=architecture,
                              n_kv_head=2 if architecture == "llama" else None)).to(dtype=dtype)
        ids = np.random.default_rng(0).integers(0, 40, (4, 81))
        if context is None:
            found["twins"] = _gradients(model, ids)
        else:
            with context():
                found[str(np.dtype(dtype))] = _gradients(model, ids)
    exact = found["float64"]
    length = np.sqrt(sum((g ** 2).sum() for g in exact.values()))
    off = np.sqrt(sum(((found["twins"][name] - g) ** 2).sum() for name, g in exact.items()))
    assert off < 1e-5 * length
    for name, g in exact.items():
        assert np.abs(found["twins"][name] - g).max() < 1e-5 * np.abs(g).max(), name

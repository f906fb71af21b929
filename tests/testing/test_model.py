"""`check_model`: models that keep their promises pass; what is broken is named (the seeded bugs are more of these)."""

from __future__ import annotations

import numpy as np
import pytest

import tinygpt
from tinygpt import Tensor, nn, ops
from tinygpt.models import GPT, GPTConfig
from tinygpt.optim import AdamW, Muon
from tinygpt.testing import GradcheckError, check_model
from tinygpt.testing.contracts.models import loss_of_logits

RNG = np.random.default_rng(0)
IDS = RNG.integers(0, 7, (3, 8))


def gpt(architecture: str = "gpt2", **settings) -> GPT:
    tinygpt.manual_seed(0)
    return GPT(GPTConfig(**dict(vocab_size=7, block_size=12, n_layer=2, n_head=2, n_embd=8, initializer_range=0.4,
                                architecture=architecture) | settings))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_right_models_pass_and_are_left_as_they_were(architecture: str, tied: bool) -> None:
    model = gpt(architecture, tie_word_embeddings=tied)
    model.train()
    before = {name: p.data.copy() for name, p in model.named_parameters()}
    report = check_model(model, IDS)
    for promise in ("causal", "causal gradient", "float32 against float64", "gradient of the loss"):
        assert report.oracles[promise], promise
    assert any("cache" in name for name in report.oracles) and any("padding" in name for name in report.oracles)
    assert any("accumulation" in name for name in report.oracles)
    assert model.training
    for name, p in model.named_parameters():
        assert p.dtype == np.float32 and np.array_equal(p.data, before[name]), name


class Bag(nn.Module):
    """A model without cache and mask: each position predicts from a mean over some positions."""

    def __init__(self, sees_later: bool) -> None:
        super().__init__()
        tinygpt.manual_seed(0)
        self.sees_later = sees_later
        self.embedding, self.output = nn.Embedding(7, 5), nn.Linear(5, 7)

    def forward(self, ids: np.ndarray) -> Tensor:
        n = ids.shape[1]
        weights = np.ones((n, n)) if self.sees_later else np.tril(np.ones((n, n)))
        x = self.embedding(ids)
        mean = Tensor((weights / weights.sum(axis=1, keepdims=True)).astype(x.dtype))
        return self.output((mean @ x).tanh())

    def loss(self, ids: np.ndarray, targets: np.ndarray, reduction: str = "mean") -> Tensor:
        logits = self.forward(ids)
        return ops.cross_entropy(logits.reshape(-1, 7), targets.reshape(-1), reduction=reduction)


def test_a_model_of_a_user() -> None:
    report = check_model(Bag(sees_later=False), IDS, causal=True)
    assert report and any("not looked at" in note for note in report.notes)
    assert check_model(Bag(sees_later=True), IDS)  # nobody said that it must not see what is to come
    report = check_model(Bag(sees_later=True), IDS, causal=True, raise_exception=False)
    assert report.status == "failed" and any("causal" in finding.message for finding in report.findings)
    with pytest.raises(GradcheckError, match="causal"):
        check_model(Bag(sees_later=True), IDS, causal=True)


def test_bad_batches_are_said() -> None:
    with pytest.raises(ValueError, match="the batch has no targets; it has ids"):
        check_model(gpt(), {"ids": IDS})


@pytest.mark.parametrize("batch, message", [
    (IDS[0], r"ids must be integers of shape \(texts, tokens\), .* got int64 of shape \(8,\); write ids\[None, :\]"),
    ({"ids": IDS[0], "targets": IDS[0]}, r"ids must be .* got int64 of shape \(8,\)"),
    (3, r"ids must be .* got int64 of shape \(\)"),
    (IDS[None], r"ids must be .* got int64 of shape \(1, 3, 8\)"),
    (IDS * 1.0, "ids must be integers .* got float64"),
    (IDS[:0], r"ids must be .* at least one of each, got int64 of shape \(0, 8\)"),
    ({"ids": IDS, "decoder_ids": IDS[0], "targets": IDS}, r"decoder_ids must be .* of shape \(8,\)"),
    (IDS[:, :1], "none of the targets counts"),
])
def test_ids_of_another_form_are_said(batch, message: str) -> None:
    with pytest.raises(ValueError, match=f"check_model: {message}"):
        check_model(gpt(), batch)


def test_gradients_of_what_else_the_loss_uses_stay() -> None:
    scale = Tensor(np.array(1.0), requires_grad=True)
    (scale * 3).backward()

    def loss(model, batch):
        total, count = loss_of_logits(model, batch)
        return total * scale, count
    assert check_model(gpt(), IDS, loss=loss)
    assert float(scale.grad) == 3


def test_a_model_with_frozen_weights_and_muon() -> None:
    model = gpt()
    model.token_embedding.weight.requires_grad = False
    held = Muon(model)
    assert check_model(model, IDS)
    assert model.token_embedding.weight.dtype == np.float32
    del held


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_a_model_that_an_optimizer_holds(architecture: str) -> None:
    model = gpt(architecture, tie_word_embeddings=True)
    held = AdamW(model)
    model(IDS).sum().backward()
    before = [(p, p.data.copy(), p.grad.copy()) for p in model.parameters()]
    assert check_model(model, IDS)
    for p, (same, value, grad) in zip(model.parameters(), before):
        assert p is same and np.array_equal(p.data, value) and np.array_equal(p.grad, grad)
    del held


def test_a_wrong_model_that_an_optimizer_holds() -> None:
    model = Bag(sees_later=True)
    held = AdamW(model)
    report = check_model(model, IDS, causal=True, raise_exception=False)
    assert report.status == "failed" and any("causal" in finding.message for finding in report.findings)
    model = Bag(sees_later=False)
    model.output.forward = lambda x: ops.linear(x, model.output.weight.detach(), model.output.bias)
    held = AdamW(model)
    report = check_model(model, IDS, causal=True, raise_exception=False)
    assert report.status == "failed" and "output.weight" in str(report)
    del held

"""A larger vocabulary: the old tokens mean what they did, the new ones are near their mean, and it trains."""

from __future__ import annotations

import numpy as np
import pytest
from model_losses import loss_of

import tinygpt
from tinygpt.models import GPT, GPTConfig, load_model, resize_vocabulary

IDS = np.array([[1, 5, 3, 2, 0, 4]])


@pytest.fixture(params=["gpt2 tied", "gpt2 untied", "llama tied", "llama untied"])
def model(request) -> GPT:
    architecture, tied = request.param.split()
    tinygpt.manual_seed(0)
    return GPT(GPTConfig(vocab_size=6, block_size=8, n_layer=1, n_head=2, n_embd=8, architecture=architecture,
                         tie_word_embeddings=tied == "tied", initializer_range=0.2))


def test_old_tokens_keep_their_logits(model):
    before = model.eval()(IDS).data
    larger = resize_vocabulary(model, 9, eos_token_id=8)
    assert larger.config.vocab_size == 9 and larger.config.eos_token_id == 8 and model.config.vocab_size == 6
    after = larger(IDS).data
    assert after.shape == (1, 6, 9)
    np.testing.assert_allclose(after[..., :6], before, rtol=0, atol=2e-6)  # BLAS sums wider products in another order
    assert larger.training == model.training


def test_new_tokens_are_average_and_differ(model):
    larger = resize_vocabulary(model, 40)
    rows = larger.token_embedding.weight.data
    old, new = rows[:6], rows[6:]
    assert np.abs(new - old.mean(axis=0)).max() < old.std()  # noise of a tenth of the deviation
    assert len(np.unique(new, axis=0)) == 34
    logits = larger.eval()(IDS).data[0]
    assert (logits[:, 6:].max(axis=1) < logits[:, :6].max(axis=1)).all()


def test_the_new_model_is_its_own_and_trains(model, tmp_path):
    larger = resize_vocabulary(model, 7)
    before = model.token_embedding.weight.data.copy()
    loss = loss_of(larger, np.array([[6, 1, 6]]), np.array([[1, 6, 6]]))
    loss.backward()
    grad = larger.token_embedding.weight.grad
    assert np.abs(grad[6]).sum() > 0
    for parameter in larger.parameters():
        parameter.data = parameter.data - 0.1 * parameter.grad
    assert float(loss_of(larger, np.array([[6, 1, 6]]), np.array([[1, 6, 6]]))) < float(loss)
    assert np.array_equal(model.token_embedding.weight.data, before)
    larger.save_pretrained(tmp_path)
    assert np.array_equal(load_model(tmp_path)(IDS).data, larger.eval()(IDS).data)


def test_nothing_is_lost(model):
    with pytest.raises(ValueError, match="has 6 tokens; 5 would lose some"):
        resize_vocabulary(model, 5)
    same = resize_vocabulary(model, 6)
    assert np.array_equal(same(IDS).data, model(IDS).data)

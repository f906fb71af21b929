"""text_loss predicts each token once; bits per byte do not depend on the tokenizer."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygpt.autograd import Tensor
from tinygpt.backend import manual_seed
from tinygpt.evaluation import TextLoss, byte_lengths, text_loss
from tinygpt.models import GPT, GPTConfig
from tinygpt.nn import Module
from tinygpt.tokenizers import ByteBPE, CharTokenizer
from tinygpt.training import language_loss


class Counts(Module):
    """A model that notes what it is shown."""

    def __init__(self) -> None:
        self.shown: list[np.ndarray] = []
        self.modes: set[bool] = set()


def counts(model: Counts, batch: dict[str, np.ndarray]) -> Tensor:
    """A loss that is the sum of its targets."""
    ids, targets = batch["ids"], batch["targets"]
    assert ids.shape == targets.shape
    model.shown.append(ids)
    model.modes.add(model.training)
    return Tensor(np.float64(targets[targets >= 0].sum()))


@given(st.integers(2, 60), st.integers(1, 9), st.integers(1, 4))
@settings(deadline=None, max_examples=50, derandomize=True)
def test_every_token_but_the_first_counts_once(n, block_size, batch_size):
    tokens = np.random.default_rng(n).integers(50, size=n).astype(np.uint16)
    model, lengths = Counts(), np.arange(50)
    found = text_loss(model, tokens, block_size, loss=counts, batch_size=batch_size, lengths=lengths)
    assert found.nats == tokens[1:].sum() and found.n_tokens == n - 1
    assert found.n_bytes == tokens[1:].sum()  # token i stands for i bytes here
    assert all(len(ids) <= batch_size and ids.shape[1] == block_size for ids in model.shown)
    assert model.modes == {False} and model.training


def test_it_is_the_loss_of_each_window_by_hand():
    manual_seed(0)
    model = GPT(GPTConfig(vocab_size=9, block_size=4, n_layer=1, n_head=1, n_embd=8, dropout=0.5)).eval()
    tokens = np.random.default_rng(0).integers(9, size=11)
    total = 0.0
    for start in range(0, 10, 4):
        window = tokens[start:start + 5]
        logits = model(window[None, :-1]).data[0].astype(np.float64)
        total -= sum(row[t] - math.log(np.exp(row).sum()) for row, t in zip(logits, window[1:]))
    found = text_loss(model, tokens, 4, loss=language_loss)
    assert found.nats == pytest.approx(total, rel=1e-6) and found.loss == pytest.approx(total / 10, rel=1e-6)
    assert not model.training  # as it was
    one_by_one = text_loss(model, tokens, 4, loss=language_loss, batch_size=1)
    np.testing.assert_allclose(one_by_one.nats, found.nats, rtol=1e-6)
    assert all(p.grad is None for p in model.parameters())


def test_the_figures():
    found = TextLoss(nats=math.log(2) * 24, n_tokens=8, n_bytes=12)
    assert found.loss == pytest.approx(math.log(8)) and found.perplexity == pytest.approx(8)
    assert found.bits_per_byte == pytest.approx(2)
    assert TextLoss(1.0, 1, 0).bits_per_byte == math.inf and TextLoss(1e6, 1, 1).perplexity == math.inf


def test_breaking_off_keeps_what_was_counted_and_the_mode():
    model = Counts()
    found = text_loss(model, np.arange(100), 2, loss=counts, batch_size=3, lengths=np.ones(100),
                      keep_going=lambda: False)
    assert found.n_tokens == 6 and found.n_bytes == 6 and model.training


def test_an_error_leaves_the_mode_as_it_was():
    def broken(model, batch):
        raise RuntimeError("broken")

    model = Counts()
    with pytest.raises(RuntimeError, match="broken"):
        text_loss(model, np.arange(5), 2, loss=broken)
    assert model.training


def test_a_text_of_one_token_has_nothing_to_predict():
    with pytest.raises(ValueError, match="validation text has 1 tokens"):
        text_loss(Counts(), np.arange(1), 2, loss=counts)


@pytest.mark.parametrize("tokenizer", ["char", "bpe"])
def test_byte_lengths_add_up_to_the_text(tokenizer):
    text = "naïve café, 日本語! " * 5
    end = "<|endoftext|>"
    tok = CharTokenizer.train(text, [end]) if tokenizer == "char" else ByteBPE.train(
        text, vocab_size=270, special_tokens=[end])
    lengths = byte_lengths(tok)
    assert lengths.shape == (len(tok),) and lengths[tok.special_tokens[end]] == 0
    assert lengths[tok.encode(text)].sum() == len(text.encode())

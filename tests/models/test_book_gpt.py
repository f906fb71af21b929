"""The public GPT in GPT-2's layout is the book's: weights, logits, gradients, and what dropout drops."""

from __future__ import annotations

import numpy as np
import pytest

from tinygpt import manual_seed, ops
from tinygpt.models import GPT, GPTConfig, gpt
from tinygpt.nn import seed_dropout

SIZES = dict(vocab_size=17, block_size=12, n_layer=2, n_head=4, n_embd=16, initializer_range=0.3)
IDS = np.random.default_rng(0).integers(17, size=(3, 9))
TARGETS = np.random.default_rng(1).integers(17, size=(3, 9))


def both(**options):
    """The book's and the public one, made from one seed."""
    made = []
    for kind, config in ((gpt.GPT, gpt.GPTConfig), (GPT, GPTConfig)):
        manual_seed(5)
        made.append(kind(config(**SIZES, **options)))
    return made


def test_one_seed_gives_the_same_weights_by_the_same_names():
    book, public = (model.state_dict() for model in both())
    assert list(book) == list(public)
    for name in book:
        np.testing.assert_array_equal(book[name], public[name])


@pytest.mark.parametrize("dtype, tolerance", [("float32", 2e-6), ("float64", 1e-13)])  # sums in another order
@pytest.mark.parametrize("bias", [True, False])
def test_logits_and_gradients_are_the_same(bias, dtype, tolerance):
    book, public = both(bias=bias)
    logits, grads = [], []
    for model in (book, public):
        model.to(dtype=dtype)
        out = model(IDS)
        ops.cross_entropy(out, TARGETS).backward()
        logits.append(out.data)
        grads.append({name: p.grad for name, p in model.named_parameters()})
    np.testing.assert_allclose(logits[1], logits[0], rtol=0, atol=tolerance * np.abs(logits[0]).max())
    assert logits[0].dtype == dtype
    for name in grads[0]:
        np.testing.assert_allclose(grads[1][name], grads[0][name], rtol=0, err_msg=name,
                                   atol=5 * tolerance * np.abs(grads[0][name]).max())


def test_weights_of_the_one_fit_the_other():
    book, public = both()
    public.load_state_dict({name: value + 0.1 for name, value in book.state_dict().items()})
    book.load_state_dict(public.state_dict())
    np.testing.assert_allclose(book(IDS).data, public(IDS).data, rtol=0, atol=1e-5)  # float32


def test_in_training_both_drop_the_same():
    book, public = both(dropout=0.5)
    for step in (0, 1):
        for model in (book, public):
            seed_dropout(model, 3, step)
        np.testing.assert_allclose(book(IDS).data, public(IDS).data, rtol=0, atol=1e-5)  # float32
    assert (book.eval()(IDS).data != book.train()(IDS).data).any()


def test_the_books_configuration_is_a_part_of_the_public_one():
    book, public = gpt.GPTConfig(**SIZES), GPTConfig(**SIZES)
    for name, value in vars(book).items():
        assert getattr(public, name) == value, name

"""The bag of words, Kim's CNN, and both together: what padding, counting and saving leave as it is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import tinygpt as tg
from tinygpt.evaluation import NaiveBayes
from tinygpt.models import (BagClassifier, BagConfig, TextCNN, TextCNNConfig, WideClassifier, WideConfig, buckets_for,
                            new_model)
from tinygpt.models.bag import GAIN

SIZES = dict(vocab_size=11, n_labels=3)
drawn = settings(max_examples=25, deadline=None)


def models():
    tg.manual_seed(0)
    made = {"bag": BagClassifier(BagConfig(**SIZES, n_buckets=64)),
            "cnn": TextCNN(TextCNNConfig(**SIZES, n_embd=6, n_kernels=4)),
            "wide": WideClassifier(WideConfig(**SIZES, n_embd=6, n_kernels=4, n_buckets=64))}
    for model in made.values():
        for parameter in model.parameters():
            parameter.data = np.random.default_rng(parameter.size).normal(size=parameter.shape).astype(np.float32)
        model.eval()
    return made


MODELS = models()
ROWS = st.lists(st.lists(st.integers(0, 10), min_size=1, max_size=9), min_size=1, max_size=4)


@pytest.mark.parametrize("name", MODELS)
@drawn
@given(rows=ROWS, more=st.integers(0, 3))
def test_padding_changes_nothing(name, rows, more):
    model, width = MODELS[name], max(map(len, rows)) + more
    ids, mask = np.full((len(rows), width), 5), np.zeros((len(rows), width), int)
    for row, text in enumerate(rows):
        ids[row, :len(text)], mask[row, :len(text)] = text, 1
    scores = model(ids, attention_mask=mask).data
    for row, text in enumerate(rows):
        np.testing.assert_allclose(scores[row], model([text]).data[0], rtol=1e-4, atol=1e-4)


@drawn
@given(text=st.lists(st.integers(0, 10), min_size=1, max_size=9))
def test_the_scores_of_a_bag_are_sums_of_its_words_and_pairs(text):
    model = MODELS["bag"]
    words, pairs, bias = (model.state_dict()[name] for name in ("words.weight", "pairs.weight", "bias"))
    rows = [(a * 1_000_003 + b * 611_953) % 64 for a, b in zip(text, text[1:])]
    expected = GAIN * (words[text].sum(axis=0) + pairs[rows].sum(axis=0) + bias)
    np.testing.assert_allclose(model([text]).data[0], expected, rtol=1e-4, atol=1e-4)


def test_a_bag_that_has_counted_answers_as_naive_bayes_does():
    """Words and pairs are two heaps in the bag and one in naive Bayes, so a vocabulary without pairs is compared."""
    rng = np.random.default_rng(0)
    rows = [rng.choice(np.arange(1, 11), 1) for _ in range(300)]
    labels = [int(rng.random() < row[0] / 10) for row in rows]
    model = BagClassifier(BagConfig(vocab_size=11, n_labels=2, n_buckets=1))
    model.count(rows, labels, 1.0)
    bayes = NaiveBayes([f"w{row[0]}" for row in rows], [str(label) for label in labels])
    found = model(np.arange(1, 11)[:, None]).data.argmax(axis=1)
    assert [str(label) for label in found] == bayes.predict([f"w{i}" for i in range(1, 11)])


def test_there_are_four_buckets_for_every_pair_at_least():
    rows = [np.arange(n) for n in (2, 50)]
    assert 4 * 49 <= buckets_for(rows, 2) == 256
    assert buckets_for([np.arange(1000)], 1 << 18) == 1 << 4  # of many labels there are fewer


@pytest.mark.parametrize("name", MODELS)
def test_what_is_saved_is_loaded(name, tmp_path):
    model = MODELS[name]
    model.save_pretrained(tmp_path)
    again = tg.load_model(tmp_path)
    assert type(again) is type(model) and again.config == model.config == new_model(model.config.to_dict()).config
    assert np.array_equal(again([[1, 2, 3, 4]]).data, model([[1, 2, 3, 4]]).data)


def test_both_together_are_their_sum():
    model = MODELS["wide"]
    ids = [[1, 2, 3, 4]]
    assert np.array_equal(model(ids).data, model.bag(ids).data + model.cnn(ids).data)


@pytest.mark.parametrize("name", MODELS)
def test_a_text_that_is_too_long_is_refused(name):
    with pytest.raises(ValueError, match="a text of 300 tokens does not fit the 256 tokens of block_size"):
        MODELS[name](np.ones((1, 300), int))


def test_the_order_of_words_counts_for_the_cnn_as_far_as_a_kernel_sees():
    model = MODELS["cnn"]
    a, b = model([[1, 2, 3, 4, 5, 6]]).data, model([[6, 5, 4, 3, 2, 1]]).data
    assert np.abs(a - b).max() > 0.1
    there, here = ([[0] * n + [1, 2, 3, 4, 5, 6] + [0] * (16 - n)] for n in (5, 9))
    np.testing.assert_allclose(model(there).data, model(here).data, rtol=1e-4, atol=1e-4)  # but not where they stand

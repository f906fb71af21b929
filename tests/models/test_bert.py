"""BERT: its heads, its loss at the masked positions alone, padding that changes nothing, pooled embeddings."""

import numpy as np
import pytest
from model_losses import loss_of

from tinygpt import no_grad, ops
from tinygpt.models import BERT, BERTConfig, load_model

SIZES = dict(vocab_size=13, block_size=8, n_layer=2, n_head=2, n_embd=8, initializer_range=0.3)
ARCHITECTURES = ["bert", "roberta"]


def masked(architecture="bert", **options):
    return BERT.for_masked_lm(BERTConfig(**SIZES | options, architecture=architecture)).eval()


def texts(seed=0, shape=(3, 6)):
    return np.random.default_rng(seed).integers(3, 13, shape)


@pytest.mark.parametrize("head, shape", [(None, (3, 6, 8)), ("masked_lm", (3, 6, 13)), ("classification", (3, 4))])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_shapes(architecture, head, shape):
    config = BERTConfig(**SIZES, architecture=architecture, head=head, n_labels=4 if head == "classification" else None)
    assert BERT(config)(texts()).shape == shape


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_padding_changes_nothing(architecture):
    model, ids = masked(architecture), texts(shape=(2, 5))
    padded = np.concatenate([ids, np.full((2, 3), model.config.pad_token_id)], axis=1)
    mask = np.concatenate([np.ones((2, 5)), np.zeros((2, 3))], axis=1)
    np.testing.assert_allclose(model(padded, mask).data[:, :5], model(ids).data, atol=1e-5)
    assert not np.allclose(model(padded).data[:, :5], model(ids).data, atol=1e-3)        # it would, unmasked
    for pooling in ("mean", "first"):
        np.testing.assert_allclose(model.embed(padded, mask, pooling=pooling).data,
                                   model.embed(ids, pooling=pooling).data, atol=1e-5)


def test_attention_looks_both_ways():
    model, ids = masked(), texts()
    changed = ids.copy()
    changed[:, -1] = (ids[:, -1] + 1) % 13
    assert not np.allclose(model(ids).data[:, 0], model(changed).data[:, 0], atol=1e-4)


def test_segments_matter():
    model, ids = masked(), texts()
    assert not np.allclose(model(ids).data, model(ids, token_type_ids=np.ones_like(ids)).data, atol=1e-3)
    np.testing.assert_array_equal(model(ids).data, model(ids, token_type_ids=np.zeros_like(ids)).data)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("tied", [True, False])
def test_loss_is_the_cross_entropy_at_the_masked_positions(reduction, weighted, tied):
    model, ids = masked(tie_word_embeddings=tied), texts()
    rng = np.random.default_rng(1)
    targets = np.where(rng.random(ids.shape) < 0.4, ids, -100)
    weights = rng.random(ids.shape).astype(np.float32) if weighted else None
    loss = loss_of(model, ids, targets, weights, reduction=reduction)
    loss.backward()
    grads = {name: parameter.grad for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = None
    plain = ops.cross_entropy(model(ids), targets, weights, reduction=reduction)
    plain.backward()
    np.testing.assert_allclose(loss.data, plain.data, rtol=1e-5)
    for name, parameter in model.named_parameters():
        np.testing.assert_allclose(grads[name], parameter.grad, atol=1e-5, err_msg=name)


def test_nothing_masked_costs_nothing():
    model, ids = masked(), texts()
    loss = loss_of(model, ids, np.full_like(ids, -100))
    loss.backward()
    assert loss.data == 0 and all(p.grad is None or not p.grad.any() for p in model.parameters())


def test_the_loss_of_a_classifier():
    model = BERT.for_classification(BERTConfig(**SIZES), n_labels=3).eval()
    labels = np.array([0, 2, 1])
    np.testing.assert_allclose(loss_of(model, texts(), labels).data, ops.cross_entropy(model(texts()), labels).data)


@pytest.mark.parametrize("head", ["masked_lm", "classification"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_gradients_are_the_slopes(architecture, head):
    """Along a random direction the loss changes as the gradient says (float64, central difference)."""
    config = BERTConfig(**SIZES, architecture=architecture)
    model = (BERT.for_masked_lm(config) if head == "masked_lm" else BERT.for_classification(config, 3)).eval()
    model.to(dtype=np.float64)
    rng, ids = np.random.default_rng(0), texts()
    targets = np.where(rng.random(ids.shape) < 0.5, ids, -100) if head == "masked_lm" else np.array([0, 1, 2])
    mask = np.ones_like(ids)
    mask[0, 4:] = 0
    loss_of(model, ids, targets, attention_mask=mask).backward()
    directions = [rng.normal(size=p.shape) for p in model.parameters()]
    slope = sum(float((p.grad * d).sum()) for p, d in zip(model.parameters(), directions) if p.grad is not None)

    def moved(step):
        for p, d in zip(model.parameters(), directions):
            p.data = p.data + step * d
        return float(loss_of(model, ids, targets, attention_mask=mask).data)

    with no_grad():
        above, below = moved(1e-6), moved(-2e-6)
    assert (above - below) / 2e-6 == pytest.approx(slope, rel=1e-6)


def test_heads_are_made_from_a_configuration_or_a_model():
    model = masked(dropout=0.1)
    classifier = model.for_classification(id2label={0: "no", 1: "yes", 2: "perhaps"})
    assert classifier.config.n_labels == 3 and not classifier.training
    ids = texts()
    np.testing.assert_array_equal(classifier.features(ids).data, model.features(ids).data)
    classifier.token_embedding.weight.data[:, 0] += 1  # a copy, not the same encoder (a norm would undo + 1 everywhere)
    assert not np.allclose(classifier.features(ids).data, model.features(ids).data)
    assert BERT.for_classification(BERTConfig(**SIZES)).config.n_labels == 2
    assert classifier.for_classification().config.id2label[2] == "perhaps"
    assert classifier.for_masked_lm().config.id2label is None


def test_pooling_averages_the_features():
    model, ids = masked(), texts()
    mask = np.ones_like(ids)
    mask[1, 2:] = 0
    features = model.features(ids, mask).data
    np.testing.assert_allclose(model.embed(ids, mask).data[1], features[1, :2].mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(model.embed(ids, mask).data[0], features[0].mean(axis=0), atol=1e-6)
    assert model.embed(ids, mask).dtype == np.float32


def test_dropout_acts_in_training_alone():
    model, ids = masked(dropout=0.5), texts()
    np.testing.assert_array_equal(model(ids).data, model(ids).data)
    model.train()
    assert not np.allclose(model(ids).data, model(ids).data)


@pytest.mark.parametrize("call, error, message", [
    (lambda m: m(texts(shape=(1, 9))), ValueError, "a text of 9 tokens does not fit the context of 8"),
    (lambda m: m([[13]]), IndexError, "id 13 is outside the vocabulary"),
    (lambda m: m([[1]], token_type_ids=[[2]]), IndexError, "id 2 is outside"),
    (lambda m: m([[1, 2]], attention_mask=[[1]]), ValueError, "attention_mask must have the shape"),
    (lambda m: m.embed([[1, 2]], pooling="median"), ValueError, "pooling must be one of 'mean', 'first'"),
])
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call(masked())


@pytest.mark.parametrize("problem, n_labels", [("regression", 1), ("multi_label_classification", 3), (None, 1)])
def test_heads_that_do_not_choose_one_label_give_logits_only(tmp_path, problem, n_labels):
    config = BERTConfig(vocab_size=13, block_size=8, n_layer=1, n_head=2, n_embd=8, head="classification",
                        n_labels=n_labels, problem_type=problem)
    BERT(config).save_pretrained(tmp_path)
    model = load_model(tmp_path)
    assert model.config.problem_type == problem
    assert model(np.ones((2, 3), int)).shape == (2, n_labels)
    with pytest.raises(ValueError, match=f"problem_type='{problem or 'regression'}' gives logits"):
        model.config.check_one_label()
    again = model.for_classification(2)  # a new head chooses one label
    again.config.check_one_label()
    assert np.isfinite(loss_of(again, np.ones((2, 3), int), [0, 1]).item())


def test_a_problem_type_needs_a_classifier_and_is_known():
    with pytest.raises(ValueError, match="problem_type belongs to head='classification'"):
        BERTConfig(vocab_size=13, problem_type="regression")
    with pytest.raises(ValueError, match="problem_type='ranking' is not supported"):
        BERTConfig(vocab_size=13, head="classification", problem_type="ranking")

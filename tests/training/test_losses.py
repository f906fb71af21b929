"""Losses are cross entropies of the models' logits, summed over what counts; criteria add what models ask for."""

from __future__ import annotations

import numpy as np
import pytest

from tinygpt import ops
from tinygpt.autograd import Tensor
from tinygpt.backend import manual_seed
from tinygpt.models import BERT, BERTConfig, EncoderDecoder, EncoderDecoderConfig, GPT, GPTConfig
from tinygpt.nn import Module
from tinygpt.optim import FlatParameters
from tinygpt.training import Criterion, classification_loss, language_loss, masked_loss, seq2seq_loss
from tinygpt.training.losses import auxiliary_losses, count_targets
from tinygpt.training.objectives import KINDS as ROWS
from tinygpt.training.parallel import Replicas

SIZES = dict(vocab_size=11, block_size=6, n_layer=1, n_head=2, n_embd=8, initializer_range=0.3)
LABELLED = dict(head="classification", n_labels=3)


def decoder_logits(model, batch):
    return model(batch["ids"], batch["attention_mask"])


def translator_logits(model, batch):
    read = np.concatenate([np.full((3, 1), model.config.decoder_start_token_id), batch["targets"][:, :-1]], axis=1)
    read[read == -100] = model.config.pad_token_id
    return model(batch["ids"], read, batch["attention_mask"])


KINDS = {  # the model, its loss, its logits, and whether it has a target for each text or for each token
    "gpt2": (lambda: GPT(GPTConfig(**SIZES)), language_loss, decoder_logits, False),
    "llama": (lambda: GPT(GPTConfig(**SIZES, architecture="llama", tie_word_embeddings=False)), language_loss,
              decoder_logits, False),
    "bert": (lambda: BERT.for_masked_lm(BERTConfig(**SIZES)), masked_loss, decoder_logits, False),
    "roberta": (lambda: BERT.for_masked_lm(BERTConfig(**SIZES, architecture="roberta", tie_word_embeddings=False)),
                masked_loss, decoder_logits, False),
    "marian": (lambda: EncoderDecoder(EncoderDecoderConfig(**SIZES)), seq2seq_loss, translator_logits, False),
    "bart": (lambda: EncoderDecoder(EncoderDecoderConfig(**SIZES, architecture="bart", tie_word_embeddings=False)),
             seq2seq_loss, translator_logits, False),
    "labelled bert": (lambda: BERT(BERTConfig(**SIZES, **LABELLED)), classification_loss, decoder_logits, True),
    "labelled gpt": (lambda: GPT(GPTConfig(**SIZES, **LABELLED)), classification_loss, decoder_logits, True),
}


def model_and_batch(kind: str, weighted: bool = False):
    manual_seed(0)
    make, loss, logits, labels = KINDS[kind]
    rng = np.random.default_rng(1)
    shape = (3,) if labels else (3, 5)
    mask = np.ones((3, 5), int)
    mask[1, 3:] = 0
    batch = {"ids": rng.integers(2, 11, size=(3, 5)), "attention_mask": mask,
             "targets": rng.integers(3 if labels else 11, size=shape)}
    batch["targets"][1:2] = -100
    if weighted:
        batch["weights"] = rng.random(shape) + 0.1
    return make().eval().to(dtype=np.float64), loss, logits, batch


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_the_cross_entropy_of_the_logits(kind, weighted):
    """By the definition, and with the gradients of the plain composition."""
    model, loss, logits_of, batch = model_and_batch(kind, weighted)
    found = loss(model, batch)
    found.backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    for p in model.parameters():
        p.grad = None
    logits = logits_of(model, batch)
    ops.cross_entropy(logits, batch["targets"], batch.get("weights"), reduction="sum").backward()
    log_p = logits.data - np.log(np.exp(logits.data).sum(axis=-1, keepdims=True))
    weights = batch.get("weights", np.ones(batch["targets"].shape))
    by_hand = -sum(weights[at] * log_p[at][batch["targets"][at]] for at in np.ndindex(batch["targets"].shape)
                   if batch["targets"][at] != -100)
    assert float(found) == pytest.approx(by_hand, rel=1e-9)
    for name, p in model.named_parameters():  # float64: what is left is rounding
        if p.grad is None or gradients[name] is None:
            assert p.grad is gradients[name], name
        else:
            np.testing.assert_allclose(gradients[name], p.grad, rtol=1e-8, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.startswith("labelled")])
def test_where_nothing_counts_nothing_is_lost(kind):
    model, loss, _, batch = model_and_batch(kind)
    found = loss(model, batch | {"targets": np.full((3, 5), -100)})
    found.backward()
    assert float(found) == 0 and all(p.grad is None or not p.grad.any() for p in model.parameters())


def test_the_decoder_may_be_given_what_it_reads():
    model, loss, _, batch = model_and_batch("marian")
    read = np.random.default_rng(2).integers(11, size=(3, 5))
    expected = ops.cross_entropy(model(batch["ids"], read, batch["attention_mask"]), batch["targets"], reduction="sum")
    assert float(loss(model, batch | {"decoder_ids": read})) == pytest.approx(float(expected), rel=1e-9)


def test_segments_reach_an_encoder():
    model, loss, _, batch = model_and_batch("bert")
    segments = {"token_type_ids": np.ones_like(batch["ids"])}
    assert float(loss(model, batch | segments)) != float(loss(model, batch))


@pytest.mark.parametrize("kind, loss, change, message", [
    ("labelled gpt", language_loss, {}, "needs a model with head='lm', got head='classification'"),
    ("labelled bert", masked_loss, {}, "needs a model with a masked-word head"),
    ("gpt2", classification_loss, {}, "needs a model with a classification head"),
    ("bert", masked_loss, {"targets": np.zeros((3, 1), int)}, r"targets must have the shape \(3, 5\) of the ids"),
])
def test_a_model_or_a_batch_that_does_not_fit(kind, loss, change, message):
    model, _, _, batch = model_and_batch(kind)
    with pytest.raises(ValueError, match=message):
        loss(model, batch | change)


@pytest.mark.parametrize("problem, n_labels", [("regression", 1), ("multi_label_classification", 3), (None, 1)])
def test_a_head_that_does_not_choose_one_label_has_no_loss(problem, n_labels):
    model = BERT(BERTConfig(**SIZES, head="classification", n_labels=n_labels, problem_type=problem))
    with pytest.raises(ValueError, match=f"problem_type='{problem or 'regression'}' gives logits"):
        classification_loss(model, {"ids": np.ones((2, 3), int), "targets": np.zeros(2, int)})


def test_counts():
    targets = np.array([[1, -100], [0, 2]])
    assert count_targets({"targets": targets}) == 3
    assert count_targets({"targets": targets, "weights": np.array([[0.5, 9], [1, 2]])}) == 3.5


# -- criteria ---------------------------------------------------------------------------------------------------------


class Asks(Module):
    """A part of a model that leaves the mean square of what it saw as a further loss."""

    def __init__(self) -> None:
        self.auxiliary_loss: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        self.auxiliary_loss = ops.mean(x * x) if self.training else None
        return x


def test_a_criterion_without_further_terms_is_the_loss_of_the_data():
    model, loss, _, batch = model_and_batch("gpt2", weighted=True)
    total, count = Criterion(loss).loss(model, batch)
    assert float(total) == float(loss(model, batch)) and count == count_targets(batch)


def test_what_a_part_of_the_model_asks_for_counts_for_each_target():
    model, loss, _, batch = model_and_batch("gpt2")
    plain = float(loss(model, batch))
    model.dropout = asks = Asks()
    model.train()
    total, count = Criterion(loss).loss(model, batch)
    assert count == 10 and asks.auxiliary_loss is not None
    assert float(total) == pytest.approx(plain + 10 * float(asks.auxiliary_loss), rel=1e-12)
    model.eval()
    assert float(Criterion(loss).loss(model, batch)[0]) == pytest.approx(plain, rel=1e-12)


def test_a_part_that_stands_in_two_places_asks_once():
    class Twice(Module):
        def __init__(self) -> None:
            self.first = self.second = Asks()

    model = Twice()
    model.first(Tensor(np.ones(2)))
    assert len(list(auxiliary_losses(model))) == 1


def test_replicas_train_what_the_parts_ask_for():
    """The gradient of one replica, and of two, is that of the whole loss: rows count alike here, and so do parts."""
    model, loss, _, batch = model_and_batch("gpt2")
    batch = {name: np.repeat(array[:1], 4, axis=0) for name, array in batch.items()}
    model.dropout = Asks()
    model.train()
    criterion = Criterion(loss)
    total, count = criterion.loss(model, batch)
    (total / count).backward()
    expected = {name: p.grad.copy() for name, p in model.named_parameters()}
    flat = FlatParameters(model)
    for n in (1, 2):
        with Replicas(model, criterion, flat, n) as replicas:
            assert replicas.gradient(batch, 0, 0) == pytest.approx(float(total) / count, rel=1e-9)
            for name, gradient in flat.views(flat.grad).items():
                np.testing.assert_allclose(gradient, expected[name], rtol=1e-8, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("kind", [kind for kind, row in ROWS.items() if row.command != "align"])
def test_every_objective_names_its_loss(kind):
    expected = {"causal": language_loss, "instruction": language_loss, "masked": masked_loss, "seq2seq": seq2seq_loss,
                "translation": seq2seq_loss, "classification": classification_loss}
    objective = ROWS[kind].objective
    assert objective.data_loss is expected[kind] and issubclass(objective, Criterion)


@pytest.mark.parametrize("kind", [kind for kind, row in ROWS.items() if row.command == "align"])
def test_what_is_preferred_has_losses_of_its_own(kind):
    """Compositions of log-probabilities, checked in test_alignment.py."""
    objective = ROWS[kind].objective
    assert any("data_loss" in vars(each) for each in objective.__mro__) and issubclass(objective, Criterion)

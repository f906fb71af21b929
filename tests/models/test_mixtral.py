"""Mixtral: logits, both losses and every gradient as in transformers; the cache; the checker; adapters; training."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import tinygpt as tg
from tinygpt import ops
from tinygpt.models import GPT, GPTConfig, load_model
from tinygpt.nn import MixtureOfExperts, balance_loss
from tinygpt.nn.lora import add_lora, merge_lora
from tinygpt.testing import check_model
from tinygpt.training.losses import Criterion, language_loss

# Made with transformers 5.24: MixtralForCausalLM of 2 layers and 4 experts with random weights of standard deviation
# 0.3, saved by `save_pretrained`. expected.npz holds ids (3, 12), their logits, the mean loss of the next token, the
# balance loss, gradients of both together (coefficient 0.1) and ten greedy tokens after the first five of row 0.
GOLDEN = Path(__file__).parent / "golden" / "mixtral"
SIZES = dict(vocab_size=11, block_size=12, n_layer=2, n_head=2, n_embd=8, n_inner=8, n_experts=4, initializer_range=0.4,
             architecture="mixtral")


def mixtral(**options) -> GPT:
    tg.manual_seed(0)
    return GPT(GPTConfig(**SIZES | options))


def criterion(model: GPT, ids: np.ndarray) -> tg.Tensor:
    """The mean loss of a batch in training, with what the model asks for beside it."""
    loss, count = Criterion(language_loss).loss(model, {"ids": ids[:, :-1], "targets": ids[:, 1:]})
    return loss / count


def test_golden():
    """Tolerances: float32 noise at these sizes is about 1e-6 of the largest number, and theirs are about 1."""
    model, expected = load_model(GOLDEN), dict(np.load(GOLDEN / "expected.npz"))
    ids = expected["input_ids"]
    np.testing.assert_allclose(model(ids).data, expected["logits"], atol=1e-5)
    assert model.auxiliary_loss is None
    model.train()
    loss = criterion(model, ids)
    loss.backward()
    coefficient = model.config.router_aux_loss_coef
    assert coefficient == 0.1
    assert float(balance_loss(model)) == pytest.approx(float(expected["auxiliary_loss"]), abs=1e-5)
    assert float(loss) == pytest.approx(float(expected["loss"] + coefficient * expected["auxiliary_loss"]), abs=1e-5)
    mixture = model.blocks[0].feed_forward
    np.testing.assert_allclose(model.token_embedding.weight.grad, expected["embedding_grad"], atol=1e-5)
    np.testing.assert_allclose(mixture.router.weight.grad, expected["router_grad"], atol=1e-5)
    for part in ("gate", "up", "down"):
        ours = np.stack([getattr(expert, part).weight.grad for expert in mixture.experts])
        np.testing.assert_allclose(ours, expected[f"{part}_grad"], atol=1e-5)
    for use_cache in (True, False):
        generated = model.eval().generate(ids[:1, :5], 10, temperature=0.0, use_cache=use_cache)
        np.testing.assert_array_equal(generated, expected["generated"])


@pytest.mark.oracle
@pytest.mark.parametrize("options", [{}, dict(n_experts_per_token=1), dict(n_experts_per_token=3, n_layer=3),
                                     dict(n_layer=1, tie_word_embeddings=False)])
def test_training_gradients_are_those_of_transformers(tmp_path, options):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    model = mixtral(router_aux_loss_coef=0.3, **options)
    model.save_pretrained(tmp_path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert type(theirs).__name__ == "MixtralForCausalLM"
    ids = np.random.default_rng(1).integers(0, 11, (3, 9))
    rows = torch.tensor(ids[:, :-1])
    out = theirs(rows, output_router_logits=True)
    expected = torch.nn.functional.cross_entropy(out.logits.flatten(0, 1), torch.tensor(ids[:, 1:]).flatten())
    expected = expected + theirs.config.router_aux_loss_coef * out.aux_loss
    expected.backward()
    for p in theirs.parameters():  # saved again, the gradients come under our names
        p.data = torch.zeros_like(p) if p.grad is None else p.grad
    theirs.save_pretrained(tmp_path / "gradients")
    loss = criterion(model.train(), ids)
    loss.backward()
    assert float(loss) == pytest.approx(expected.item(), abs=1e-5)
    gradients = load_model(tmp_path / "gradients").state_dict()
    for name, p in model.named_parameters():  # float32: about 1e-6 of gradients below 1
        np.testing.assert_allclose(p.grad, gradients[name], atol=1e-5, err_msg=name)


def test_the_balance_has_its_coefficient_and_may_be_switched_off():
    ids = np.random.default_rng(2).integers(0, 11, (2, 6))
    plain, weighed = mixtral(router_aux_loss_coef=0.0), mixtral(router_aux_loss_coef=0.5)
    losses = [float(criterion(model.train(), ids)) for model in (plain, weighed)]
    assert plain.auxiliary_loss is None
    assert losses[1] - losses[0] == pytest.approx(0.5 * float(balance_loss(plain)), rel=1e-5)
    assert float(weighed.auxiliary_loss) == pytest.approx(0.5 * float(balance_loss(weighed)))
    dense = GPT(GPTConfig(vocab_size=11, n_layer=1, n_head=2, n_embd=8))
    dense.train()(ids)
    assert dense.auxiliary_loss is None


class WithLoss(GPT):
    """The model as the checker takes it."""

    def loss(self, ids, targets, reduction="mean"):
        return ops.linear_cross_entropy(self.features(ids), self.output_weight, None, targets, reduction=reduction)


def test_it_keeps_the_promises_of_a_language_model():
    tg.manual_seed(0)
    report = check_model(WithLoss(GPTConfig(**SIZES)), np.random.default_rng(0).integers(0, 11, (3, 8)))
    assert any("cache" in name for name in report.oracles) and report.oracles["gradient of the loss"]


def test_experts_in_another_layout():
    config = GPTConfig(vocab_size=11, block_size=12, n_layer=1, n_head=2, n_embd=8, feed_forward="experts", n_experts=3,
                       activation="relu2")
    model = GPT(config)
    mixture = model.blocks[0].feed_forward
    assert isinstance(mixture, MixtureOfExperts) and len(mixture.experts) == 3
    assert mixture.experts[0].up.bias is not None and mixture.router.bias is None
    assert mixture.experts[0].activation == "relu2" and mixture.experts[0].up.weight.shape == (config.n_inner, 8)
    assert model(np.arange(8).reshape(2, 4)).shape == (2, 4, 11)


def test_adapters_on_the_matrices_of_experts_merge():
    model = mixtral().eval()
    ids = np.arange(10).reshape(2, 5)
    before = model(ids).data
    add_lora(model, rank=2, targets=("gate", "up", "down", "v"))
    np.testing.assert_allclose(model(ids).data, before, atol=1e-6)
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    assert sum("experts.3.gate.lora_gate" in name for name in trained) == 4 and not any("router" in n for n in trained)
    for name, p in model.named_parameters():
        if name.endswith(".b"):
            p.data = p.data + np.float32(0.1)
    adapted = model(ids).data
    assert np.abs(adapted - before).max() > 1e-3
    merge_lora(model)
    np.testing.assert_allclose(model(ids).data, adapted, atol=1e-5)


def test_training_uses_the_experts_alike():
    """With the balance loss, the busiest expert has less to do than without."""
    ids = np.random.default_rng(3).integers(0, 11, (8, 12))
    busiest = []
    for coefficient in (0.0, 0.3):
        model = mixtral(n_experts_per_token=1, router_aux_loss_coef=coefficient, n_layer=1).train()
        optimizer = tg.optim.AdamW(model, lr=1e-2, weight_decay=0.0)
        for _ in range(40):
            criterion(model, ids).backward()
            optimizer.step()
            optimizer.zero_grad()
        model(ids)
        busiest.append(float(model.blocks[0].feed_forward.routing.share.max()))
    assert busiest[1] < busiest[0] and busiest[1] < 0.5, busiest


def test_a_configuration_is_checked():
    with pytest.raises(ValueError, match="n_experts_per_token=5 is more than n_experts=4"):
        mixtral(n_experts_per_token=5)
    with pytest.raises(ValueError, match="n_experts must be at least 1, got 0"):
        mixtral(n_experts=0)
    with pytest.raises(ValueError, match="router_aux_loss_coef must be at least 0.0, got -1.0"):
        mixtral(router_aux_loss_coef=-1.0)
    with pytest.raises(ValueError, match="architecture='mixtral' has no biases"):
        mixtral(bias=True)
    with pytest.raises(ValueError, match="feed_forward='deep' is not supported; choose one of 'plain', 'gated', 'expe"):
        mixtral(feed_forward="deep")
    config = GPTConfig(vocab_size=11, n_layer=1, n_head=2, n_embd=96, architecture="mixtral")
    assert (config.feed_forward, config.n_inner, config.n_experts, config.n_experts_per_token) == ("experts", 256, 8, 2)
    assert dataclasses.replace(config, n_experts=4).n_experts == 4

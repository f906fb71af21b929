"""LoRA: it starts as the model it adapts, trains the adapters alone, and merges into the same function."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygpt as tg
from tinygpt.models import BERT, GPT, BERTConfig, EncoderDecoder, EncoderDecoderConfig, GPTConfig
from tinygpt.nn import Embedding, Linear
from tinygpt.nn.lora import TARGETS, LoRAEmbedding, LoRALinear, add_lora, merge_lora, merged_state
from tinygpt.testing import check_model

IDS = np.arange(10).reshape(2, 5)
PROJECTIONS = tuple(name for name in TARGETS if name != "embedding")
MODELS = {
    "gpt2": lambda: GPT(GPTConfig(vocab_size=12, block_size=8, n_layer=2, n_head=2, n_embd=8, initializer_range=0.5)),
    "llama": lambda: GPT(GPTConfig(vocab_size=12, block_size=8, n_layer=2, n_head=4, n_embd=16, n_kv_head=2,
                                   initializer_range=0.5, architecture="llama")),
    "roberta": lambda: BERT.for_classification(BERTConfig(
        vocab_size=12, block_size=8, n_layer=2, n_head=2, n_embd=8, initializer_range=0.5,
        architecture="roberta")),
    "marian": lambda: EncoderDecoder(EncoderDecoderConfig(
        vocab_size=12, block_size=8, n_layer=1, n_head=2, n_embd=8, initializer_range=0.5)),
}
UNTIED = {  # whose token table is nothing else
    "roberta": MODELS["roberta"],
    "gpt2": lambda: GPT(GPTConfig(vocab_size=12, block_size=8, n_layer=1, n_head=2, n_embd=8, initializer_range=0.5,
                                  tie_word_embeddings=False)),
    "marian": lambda: EncoderDecoder(EncoderDecoderConfig(
        vocab_size=12, block_size=8, n_layer=1, n_head=2, n_embd=8, initializer_range=0.5, tie_word_embeddings=False)),
}


def logits(model) -> np.ndarray:
    return (model(IDS, IDS) if isinstance(model, EncoderDecoder) else model(IDS)).data


def disturb(model, rng) -> None:
    """Give every adapter some effect."""
    for name, parameter in model.named_parameters():
        if name.endswith(".b") and ".lora_" in name:
            parameter.data = rng.normal(size=parameter.shape).astype(np.float32) * 0.3


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("targets", [("q", "v"), ("k",), ("out", "up", "down"), PROJECTIONS])
def test_starts_the_same_and_merges_into_the_same(name: str, targets: tuple[str, ...]) -> None:
    starts_the_same_and_merges_into_the_same(MODELS[name]().eval(), targets)


@pytest.mark.parametrize("name", UNTIED)
@pytest.mark.parametrize("targets", [("embedding",), TARGETS])
def test_so_does_the_token_table(name: str, targets: tuple[str, ...]) -> None:
    starts_the_same_and_merges_into_the_same(UNTIED[name]().eval(), targets)


def starts_the_same_and_merges_into_the_same(model, targets: tuple[str, ...]) -> None:
    before = logits(model)
    names = set(model.state_dict())
    add_lora(model, 2, targets=targets)
    np.testing.assert_allclose(logits(model), before, rtol=0, atol=1e-6)  # B is zero; adding zeros changes nothing
    disturb(model, np.random.default_rng(0))
    adapted = logits(model)
    assert np.abs(adapted - before).max() > 1e-3
    state = merged_state(model)
    assert set(state) == names
    merge_lora(model)
    assert not any(isinstance(module, (LoRALinear, LoRAEmbedding)) for module in model.modules())
    assert set(model.state_dict()) == names
    np.testing.assert_allclose(logits(model), adapted, rtol=0, atol=1e-5)
    assert all(np.array_equal(state[key], value) for key, value in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.parameters())


@settings(max_examples=30, deadline=None)
@given(n_in=st.integers(1, 9), n_out=st.integers(2, 12), data=st.data())
def test_any_rows_of_a_layer(n_in: int, n_out: int, data) -> None:
    """What the layer computes, written with whole matrices: (W + Σ s B A in its rows) x + b."""
    cuts = sorted(data.draw(st.sets(st.integers(0, n_out), min_size=2, max_size=5)))
    ranges = [(a, b) for a, b in zip(cuts, cuts[1:]) if data.draw(st.booleans())] or [(cuts[0], cuts[1])]
    rank = data.draw(st.integers(1, min(n_in, *(b - a for a, b in ranges))))
    tg.manual_seed(n_in)
    layer = LoRALinear(Linear(n_in, n_out, std=1.0), scale=0.7)
    rng = np.random.default_rng(n_out)
    expected = layer.weight.data.copy()
    for start, stop in ranges:
        layer.add(f"r{start}", start, stop, rank)
    for start, stop, adapter in layer.adapters():
        adapter.b.data = rng.normal(size=(stop - start, rank)).astype(np.float32)
        expected[start:stop] += 0.7 * adapter.b.data @ adapter.a.data
    x = rng.normal(size=(3, 4, n_in)).astype(np.float32)
    np.testing.assert_allclose(layer(tg.Tensor(x)).data, x @ expected.T, rtol=0, atol=1e-4)  # sums of ≤ 9 products
    np.testing.assert_allclose(layer.merged_weight(), expected, rtol=0, atol=1e-6)


def test_only_adapters_are_trained_and_their_gradients_are_right() -> None:
    model = MODELS["gpt2"]()
    whole = model.n_parameters
    add_lora(model, 1)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert all(".attention.qkv.lora_" in name for name in trained) and len(trained) == 2 * 2 * 2
    assert sum(p.size for p in trained.values()) == 2 * 2 * (8 + 8) and model.n_parameters == whole + 64
    disturb(model, np.random.default_rng(1))
    model.to(dtype=np.float64)
    assert check_model(model, dict(ids=IDS, targets=(IDS + 1) % 12))
    assert all(p.grad is None for p in model.parameters() if not p.requires_grad)


def test_the_scale_is_alpha_over_rank() -> None:
    model = MODELS["gpt2"]()
    add_lora(model, 4, alpha=2.0)
    assert {m.scale for m in model.modules() if isinstance(m, LoRALinear)} == {0.5}
    model = MODELS["gpt2"]()
    add_lora(model, 4)
    assert {m.scale for m in model.modules() if isinstance(m, LoRALinear)} == {2.0}


@pytest.mark.parametrize("rank, targets, about", [
    (0, ("q",), "rank must be from 1 to 8"), (9, ("q",), "rank must be from 1 to 8"),
    (1, ("query",), "no target 'query'; choose among q, k, v"), (1, (), "no target"), (1, ("gate",), "no gate"),
])
def test_errors(rank: int, targets: tuple[str, ...], about: str) -> None:
    with pytest.raises(ValueError, match=about):
        add_lora(MODELS["gpt2"](), rank, targets=targets)


def test_twice_is_refused() -> None:
    model = MODELS["gpt2"]()
    add_lora(model, 1)
    with pytest.raises(ValueError, match="merge them first"):
        add_lora(model, 1)


def test_the_rows_of_a_table() -> None:
    """What the layer gives, written with whole matrices: rows of W + s B A; and the gradients of both."""
    tg.manual_seed(0)
    table = LoRAEmbedding(Embedding(7, 4, std=1.0), scale=0.5)
    table.add("embedding", 0, 7, 2)
    ((_, _, adapter),) = table.adapters()
    adapter.b.data = np.random.default_rng(0).normal(size=(7, 2)).astype(np.float32)
    ids = np.array([[3, 3, 0], [6, 1, 3]])
    whole = table.weight.data + 0.5 * adapter.b.data @ adapter.a.data
    np.testing.assert_allclose(table(ids).data, whole[ids], atol=1e-6)
    np.testing.assert_allclose(table.merged()(ids).data, whole[ids], atol=1e-6)
    table.weight.requires_grad = False
    (table(ids) * whole[ids]).sum().backward()
    rows = np.zeros((7, 4))
    np.add.at(rows, ids, whole[ids])  # d loss / d(row of the table)
    np.testing.assert_allclose(adapter.b.grad, 0.5 * rows @ adapter.a.data.T, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(adapter.a.grad, 0.5 * adapter.b.data.T @ rows, rtol=1e-5, atol=1e-5)
    assert table.weight.grad is None

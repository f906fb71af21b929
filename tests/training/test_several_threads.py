"""Runs, and evaluations of one model, in several threads of one process: each call owns its state."""

from __future__ import annotations

import io
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tinygpt.backend import generator, manual_seed, own_generator
from tinygpt.evaluation import evaluating, text_loss
from tinygpt.models import GPT, GPTConfig
from tinygpt.training import PretrainOptions, language_loss, pretrain


def test_runs_in_two_threads_end_in_the_bits_of_one(tmp_path):
    (tmp_path / "text.txt").write_text("one text and another. " * 40, encoding="utf-8")
    options = [PretrainOptions(data=(str(tmp_path / "text.txt"),), tokenizer="char", n_layer=2, n_head=2, n_embd=32,
                               block_size=8, batch_size=2, steps=4, dropout=0.1, threads=1, seed=seed)
               for seed in (0, 1)]

    def train(name: str, i: int) -> bytes:
        pretrain(options[i], tmp_path / f"{name}{i}", stream=io.StringIO())
        return (tmp_path / f"{name}{i}" / "model.safetensors").read_bytes()

    alone = [train("alone", i) for i in (0, 1)]
    with ThreadPoolExecutor(2) as pool:
        for attempt in range(5):
            assert list(pool.map(lambda i: train(f"beside{attempt}-", i), (0, 1))) == alone


def test_a_runs_generator_is_its_own(tmp_path):
    (tmp_path / "text.txt").write_text("one text and another. " * 40, encoding="utf-8")
    manual_seed(5)
    expected = generator().random(3)
    manual_seed(5)
    pretrain(PretrainOptions(data=(str(tmp_path / "text.txt"),), tokenizer="char", n_layer=1, n_head=1, n_embd=4,
                             block_size=8, batch_size=2, steps=1, threads=1), tmp_path / "out", stream=io.StringIO())
    np.testing.assert_array_equal(generator().random(3), expected)


def test_blocks_with_a_generator_of_their_own_nest_and_end_with_an_error():
    manual_seed(0)
    outer = generator()
    with own_generator(1):
        first = generator()
        with pytest.raises(KeyError), own_generator(2):
            assert generator() is not first
            raise KeyError
        assert generator() is first
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(generator).result() is outer
    assert generator() is outer


@pytest.fixture
def model() -> GPT:
    with own_generator(0):
        return GPT(GPTConfig(vocab_size=11, block_size=8, n_layer=2, n_head=2, n_embd=16, dropout=0.5))


def test_evaluations_side_by_side_leave_the_model_as_it_was(model):
    """The first to end must not switch dropout on for the other; afterwards the model trains as before."""
    model.train()
    both, one = threading.Barrier(2), threading.Barrier(2)
    seen: dict[str, list[bool]] = {"first": [], "second": []}

    def evaluate(name: str) -> None:
        with evaluating(model):
            both.wait(10)
            seen[name].append(any(module.training for module in model.modules()))
            if name == "second":
                one.wait(10)
                seen[name].append(any(module.training for module in model.modules()))
        if name == "first":
            one.wait(10)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(evaluate, seen))
    assert seen == {"first": [False], "second": [False, False]}
    assert all(module.training for module in model.modules())


def test_a_thread_that_trains_keeps_its_dropout_while_another_evaluates(model):
    model.train()
    with evaluating(model), ThreadPoolExecutor(1) as pool:
        assert not model.training
        assert pool.submit(lambda: all(module.training for module in model.modules())).result()
    model.eval()
    with evaluating(model):
        assert not model.training
    assert not model.training


def test_many_evaluations_at_once_give_the_loss_of_one(model):
    model.train()
    ids = np.random.default_rng(0).integers(11, size=200)

    def measured(_: int) -> float:
        return text_loss(model, ids, 8, loss=language_loss).loss

    expected = measured(0)
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(measured, range(20))) == {expected}
    assert all(module.training for module in model.modules())


def test_blocks_of_one_thread_nest(model):
    model.train()
    with evaluating(model):
        with evaluating(model.blocks[0]):
            assert not model.blocks[0].training
        assert not model.blocks[0].training and not model.training
    assert model.training and model.blocks[0].training

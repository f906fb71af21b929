"""A model that is measured is in evaluation mode, and afterwards as it was; several threads give the results of one."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygpt.autograd import is_grad_enabled
from tinygpt.blas import blas_threads
from tinygpt.data import all_windows
from tinygpt.evaluation import evaluating
from tinygpt.evaluation.language_modeling import total_loss
from tinygpt.evaluation.running import side_by_side
from tinygpt.models import GPT, GPTConfig
from tinygpt.nn import Dropout, Module
from tinygpt.training import language_loss

MODEL = GPT(GPTConfig(vocab_size=11, block_size=8, n_layer=1, n_head=2, n_embd=8, dropout=0.5))


class Two(Module):
    def __init__(self) -> None:
        self.first, self.second = Dropout(0.5), Dropout(0.5)


@pytest.mark.parametrize("modes", [(True, True), (True, False), (False, False)])
def test_each_part_is_as_it_was(modes):
    model = Two()
    model.first.training, model.second.training = modes
    model.training = True
    with evaluating(model):
        assert not any(module.training for module in model.modules())
    assert (model.first.training, model.second.training, model.training) == (*modes, True)


def test_also_after_an_error():
    model = Two()
    with pytest.raises(RuntimeError, match="broken"), evaluating(model):
        raise RuntimeError("broken")
    assert all(module.training for module in model.modules())


# -- several batches at a time -----------------------------------------------------------------------------------------


@given(st.lists(st.integers(), max_size=12), st.integers(1, 4))
def test_results_come_in_order(items, workers):
    assert list(side_by_side(lambda item: item * 2, MODEL, items, workers)) == [item * 2 for item in items]


@pytest.mark.parametrize("workers", [1, 3])
def test_a_batch_is_measured_without_tape_and_dropout_and_the_model_stays_in_training(workers):
    with np.errstate(over="ignore", divide="raise"):
        seen = list(side_by_side(lambda _: (MODEL.training, is_grad_enabled(), np.geterr()["over"],
                                            np.geterr()["divide"]), MODEL, range(6), workers))
    assert seen == [(False, False, "ignore", "raise")] * 6 and MODEL.training and is_grad_enabled()


@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_is_raised_here_and_no_thread_stays(workers):
    def measure(item: int) -> float:
        return 1 / item
    results = side_by_side(measure, MODEL, [1, 2, 0, 4, 5, 6, 7], workers)
    with pytest.raises(ZeroDivisionError):
        list(results)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("evaluation")]


def test_breaking_off_takes_no_more_batches():
    taken = []
    batches = (taken.append(i) or i for i in range(100))
    results = side_by_side(lambda item: item, MODEL, batches, 2)
    assert next(results) == 0
    results.close()
    assert len(taken) <= 4


def test_the_loss_has_the_same_bits_for_any_number_of_threads():
    tokens = np.random.default_rng(0).integers(11, size=700)
    with blas_threads(1):
        found = {total_loss(MODEL, all_windows(tokens, 8, 4), loss=language_loss, workers=n) for n in (1, 2, 5)}
    assert len(found) == 1 and found.pop()[1] == 699

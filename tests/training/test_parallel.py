"""Replicas: any number of them, and any accumulation, give the gradient of the whole batch."""

from __future__ import annotations

import contextlib
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygpt import kernels
from tinygpt.autograd import Tensor
from tinygpt.backend import manual_seed
from tinygpt.blas import blas_threads
from tinygpt.models import GPT, GPTConfig
from tinygpt.nn import Dropout, Linear, Module
from tinygpt.optim import FlatParameters
from tinygpt.training import Criterion, language_loss, parallel, turns
from tinygpt.training.parallel import Replicas, default_threads, physical_cores, split_batch
from tinygpt.training.workers import can_fork

LOSS = Criterion(language_loss)


def mean_loss(model, batch) -> Tensor:
    """The mean over what counts."""
    loss, count = LOSS.loss(model, batch)
    return loss / count


def model_of(dropout: float = 0.0, dtype: str = "float64") -> GPT:
    manual_seed(0)
    return GPT(GPTConfig(vocab_size=11, block_size=6, n_layer=1, n_head=2, n_embd=8, dropout=dropout,
                         initializer_range=0.2)).to(dtype=dtype)


def batch_of(rows: int, seed: int, weighted: bool = False) -> dict[str, np.ndarray]:
    """Rows that count anything from all of their tokens to none."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(11, size=(rows, 6))
    targets[rng.random((rows, 6)) < rng.random((rows, 1))] = -100
    targets[0, 0] = 3
    batch = {"ids": rng.integers(11, size=(rows, 6)), "targets": targets}
    return batch | ({"weights": rng.random((rows, 6)) + 0.1} if weighted else {})


def gradient_of(batch, n=1, accumulate=1, dropout=0.0, seed=0, step=0, times=1, processes=False):
    model = model_of(dropout)
    flat = FlatParameters(model)
    with Replicas(model, LOSS, flat, n, accumulate, processes=processes) as replicas:
        for _ in range(times):
            loss = replicas.gradient(batch, seed, step)
        return loss, flat.grad.copy()


@given(st.integers(1, 7), st.integers(1, 4), st.integers(1, 3), st.booleans(), st.integers(0, 99))
@settings(deadline=None, max_examples=30, derandomize=True)
def test_any_number_of_replicas_and_micro_batches_is_the_whole_batch(rows, n, accumulate, weighted, seed):
    batch = batch_of(rows, seed, weighted)
    model = model_of()
    whole = mean_loss(model, batch)
    whole.backward()
    flat = FlatParameters(model)
    loss, gradient = gradient_of(batch, n, accumulate)
    assert loss == pytest.approx(float(whole), rel=1e-10)
    np.testing.assert_allclose(gradient, flat.grad, rtol=1e-8, atol=1e-12)


@pytest.fixture
def large(monkeypatch):
    """Every model counts as large: one gradient, in pieces, and micro-batches of two rows."""
    monkeypatch.setattr(parallel, "LARGE", 0)
    monkeypatch.setattr(parallel, "MICRO", 12)
    monkeypatch.setattr(turns, "PIECE", 40)


@pytest.mark.parametrize("twins", [contextlib.nullcontext, kernels.disabled])
@pytest.mark.parametrize("rows, n, accumulate, weighted", [
    (1, 1, 1, False), (7, 1, 1, True), (2, 2, 1, False), (7, 2, 1, True), (7, 3, 5, False), (3, 5, 1, True),
    (11, 4, 2, False)])
def test_a_large_models_replicas_are_the_whole_batch_and_the_same_bits_every_time(
        large, rows, n, accumulate, weighted, twins):
    batch = batch_of(rows, rows, weighted)
    with twins():
        model = model_of()
        whole = mean_loss(model, batch)
        whole.backward()
        flat = FlatParameters(model)
        first = gradient_of(batch, n, accumulate)
        for _ in range(3):
            again = gradient_of(batch, n, accumulate, times=2)
            assert again[0] == first[0] and (again[1] == first[1]).all()
    assert first[0] == pytest.approx(float(whole), rel=1e-10)
    np.testing.assert_allclose(first[1], flat.grad, rtol=1e-8, atol=1e-12)


def test_a_large_model_has_one_gradient_and_small_micro_batches(large):
    model = model_of()
    flat = FlatParameters(model)
    seen = []

    def noted(model, batch):
        seen.append(len(batch["ids"]))
        return language_loss(model, batch)
    with Replicas(model, Criterion(noted), flat, 2) as replicas:
        assert replicas.gradients == [flat.grad] and len(replicas.models) == 2
        assert all(np.shares_memory(p.grad, flat.grad) for each in replicas.models for p in each.parameters())
        replicas.gradient(batch_of(7, 0), 0, 0)
        assert sorted(seen) == [1, 2, 2, 2]  # of 3 and 4 rows


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
@pytest.mark.parametrize("rows, n, accumulate", [(6, 2, 1), (6, 3, 2), (2, 3, 1)])
def test_processes_give_the_bits_of_threads(rows, n, accumulate):
    batch = batch_of(rows, 1, weighted=True)
    threads, processes = (gradient_of(batch, n, accumulate, dropout=0.3, times=2, processes=p) for p in (False, True))
    assert threads[0] == processes[0] and (threads[1] == processes[1]).all()


@pytest.mark.parametrize("n", [1, 2, 3])
def test_for_a_given_number_the_bits_are_the_same_every_time(n):
    batch = batch_of(6, 1)
    first, second = (gradient_of(batch, n, dropout=0.3) for _ in range(2))
    assert first[0] == second[0] and (first[1] == second[1]).all()
    again = gradient_of(batch, n, dropout=0.3, times=3)  # gradients do not pile up, masks do not move on
    assert again[0] == first[0] and (again[1] == first[1]).all()


def test_dropout_differs_by_step_by_seed_and_by_replica():
    batch = batch_of(4, 1)
    rows = {name: np.repeat(array[:1], 4, axis=0) for name, array in batch.items()}  # four times the same row
    losses = {gradient_of(rows, 2, dropout=0.5, seed=seed, step=step)[0] for seed, step in [(0, 0), (0, 1), (1, 0)]}
    assert len(losses) == 3
    half = {name: array[:2] for name, array in rows.items()}
    one, two = gradient_of(half, 1, dropout=0.5)[0], gradient_of(rows, 2, dropout=0.5)[0]
    assert abs(one - two) > 1e-9  # had both replicas dropped the same, the means would agree


def test_replicas_share_weights_and_own_their_gradients():
    model = model_of()
    model.blocks[0].attention.qkv.weight.requires_grad = False
    flat = FlatParameters(model)
    with Replicas(model, LOSS, flat, 3) as replicas:
        for replica, gradient in zip(replicas.models, replicas.gradients):
            assert type(replica) is GPT and replica.config == model.config
            for (name, p), own in zip(replica.named_parameters(), model.parameters()):
                assert p.data is own.data or np.shares_memory(p.data, own.data)
                if own.requires_grad:
                    assert np.shares_memory(p.grad, gradient), name
                else:
                    assert not p.requires_grad
        flat.data[...] = 0
        assert not any(p.data.any() for replica in replicas.models for p in replica.parameters() if p.requires_grad)
        assert len({id(gradient) for gradient in replicas.gradients}) == 3


def fails(model, batch):
    """A loss that fails in one thread only."""
    if (batch["ids"] == 7).any():
        raise RuntimeError(f"failed in {threading.current_thread().name}")
    return (model(Tensor(batch["ids"].astype(np.float32))) * 0).sum()


@pytest.mark.parametrize("row", [0, 1, 2])
def test_an_error_in_a_replica_is_raised_here_and_the_threads_end(row):
    model = Linear(1, 1)
    ids = np.zeros((3, 1), int)
    ids[row] = 7
    before = threading.active_count()
    with pytest.raises(RuntimeError, match="failed in replica"):
        with Replicas(model, Criterion(fails), FlatParameters(model), 3) as replicas:
            replicas.gradient({"ids": ids, "targets": ids}, 0, 0)
    assert threading.active_count() == before


def test_a_batch_in_which_nothing_counts_is_an_error():
    with pytest.raises(ValueError, match="training step 5: no target in the batch counts"):
        model = model_of()
        with Replicas(model, LOSS, FlatParameters(model)) as replicas:
            replicas.gradient({"ids": np.zeros((1, 2), int), "targets": np.full((1, 2), -100)}, 0, 5)


@given(st.integers(1, 20), st.integers(1, 8))
@settings(deadline=None, max_examples=50, derandomize=True)
def test_parts_are_the_rows_in_order_and_nearly_equal(rows, n):
    batch = {"ids": np.arange(rows * 2).reshape(rows, 2), "targets": np.arange(rows)}
    parts = split_batch(batch, n)
    for name, array in batch.items():
        np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), array)
    sizes = [len(part["targets"]) for part in parts]
    assert len(parts) == min(rows, n) and max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_work_is_spread_in_order_and_quietly(n):
    model = model_of()
    with Replicas(model, LOSS, FlatParameters(model), n) as replicas:
        for items in ([], [1], list(range(20))):
            parts = replicas.spread(list, items)
            assert sum(parts, []) == items and len(parts) == n
        quiet = replicas.spread(lambda part: np.geterr()["over"], [1, 2])
        assert n == 1 or quiet == ["ignore"] * n


def test_cores_and_blas():
    from threadpoolctl import threadpool_info

    assert physical_cores() >= 1
    with blas_threads(1):
        assert all(info["num_threads"] == 1 for info in threadpool_info() if info["user_api"] == "blas")


def test_dropout_layers_of_a_replica_are_its_own():
    class Drops(Module):
        def __init__(self) -> None:
            self.layer, self.dropout = Linear(1, 1), Dropout(0.5)

    model = Drops()
    with Replicas(model, LOSS, FlatParameters(model), 2) as replicas:
        assert replicas.models[1].dropout is not model.dropout


def test_processes_are_for_small_models_where_they_are_safe(monkeypatch):
    flat = FlatParameters(model_of())
    assert parallel.processes_pay(flat, 2) == can_fork()
    monkeypatch.setattr(parallel, "can_fork", lambda: True)
    assert parallel.processes_pay(flat, 2) and not parallel.processes_pay(flat, 1)
    monkeypatch.setattr(parallel, "SMALL", flat.data.nbytes - 1)
    assert not parallel.processes_pay(flat, 2)
    monkeypatch.setattr(parallel, "SMALL", flat.data.nbytes)
    monkeypatch.setattr(parallel, "can_fork", lambda: False)
    assert not parallel.processes_pay(flat, 2)


def test_default_threads():
    assert default_threads("cpu", 1) == 1 and default_threads("cpu", 10_000) == physical_cores()
    assert default_threads("cuda:0", 64) == 1

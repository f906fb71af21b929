"""What ranks do together in a step: 1 x 4, 2 x 2 and 4 x 1 ranks and threads end in the same bits."""

from __future__ import annotations

import fake_device  # noqa: F401  # registers the device "fake:0"
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thread_ranks import in_ranks

from tinygpt.backend import DeviceError, manual_seed
from tinygpt.data import WindowSampler
from tinygpt.evaluation import text_loss
from tinygpt.evaluation.running import by_the_first, side_by_side
from tinygpt.models import GPT, GPTConfig
from tinygpt.nn import Parameter
from tinygpt.optim import OPTIMIZERS, FlatParameters, Muon, flat_clipping
from tinygpt.ranks import Group
from tinygpt.training import (Criterion, Trainer, TrainingOptions, exchange, language_loss, read_checkpoint,
                              write_checkpoint)
from tinygpt.training.exchange import Exchange
from tinygpt.training.interrupt import StopSignals

IDS = np.random.default_rng(0).integers(11, size=400).astype(np.uint16)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    """Blocks and chunks that a small model has several of, and that fit no boundary of its parts."""
    for module in (exchange, flat_clipping):
        monkeypatch.setattr(module, "block_size", lambda flat: 100)
    monkeypatch.setattr(exchange, "CHUNK", 270)


def trainer_of(group: Group, threads: int, optimizer: str = "adamw", batch_size: int = 12, steps: int = 3,
               dropout: float = 0.1, seed: int = 0, fast_sum: bool = False, **rest) -> Trainer:
    # Each rank draws weights of its own: those of the first must count. (Threads share the generator.)
    model = GPT(GPTConfig(vocab_size=11, block_size=6, n_layer=1, n_head=2, n_embd=8, dropout=dropout))
    rng = np.random.default_rng(seed + group.rank)
    for parameter in model.parameters():
        parameter.data[...] = rng.normal(size=parameter.shape) * 0.2
    options = TrainingOptions(steps=steps, batch_size=batch_size, lr=0.01, threads=threads, optimizer=optimizer,
                              clip=0.5, eval_every=10, seed=3, fast_sum=fast_sum)
    return Trainer(model, Criterion(language_loss), WindowSampler(IDS, 6, batch_size, 3), options, ranks=group, **rest)


def trained(ranks: int, threads: int, **settings) -> list[tuple[bytes, list[dict]]]:
    """Weights and metrics of every rank after a few steps, and the first one's optimizer state."""
    class Metrics(list):
        def write(self, **entry):
            self.append(entry)

    def run(group: Group):
        trainer = trainer_of(group, threads, metrics=Metrics(), **settings)
        trainer.run()
        state = trainer.optimizer.state_dict()
        moments = {name: array.tobytes() for name, array in state.items()} if group.rank == 0 else None
        return trainer.optimizer.flat.data.tobytes(), list(trainer.metrics), moments
    manual_seed(0)
    return in_ranks(ranks, run)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("splits", [[(1, 4), (2, 2), (4, 1)], [(1, 6), (2, 3), (3, 2), (6, 1)], [(1, 5), (5, 1)]])
def test_the_same_bits_however_replicas_are_split_into_ranks(optimizer, splits):
    (expected, metrics, moments), = trained(*splits[0], optimizer=optimizer)
    for ranks, threads in splits[1:]:
        answers = trained(ranks, threads, optimizer=optimizer)
        assert [weights == expected for weights, _, _ in answers] == [True] * ranks
        assert [theirs == metrics for _, theirs, _ in answers] == [True] * ranks
        assert answers[0][2] == moments


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_sum_in_any_order_is_the_ordered_one_to_rounding(optimizer):
    (ordered, metrics, _), = trained(1, 6, optimizer=optimizer)
    for ranks, threads in [(2, 3), (3, 2), (6, 1)]:
        answers = trained(ranks, threads, optimizer=optimizer, fast_sum=True)
        assert len({weights for weights, _, _ in answers}) == 1, "the ranks have other weights"
        for theirs, ours in zip(answers[0][1], metrics, strict=True):
            assert theirs["loss"] == pytest.approx(ours["loss"], abs=2e-5)
            assert theirs["grad_norm"] == pytest.approx(ours["grad_norm"], rel=1e-4)
        different = answers[0][0] != ordered
    assert different, "six summands from the last to the first: this has not left the order to the group"


def test_alone_there_is_no_order_to_leave():
    assert trained(1, 3, fast_sum=True) == trained(1, 3)


@given(st.integers(1, 5), st.integers(1, 3), st.integers(5, 14), st.integers(0, 99))
@settings(deadline=None, max_examples=12, derandomize=True)
def test_any_split_any_batch(ranks, threads, batch_size, seed):
    if ranks * threads > batch_size:
        return
    settings = dict(batch_size=batch_size, steps=1, seed=seed)
    (expected, metrics, _), = trained(1, ranks * threads, **settings)
    assert all(weights == expected and theirs == metrics for weights, theirs, _ in trained(ranks, threads, **settings))


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_each_rank_has_its_part_of_the_moments(ranks):
    def moments(group: Group) -> int:
        trainer = trainer_of(group, 1, steps=1)
        trainer.run()
        return sum(array.size for pieces in trainer.optimizer.moments.values() for _, array in pieces)
    sizes, whole = in_ranks(ranks, moments), 2 * trainer_of(Group(), 1).optimizer.flat.size
    assert sum(sizes) == whole and max(sizes) <= whole / ranks + 2


@pytest.mark.parametrize("shape", ["char", "baby"])
@pytest.mark.parametrize("ranks", [2, 4, 8])
def test_muons_moments_are_equal_parts_too(shape, ranks):
    layers, width, vocabulary = dict(char=(4, 128, 65), baby=(6, 384, 65))[shape]
    sizes = {"embedding": (vocabulary, width), **{
        f"blocks.{i}.{name}": (rows * width, columns * width) for i in range(layers)
        for name, rows, columns in (("qkv.weight", 3, 1), ("out.weight", 1, 1), ("up", 4, 1), ("down", 1, 4))},
        "positions": (256 * width,)}
    muon = Muon([(name, Parameter(np.zeros(size, np.float32))) for name, size in sizes.items()])
    whole = [stretch for pieces in muon.moments.values() for stretch, _ in pieces]
    cuts, n = muon.cuts(ranks), sum(stretch.stop - stretch.start for stretch in whole)
    assert any(slot.start < cut < slot.stop for cut in cuts for slot in muon.flat.slots.values()), "no matrix is cut"
    of_ranks = [sum(max(0, min(stretch.stop, last) - max(stretch.start, first)) for stretch in whole)
                for first, last in zip(cuts, cuts[1:])]
    assert sum(of_ranks) == n and max(of_ranks) <= n / ranks + 4


def test_more_ranks_than_sequences_are_refused():
    with pytest.raises(ValueError, match="3 ranks cannot share a batch of 2"):
        in_ranks(3, lambda group: trainer_of(group, 1, batch_size=2))


def test_a_signal_to_any_rank_ends_all_after_the_same_step():
    def run(group: Group):
        trainer = trainer_of(group, 1, steps=50)
        source = trainer.source

        class Signalled:
            def batch(self, step):
                if step == 4 and group.rank == 1:
                    trainer.stop.asked = "SIGTERM"
                return source.batch(step)
        trainer.source = Signalled()
        trainer.run()
        return trainer.step, trainer.interrupted
    assert in_ranks(3, run) == [(5, "SIGTERM")] * 3


def test_the_first_ranks_figures_count_for_all():
    def run(group: Group):
        trainer = trainer_of(group, 1, steps=2, validate=lambda keep_going: {"validation_loss": 1.5 + group.rank},
                             score=lambda figures: (-figures["validation_loss"],))
        trainer.run()
        return trainer.validation, trainer.best.weights.size > 0
    assert in_ranks(2, run) == [({"validation_loss": 1.5}, True), ({"validation_loss": 1.5}, False)]


@pytest.mark.parametrize("ranks", [2, 3])
def test_batches_that_validate_are_shared_out_and_the_figures_are_those_of_one(ranks):
    def run(group: Group):
        measured: list[int] = []

        def validate(keep_going):
            def counted(model, batch):
                measured.append(len(batch["ids"]))
                return language_loss(model, batch)
            found = text_loss(trainer.model, IDS, 6, loss=counted, batch_size=8, keep_going=keep_going, workers=2)
            return {"validation_loss": found.loss, "first": by_the_first(lambda: 10.0 + group.rank)}
        trainer = trainer_of(group, 6 // group.size, steps=2, validate=validate)
        trainer.run()
        return trainer.validation, len(measured)
    (expected, n_batches), = in_ranks(1, run)
    answers = in_ranks(ranks, run)
    assert [figures for figures, _ in answers] == [expected] * ranks and expected["first"] == 10.0
    shares = [n for _, n in answers]
    assert sum(shares) == n_batches == 9 and max(shares) - min(shares) <= 2 * 2


def test_a_signal_breaks_off_the_validation_of_all():
    def run(group: Group):
        def validate(keep_going):
            n = 0
            for _ in side_by_side(lambda batch: batch, trainer.model, range(50), 1):
                n += 1
                if n == 10 and group.rank == 1:
                    trainer.stop.asked = "SIGINT"
                if not keep_going():
                    break
            seen.append(n)
            return {"validation_loss": 1.0}
        seen: list[int] = []
        trainer = trainer_of(group, 1, steps=2, validate=validate, score=lambda figures: (1.0,))
        trainer.run()
        return seen, trainer.step, trainer.interrupted, trainer.validation
    answers = in_ranks(2, run)
    assert answers[0] == answers[1] and 10 < answers[0][0][0] < 15 and answers[0][1:] == (0, "SIGINT", {})


def test_a_run_goes_on_with_another_number_of_ranks(tmp_path):
    path = tmp_path / "state.safetensors"

    def run(group: Group, resume: bool, until: int) -> bytes:
        trainer = trainer_of(group, 4 // group.size, steps=4)
        if resume and group.rank == 0:
            read_checkpoint(path).restore(trainer.model, trainer.optimizer)
        if resume:
            trainer.step = 2
        trainer.save = lambda t: write_checkpoint(path, t.model, t.optimizer, t.step, {}) if group.rank == 0 else \
            t.optimizer.state_dict()
        original = trainer.source

        class Ending:
            def batch(self, step):
                if step == until - 1:
                    trainer.stop.asked = "SIGINT"
                return original.batch(step)
        trainer.source = Ending()
        trainer.run()
        assert trainer.step == until
        return trainer.optimizer.flat.data.tobytes()
    trainer = trainer_of(Group(), 4, steps=4)
    trainer.run()
    expected = trainer.optimizer.flat.data.tobytes()
    for first, then in ((2, 4), (4, 2), (4, 1)):
        in_ranks(first, lambda group: run(group, False, 2))
        assert in_ranks(then, lambda group: run(group, True, 4)) == [expected] * then


def test_a_gpu_with_several_ranks_is_refused():
    flat = FlatParameters(GPT(GPTConfig(vocab_size=11, block_size=6, n_layer=1, n_head=2, n_embd=8)).to("fake:0"))
    with pytest.raises(DeviceError, match="2 ranks reach one another's arrays on cpu, and the model is on fake:0"):
        in_ranks(2, lambda group: Exchange(group, flat, (0, 4, flat.size), StopSignals()))

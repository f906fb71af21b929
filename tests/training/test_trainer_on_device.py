"""The training loop on the pretend GPU: the host's trajectory, and no look at the device but the reading of figures."""

from __future__ import annotations

import contextlib
import dataclasses
import math

import cuda_on_host
import fake_device
import numpy as np
import pytest

from tinygpt import backend
from tinygpt.backend import manual_seed, to_numpy
from tinygpt.data import WindowSampler
from tinygpt.models import GPT, GPTConfig
from tinygpt.training import Criterion, DivergedError, MetricsLog, Trainer, TrainingOptions, language_loss, read_metrics
from tinygpt.training.checkpoint import read_checkpoint, write_checkpoint
from tinygpt.training.trainer import READ_EVERY

SIZES = dict(vocab_size=13, block_size=8, n_layer=1, n_head=2, n_embd=8, dropout=0.1)


def trainer_of(device: str, source=None, dtype: str = "float64", dtype_: str = "float32", **options) -> Trainer:
    """The parameters are of `dtype`; `dtype_` is the option."""
    manual_seed(0)
    model = GPT(GPTConfig(**SIZES)).to(device, dtype=dtype)
    options = TrainingOptions(**{**dict(steps=25, batch_size=4, lr=0.01, seed=1, threads=1, clip=0.5,
                                        eval_every=1000, device=device, dtype=dtype_), **options})
    source = source or WindowSampler(np.random.default_rng(0).integers(13, size=200), 8, 4, options.seed)
    return Trainer(model, Criterion(language_loss), source, options)


@pytest.mark.parametrize("device", ["fake:0", "fake:1"])
@pytest.mark.parametrize("options", [{}, {"accumulate": 2}, {"threads": 2}])
def test_the_trajectory_is_the_hosts(device, options, tmp_path):
    lines = {}
    for where in ("cpu", device):
        trainer = trainer_of(where, **options)
        trainer.metrics = MetricsLog(tmp_path / f"{where[:3]}.jsonl")
        trainer.run()
        trainer.metrics.close()
        lines[where] = list(read_metrics(trainer.metrics.path))
        lines[where, "weights"] = to_numpy(trainer.optimizer.flat.data)
    assert [line["step"] for line in lines[device]] == list(range(1, 26))
    for ours, theirs in zip(lines[device], lines["cpu"], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-6, abs=2e-6)  # as the file rounds them
    np.testing.assert_allclose(lines[device, "weights"], lines["cpu", "weights"], rtol=1e-7, atol=1e-9)


def test_the_host_waits_once_for_the_figures_of_several_steps():
    trainer = trainer_of("fake:1", steps=3 * READ_EVERY)
    with fake_device.count_syncs() as count:
        trainer.run()
    assert count.syncs == 3, count.reasons
    trainer = trainer_of("fake", steps=3 * READ_EVERY, eval_every=READ_EVERY - 1, save_every=7)
    trainer.validate, trainer.save = lambda keep_going: {}, lambda trainer: None
    with fake_device.count_syncs() as count:
        trainer.run()
    pauses = {*range(READ_EVERY - 1, 30, READ_EVERY - 1), *range(7, 30, 7), 30}
    assert count.syncs == len(pauses)  # before each validation and each checkpoint


class Poisoned:
    """Good batches, until step `bad`, whose weights are infinite."""

    def __init__(self, bad: int) -> None:
        self.bad = bad

    def batch(self, step):
        ids = np.random.default_rng(step).integers(13, size=(4, 8))
        return {"ids": ids, "targets": ids, "weights": np.full((4, 8), math.inf if step == self.bad else 1.0)}


@pytest.mark.parametrize("bad", [0, 4, 5, 8, READ_EVERY - 1, READ_EVERY, 23, 24])
@pytest.mark.parametrize("what", ["save_every", "eval_every"])
def test_a_step_that_is_not_finite_is_found_before_anything_is_saved(bad, what, tmp_path):
    """However late the figures are read, the state on disk is that of the last pause before the bad step."""
    trainer = trainer_of("fake", Poisoned(bad), **{what: 6})
    path = tmp_path / "state.safetensors"
    saved = []

    def save(trainer):
        write_checkpoint(path, trainer.model, trainer.optimizer, trainer.step, {})
        saved.append(trainer.step)
    trainer.save = save
    with pytest.raises(DivergedError, match=rf"step {bad + 1}: the loss is .*last checkpoint is kept"):
        trainer.run()
    assert saved == list(range(6, bad + 1, 6))
    if saved:
        state = read_checkpoint(path)
        assert state.step == saved[-1] and all(np.isfinite(x).all() for x in state.weights().values())


@pytest.mark.parametrize("device", ["cpu", "fake"])
def test_out_of_memory_says_what_was_asked_what_is_free_and_what_to_do(device, tmp_path, monkeypatch):
    class OutOfMemoryError(MemoryError):
        """As CuPy's."""

    with_memory = dataclasses.replace(fake_device.BACKEND, memory=lambda index: (3 << 29, 80 << 30))
    monkeypatch.setitem(backend.host._BY_KIND, "fake", with_memory)
    trainer = trainer_of(device, save_every=4)
    path = tmp_path / "state.safetensors"
    trainer.save = lambda trainer: write_checkpoint(path, trainer.model, trainer.optimizer, trainer.step, {})

    def hungry(model, batch):
        if trainer.step == 6:
            raise OutOfMemoryError("Out of memory allocating 1,073,741,824 bytes (allocated so far: 5,368 bytes).")
        return language_loss(model, batch)
    trainer.criterion = Criterion(hungry)
    free = "" if device == "cpu" else "; 1.50 of its 80.00 GiB are free"
    with pytest.raises(MemoryError, match=rf"step 7: out of memory on {trainer.model.device}: .*1,073,741,824 bytes"
                                          rf".*\){free}\. The last checkpoint is kept; .*--batch-size.*--accumulate"):
        trainer.run()
    assert read_checkpoint(path).step == 4


def test_a_run_goes_on_from_a_checkpoint_on_the_device(tmp_path):
    whole = trainer_of("fake")
    whole.run()
    first = trainer_of("fake", save_every=11)
    first.save = lambda trainer: trainer.step == 11 and write_checkpoint(
        tmp_path / "state", trainer.model, trainer.optimizer, trainer.step, {})
    first.run()
    second = trainer_of("fake:1")  # another device: the state is the host's
    manual_seed(7)
    state = read_checkpoint(tmp_path / "state")
    state.restore(second.model, second.optimizer)
    second.step = state.step
    second.run()
    np.testing.assert_array_equal(to_numpy(second.optimizer.flat.data), to_numpy(whole.optimizer.flat.data))


# -- bfloat16 and TF32 ------------------------------------------------------------------------------------------------


class Losses:
    """Stands in for a metrics file."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def write(self, *, step, **figures):
        self.values += [figures["loss"]] if "loss" in figures else []


def walk() -> WindowSampler:
    """Tokens that go up by one, two or three: something to learn, down to a loss of log 3."""
    steps = np.random.default_rng(0).integers(1, 4, 2000)
    return WindowSampler(np.cumsum(steps) % 13, 8, 4, seed=1)


@pytest.mark.parametrize("products", [False, True], ids=["rules", "products"])
def test_two_hundred_steps_in_bfloat16_follow_those_in_float32(products):
    """By the rules alone, and with the products of kernels/cuda/, which a GPU always takes. The tolerance is that of
    bfloat16, whose numbers are right to 1 in 256."""
    pytest.importorskip("ml_dtypes")
    twins = cuda_on_host.on_the_pretend_device(kernels=False) if products else contextlib.nullcontext()
    losses = {}
    for device, dtype in (("cpu", "float32"), ("fake:1", "bfloat16")):
        with twins if device != "cpu" else contextlib.nullcontext():
            trainer = trainer_of(device, walk(), "float32", steps=200, dtype_=dtype)
            trainer.metrics = Losses()
            trainer.run()
        losses[dtype] = np.array(trainer.metrics.values)
        assert trainer.optimizer.flat.data.dtype == np.float32
    assert len(losses["bfloat16"]) == 200 and losses["float32"][-20:].mean() < 0.7 * losses["float32"][0]
    np.testing.assert_allclose(losses["bfloat16"], losses["float32"], rtol=1e-2)
    assert (losses["bfloat16"] != losses["float32"]).mean() > 0.9


@pytest.mark.parametrize("products", [False, True], ids=["rules", "products"])
def test_a_bfloat16_run_goes_on_to_the_bit_and_waits_no_more(products, tmp_path):
    pytest.importorskip("ml_dtypes")
    twins = cuda_on_host.on_the_pretend_device(kernels=False) if products else contextlib.nullcontext()

    def trainer(**options):
        return trainer_of("fake", walk(), "float32", dtype_="bfloat16", accumulate=2, **options)
    with twins:
        whole = trainer()
        with fake_device.count_syncs() as count:
            whole.run()
        assert count.syncs == 3
        first = trainer(save_every=11)
        first.save = lambda trainer: trainer.step == 11 and write_checkpoint(
            tmp_path / "state", trainer.model, trainer.optimizer, trainer.step, {})
        first.run()
        second = trainer()
        state = read_checkpoint(tmp_path / "state")
        assert {array.dtype for array in state.weights().values()} == {np.dtype(np.float32)}
        state.restore(second.model, second.optimizer)
        second.step = state.step
        second.run()
    np.testing.assert_array_equal(to_numpy(second.optimizer.flat.data), to_numpy(whole.optimizer.flat.data))


def test_tf32_is_allowed_while_it_trains():
    seen = []
    trainer = trainer_of("fake", walk(), "float32", tf32=True, steps=2)
    trainer.validate = lambda keep_going: seen.append(fake_device.tf32["on"]) or {}
    trainer.run()
    assert seen == [True] and not fake_device.tf32["on"]

"""The loop: replicas, accumulation, schedule, pauses, divergence, signals; and PyTorch's trajectory."""

from __future__ import annotations

import dataclasses
import math
import os
import signal
import sys

import cuda_on_host
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygpt.backend import manual_seed
from tinygpt.data import WindowSampler
from tinygpt.models import GPT, GPTConfig
from tinygpt.optim import OPTIMIZERS, AdamW
from tinygpt.training import parallel
from tinygpt.training import Criterion, DivergedError, MetricsLog, Trainer, TrainingOptions, language_loss, read_metrics
from tinygpt.training.interrupt import StopSignals

SIZES = dict(vocab_size=13, block_size=8, n_layer=2, n_head=2, n_embd=16)


def trainer_of(dtype: str = "float64", dropout: float = 0.0, source=None, hooks=None, **options) -> Trainer:
    manual_seed(0)
    model = GPT(GPTConfig(**SIZES, dropout=dropout)).to(dtype=dtype)
    options = TrainingOptions(**{**dict(steps=6, batch_size=5, lr=0.01, seed=1, threads=1), **options})
    tokens = np.random.default_rng(0).integers(13, size=200)
    source = source or WindowSampler(tokens, 8, options.batch_size, options.seed)
    return Trainer(model, Criterion(language_loss), source, options, **(hooks or {}))


def weights_after(**arguments) -> np.ndarray:
    trainer = trainer_of(**arguments)
    trainer.run()
    return trainer.optimizer.flat.data


class Unequal:
    """Batches whose rows count anything from one token to all of them."""

    def batch(self, step):
        rng = np.random.default_rng(step)
        targets = rng.integers(13, size=(5, 8))
        targets[rng.random((5, 8)) < np.linspace(0, 0.9, 5)[:, None]] = -100
        return {"ids": rng.integers(13, size=(5, 8)), "targets": targets}


@given(st.integers(1, 5), st.integers(1, 3), st.booleans())
@settings(deadline=None, max_examples=12, derandomize=True)
def test_replicas_and_accumulation_train_as_one_replica_does(threads, accumulate, unequal):
    source = Unequal() if unequal else None
    np.testing.assert_allclose(weights_after(source=source, threads=threads, accumulate=accumulate),
                               weights_after(source=source), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_number_of_threads_gives_the_same_bits_every_time(threads):
    arguments = dict(dtype="float32", dropout=0.2, threads=threads)
    np.testing.assert_array_equal(weights_after(**arguments), weights_after(**arguments))


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
@pytest.mark.parametrize("interrupt", [None, 3])
def test_processes_train_to_the_bits_of_threads_and_so_does_a_run_that_goes_on(monkeypatch, interrupt):
    """Begun with processes, and continued, in the middle, with threads: nobody can tell."""
    arguments = dict(dtype="float32", dropout=0.2, threads=2, eval_every=2,
                     hooks=dict(validate=lambda keep_going: {"validation_loss": 1.0}))
    kinds = []
    for kind in ("Processes", "Threads"):
        plain = getattr(parallel, kind)
        monkeypatch.setattr(parallel, kind, lambda *a, kind=kind, plain=plain: kinds.append(kind) or plain(*a))
    monkeypatch.setattr(parallel, "can_fork", lambda: True)  # the test runner may have threads, which never fork
    first = trainer_of(**arguments)
    if interrupt:
        first.save = lambda trainer: setattr(trainer.stop, "received", "SIGINT") if trainer.step == interrupt else None
        first.options = dataclasses.replace(first.options, save_every=interrupt)
    first.run()
    monkeypatch.setattr(parallel, "can_fork", lambda: False)
    threads = trainer_of(**arguments)
    if interrupt:
        assert first.step == interrupt
        threads.model.load_state_dict(first.model.state_dict())
        threads.optimizer.load_state_dict(first.optimizer.state_dict())
        threads.step = first.step
        expected = weights_after(**arguments)
    else:
        expected = first.optimizer.flat.data
    threads.run()
    assert kinds[:2] == ["Processes", "Threads"]
    np.testing.assert_array_equal(threads.optimizer.flat.data, expected)


def test_the_optimizer_is_the_one_that_the_options_name(monkeypatch):
    class Still(AdamW):
        """Moves nothing."""

        def step(self, *arguments, **settings):
            self.steps += 1

    monkeypatch.setitem(OPTIMIZERS, "still", Still)
    options = trainer_of().options
    object.__setattr__(options, "optimizer", "still")  # its choices were fixed before this optimizer was there
    trainer = Trainer(GPT(GPTConfig(**SIZES)), Criterion(language_loss), Unequal(), options)
    before = trainer.optimizer.flat.data.copy()
    trainer.run()
    assert type(trainer.optimizer) is Still and trainer.optimizer.steps == 6
    np.testing.assert_array_equal(trainer.optimizer.flat.data, before)
    o = trainer.options
    assert (trainer.optimizer.lr, trainer.optimizer.betas, trainer.optimizer.weight_decay) == (
        o.lr, (o.beta1, o.beta2), o.weight_decay)


def test_there_are_no_more_replicas_than_rows():
    assert trainer_of(threads=8, batch_size=3).threads == 3 and trainer_of(threads=None).threads >= 1


@pytest.mark.parametrize("threads", [1, 2])
def test_a_model_that_comes_in_eval_is_trained_with_dropout_in_every_replica(threads):
    trainer = trainer_of(dropout=0.5, threads=threads)
    trainer.model.eval()
    trainer.run()
    np.testing.assert_array_equal(trainer.optimizer.flat.data, weights_after(dropout=0.5, threads=threads))


def test_learning_rate_warms_up_and_falls_as_a_cosine():
    trainer = trainer_of(steps=50, lr=1.0, min_lr=0.2, warmup_steps=10)
    rates = [trainer.lr_at(step) for step in range(50)]
    assert rates[0] > 0 and max(rates) == pytest.approx(1.0) and rates.index(max(rates)) in (9, 10)
    assert (np.diff(rates[:10]) > 0).all() and (np.diff(rates[10:]) < 0).all() and 0.2 <= rates[-1] < 0.21
    defaults = trainer_of(steps=5000, lr=1.0)
    assert defaults.lr_at(98) < 1.0 and defaults.lr_at(100) == pytest.approx(1.0)  # a tenth, at most 100
    assert defaults.lr_at(4999) == pytest.approx(0.1, abs=1e-3)
    short = trainer_of(steps=3, warmup_steps=100)
    assert all(0 < short.lr_at(step) <= 0.01 for step in range(3))


@given(st.integers(0, 12), st.integers(1, 13), st.integers(1, 13))
@settings(deadline=None, max_examples=25, derandomize=True)
def test_validations_and_checkpoints_come_when_they_are_due_and_once_at_the_end(steps, eval_every, save_every):
    events: list[tuple[str, int]] = []
    trainer = trainer_of(steps=steps, eval_every=eval_every, save_every=save_every)

    def validate(keep_going):
        assert keep_going()
        events.append(("validate", trainer.step))
        return {"validation_loss": 1.0}

    trainer.validate, trainer.save = validate, lambda trainer: events.append(("save", trainer.step))
    trainer._train_step = lambda replicas: setattr(trainer, "step", trainer.step + 1)
    trainer.run()
    for kind, every in (("validate", eval_every), ("save", save_every)):
        assert [step for name, step in events if name == kind] == sorted({*range(every, steps, every), steps})
    assert trainer.step == steps and events[-1] == ("save", steps)


class Poisoned:
    """Good batches, until step 3, whose weights are infinite."""

    def batch(self, step):
        rng = np.random.default_rng(step)
        ids = rng.integers(13, size=(4, 8))
        return {"ids": ids, "targets": ids, "weights": np.full((4, 8), math.inf if step == 3 else 1.0)}


@pytest.mark.parametrize("threads", [1, 2])
def test_a_loss_that_is_not_finite_stops_before_it_reaches_the_weights(threads):
    saved = []
    trainer = trainer_of(source=Poisoned(), threads=threads, save_every=2, hooks=dict(
        save=lambda trainer: saved.append((trainer.step, trainer.optimizer.flat.data.copy()))))
    with pytest.raises(DivergedError, match=r"step 4: the loss is .*diverged.*last checkpoint is kept.*--lr"):
        trainer.run()
    assert [step for step, _ in saved] == [2] and trainer.step == 3
    assert np.isfinite(trainer.optimizer.flat.data).all()


def test_a_learning_rate_out_of_all_bounds_diverges_without_further_noise():
    trainer = trainer_of(dtype="float32", lr=1e18, warmup_steps=0, steps=50, clip=1e30)
    with pytest.raises(DivergedError):
        trainer.run()


def test_a_validation_loss_that_is_not_finite_stops_before_it_is_saved():
    saved = []
    trainer = trainer_of(eval_every=4, save_every=2, hooks=dict(
        validate=lambda keep_going: {"validation_loss": math.nan}, save=lambda trainer: saved.append(trainer.step)))
    with pytest.raises(DivergedError, match="step 4: the validation loss is nan; training has diverged"):
        trainer.run()
    assert saved == [2]


def test_metrics_hold_every_step_and_validation(tmp_path):
    trainer = trainer_of(eval_every=4, hooks=dict(
        validate=lambda keep_going: {"validation_loss": 2.0, "bits_per_byte": 1.5},
        metrics=MetricsLog(tmp_path / "metrics.jsonl")))
    trainer.run()
    trainer.metrics.close()
    entries = list(read_metrics(tmp_path / "metrics.jsonl"))
    assert [e["step"] for e in entries if "loss" in e] == [1, 2, 3, 4, 5, 6]
    assert [(e["step"], e["bits_per_byte"]) for e in entries if "validation_loss" in e] == [(4, 1.5), (6, 1.5)]
    assert all(e["lr"] > 0 and e["grad_norm"] > 0 for e in entries if "loss" in e)
    assert trainer.validation == {"validation_loss": 2.0, "bits_per_byte": 1.5}


# -- signals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_step_saves_and_leaves(number):
    class Source(Unequal):
        def batch(self, step):
            if step == 2:
                os.kill(os.getpid(), number)
            return super().batch(step)

    saved, before = [], [signal.getsignal(n) for n in StopSignals.SIGNALS]
    trainer = trainer_of(source=Source(), steps=100, hooks=dict(
        save=lambda trainer: saved.append(trainer.step), validate=lambda keep_going: pytest.fail("validates")))
    trainer.run()
    assert trainer.step == 3 and saved == [3] and trainer.interrupted == number.name
    assert [signal.getsignal(n) for n in StopSignals.SIGNALS] == before


def test_a_signal_breaks_off_a_validation_whose_figures_do_not_count():
    def validate(keep_going):
        os.kill(os.getpid(), signal.SIGINT)
        assert not keep_going()
        return {"validation_loss": 0.0}

    saved = []
    trainer = trainer_of(eval_every=2, hooks=dict(validate=validate, save=lambda trainer: saved.append(trainer.step)))
    trainer.run()
    assert trainer.step == 2 and saved == [2] and trainer.validation == {} and trainer.interrupted == "SIGINT"


def test_the_second_signal_works_as_ever(request):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    with StopSignals() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.received == "SIGINT"
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            signal.pause()


# -- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given_, message", [
    (dict(steps=-1), "steps must be at least 0, got -1"),
    (dict(batch_size=0), "batch_size must be at least 1, got 0"),
    (dict(accumulate=0), "accumulate must be at least 1"),
    (dict(eval_every=0), "eval_every must be at least 1"),
    (dict(save_every=0), "save_every must be at least 1"),
    (dict(threads=0), "threads must be at least 1"),
    (dict(seed=-1), "seed must be at least 0"),
    (dict(warmup_steps=-1), "warmup_steps must be at least 0"),
    (dict(lr=-1.0), "lr must be at least 0, got -1.0"),
    (dict(lr=math.nan), "lr must be at least 0, got nan"),
    (dict(lr=math.inf), "lr must be at least 0"),
    (dict(lr=1e-4, min_lr=1e-3), "min_lr 0.001 is more than lr 0.0001"),
    (dict(beta1=1.0), "beta1 must be at least 0 and less than 1"),
    (dict(weight_decay=-0.1), "weight_decay must be at least 0"),
    (dict(clip=0.0), "clip must be more than 0"),
    (dict(clip=math.nan), "clip must be more than 0"),
    (dict(dtype="bfloat16"), "bfloat16 needs a GPU"),
    (dict(tf32=True), "tf32 needs a GPU"),
    (dict(dtype="float16"), "dtype must be one of float32, bfloat16, got 'float16'"),
])
def test_options_outside_their_range_are_named(given_, message):
    with pytest.raises(ValueError, match=message):
        TrainingOptions(**given_)


# -- PyTorch ----------------------------------------------------------------------------------------------------------


def torch_gpt(torch, c):
    """nanoGPT's model, without biases, with exact GELU and no dropout."""
    nn, F = torch.nn, torch.nn.functional

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.ln_1, self.ln_2 = nn.LayerNorm(c.n_embd, bias=False), nn.LayerNorm(c.n_embd, bias=False)
            self.c_attn = nn.Linear(c.n_embd, 3 * c.n_embd, bias=False)
            self.c_proj = nn.Linear(c.n_embd, c.n_embd, bias=False)
            self.c_fc = nn.Linear(c.n_embd, 4 * c.n_embd, bias=False)
            self.mlp_proj = nn.Linear(4 * c.n_embd, c.n_embd, bias=False)

        def forward(self, x):
            b, t, _ = x.shape
            q, k, v = (part.view(b, t, c.n_head, -1).transpose(1, 2)
                       for part in self.c_attn(self.ln_1(x)).split(c.n_embd, dim=2))
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.c_proj(y.transpose(1, 2).reshape(b, t, c.n_embd))
            return x + self.mlp_proj(F.gelu(self.c_fc(self.ln_2(x))))

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.wte, self.wpe = nn.Embedding(c.vocab_size, c.n_embd), nn.Embedding(c.block_size, c.n_embd)
            self.h = nn.ModuleList(Block() for _ in range(c.n_layer))
            self.ln_f = nn.LayerNorm(c.n_embd, bias=False)

        def forward(self, ids, targets):
            x = self.wte(ids) + self.wpe(torch.arange(ids.shape[1]))
            for block in self.h:
                x = block(x)
            logits = self.ln_f(x) @ self.wte.weight.T
            return F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    return Model()


THEIRS = {"token_embedding": "wte", "positions": "wpe", "norm": "ln_f", "blocks": "h",
          "attention_norm": "ln_1", "feed_forward_norm": "ln_2", "attention.qkv": "c_attn", "attention.out": "c_proj",
          "feed_forward.up": "c_fc", "feed_forward.down": "mlp_proj"}


def their_name(name: str) -> str:
    parts = name.removesuffix(".weight").split(".", 2)
    if parts[0] != "blocks":
        return f"{THEIRS[parts[0]]}.weight"
    return f"h.{parts[1]}.{THEIRS[parts[2]]}.weight"


RECIPE = GPTConfig(vocab_size=65, block_size=32, n_layer=3, n_head=4, n_embd=64, bias=False, activation="gelu")


def markov_source() -> WindowSampler:
    """A text with something to learn in it: each letter is one of four that may follow the one before."""
    rng = np.random.default_rng(0)
    follows, tokens = rng.integers(65, size=(65, 4)), [0]
    for choice in rng.integers(4, size=4000):
        tokens.append(int(follows[tokens[-1], choice]))
    return WindowSampler(np.array(tokens), 32, 12, seed=3)


def recipe_model() -> GPT:
    manual_seed(5)
    return GPT(RECIPE)


def losses_of_torch(steps: int = 100, bfloat16: bool = False) -> list[float]:
    """nanoGPT's training loop on `markov_source` from the weights of `recipe_model`: AdamW with decay on matrices but,
    as here and unlike there, not on positions; warmup, clipping at 1; and if asked, its autocast to bfloat16."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    model, source = torch_gpt(torch, RECIPE), markov_source()
    with torch.no_grad():
        for name, p in recipe_model().named_parameters():
            model.get_parameter(their_name(name)).copy_(torch.tensor(p.data))
    decayed = [p for name, p in model.named_parameters() if p.dim() >= 2 and name != "wpe.weight"]
    others = [p for name, p in model.named_parameters() if p.dim() < 2 or name == "wpe.weight"]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}],
                                  lr=1e-3, betas=(0.9, 0.99))
    losses = []
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * (step + 1) / 51 if step < 50 else \
                1e-4 + 0.5 * (1 + math.cos(math.pi * (step - 50) / 150)) * (1e-3 - 1e-4)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
            loss = model(**{name: torch.tensor(array) for name, array in source.batch(step).items()})
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.fixture(scope="module")
def torch_losses() -> list[float]:
    return losses_of_torch()


@pytest.mark.oracle
@pytest.mark.parametrize("threads", [1, 2])
def test_the_first_hundred_steps_are_pytorchs(threads, torch_losses, tmp_path):
    """Equal initial weights and batches, float32: every loss within 1e-3. nanoGPT's recipe at half its CPU size."""
    class First100:
        source = markov_source()

        def batch(self, step):
            if step == 99:
                os.kill(os.getpid(), signal.SIGINT)  # 200 steps set the schedule, 100 are enough
            return self.source.batch(step)

    log = MetricsLog(tmp_path / "metrics.jsonl")
    Trainer(recipe_model(), Criterion(language_loss), First100(), TrainingOptions(
        steps=200, batch_size=12, lr=1e-3, min_lr=1e-4, warmup_steps=50, beta2=0.99, weight_decay=0.1, clip=1.0,
        seed=3, threads=threads), metrics=log).run()
    log.close()
    losses = [entry["loss"] for entry in read_metrics(tmp_path / "metrics.jsonl")]
    assert len(losses) == 100 and losses[-1] < losses[0] - 0.5
    np.testing.assert_allclose(losses, torch_losses, rtol=0, atol=1e-3)


@pytest.mark.oracle
def test_the_first_steps_in_bfloat16_are_those_of_pytorchs_autocast():
    """PyTorch's on the CPU, ours on the pretend GPU with the products of a real one, from equal weights and batches:
    every loss within bfloat16's 1e-2. PyTorch keeps the residual stream in float32, and rounds weight gradients."""
    pytest.importorskip("ml_dtypes")
    expected = losses_of_torch(60, bfloat16=True)

    class Losses(list):
        def write(self, *, step, **figures):
            self.append(figures["loss"])
            if step == 60:
                os.kill(os.getpid(), signal.SIGINT)
    log = Losses()
    with cuda_on_host.on_the_pretend_device(kernels=False):
        trainer = Trainer(recipe_model().to("fake"), Criterion(language_loss), markov_source(), TrainingOptions(
            steps=200, batch_size=12, lr=1e-3, min_lr=1e-4, warmup_steps=50, beta2=0.99, weight_decay=0.1, clip=1.0,
            seed=3, device="fake", dtype="bfloat16"), metrics=log)
        trainer.run()
    assert len(log) == 60 and log[-1] < log[0] - 0.3
    np.testing.assert_allclose(log, expected, rtol=0, atol=1e-2)

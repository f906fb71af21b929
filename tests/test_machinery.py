"""What stands in the book's place gives the book's numbers: steps of training, texts, and the table of machinery.py."""

from __future__ import annotations

import ast
import functools
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from test_book import BOOK, THIS_FOLDER

import tinygpt
from tinygpt import autograd, generation, machinery, models, nn, ops, optim, placement, tokenizers, training
from tinygpt.autograd import OPS, Engine, Operation, Tensor
from tinygpt.backend import host, manual_seed
from tinygpt.engine import dispatch, no_grad
from tinygpt.engine.deferred import Deferred
from tinygpt.engine.dispatch import Dispatch, Twin, twins_of
from tinygpt.generation import decode, left_pad, loop
from tinygpt.generation.sampling import filter_logits, row_generators, sample, sampler
from tinygpt.machinery import by_the_book
from tinygpt.models import (BERT, GPT, BERTConfig, EncoderDecoder, EncoderDecoderConfig, GPTConfig, RecurrentConfig,
                            RecurrentLM, causal, decoder)
from tinygpt.models.bert import MaskedLMHead
from tinygpt.models.kinds import FEED_FORWARDS, MASKS, NORMS, POSITIONS
from tinygpt.models.layout import LAYOUTS
from tinygpt.nn import CachedSight, FeedForward, FusedFeedForward, GatedFeedForward, MixtureOfExperts, Module
from tinygpt.nn.experts import Routing
from tinygpt.ops import ACTIVATIONS, numpy_functions
from tinygpt.optim import OPTIMIZERS, FlatParameters, adamw, flat_adamw
from tinygpt.optim.flat_parameter import FlatParameter
from tinygpt.training import Criterion, Trainer, TrainingOptions, language_loss, run, trainer
from tinygpt.training.loop import train
from tinygpt.training.objectives import KINDS

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "tinygpt"

# -- the book's engine ------------------------------------------------------------------------------------------------


@pytest.fixture
def asked():
    """Fills with a word for each call of `exp` that reaches the twins."""
    calls: list[str] = []

    def twin(x):
        calls.append("exp")
        return NotImplemented

    twins_of(OPS["exp"]).append(Twin(twin, "cpu"))
    yield calls
    twins_of(OPS["exp"]).pop()


def test_by_the_book_no_twin_is_asked(asked):
    ops.exp(Tensor([1.0]))
    assert len(asked) == 1
    with by_the_book():
        ops.exp(Tensor([1.0]))
    assert len(asked) == 1


def test_after_the_book_the_engine_is_the_one_before(asked):
    engine = Operation.engine
    with pytest.raises(KeyError), by_the_book():
        with by_the_book():
            pass
        assert type(Operation.engine) is Engine
        raise KeyError
    assert Operation.engine is engine


def test_blocks_of_two_threads_wait_for_each_other():
    engine, entered = Operation.engine, threading.Event()

    def other():
        with by_the_book():
            entered.set()

    thread = threading.Thread(target=other)
    with by_the_book():
        thread.start()
        assert not entered.wait(0.05)
    thread.join()
    assert entered.is_set() and Operation.engine is engine


# -- the models and what they learn -----------------------------------------------------------------------------------

# 6 · 8 · 64 = 3,072 numbers between the matrices of a feed-forward layer: the twins leave less than 2,048 to the rules.
ROWS, TIME, VOCABULARY = 6, 8, 13
SIZES = dict(vocab_size=VOCABULARY, block_size=TIME, n_layer=2, n_head=2, n_embd=16, n_inner=64, initializer_range=0.1,
             pad_token_id=0)
STEPS = 20


class Case(NamedTuple):
    """A model, and the kind of training (a row of `KINDS`) that it gets."""

    kind: str
    model: Callable[[], Any]
    weighted: bool = False


def gpt(architecture: str = "gpt2", **options: Any) -> Callable[[], Any]:
    return lambda: GPT(GPTConfig(**SIZES | options, architecture=architecture))


def bert(architecture: str, **options: Any) -> Callable[[], Any]:
    return lambda: BERT(BERTConfig(**SIZES | dict(head="masked_lm", block_size=TIME + 1) | options,
                                   architecture=architecture))


def encoder_decoder(architecture: str, **options: Any) -> Callable[[], Any]:
    return lambda: EncoderDecoder(EncoderDecoderConfig(**SIZES | options, architecture=architecture))


def recurrent(architecture: str) -> Callable[[], Any]:
    return lambda: RecurrentLM(RecurrentConfig(vocab_size=VOCABULARY, block_size=TIME, n_layer=2, n_embd=16,
                                               architecture=architecture))


LABELS = dict(head="classification", n_labels=3)
CASES = {
    "gpt2": Case("causal", gpt()),
    "gpt2, weighted": Case("causal", gpt(), weighted=True),
    "gpt2, dropout": Case("causal", gpt(dropout=0.2)),
    "gpt2, relu2, no biases": Case("causal", gpt(activation="relu2", bias=False)),
    "gpt2, alibi": Case("causal", gpt(positions="alibi", activation="relu")),
    "gpt2, alibi, window": Case("causal", gpt(positions="alibi", window=3)),
    "gpt2, sinusoidal": Case("causal", gpt(positions="sinusoidal", activation="gelu")),
    "gpt2, gated": Case("causal", gpt(feed_forward="gated", activation="gelu_tanh")),
    "llama": Case("causal", gpt("llama", tie_word_embeddings=False, n_kv_head=1)),
    "mistral": Case("causal", gpt("mistral", window=3)),
    "mixtral": Case("causal", gpt("mixtral", n_experts=4, router_aux_loss_coef=0.1)),
    "qwen2": Case("causal", gpt("qwen2", n_kv_head=1)),
    "qwen3": Case("causal", gpt("qwen3", n_kv_head=1, head_dim=10)),
    "olmo2": Case("causal", gpt("olmo2", n_kv_head=1)),
    "smollm3": Case("causal", gpt("smollm3", layers=("full", "still"))),
    "gpt_neox": Case("causal", gpt("gpt_neox", rotary_share=0.5)),
    "gemma3_text": Case("causal", gpt("gemma3_text", layers=("window", "full"), window=3, local_rope_theta=100.0,
                                      attention_scale=0.3)),
    "distilbert": Case("masked", bert("distilbert")),
    "xlm-roberta": Case("masked", bert("xlm-roberta")),
    "labels, distilbert": Case("classification", bert("distilbert", **LABELS)),
    "bert": Case("masked", bert("bert")),
    "roberta": Case("masked", bert("roberta", tie_word_embeddings=False)),
    "marian": Case("seq2seq", encoder_decoder("marian")),
    "marian, silu, dropout": Case("translation", encoder_decoder("marian", activation="silu", dropout=0.2)),
    "bart": Case("seq2seq", encoder_decoder("bart", tie_word_embeddings=False)),
    "t5": Case("seq2seq", encoder_decoder("t5", relative_buckets=4, relative_distance=6)),
    "bart, translation": Case("translation", encoder_decoder("bart")),
    "labels, bert": Case("classification", bert("bert", **LABELS)),
    "labels, roberta": Case("classification", bert("roberta", **LABELS)),
    "labels, gpt2": Case("classification", gpt(**LABELS)),
    "instructions, gpt2": Case("instruction", gpt()),
    "instructions, llama": Case("instruction", gpt("llama")),
    "instructions, alibi": Case("instruction", gpt(positions="alibi")),
    **{name: Case("causal", recurrent(name)) for name in RecurrentConfig.ARCHITECTURES},
}


class Batches:
    """Three batches in turn, so that there is something to learn, with padding where the kind has any."""

    def __init__(self, case: Case) -> None:
        self.case = case

    def batch(self, step: int) -> dict[str, np.ndarray]:
        kind, rng = self.case.kind, np.random.default_rng([7, step % 3])
        text = rng.integers(3, VOCABULARY, size=(ROWS, TIME + 1))
        ids, lengths = text[:, :-1], rng.integers(TIME // 2, TIME + 1, size=(ROWS, 1))
        inside = np.arange(TIME) < lengths
        batch = {"ids": np.where(inside, ids, 0), "attention_mask": inside.astype(np.int64)}
        if kind == "causal":
            batch = {"ids": ids, "targets": text[:, 1:]}
        elif kind == "instruction":  # the question, the first half, is read and not learnt
            batch["targets"] = np.where(inside & (np.arange(TIME) >= TIME // 2 - 1), text[:, 1:], -100)
        elif kind == "masked":
            hidden = inside & (rng.random(ids.shape) < 0.3)
            batch |= {"ids": np.where(hidden, 2, batch["ids"]), "targets": np.where(hidden, ids, -100)}
        elif kind == "classification":
            batch["targets"] = rng.integers(3, size=ROWS)
        else:
            batch["targets"] = np.where(inside, ids[:, ::-1], -100)[:, :TIME - 2]
        if self.case.weighted:
            batch["weights"] = rng.random(batch["targets"].shape)
        return batch


# -- by the book ------------------------------------------------------------------------------------------------------


class PlainHead(MaskedLMHead):
    def forward(self, x: Tensor) -> Tensor:
        return self.norm(ACTIVATIONS[self.activation](self.dense(x)))


class PlainGated(GatedFeedForward):
    def forward(self, x: Tensor) -> Tensor:
        return self.down(ACTIVATIONS[self.activation](self.gate(x)) * self.up(x))


class EveryExpert(MixtureOfExperts):
    """All experts work on all tokens; those that are not among a token's best weigh nothing."""

    def forward(self, x: Tensor) -> Tensor:
        p = ops.softmax(self.router(x))  # (B, T, E)
        best = p.data >= np.sort(p.data, axis=-1)[..., -self.n_experts_per_token, None]  # (B, T, E)
        weights = p * best
        weights = weights / weights.sum(axis=-1, keepdims=True)
        if self.training:
            self.routing = Routing(best.mean(axis=(0, 1)), p.mean(axis=(0, 1)))
        return ops.stack([expert(x) * weights[..., e:e + 1] for e, expert in enumerate(self.experts)]).sum(axis=0)


PLAIN = {FusedFeedForward: FeedForward, GatedFeedForward: PlainGated, MixtureOfExperts: EveryExpert,
         MaskedLMHead: PlainHead}


class ByTheBook:
    """The textbook's loss: the cross entropy of all logits, those of −100 not counted; and what experts ask for."""

    def loss(self, model: Any, batch: dict[str, np.ndarray]) -> tuple[Tensor, float]:
        inputs, targets = [batch["ids"]], batch["targets"]
        if isinstance(model, EncoderDecoder):
            c, read = model.config, targets.copy()
            read[:, 1:] = np.where(targets == -100, c.pad_token_id, targets)[:, :-1]
            read[:, 0] = c.decoder_start_token_id
            inputs.append(read)
        logits = model(*inputs, batch.get("attention_mask"))
        loss = ops.cross_entropy(logits, targets, batch.get("weights"), reduction="sum")
        count = float(np.sum(batch.get("weights", np.ones(targets.shape))[targets != -100]))
        asked = getattr(model, "auxiliary_loss", None)
        return (loss if asked is None else loss + asked * count), count


# -- the same steps ---------------------------------------------------------------------------------------------------

OPTIONS: dict[str, Any] = dict(steps=20, batch_size=ROWS, lr=0.01, warmup_steps=3, weight_decay=0.1, clip=0.5, seed=1)


class Run(NamedTuple):
    """The losses of all steps, and the weights before and after them."""

    losses: list[float]
    start: dict[str, np.ndarray]
    end: dict[str, np.ndarray]


class Watcher:
    """Progress that keeps the losses of all steps, unrounded."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def resume_clock(self) -> None:
        pass

    def lap(self) -> float:
        return 0.0

    def step(self, step: int, loss: float, *figures: float) -> dict[str, float]:
        self.losses.append(loss)
        return {}


def new_model(case: Case, dtype: str) -> Any:
    manual_seed(0)
    return case.model().to(dtype=dtype)


def new_trainer(case: Case, dtype: str, **options: Any) -> Trainer:
    criterion = Criterion(KINDS[case.kind].objective.data_loss)
    return Trainer(new_model(case, dtype), criterion, Batches(case), TrainingOptions(**OPTIONS | options))


def weights_of(model: Any) -> dict[str, np.ndarray]:
    return {name: array.copy() for name, array in model.state_dict().items()}


def by_machinery(case: Case, dtype: str, **options: Any) -> Run:
    """Twins, flat buffer, fused losses, replicas: the Trainer."""
    made, watcher = new_trainer(case, dtype, **options), Watcher()
    made.progress = watcher  # type: ignore[assignment]
    start = weights_of(made.model)
    made.run()
    return Run(watcher.losses, start, weights_of(made.model))


@functools.cache
def by_textbook(name: str, dtype: str) -> Run:
    """Rules alone, plain layers, the book's AdamW, clipping and loop, the loss of all logits."""
    case, options = CASES[name], TrainingOptions(**OPTIONS)
    model, lr_at = new_model(case, dtype), new_trainer(case, dtype).lr_at
    for module in model.modules():
        module.__class__ = PLAIN.get(type(module), type(module))
    start = weights_of(model)
    optimizer = adamw.AdamW(model.named_parameters(), betas=(options.beta1, options.beta2),
                            weight_decay=options.weight_decay)
    with by_the_book():
        losses = list(train(model, ByTheBook(), Batches(case).batch, optimizer, lr_at, options.steps,
                            clip=options.clip, seed=options.seed))
    assert not any(type(parameter) is FlatParameter for parameter in model.parameters())
    return Run(losses, start, weights_of(model))


def without_key_biases(name: str, weights: np.ndarray) -> np.ndarray:
    """Zeros for the biases of keys. They add one number to all scores of a query, which the softmax takes away again:
    their gradient is zero, and what they get instead is rounding."""
    if name.endswith(("attention.qkv.bias", "attention.kv.bias")):
        weights = weights.copy()
        queries = len(weights) // 3 if name.endswith("qkv.bias") else 0
        weights[queries:queries + SIZES["n_embd"]] = 0
    return weights


def assert_same_run(found: Run, expected: Run, dtype: str) -> None:
    """float64: the same sums in another order. A loss is off by some roundings of 1e-16. AdamW divides each gradient by
    its own size + 1e-8, and so turns a rounding of 1e-17 where the gradient is zero (the biases of keys) into 1e-9 of
    a step of 0.01, and 20 steps of these make 2e-10; 1e-9 of each array's largest weight bounds all of them.

    float32: roundings of 6e-8 instead. Gradients of 1e-5 have errors of a thousandth then, and what AdamW makes of them
    moves by as much of a step: 1e-5 of a weight, in the worst case seen 1e-4. The biases of keys get nothing but
    rounding and may be off by whole steps, which no loss notices; they are left out.
    """
    exact = dtype == "float64"
    np.testing.assert_allclose(found.losses, expected.losses, rtol=1e-12 if exact else 1e-5)
    for name, weights in expected.end.items():
        np.testing.assert_array_equal(found.start[name], expected.start[name], err_msg=name)
        ours = found.end[name] if exact else without_key_biases(name, found.end[name])
        weights = weights if exact else without_key_biases(name, weights)
        np.testing.assert_allclose(ours, weights, rtol=0, atol=(1e-9 if exact else 1e-3) * np.abs(weights).max(),
                                   err_msg=name)
    assert expected.losses[-1] < 0.95 * expected.losses[0]  # there was something to learn


@pytest.mark.parametrize("name", CASES)
def test_in_float64_it_takes_the_books_steps(name):
    assert_same_run(by_machinery(CASES[name], "float64", threads=1), by_textbook(name, "float64"), "float64")


# Replicas drop other elements than one model, and the balance of experts is one of a replica's own tokens.
@pytest.mark.parametrize("name", [name for name in CASES if "dropout" not in name and name != "mixtral"])
def test_two_replicas_with_micro_batches_take_the_books_steps(name):
    found = by_machinery(CASES[name], "float64", threads=2, accumulate=2)
    assert_same_run(found, by_textbook(name, "float64"), "float64")


# Where two experts tie but for rounding, float32 may choose another one, and then all that follows differs.
@pytest.mark.parametrize("name", [name for name in CASES if name != "mixtral"])
def test_in_float32_it_takes_the_books_steps(name):
    assert_same_run(by_machinery(CASES[name], "float32", threads=1), by_textbook(name, "float32"), "float32")


def test_every_part_and_every_objective_is_compared():
    """A new row of any of these tables fails here until it has a case above. The methods of align learn by losses that
    are put together from the same operations; tests/training/test_alignment.py has them."""
    made = [(case.kind, case.model().config) for case in CASES.values()]
    configs = [config for _, config in made if not isinstance(config, RecurrentConfig)]
    assert {kind for kind, _ in made} == {name for name, row in KINDS.items() if row.command != "align"}
    assert {config.architecture for config in configs} == set(LAYOUTS)
    for name, table in (("positions", POSITIONS), ("mask", MASKS), ("norm", NORMS), ("feed_forward", FEED_FORWARDS),
                        ("activation", ACTIVATIONS)):
        assert {getattr(config, name) for config in configs} == set(table), name


def test_every_optimizer_is_compared():
    """AdamW above; Muon with its formula, by singular values in float64, in tests/optim/test_muon.py."""
    assert set(OPTIMIZERS) == {"adamw", "muon"}
    assert "def by_decomposition" in (ROOT / "tests/optim/test_muon.py").read_text(encoding="utf-8")


def watched_twins(monkeypatch: pytest.MonkeyPatch, recorded: bool) -> tuple[set[str], set[str]]:
    """(the twins for the CPU, those of them that have served since). Those of activations alone are left out: a
    feed-forward layer's twin has them inside."""
    there: set[str] = set()
    served: set[str] = set()

    def watched(function: Callable[..., Any]) -> Callable[..., Any]:
        def twin(*arrays: Any, **settings: Any) -> Any:
            result = function(*arrays, **settings)
            served.update([function.__name__] if result is not NotImplemented else [])
            return result
        return twin

    for operation in OPS.values():
        for twin in twins_of(operation):
            if twin.device == "cpu" and twin.recorded == recorded and operation.name not in ACTIVATIONS:
                there.add(twin.function.__name__)
                monkeypatch.setattr(twin, "function", watched(twin.function))
    return there, served


def test_the_steps_go_by_the_twins(monkeypatch):
    """Every twin that training has serves in some case, so that the steps above compare them all."""
    there, served = watched_twins(monkeypatch, recorded=True)
    for case in CASES.values():
        criterion = Criterion(KINDS[case.kind].objective.data_loss)
        criterion.loss(new_model(case, "float32").train(), Batches(case).batch(0))[0].backward()
    assert there and served == there


# -- the same texts ---------------------------------------------------------------------------------------------------

WRITERS = {
    "gpt2": gpt(), "llama": gpt("llama", n_kv_head=1), "mistral": gpt("mistral", window=3),
    "alibi": gpt(positions="alibi"), "alibi, window": gpt(positions="alibi", window=3),
    "sinusoidal": gpt(positions="sinusoidal"), "mixtral": gpt("mixtral", n_experts=4),
}
CHOICES = {"greedy": dict(temperature=0.0), "sampled": {}, "filtered": dict(temperature=1.3, top_k=9, top_p=0.8)}
PROMPTS = [[3, 1, 4, 1, 5], [2], [7, 1, 8]]


def writer(name: str) -> tuple[GPT, GPT]:
    """(to write by the book, to write by the machinery), in float64: two tokens do not tie to its rounding."""
    made = []
    for _ in range(2):
        manual_seed(0)
        made.append(WRITERS[name]().to(dtype="float64").eval())
    for parameter, same in zip(made[0].parameters(), made[1].parameters(), strict=True):
        parameter.data = same.data = parameter.data * 3  # logits that tell tokens apart
    for module in made[0].modules():
        module.__class__ = PLAIN.get(type(module), type(module))
    return made[0], made[1]


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("name", WRITERS)
def test_it_writes_the_books_texts(name, choice):
    """With a cache, up to the end of the context and beyond, where the window of what is seen slides."""
    book, public = writer(name)
    ids, settings = np.array([PROMPTS[0], PROMPTS[0][::-1]]), CHOICES[choice]
    with by_the_book():
        expected = loop.generate(book, ids, 12, sampler(seed=1, **settings))
    np.testing.assert_array_equal(public.generate(ids, 12, seed=1, **settings), expected)
    np.testing.assert_array_equal(public.generate(ids[:1], 12, seed=1, **settings), expected[:1])  # other twins
    assert len(np.unique(expected[:, 5:])) > 3


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("name", WRITERS)
def test_a_padded_batch_writes_what_the_book_writes_for_each_row(name, choice):
    book, public = writer(name)
    ids, mask = left_pad(PROMPTS)
    settings: dict[str, Any] = CHOICES[choice]
    found = public.generate(ids, 12, seed=1, attention_mask=mask, **settings)
    for row, prompt in enumerate(PROMPTS):
        own = [row_generators(1, len(PROMPTS))[row]]
        choose = sampler(temperature=0.0) if choice == "greedy" else lambda logits, own=own: sample(
            filter_logits(logits, settings), own)
        with by_the_book():
            expected = loop.generate(book, [prompt], 12, choose)[0]
        np.testing.assert_array_equal(found[row, ids.shape[1] - len(prompt):], expected, err_msg=f"row {row}")


def test_the_texts_go_by_the_twins(monkeypatch):
    """As for training: every twin that is for writing alone serves in some case."""
    there, served = watched_twins(monkeypatch, recorded=False)
    for name in WRITERS:
        writer(name)[1].generate(np.array(PROMPTS[:1]), 3, seed=1)
    assert there and served == there


# -- the table --------------------------------------------------------------------------------------------------------


def table() -> list[list[str]]:
    """The rows of the table of machinery.py: the book, in its place, why, compared by."""
    lines = [line for line in (machinery.__doc__ or "").splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def defined(file: Path) -> set[str]:
    """The names at the top level of a file."""
    found = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            found.add(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


@pytest.mark.parametrize("row", table(), ids=lambda row: row[0])
def test_what_the_table_names_is_there(row):
    book, place, why, test = row
    for name in re.findall(r"`(\w+)", book):
        assert any(name in defined(PACKAGE / file) for file in BOOK), f"the book has no {name}"
    said = re.fullmatch(r"([\w/]+\.py): `(\w+)`", place)
    assert said and said[2] in defined(PACKAGE / said[1]), f"there is no {place}"
    assert said[1] not in BOOK and why
    assert re.fullmatch(r"tests/[\w/]+\.py", test) and (ROOT / test).is_file(), f"there is no {test}"


def small() -> GPT:
    return GPT(GPTConfig(vocab_size=7, block_size=4, n_layer=1, n_head=1, n_embd=4))


def operations_of(function: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the operations that a function calls."""
    names: list[str] = []

    class Listener(Dispatch):
        def run(self, operation, arrays, settings, recorded):
            names.append(operation.name)
            return super().run(operation, arrays, settings, recorded)

    with monkeypatch.context() as patch:
        patch.setattr(Operation, "engine", Listener())
        function()
    return names


def sights_of(model: GPT, monkeypatch: pytest.MonkeyPatch) -> set[type]:
    """The classes of what the attention layers of a model see."""
    seen: set[type] = set()
    attention = type(model.blocks[0].attention)
    forward = attention.forward
    with monkeypatch.context() as patch:
        patch.setattr(attention, "forward", lambda self, x, sight: seen.add(type(sight)) or forward(self, x, sight))
        model(np.zeros((1, 2), int))
    return seen


def gradient_of_a_weight() -> Any:
    x = np.ones((2, 3))
    _, backward = Operation.engine.run(OPS["linear"], [x, x, None], {}, True)
    return backward(np.ones((2, 2)))[1]


def flat_parameters() -> Any:
    model = small()
    FlatParameters(model)
    return model.parameters()


# the book -> whether the whole program uses what the table puts in its place
IN_PLACE: dict[str, Callable[[pytest.MonkeyPatch], bool]] = {
    "`Operation.engine`": lambda patch: type(Operation.engine) is Dispatch is dispatch.Dispatch,
    "a gradient's array": lambda patch: isinstance(gradient_of_a_weight(), Deferred),
    "`no_grad`": lambda patch: tinygpt.no_grad is autograd.no_grad is causal.no_grad is no_grad.no_grad,
    "`new_array`": lambda patch: Tensor.new_array is host.new_array,
    "`Tensor`": lambda patch: placement.TENSOR.items() <= vars(Tensor).items(),
    "`Tensor` in NumPy's calls": lambda patch: all(
        name in vars(Tensor) and (vars(Tensor)[name] is member or name in numpy_functions.LATER_METHODS)
        for name, member in numpy_functions.MORE_METHODS.items()
    ) and isinstance(np.exp(Tensor([0.0])), Tensor) and isinstance(np.sum(Tensor([0.0])), Tensor),
    "`Module`": lambda patch: nn.placement.MODULE.items() <= vars(Module).items(),
    "`Parameter`": lambda patch: {type(p) for p in flat_parameters()} == {FlatParameter},
    "`FeedForward`": lambda patch: type(small().blocks[0].feed_forward) is type(
        FEED_FORWARDS["plain"](None, 4, 8)) is FusedFeedForward,
    "`Sight`": lambda patch: sights_of(small(), patch) == {CachedSight},
    "`GPT`": lambda patch: models.GPT is type(models.new_model(small().config.to_dict())) is decoder.GPT,
    "`AdamW`": lambda patch: optim.AdamW is OPTIMIZERS["adamw"] is flat_adamw.AdamW,
    "`Characters`": lambda patch: tokenizers.CharTokenizer is importlib.import_module(
        "tinygpt.tokenizers.char").CharTokenizer,
    "`TextbookBPE`": lambda patch: tokenizers.ByteBPE is importlib.import_module(
        "tinygpt.tokenizers.byte_bpe").ByteBPE,
    "`generate`": lambda patch: generation.generate is causal.generate is decode.generate,
    "`cross_entropy` of logits": lambda patch: {"linear_cross_entropy"} == {"linear_cross_entropy", "cross_entropy"} & {
        *operations_of(lambda: language_loss(small(), {"ids": np.ones((1, 2), int), "targets": np.ones((1, 2), int)}),
                       patch)},
    "`train`": lambda patch: training.Trainer is run.Trainer is trainer.Trainer,
}


@pytest.mark.parametrize("row", table(), ids=lambda row: row[0])
def test_the_whole_program_uses_what_the_table_puts_there(row, monkeypatch):
    assert IN_PLACE[row[0]](monkeypatch)


# -- nothing else reaches into the book -------------------------------------------------------------------------------

LOOK = """
import hashlib, importlib, inspect, json, pkgutil, sys
files = json.loads(sys.argv[1])
import tinygpt
if tinygpt.__file__ is not None:  # the whole program: every file of it
    for found in pkgutil.walk_packages(tinygpt.__path__, "tinygpt."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)

def mark(x):
    "What a function does, wherever it lies; of other things the kind."
    while isinstance(x, (staticmethod, classmethod)):
        x = x.__func__
    if isinstance(x, property):
        return ["property", mark(x.fget)]
    if inspect.isfunction(x):
        code = hashlib.sha256(x.__code__.co_code + repr(x.__code__.co_names).encode()).hexdigest()[:12]
        return [x.__module__, x.__qualname__, code]
    if inspect.isclass(x) or inspect.ismodule(x):
        return x.__name__
    return x if isinstance(x, (bool, int, float, str, type(None))) else type(x).__name__

found = {}
names = ["tinygpt." + file[:-3].replace("/", ".") for file in files]
modules = {name: importlib.import_module(name) for name in names}  # all of them: operators.py gives Tensor its members
for name, module in modules.items():
    for key, value in vars(module).items():
        if not key.startswith("__"):
            found[f"{name}.{key}"] = mark(value)
            if inspect.isclass(value) and value.__module__ == name:
                for attribute, member in vars(value).items():
                    if attribute not in ("__doc__", "__dict__", "__weakref__", "__static_attributes__",
                                         "__firstlineno__", "__annotations__"):
                        found[f"{name}.{key}.{attribute}"] = mark(member)
print(json.dumps(found))
"""


def looked_at(folder: Path) -> dict[str, Any]:
    code = LOOK if folder == ROOT else THIS_FOLDER + LOOK
    done = subprocess.run([sys.executable, "-c", code, json.dumps(BOOK)], capture_output=True, text=True, cwd=folder,
                          env=os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_nothing_but_the_tables_is_put_into_the_book(tmp_path):
    """Every function, class and member in the files of the book is the same in the whole program, all files of it
    imported, as where the book stands alone; but for the members that the tables name."""
    for file in BOOK:
        (tmp_path / "tinygpt" / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PACKAGE / file, tmp_path / "tinygpt" / file)
    alone, whole = looked_at(tmp_path), looked_at(ROOT)
    changed = {name for name in alone.keys() | whole.keys()
               if (name in alone, alone.get(name)) != (name in whole, whole.get(name))}
    tensor, module = "tinygpt.autograd.tensor.Tensor.", "tinygpt.nn.module.Module."
    put = {"tinygpt.autograd.operation.Operation.engine", tensor + "new_array"}
    numpy_functions.library()
    put |= {tensor + name for name in [*placement.TENSOR, *numpy_functions.MORE_METHODS,
                                       "__array_ufunc__", "__array_function__"]}
    put |= {module + name for name in nn.placement.MODULE}
    assert len(alone) > 300 and changed == put

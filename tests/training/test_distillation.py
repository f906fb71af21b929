"""Distillation: the loss is Hinton's, its gradients are right, runs with a teacher resume bit for bit and learn."""

from __future__ import annotations

import dataclasses
import io
import shutil
from pathlib import Path

import numpy as np
import pytest

import tinygpt
from tinygpt import Tensor, load_model, load_tokenizer, ops
from tinygpt.cli import main
from tinygpt.models import BERT, BERTConfig, EncoderDecoder, EncoderDecoderConfig, GPT, GPTConfig
from tinygpt.optim import AdamW
from tinygpt.testing import check_model
from tinygpt.training import (FinetuneOptions, PretrainOptions, finetune, pretrain, read_metrics,
                              saved_options)
from tinygpt.training import distillation
from tinygpt.training.distillation import LESSONS, Teacher, soft_loss
from tinygpt.training.losses import classification_loss, language_loss, masked_loss, seq2seq_loss

SIZES = dict(vocab_size=11, block_size=6, n_layer=1, n_head=2, n_embd=8, initializer_range=0.3)
MODELS = {
    language_loss: lambda: GPT(GPTConfig(**SIZES)),
    masked_loss: lambda: BERT.for_masked_lm(BERTConfig(**SIZES)),
    seq2seq_loss: lambda: EncoderDecoder(EncoderDecoderConfig(**SIZES)),
    classification_loss: lambda: BERT(BERTConfig(**SIZES, head="classification", n_labels=3)),
}
NAMES = {loss: loss.__name__ for loss in MODELS}


def a_teacher(loss, weight: float = 0.6, temperature: float = 2.0, columns=None) -> Teacher:
    """A teacher that is no folder."""
    tinygpt.manual_seed(1)
    found = object.__new__(Teacher)
    found.model, found.lesson = MODELS[loss]().eval().to(dtype=np.float64), LESSONS[loss]
    found.weight, found.temperature, found._columns = weight, temperature, columns
    return found


def student_and_batch(loss, weighted: bool = False):
    tinygpt.manual_seed(0)
    rng = np.random.default_rng(1)
    shape, n = ((3,), 3) if loss is classification_loss else ((3, 5), 11)
    mask = np.ones((3, 5), int)
    mask[1, 3:] = 0
    batch = {"ids": rng.integers(2, 11, size=(3, 5)), "attention_mask": mask, "targets": rng.integers(n, size=shape)}
    batch["targets"][1:2] = -100
    if loss is seq2seq_loss:
        batch["decoder_ids"] = rng.integers(2, 11, size=(3, 5))
    if weighted:
        batch["weights"] = rng.random(shape) + 0.1
    return MODELS[loss]().eval().to(dtype=np.float64), batch


# ---------------------------------------------------------------------------------------------------------------------
# The loss


def softened(logits: np.ndarray, temperature: float) -> np.ndarray:
    powers = np.exp(logits / temperature)
    return powers / powers.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", MODELS, ids=NAMES.get)
def test_it_is_the_weighted_sum_of_both_losses(loss, weighted):
    """By the definitions, from the logits of both models; what does not count plays no part."""
    student, batch = student_and_batch(loss, weighted)
    columns = np.array([2, 0, 1]) if loss is classification_loss else None
    teacher = a_teacher(loss, 0.6, 3.0, columns)
    mine, its = (teacher.lesson.logits(model, batch).data for model in (student, teacher.model))
    its = its if columns is None else its[:, columns]
    counted = batch["targets"] != -100
    weights = batch.get("weights", np.ones(batch["targets"].shape))[counted]
    targets = batch["targets"][counted]
    assert mine.shape == its.shape == (counted.sum(), 3 if columns is not None else 11)
    p, q = softened(its, 3.0), softened(mine, 3.0)
    soft = 9 * (weights * (p * np.log(p / q)).sum(axis=1)).sum()
    hard = -(weights * np.log(softened(mine, 1.0)[np.arange(len(mine)), targets])).sum()
    assert float(teacher.loss(student, batch)) == pytest.approx(0.6 * soft + 0.4 * hard, rel=1e-9)
    assert float(loss(student, batch)) == pytest.approx(hard, rel=1e-9)
    teacher.weight = 0.0
    assert float(teacher.loss(student, batch)) == pytest.approx(hard, rel=1e-9)


def _divergence(p, q):
    return (ops.exp(p) * (p - q)).sum(axis=-1)


def _log(logits, temperature):
    return ops.log_softmax(logits / temperature)


BUGS = {
    "without the square of the temperature": lambda x, t, tau: _divergence(_log(t, tau), _log(x, tau)),
    "the divergence the wrong way round": lambda x, t, tau: _divergence(_log(x, tau), _log(t, tau)) * tau ** 2,
    "a teacher that is not softened": lambda x, t, tau: _divergence(_log(t, 1.0), _log(x, tau)) * tau ** 2,
    "a model that is not softened": lambda x, t, tau: _divergence(_log(t, tau), _log(x, 1.0)) * tau ** 2,
    "logits multiplied by it": lambda x, t, tau: _divergence(_log(t, 1 / tau), _log(x, 1 / tau)) * tau ** 2,
    "the mean over classes": lambda x, t, tau: _divergence(_log(t, tau), _log(x, tau)) * tau ** 2 / x.shape[-1],
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_bug_is_caught(bug, monkeypatch):
    monkeypatch.setattr(distillation, "soft_loss", BUGS[bug])
    with pytest.raises(AssertionError):
        test_it_is_the_weighted_sum_of_both_losses(language_loss, False)


@pytest.mark.parametrize("loss", MODELS, ids=NAMES.get)
def test_gradients(loss):
    """Targets go by another name, for `check_model` takes a loss of targets for the cross entropy of the logits."""
    student, batch = student_and_batch(loss)
    teacher = a_teacher(loss)

    def both(model, given):
        rows = given["targets"].reshape(-1, *[1] * (given["answers"].ndim - 1))
        answers = np.where(rows == -100, -100, given["answers"])
        return teacher.loss(model, {**given, "targets": answers}), float((given["targets"] != -100).sum())

    shape = (3, 1) if loss is classification_loss else (3,)
    report = check_model(student, {**batch, "answers": batch["targets"], "targets": np.zeros(shape, int)}, loss=both)
    assert report and report.oracles["gradient of the loss"] and report.oracles["accumulation"]
    assert all(parameter.grad is None for parameter in teacher.model.parameters())


def test_a_copy_has_nothing_to_learn_and_large_temperatures_compare_logits():
    rng = np.random.default_rng(0)
    logits, other = rng.standard_normal((2, 5, 7))
    assert np.abs(soft_loss(Tensor(logits), Tensor(logits), 2.0).data).max() < 1e-12
    found = soft_loss(Tensor(logits), Tensor(other), 1e4).data
    difference = (logits - logits.mean(axis=1, keepdims=True)) - (other - other.mean(axis=1, keepdims=True))
    np.testing.assert_allclose(found, (difference ** 2).sum(axis=1) / (2 * 7), rtol=1e-3)  # Hinton 2015, section 2.1


@pytest.mark.oracle
@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_value_and_gradient_are_those_of_distilbert_in_pytorch(temperature):
    """KLDivLoss(log_softmax(student / T), softmax(teacher / T)) · T², as its authors wrote it, of each row."""
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    rng = np.random.default_rng(0)
    logits, other = rng.standard_normal((2, 4, 9)) * 3
    ours = Tensor(logits, requires_grad=True)
    found = soft_loss(ours, Tensor(other), temperature)
    found.sum().backward()
    theirs = torch.tensor(logits, requires_grad=True)
    expected = F.kl_div(F.log_softmax(theirs / temperature, dim=-1),
                        F.softmax(torch.tensor(other) / temperature, dim=-1), reduction="none").sum(-1) \
        * temperature ** 2
    expected.sum().backward()
    np.testing.assert_allclose(found.data, expected.detach().numpy(), rtol=1e-9)
    np.testing.assert_allclose(ours.grad, theirs.grad.numpy(), rtol=1e-9, atol=1e-12)


def test_a_teacher_teaches_what_the_data_do_not_say():
    """The targets are noise; what the teacher thinks is learnt all the same."""
    student, batch = student_and_batch(language_loss)
    teacher, optimizer = a_teacher(language_loss, weight=1.0), AdamW(student, lr=3e-2, weight_decay=0.0)
    first = float(teacher.loss(student, batch))
    for _ in range(60):
        teacher.loss(student, batch).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert float(teacher.loss(student, batch)) < first / 20


# ---------------------------------------------------------------------------------------------------------------------
# Runs


RUN = dict(batch_size=6, steps=8, eval_every=4, save_every=2, threads=2, seed=3)
SMALL = dict(n_layer=1, n_head=2, n_embd=8, block_size=24)
LARGE = {**SMALL, "n_embd": 16}
WORDS = "zero one two three four five six seven eight nine".split()
CASES = {
    "causal": (pretrain, PretrainOptions, dict(objective="causal"), {}),
    "lstm": (pretrain, PretrainOptions, dict(objective="causal"),
             dict(architecture="lstm", n_head=None, teacher_weight=1.0)),
    "masked": (pretrain, PretrainOptions, dict(objective="masked"), dict(teacher_temperature=4.0)),
    "seq2seq": (pretrain, PretrainOptions, dict(objective="seq2seq", validation=0.2), {}),
    "labels": (finetune, FinetuneOptions, dict(task="classification", architecture="roberta", validation=0.2), {}),
    "labels, wide": (finetune, FinetuneOptions, dict(task="classification", architecture="roberta", validation=0.2),
                     dict(architecture="wide", n_layer=None, n_head=None)),
    "instruction": (finetune, FinetuneOptions, dict(task="instruction", block_size=40, validation=0.2), {}),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    rows = [" ".join(WORDS[i] for i in row) for row in rng.integers(10, size=(80, 3))]
    texts = {"text.txt": ". ".join(rows), "pairs.tsv": "".join(f"{row}\t{row.upper()}\n" for row in rows),
             "labels.csv": "text,label\n" + "".join(f"{row} {i},{'even' if i % 2 else 'odd'}\n"
                                                    for i, row in enumerate(rows)),
             "chats.csv": "instruction,input,output\n" + "".join(f"{i}?,,{row[:9]}\n" for i, row in enumerate(rows))}
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return {kind: str(folder / name) for kind, name in (
        ("causal", "text.txt"), ("masked", "text.txt"), ("seq2seq", "pairs.tsv"), ("classification", "labels.csv"),
        ("instruction", "chats.csv"))}


def options_of(case: str, data: dict[str, str], teacher: Path | None, **more):
    """Of the teacher's own run, or of one with that teacher."""
    _, kind, task, own = CASES[case]
    sizes = LARGE | {"tokenizer": "char"} if teacher is None else {**SMALL, "teacher": str(teacher)}
    chosen = {**sizes, **RUN, **task, **(own if teacher else {"steps": 2}), **more}
    if "model" in more:
        chosen = {name: value for name, value in chosen.items() if name not in (*SMALL, "architecture")}
    return kind(**{"data": (data[task.get("objective") or task["task"]],), **chosen})


class Runs(dict):
    """case -> the folders of the teacher, of a finished run with it, and of one with the state after step 4 alone."""

    def __init__(self, data: dict[str, str], place: Path) -> None:
        self.data, self.place = data, place

    def __missing__(self, case: str) -> tuple[Path, Path, Path]:
        start, module = CASES[case][0], __import__("tinygpt.training.run", fromlist=["write_checkpoint"])
        write = module.write_checkpoint
        teacher, whole, half = (self.place / case / name for name in ("teacher", "whole", "half"))
        half.mkdir(parents=True)
        start(options_of(case, self.data, None), teacher, stream=io.StringIO())

        def write_and_keep(path, model, optimizer, step, run, best=None) -> None:
            write(path, model, optimizer, step, run, best)
            if step == 4:
                shutil.copy(path, half)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "write_checkpoint", write_and_keep)
            result = start(options_of(case, self.data, teacher), whole, stream=io.StringIO())
        assert result.step == 8 and result.interrupted is None
        self[case] = teacher, whole, half
        return self[case]


@pytest.fixture(scope="module")
def runs(data, tmp_path_factory) -> Runs:
    """Made when they are first asked for."""
    return Runs(data, tmp_path_factory.mktemp("runs"))


@pytest.mark.parametrize("case", CASES)
def test_resume_bit_for_bit(case, runs):
    start, kind, *_ = CASES[case]
    _, whole, half = runs[case]
    start(saved_options(half, kind), half, resume=True, stream=io.StringIO())
    for name in ("model.safetensors", "training_state.safetensors", "tokens/train.npy"):
        assert (half / name).read_bytes() == (whole / name).read_bytes(), name


@pytest.mark.parametrize("case", CASES)
def test_what_a_run_leaves(case, runs):
    """A small model with the teacher's tokens, which needs no teacher any more."""
    teacher, whole, _ = runs[case]
    student = load_model(whole)
    assert student.n_parameters != load_model(teacher).n_parameters
    assert load_tokenizer(whole).ids == load_tokenizer(teacher).ids
    assert all(np.isfinite(line["loss"]) for line in read_metrics(whole / "metrics.jsonl") if "loss" in line)


def test_validations_look_at_the_hard_loss(runs, data, tmp_path):
    """With weights that do not move, a run with a teacher has the validations of one without, and other losses."""
    teacher, *_ = runs["causal"]
    found = {}
    for name, more in (("with", {}), ("without", dict(teacher=None, tokenizer=str(teacher)))):
        options = dataclasses.replace(options_of("causal", data, teacher), lr=0.0, min_lr=0.0, steps=2, **(
            more | dict(teacher_weight=None, teacher_temperature=None) if more else {}))
        pretrain(options, tmp_path / name, stream=io.StringIO())
        lines = list(read_metrics(tmp_path / name / "metrics.jsonl"))
        found[name] = ([line["validation_loss"] for line in lines if "validation_loss" in line],
                       [line["loss"] for line in lines if "loss" in line])
    assert found["with"][0] == found["without"][0] and found["with"][1] != found["without"][1]


def test_a_model_that_is_there_can_have_a_teacher(runs, data, tmp_path):
    """With adapters too."""
    teacher, whole, _ = runs["labels"]
    result = finetune(options_of("labels", data, teacher, model=str(whole), lora=2, steps=2),
                      tmp_path / "out", stream=io.StringIO())
    assert result.step == 2


# ---------------------------------------------------------------------------------------------------------------------
# Errors


@pytest.mark.parametrize("said, about", [
    (dict(teacher_weight=0.5), "teacher_weight is an option of learning from a teacher; give --teacher too"),
    (dict(teacher_temperature=2.0), "teacher_temperature is an option of learning from a teacher"),
    (dict(teacher="x", teacher_weight=1.5), "teacher_weight must be from 0.0 to 1.0, got 1.5"),
    (dict(teacher="x", teacher_temperature=0.0), "teacher_temperature must be from 0.001"),
])
@pytest.mark.parametrize("kind", [PretrainOptions, FinetuneOptions])
def test_options_that_make_no_sense(kind, said, about):
    with pytest.raises(ValueError, match=about):
        kind(data=("x",), **said)


@pytest.mark.parametrize("case, more, about", [
    ("causal", dict(block_size=25), "a context of 24 tokens, and the model that learns one of 25; give --block-size"),
    ("causal", dict(tokenizer="bpe"), "has other tokens than the model that learns"),
    ("masked", dict(of="causal"), "needs a tokenizer with a mask token"),
    ("causal", dict(of="masked"), "the teacher must be a model that writes texts; .* holds a BERT"),
    ("labels", dict(of="masked"), "the teacher must be a classifier; .* holds a BERT"),
])
def test_teachers_that_cannot_teach(case, more, about, runs, data, tmp_path):
    more = dict(more)
    teacher, *_ = runs[more.pop("of", case)]
    with pytest.raises(ValueError, match=about):
        CASES[case][0](options_of(case, data, teacher, **more), tmp_path / "out", stream=io.StringIO())
    assert not (tmp_path / "out").exists()


def test_other_labels_are_refused_and_others_order_is_not(runs, data, tmp_path):
    teacher, whole, _ = runs["labels"]
    student, tokenizer = load_model(whole), load_tokenizer(whole)
    memory: dict[str, str] = {}
    for names, expected in (({0: "odd", 1: "even"}, [1, 0]), ({0: "even", 1: "odd"}, [0, 1])):
        student = student.for_classification(id2label=names)
        found = Teacher(str(teacher), student, tokenizer, classification_loss, 0.5, 2.0, memory)
        assert found._columns.tolist() == expected
    student = student.for_classification(id2label={0: "odd", 1: "prime"})
    with pytest.raises(ValueError, match="has the labels even, odd, and the model that learns odd, prime"):
        Teacher(str(teacher), student, tokenizer, classification_loss, 0.5, 2.0, memory)


def test_another_teacher_than_the_run_began_with_is_refused(runs, data, tmp_path):
    shutil.copytree(runs["causal"][0], tmp_path / "teacher")
    pretrain(options_of("causal", data, tmp_path / "teacher", steps=2), tmp_path / "out", stream=io.StringIO())
    tokenizer, config = load_tokenizer(tmp_path / "teacher"), load_model(tmp_path / "teacher").config
    tinygpt.manual_seed(77)
    GPT(config).save_pretrained(tmp_path / "teacher", tokenizer)
    with pytest.raises(ValueError, match="is not the model any more that this run began with"):
        pretrain(saved_options(tmp_path / "out", PretrainOptions), tmp_path / "out", resume=True)


def test_the_command_line(runs, data, tmp_path, capsys):
    teacher, *_ = runs["causal"]
    run = ["pretrain", "--data", data["causal"], "--n-layer", "1", "--n-head", "2", "--n-embd", "8", "--steps", "2"]
    assert main([*run, "--block-size", "24", "--teacher", str(teacher), "--out", str(tmp_path / "a")]) == 0
    assert capsys.readouterr().out.startswith("validation loss ")
    assert main([*run, "--teacher", str(tmp_path / "nowhere"), "--out", str(tmp_path / "b")]) == 2
    assert "nowhere" in (said := capsys.readouterr().err) and said.count("\n") == 1
    assert main([*run, "--teacher-weight", "0.1", "--out", str(tmp_path / "c")]) == 2
    assert "give --teacher too" in capsys.readouterr().err

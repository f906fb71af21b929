"""Networks that are no transformers, from the command line: trained, resumed, asked to write, evaluated."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import tinygpt as tg
from command import command
from tinygpt import pipeline

RUN = ["--steps", "6", "--batch-size", "4", "--threads", "1", "--eval-every", "3"]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "text.txt"
    path.write_text("the cat sat on the mat and the dog ran. " * 40, encoding="utf-8")
    return path


@pytest.mark.parametrize("architecture", ["lstm", "gru", "rnn"])
def test_a_recurrent_network_is_trained_and_writes(architecture: str, text: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "run"
    done = command(capsys, "pretrain", "--data", text, "--tokenizer", "char", "--architecture", architecture,
                   "--n-layer", "1", "--n-embd", "16", "--block-size", "16", "--out", out, *RUN)
    assert done.code == 0 and done.out.startswith("validation loss ")
    model = tg.load_model(out)
    assert model.config.architecture == architecture
    done = command(capsys, "generate", "--model", out, "--prompt", "the cat", "--max-new-tokens", "40", "--seed", "1")
    assert done.code == 0 and len(done.out) == len("the cat") + 40 + 1  # longer than a window: a state has no end
    done = command(capsys, "evaluate", "--model", out, "--data", text, "--json")
    assert done.code == 0 and json.loads(done.out.splitlines()[-1])["loss"] > 0
    assert command(capsys, "pretrain", "--resume", "--out", out).code == 0
    for option in ("--n-head", "--n-kv-head", "--window"):
        done = command(capsys, "pretrain", "--data", text, "--architecture", architecture, option, "2", "--out",
                       tmp_path / "other")
        name = option[2:].replace("-", "_")
        assert done.code == 2 and f"{name} is no option of the architecture {architecture}" in done.err


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A label that one word tells, and in every third text a pair of words turns round."""
    path, rng = tmp_path_factory.mktemp("data") / "labels.csv", np.random.default_rng(0)
    rows = ["text,label"]
    for i in range(240):
        good, turned = rng.integers(0, 2), i % 3 == 0
        words = [*rng.choice(list("abcdefgh"), 4), *["not"] * turned, "good" if good else "bad"]
        rows.append(f"{' '.join(words)},{'yes' if bool(good) != turned else 'no'}")
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("architecture", ["wide", "bag", "cnn"])
def test_a_classifier_is_trained_beside_what_counts(architecture: str, table: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "run"
    options = {"bag": [], "wide": ["--n-embd", "16"], "cnn": ["--n-embd", "16", "--lr", "0.01"]}[architecture]
    done = command(capsys, "finetune", "--task", "classification", "--data", table, "--architecture", architecture,
                   "--steps", "80", "--threads", "1", "--out", out, *options)
    assert done.code == 0 and float(done.out.split()[-1]) > 0.8
    assert "of what only counts: naive Bayes over words 0." in done.err
    assert len(json.loads((out / "validation.json").read_text())["baselines"]) == 3
    assert command(capsys, "finetune", "--resume", "--out", out).out == done.out
    done = command(capsys, "evaluate", "--model", out, "--data", table, "--json")
    assert json.loads(done.out.splitlines()[-1])["n_texts"] == 240
    answers = pipeline("sentiment-analysis", model=str(out))(["a b c bad", "a word never seen"])
    assert {answer["label"] for answer in answers} <= {"yes", "no"}
    again = tmp_path / "again"
    assert command(capsys, "finetune", "--task", "classification", "--model", out, "--data", table, "--steps", "2",
                   "--threads", "1", "--out", again).code == 0
    assert type(tg.load_model(again)) is type(tg.load_model(out))


def test_the_default_is_wide_and_freezing_asks_for_a_transformer(table: Path, tmp_path: Path, capsys) -> None:
    done = command(capsys, "finetune", "--task", "classification", "--data", table, "--steps", "1", "--threads", "1",
                   "--out", tmp_path / "run")
    assert done.code == 0 and tg.load_model(tmp_path / "run").config.architecture == "wide"
    done = command(capsys, "finetune", "--task", "classification", "--data", table, "--architecture", "bag",
                   "--lora", "2", "--out", tmp_path / "other")
    assert done.code == 2 and "lora is no option of the architecture bag" in done.err

"""Wrong command lines: one line of at most 300 characters that says what is wrong, and exit code 2.

By default the same few, `pytest -m nightly tests/fuzz` draws 2,000 others.
"""

from __future__ import annotations

import io
import os
import random
import re
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from tinygpt.cli import main
from tinygpt.models import GPT, GPTConfig
from tinygpt.tokenizers import ByteBPE

TEXT = "the cat sat on the mat and the dog sat on the log. " * 20

# No option takes one of these.
NO_INTEGER = ["", "x", "1.5", "nan", "inf", "1e3", "0x10", "9" * 20, "9" * 5000, "\x1b[2J", "-", "1 2", "x" * 100_000,
              "-1e9", "½", "\udcff"]
NO_NUMBER = ["", "x", "1,5", "0x10", "\x1b[2J", "1 2", "x" * 100_000, "one", "\udcff"]
BAD_SIZE = [*NO_INTEGER, "-1", "-99999999", "0"]
HUGE = ["1000000000", "99999999999", str(2 ** 62)]
NO_FOLDER = ["", "nowhere", "~nosuchuser/x", "x" * 300, "a/" * 3000 + "b", "\x1b[2Jx", "/dev/null", "\udcff", "x\ny",
             "é" * 200]
NO_CHOICE = ["", "x", "x" * 100_000, "\x1b[31m", "\udcff", "None"]
DEVICES = ["x", "cuda:99999", "cpu:7:7", "\x1b[2J", "x" * 5000]


def commands(model: str, data: str, out: str) -> dict[str, tuple[list[str], dict[str, list[str]]]]:
    """Correct command lines, and for options of theirs values that are wrong."""
    sampling = {"--top-k": [*NO_INTEGER, "-5"], "--top-p": [*NO_NUMBER, "2", "-1", "nan"],
                "--min-p": [*NO_NUMBER, "2", "nan"],
                "--temperature": [*NO_NUMBER, "-1", "nan"], "--repetition-penalty": [*NO_NUMBER, "0", "-1", "nan"],
                "--seed": [*NO_INTEGER, "-1"], "--device": DEVICES, "--dtype": NO_CHOICE, "--model": NO_FOLDER}
    training = {"--steps": [*NO_INTEGER, "-1"], "--batch-size": BAD_SIZE, "--accumulate": [*BAD_SIZE, *HUGE],
                "--lr": [*NO_NUMBER, "-1", "nan", "inf"], "--beta1": [*NO_NUMBER, "1", "-1", "nan"],
                "--clip": [*NO_NUMBER, "0", "-1", "nan"], "--eval-every": BAD_SIZE, "--threads": BAD_SIZE,
                "--seed": [*NO_INTEGER, "-1"], "--optimizer": NO_CHOICE, "--n-layer": [*NO_INTEGER, "-1", *HUGE],
                "--n-head": [*BAD_SIZE, "3"], "--n-embd": [*BAD_SIZE, *HUGE], "--block-size": [*BAD_SIZE, *HUGE],
                "--validation": [*NO_NUMBER, "1", "-1", "nan"], "--dropout": [*NO_NUMBER, "1", "-1", "nan"],
                "--activation": NO_CHOICE, "--architecture": NO_CHOICE, "--data": NO_FOLDER,
                "--tokenizer": [*NO_FOLDER, "wordpiece"], "--vocab-size": [*NO_INTEGER, "-1", "3"],
                "--out": ["x" * 300, "/dev/null"]}
    return {
        "generate": (["generate", "--model", model, "--prompt", "the", "--max-new-tokens", "2"],
                     {**sampling, "--max-new-tokens": [*NO_INTEGER, "-1"], "--prompt": ["\udcff the"]}),
        "evaluate": (["evaluate", "--model", model, "--data", data],
                     {"--model": NO_FOLDER, "--data": NO_FOLDER, "--task": NO_CHOICE, "--limit": BAD_SIZE}),
        "encode": (["tokenizer", "encode", "--model", model, "the"], {"--model": NO_FOLDER}),
        "decode": (["tokenizer", "decode", "--model", model, "1"], {"--model": NO_FOLDER}),
        "train": (["tokenizer", "train", "--data", data, "--out", out, "--vocab-size", "270"],
                  {"--data": NO_FOLDER, "--vocab-size": [*NO_INTEGER, "-1", "3"], "--pattern": ["(", "[", "*"],
                   "--tokenizer": ["char", *NO_CHOICE], "--out": ["x" * 300, "/dev/null"]}),
        "pretrain": (["pretrain", "--data", data, "--out", out, "--n-layer", "1", "--n-head", "2", "--n-embd", "8",
                      "--block-size", "8", "--batch-size", "4", "--steps", "1", "--threads", "1"],
                     {**training, "--preset": NO_CHOICE, "--objective": NO_CHOICE, "--positions": NO_CHOICE,
                      "--window": BAD_SIZE}),
        "finetune": (["finetune", "--task", "instruction", "--data", data, "--out", out], {
            **{name: values for name, values in training.items() if name not in ("--data", "--tokenizer")},
            "--task": NO_CHOICE, "--data": NO_FOLDER, "--lora": BAD_SIZE, "--epochs": [*NO_NUMBER, "0", "nan", "inf"],
            "--patience": [*NO_INTEGER, "-1"], "--model": NO_FOLDER}),
        "gradcheck": (["gradcheck", "exp"], {
            "--examples": BAD_SIZE, "--seed": [*NO_INTEGER, "-1"], "--device": DEVICES}),
    }


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("commands")
    tok = ByteBPE.train(TEXT, 270, ["<|endoftext|>"])
    GPT(GPTConfig(vocab_size=len(tok), block_size=8, n_layer=1, n_head=2, n_embd=8)).save_pretrained(
        folder / "model", tok)
    (folder / "text.txt").write_text(TEXT, encoding="utf-8")
    return folder


def wrong_lines(place: Path, rng: random.Random) -> list[str]:
    """One command line with one wrong value, somewhere in it."""
    known = commands(str(place / "model"), str(place / "text.txt"), str(place / "out"))
    line, options = known[rng.choice(list(known))]
    option = rng.choice(list(options))
    value = rng.choice(options[option])
    if option in line:
        at = line.index(option)
        line = line[:at] + line[at + 2:]
    return [*line, f"{option}={value}"] if rng.random() < 0.5 or value.startswith("-") else [*line, option, value]


def run(line: list[str]) -> tuple[int, str, str]:
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8", newline=""), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            code = main(line)
        except SystemExit as leaving:
            code = int(leaving.code or 0)
    out.seek(0)
    return code, out.read(), err.getvalue()


def fuzz(place: Path, seed: object, cases: int) -> None:
    rng = random.Random(f"commands {seed}")
    for case in range(cases):
        line = wrong_lines(place, rng)
        start = time.monotonic()
        code, out, err = run(line)
        what = (case, [word[:60] for word in line], code, err[:400])
        assert code == 2 and out == "", what
        assert err.count("\n") == 1 and err.startswith("tinygpt: error: ") and len(err) <= 301, what
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", err) and " " in err[16:].strip(), what
        assert not re.search(r"\S{201}", err), what
        assert time.monotonic() - start < 10, what
    assert not (place / "out").exists()


def test_wrong_command_lines(place: Path) -> None:
    fuzz(place, 0, 100)


@pytest.mark.nightly
def test_many_more_of_them(place: Path) -> None:
    fuzz(place, os.environ.get("FUZZ_SEED", time.time()), 2000)


def test_the_correct_ones_are_correct(place: Path) -> None:
    """What the fuzzer says of a wrong value is due to the value."""
    for name in ("generate", "evaluate", "encode", "decode", "gradcheck"):
        assert run(commands(str(place / "model"), str(place / "text.txt"), "")[name][0])[0] == 0, name

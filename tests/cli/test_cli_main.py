"""The command itself: versions, help, wrong options, exit codes, both ways to start it."""

from __future__ import annotations

import errno
import platform
import re
import subprocess
import sys

import fake_device  # noqa: F401  (registers the device)
import numpy as np
import pytest
from command import command, error_line

import tinygpt
from tinygpt import kernels
from tinygpt.backend import cuda_available
from tinygpt.cli import generate, main


def test_version(capsys):
    assert command(capsys, "--version") == (0, f"tinygpt {tinygpt.__version__}\n", "")


@pytest.mark.parametrize("order", [["--version", "--verbose"], ["--verbose", "--version"]])
def test_verbose_version_names_python_numpy_blas_gpu_and_threads(capsys, order):
    done = command(capsys, *order)
    lines = done.out.splitlines()
    assert done.code == 0 and lines[0] == f"tinygpt {tinygpt.__version__}" and len(lines) == 8
    assert platform.python_version() in lines[1] and np.__version__ in lines[2]
    assert re.match(r"NumPy +\S+ with \S+", lines[2]) and re.match(r"threads \d+ ", lines[7])
    assert lines[3].startswith("CuPy    ") and lines[4].startswith("GPU     ")
    assert ("none: " in lines[4]) == (not cuda_available()) and lines[6].startswith("kernels none: ")
    assert re.match(r"dtypes +float32", lines[5]) and "bfloat16" in lines[5]
    with kernels.cuda.switch(True):
        assert "kernels AdamW, dropout, " in command(capsys, *order).out


def test_verbose_version_names_the_types_of_a_gpu(monkeypatch):
    pytest.importorskip("ml_dtypes")
    versions = sys.modules["tinygpt.cli.versions"]  # tinygpt.cli.versions is the function
    monkeypatch.setattr(versions, "cuda_available", lambda: True)
    monkeypatch.setattr(versions, "resolve_device", lambda device: "fake:0")
    assert re.fullmatch(r"float32, TF32 \(--tf32\), bfloat16 \(--dtype bfloat16, with ml_dtypes [\d.]+\)",
                        versions._dtypes())
    monkeypatch.setattr(versions, "resolve_device", lambda device: "cpu")
    assert versions._dtypes().startswith("float32; dtype bfloat16 was asked for on cpu, but")


def test_as_a_module():
    def run(*arguments):
        return subprocess.run([sys.executable, "-m", "tinygpt", *arguments], capture_output=True, text=True,
                              encoding="utf-8", timeout=60)

    assert run("--version").stdout == f"tinygpt {tinygpt.__version__}\n"
    wrong = run("pretrain", "--steps", "many")
    assert wrong.returncode == 2 and wrong.stdout == "" and wrong.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--help"], ["pretrain", "--help"], ["generate", "--help"],
                                       ["tokenizer", "--help"], ["tokenizer", "train", "--help"]])
def test_help(capsys, arguments):
    done = command(capsys, *arguments)
    assert done.code == 0 and done.err == "" and done.out.startswith("usage: tinygpt")
    assert "--out" in done.out or "pretrain" not in arguments


@pytest.mark.parametrize("arguments, message", [
    ([], "a COMMAND is missing (see tinygpt --help)"),
    (["train"], "invalid choice: 'train'"),
    (["--nonsense"], "unrecognized arguments: --nonsense"),
    (["pretrain"], "the following arguments are required: --out (see tinygpt pretrain --help)"),
    (["pretrain", "--out", "x", "--steps", "many"], "argument --steps: invalid int value: 'many'"),
    (["pretrain", "--out", "x", "--lr", "fast"], "argument --lr: invalid float value: 'fast'"),
    (["pretrain", "--out", "x", "--dtype", "float16"], "argument --dtype: invalid choice: 'float16'"),
    (["pretrain", "--out", "x", "--objective", "guess"], "argument --objective: invalid choice: 'guess'"),
    (["pretrain", "--out", "x", "--data"], "argument --data: expected at least one argument"),
    (["generate", "--model", "x"], "the following arguments are required: --prompt"),
    (["generate", "--model", "x", "--prompt", "y", "--top-k", "1.5"], "argument --top-k: invalid int value"),
    (["tokenizer"], "the following arguments are required: "),
])
def test_a_wrong_option_is_one_line(capsys, arguments, message):
    assert message in error_line(command(capsys, *arguments))


@pytest.mark.parametrize("error, code, message", [
    (ValueError("two\nlines  here"), 2, "two lines here"),
    (FileNotFoundError(errno.ENOENT, "No such file or directory", "a/b"), 2, "No such file or directory: a/b"),
    (KeyError("missing key"), 2, "missing key"),
    (OSError(errno.ENOSPC, "No space left on device"), 1, "No space left on device"),
    (MemoryError("Unable to allocate 9 TiB"), 1, "Unable to allocate 9 TiB"),
    (RuntimeError("can't start new thread"), 1, "can't start new thread"),
    (RecursionError("maximum recursion depth exceeded"), 1, "maximum recursion depth exceeded"),
    (NotImplementedError("not on this device"), 1, "not on this device"),
    (EOFError("a pipe ended"), 1, "a pipe ended"),
    (ChildProcessError("replica 1 was killed"), 1, "replica 1 was killed"),
    (KeyboardInterrupt(), 130, "interrupted"),
])
def test_exceptions_become_one_line_and_an_exit_code(capsys, monkeypatch, error, code, message):
    def fail(args):
        raise error

    monkeypatch.setattr(generate, "run", fail)
    assert message in error_line(command(capsys, "generate", "--model", "x", "--prompt", "y"), code)


def test_an_error_of_our_own_is_not_hidden(monkeypatch):
    def fail(args):
        raise AssertionError

    monkeypatch.setattr(generate, "run", fail)
    with pytest.raises(AssertionError):
        main(["generate", "--model", "x", "--prompt", "y"])


# -- what others wrote, in words ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("error, code, message", [
    (ValueError("label '\x1b[2J' " + "y" * 1000), 2, "label '\ufffd[2J' y"),
    (ValueError(f"got {'x' * 1000!r}, expected y; do z"), 2, f"x…{'x' * 25}', expected y; do z"),
    (ValueError(f"no file '{'folder/' * 20}text.txt', did you mean 'texts'?"), 2, "/text.txt', did you mean 'texts'?"),
    (ValueError(f"no 'a', and the models' list is {'long ' * 20}; did you mean 'b'?"), 2,
     f"tinygpt: error: no 'a', and the models' list is {'long ' * 20}; did you mean 'b'?"),
    (KeyError("role"), 2, "something that is needed is not there: role"),
    (KeyError(5), 2, "something that is needed is not there: 5"),
    (OverflowError("Python int too large to convert to C long"), 2, "too large"),
    (OSError(errno.ENAMETOOLONG, "File name too long", "x" * 5000), 2, "File name too long: xxx"),
    (OSError(errno.EIO, "Input/output error", "a"), 1, "Input/output error: a"),
])
def test_messages_are_short_and_harmless(capsys, monkeypatch, error, code, message):
    def fail(args):
        raise error

    monkeypatch.setattr(generate, "run", fail)
    line = error_line(command(capsys, "generate", "--model", "x", "--prompt", "y"), code)
    assert message in line and len(line) <= 300 and line.isprintable()


@pytest.mark.parametrize("arguments, message", [
    (["pretrain", "--out", "o", "--data", "~nosuchuser/x"], "begins in a home folder that is not known"),
    (["pretrain", "--out", "x" * 300], "File name too long"),
    (["pretrain", "--out", "o", "--steps", "9" * 30], "is too large: at most 9,223,372,036,854,775,807"),
    (["pretrain", "--out", "o", "--steps", "9" * 5000], "invalid int value: '9999"),
    (["pretrain", "--out", "o", "--data", "text.txt", "--n-embd", "1000000"], "and this machine has"),
    (["pretrain", "--out", "o", "--data", "text.txt", "--n-layer", "1000000", "--n-embd", "8", "--n-head", "1"],
     "n_layer must be at most"),
    (["pretrain", "--out", "o", "--accumulate", "1000000000000"], "cuts a batch of 16 into more parts"),
    (["pretrain", "--out", "o", "--tokenizer", "char", "--vocab-size", "300"], "--vocab-size is an option of"),
    (["tokenizer", "train", "--out", "o", "--tokenizer", "char", "--vocab-size", "300"], "is an option of --tokenizer"),
])
def test_bad_input_is_exit_code_2(capsys, monkeypatch, tmp_path, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text("one text and another. " * 40, encoding="utf-8")
    assert message in error_line(command(capsys, *arguments))
    assert not (tmp_path / "o").exists()


def test_a_preset_of_bpe_may_have_characters(capsys, monkeypatch, tmp_path):
    """The size of the preset's vocabulary is not what was asked for."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "book.txt").write_text("so it was said\n" * 900, encoding="utf-8")
    done = command(capsys, "pretrain", "--out", "o", "--preset", "gpt2", "--tokenizer", "char", "--n-embd", "1000000",
                   "--n-head", "1", "--data", "book.txt")
    assert "and this machine has" in error_line(done)

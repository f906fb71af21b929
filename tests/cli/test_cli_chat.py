"""`tinygpt chat`: through a pipe, and on a real pseudo-terminal with Ctrl-C and Ctrl-D."""

from __future__ import annotations

import contextlib
import io
import os
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command import command, error_line

from tinygpt.backend import manual_seed
from tinygpt.chat import Chat
from tinygpt.data.chat_template import add_chat_template
from tinygpt.models import BERT, BERTConfig, GPT, GPTConfig
from tinygpt.tokenizers import ByteBPE, CharTokenizer, load_tokenizer

WORDS = "abcdefghijklmnopqrstuvwxyz ?\n"


def saved(folder: Path, block_size: int = 64, suppressed: bool = False) -> Path:
    """A model that babbles; with `suppressed`, one that never ends its turn."""
    tok = add_chat_template(CharTokenizer.train(WORDS))
    manual_seed(1)
    model = GPT(GPTConfig(vocab_size=len(tok), block_size=block_size, n_layer=1, n_head=2, n_embd=8,
                          tie_word_embeddings=False, initializer_range=0.3, eos_token_id=tok.eos_token_id))
    if suppressed:  # what the last layer adds to every state is far from the turn tokens
        model.norm.weight.data = model.norm.weight.data * 0
        model.norm.bias.data = model.norm.bias.data * 0 + 1
        model.lm_head.weight.data[-4:] = -9
    model.save_pretrained(folder, tok)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return saved(tmp_path_factory.mktemp("chat"))


@pytest.fixture(scope="module")
def endless(tmp_path_factory) -> Path:
    return saved(tmp_path_factory.mktemp("endless"), block_size=4096, suppressed=True)


def piped(monkeypatch, capsys, text, *arguments):
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    return command(capsys, "chat", *arguments)


def test_answers_and_nothing_else(capsys, monkeypatch, model):
    arguments = ["--model", model, "--seed", 3, "--max-new-tokens", 12, "--temperature", 2, "--top-k", 20]
    done = piped(monkeypatch, capsys, "hello\n\nhow are you\n", *arguments)
    chat = Chat(GPT.from_pretrained(model), load_tokenizer(model), seed=3, max_new_tokens=12, temperature=2.0, top_k=20)
    expected = ["".join(chat.ask(text)) for text in ("hello", "how are you")]
    assert done.code == 0 and done.out == "".join(f"{text}\n" for text in expected) and done.err == ""
    assert any(expected)
    again = piped(monkeypatch, capsys, "hello\n\nhow are you", *arguments)
    assert again.out == done.out


def test_commands(capsys, monkeypatch, model):
    arguments = ["--model", model, "--seed", 3, "--max-new-tokens", 12]
    done = piped(monkeypatch, capsys, "/help\n/nonsense here\n/reset\n/quit\nhello\n", *arguments)
    assert done.code == 0 and done.out == ""
    assert "Ctrl-C stops an answer" in done.err and "(there is no /nonsense; /help says what there is)" in done.err
    assert done.err.splitlines()[-1] == "(the conversation is forgotten)"
    once = piped(monkeypatch, capsys, "hello\n", *arguments, "--temperature", 0).out
    twice = piped(monkeypatch, capsys, "hello\n/reset\nhello\n", *arguments, "--temperature", 0).out
    assert twice == once * 2


@pytest.mark.parametrize("n", [150, pytest.param(1000, marks=pytest.mark.nightly)])
def test_many_questions_through_a_pipe(capsys, monkeypatch, endless, n):
    """What one costs does not grow: test_chat.py counts the work; a thousand once took hours."""
    start = time.monotonic()
    done = piped(monkeypatch, capsys, "hello you\n" * n, "--model", endless, "--seed", 1, "--max-new-tokens", 6)
    assert done.code == 0 and done.out.count("\n") >= n and time.monotonic() - start < 120


def test_what_is_forgotten_is_said_once(capsys, monkeypatch, model):
    done = piped(monkeypatch, capsys, "hello\n" * 12, "--model", model, "--seed", 1, "--max-new-tokens", 8)
    assert done.code == 0
    assert done.err == "(the conversation is longer than the model's context: the oldest turns are forgotten)\n"


def test_a_question_that_cannot_be_asked_is_named_by_its_line(capsys, monkeypatch, model):
    done = piped(monkeypatch, capsys, "hello\n" + "hello" * 20 + "\n", "--model", model, "--seed", 1)
    assert done.code == 2 and done.err.count("\n") == 1
    assert done.err.startswith("tinygpt: error: line 2: the message is too long")
    done = piped(monkeypatch, capsys, "HELLO\n", "--model", model)
    assert "line 1: the tokenizer lacks the characters" in error_line(done)


@pytest.mark.parametrize("arguments, message", [
    (["--temperature", -1], "temperature is -1"), (["--top-k", -1], "top_k is -1"), (["--seed", -1], "--seed must be"),
    (["--max-new-tokens", 0], "max_new_tokens is 0"), (["--top-p", 2], "top_p is 2"),
    (["--system", "Capitals"], "lacks the character"), (["--device", "tpu"], "unknown device"),
])
def test_bad_settings(capsys, monkeypatch, model, arguments, message):
    assert message in error_line(piped(monkeypatch, capsys, "hello\n", "--model", model, *arguments))


def test_folders_that_cannot_chat(capsys, monkeypatch, tmp_path):
    def line(folder):
        return error_line(piped(monkeypatch, capsys, "hello\n", "--model", folder))

    tok = ByteBPE.train(WORDS, vocab_size=256)
    GPT(GPTConfig(vocab_size=256, block_size=8, n_layer=1, n_head=1, n_embd=4)).save_pretrained(tmp_path / "a", tok)
    assert "has no chat template" in line(tmp_path / "a") and "tinygpt generate" in line(tmp_path / "a")
    tok = add_chat_template(tok)
    GPT(GPTConfig(vocab_size=256, block_size=8, n_layer=1, n_head=1, n_embd=4)).save_pretrained(tmp_path / "b", tok)
    assert "of another model: it has 260 tokens" in line(tmp_path / "b")
    BERT(BERTConfig(vocab_size=260, block_size=8, n_layer=1, n_head=1, n_embd=4)).save_pretrained(tmp_path / "c", tok)
    assert "holds a BERT that does not write texts" in line(tmp_path / "c")
    assert "no folder" in line(tmp_path / "nowhere")


# -- a terminal -------------------------------------------------------------------------------------------------------


def _take_terminal() -> None:
    """In the child: Ctrl-C on the terminal is for it, also where whoever started the tests ignores it."""
    import fcntl
    import termios
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Terminal:
    """`tinygpt chat` on a pseudo-terminal."""

    def __init__(self, *arguments: object) -> None:
        import pty
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tinygpt", "chat", *map(str, arguments)], stdin=slave, stdout=slave, stderr=slave,
            start_new_session=True, env=os.environ | {"TERM": "dumb", "PYTHONPATH": os.pathsep.join(sys.path)},
            preexec_fn=_take_terminal)
        os.close(slave)
        self.seen = ""

    def until(self, pattern: str, seconds: float = 60) -> str:
        """Read until the text since the last call matches; return it."""
        end = time.monotonic() + seconds
        while not re.search(pattern, self.seen):
            assert time.monotonic() < end, f"waited for {pattern!r}, saw {self.seen!r}"
            if select.select([self.master], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self.master, 4096).decode("utf-8", "replace")
                except OSError:  # the other side is closed
                    assert re.search(pattern, self.seen), self.seen
        found, self.seen = self.seen, ""
        return found

    def type(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def interrupted(self, pattern: str) -> str:
        """Ctrl-C at the prompt. Python waits on if it comes between showing the prompt and reading: then once more."""
        for _ in range(20):
            self.type("\x03")
            with contextlib.suppress(AssertionError):
                return self.until(pattern, 3)
        return self.until(pattern)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)


@pytest.fixture
def terminal(endless):
    pytest.importorskip("pty")
    made = Terminal("--model", endless, "--seed", 1, "--max-new-tokens", 4000)
    yield made
    made.close()


def test_on_a_terminal(terminal):
    """Ctrl-C stops an answer and not the program; what was said counts; Ctrl-D leaves."""
    assert "parameters, a context of 4,096 tokens" in terminal.until("> $")
    terminal.type("hello\n")
    first = terminal.until(r"hello\r\n[a-z ?\r\n\ufffd]{30,}")  # it streams
    terminal.type("\x03")
    stopped = terminal.until("> $")
    assert "…" in stopped and len(first + stopped) < 4000 and terminal.process.poll() is None
    assert "(/quit or Ctrl-D leaves)" in terminal.interrupted("> $")
    terminal.type("/help\n")
    assert "/reset" in terminal.until("> $")
    terminal.type("HELLO\n")
    assert "lacks the characters" in terminal.until("> $")
    terminal.type("/reset\n")
    assert "(the conversation is forgotten)" in terminal.until("> $")
    terminal.type("\x04")
    assert terminal.process.wait(30) == 0


def test_quit_on_a_terminal(terminal):
    terminal.until("> $")
    terminal.type("/quit\n")
    assert terminal.process.wait(30) == 0


# -- from data to a chat ----------------------------------------------------------------------------------------------


def test_finetune_and_chat(capsys, monkeypatch, tmp_path):
    """The two commands of the documentation, at a tiny size."""
    options = ["--tokenizer", "char", "--n-layer", 1, "--n-embd", 16, "--n-head", 2, "--block-size", 64, "--steps", 2,
               "--threads", 1]
    done = command(capsys, "finetune", "--task", "instruction", "--data", "synthetic-instructions-test",
                   "--out", tmp_path / "out", *options)
    assert done.code == 0 and re.fullmatch(r"validation loss \d\.\d{4}\n", done.out)
    assert "450 training and 50 validation conversations" in done.err and "exact match on 50 held-out" in done.err
    said = piped(monkeypatch, capsys, "Reverse the word tomila.\n", "--model", tmp_path / "out", "--max-new-tokens", 5)
    assert said.code == 0 and said.err == "" and said.out.endswith("\n")
    path = tmp_path / "bad.jsonl"
    path.write_text('{"instruction": "a", "output": "b"}\n{"question": "a"}\n', encoding="utf-8")
    line = error_line(command(capsys, "finetune", "--task", "instruction", "--data", path, "--out", tmp_path / "no"))
    assert f"{path}, line 2: expected" in line and not (tmp_path / "no").exists()

"""Streams without an end, such as a pipe that somebody fills for ever: no more is read than is taken."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygpt.cli import main
from tinygpt.data.chat_template import add_chat_template
from tinygpt.files import bounded, read_stream
from tinygpt.models import GPT, GPTConfig
from tinygpt.tokenizers import CharTokenizer


class Endless(io.RawIOBase):
    """Gives one letter for ever, and counts how often."""

    given = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        buffer[:] = b"a" * len(buffer)
        self.given += len(buffer)
        return len(buffer)


@given(st.binary(max_size=50), st.integers(0, 60))
def test_a_stream_up_to_a_size(data, most):
    if len(data) > most:
        with pytest.raises(ValueError, match=f"more than {most} bytes"):
            read_stream(io.BytesIO(data), most)
    else:
        assert read_stream(io.BytesIO(data), most) == data


def test_parts_are_put_together_and_characters_counted(monkeypatch):
    monkeypatch.setattr(bounded, "_PART", 3)
    assert read_stream(io.StringIO("señal" * 3), 15) == "señal" * 3
    with pytest.raises(ValueError, match="more than 14 characters"):
        read_stream(io.StringIO("señal" * 3), 14)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A model that can chat, with its tokenizer."""
    tok = add_chat_template(CharTokenizer.train("abcdefgh ?\n"))
    model = GPT(GPTConfig(vocab_size=len(tok), block_size=32, n_layer=1, n_head=1, n_embd=4))
    model.save_pretrained(path := tmp_path_factory.mktemp("model"), tok)
    return path


@pytest.mark.parametrize("command, limit", [
    (["tokenizer", "encode", "--tokenizer"], "tinygpt.cli.tokenizer.MOST_INPUT"),
    (["pretrain", "--data", "-", "--out", "out", "--tokenizer"], "tinygpt.data.text_files.MOST_PIPED"),
    (["generate", "--prompt", "-", "--model"], "tinygpt.cli.generate.MOST_INPUT"),
    (["chat", "--model"], "tinygpt.cli.chat.LONGEST_LINE")], ids=["encode", "pretrain", "generate", "chat"])
def test_standard_input_without_an_end_is_a_sentence(command, limit, folder, tmp_path, monkeypatch, capsys):
    endless = Endless()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(limit, 1 << 20)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(endless)))
    assert main([*command, str(folder)]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "standard input has" in err, err
    assert endless.given < 1 << 23
